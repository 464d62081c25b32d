#include "utf8.h"

/* RFC 3629, 4: how long a character is, and between what its second byte lies. */
static uint8_t shape(uint8_t first, uint8_t *low, uint8_t *high)
{
    *low = 0x80;
    *high = 0xbf;
    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first <= 0xdf)
        return 2;
    if (first >= 0xe0 && first <= 0xef) {
        if (first == 0xe0)
            *low = 0xa0;
        if (first == 0xed)
            *high = 0x9f;
        return 3;
    }
    if (first >= 0xf0 && first <= 0xf4) {
        if (first == 0xf0)
            *low = 0x90;
        if (first == 0xf4)
            *high = 0x8f;
        return 4;
    }
    return 0;
}

struct utf8 utf8_next(const char *text, size_t n)
{
    const uint8_t *b = (const uint8_t *)text;
    uint8_t low, high;
    uint8_t want = shape(b[0], &low, &high);
    if (want == 1)
        return (struct utf8){.point = b[0], .n = 1, .good = true};
    if (want == 0)
        return (struct utf8){.n = 1};
    uint32_t point = b[0] & (0x7fu >> want);
    for (uint8_t i = 1; i < want; i++) {
        if (i == n)
            return (struct utf8){.n = i, .cut = true};
        if (b[i] < low || b[i] > high)
            return (struct utf8){.n = i};
        point = point << 6 | (b[i] & 0x3fu);
        low = 0x80;
        high = 0xbf;
    }
    return (struct utf8){.point = point, .n = want, .good = true};
}

size_t utf8_good(const char *text, size_t n)
{
    size_t at = 0;
    while (at < n) {
        if ((uint8_t)text[at] < 0x80) {
            at++;
            continue;
        }
        struct utf8 c = utf8_next(text + at, n - at);
        if (!c.good)
            break;
        at += c.n;
    }
    return at;
}

size_t utf8_bad(const char *text, size_t n)
{
    size_t at = 0;
    while (at < n) {
        struct utf8 c = utf8_next(text + at, n - at);
        if (c.good)
            break;
        at += c.n;
    }
    return at;
}

size_t utf8_put(char *to, uint32_t point)
{
    if (point < 0x80) {
        to[0] = (char)point;
        return 1;
    }
    size_t n = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, point >>= 6)
        to[i] = (char)(0x80 | (point & 0x3f));
    to[0] = (char)((0xf00u >> n) | point);
    return n;
}

bool utf8_is_space(uint32_t point)
{
    return (point >= 0x09 && point <= 0x0d) || point == 0x20 || point == 0x85 || point == 0xa0 ||
           point == 0x1680 || (point >= 0x2000 && point <= 0x200a) || point == 0x2028 ||
           point == 0x2029 || point == 0x202f || point == 0x205f || point == 0x3000;
}
