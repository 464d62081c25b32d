#include "alphabet.h"

#include <stdint.h>

#include "utf8.h"

/* Bytes that are printable in Latin-1 stand for themselves; the others, in order, for U+0100 on. */
enum {
    MOVED_FROM = 0x100,
    N_LOW = 0x21, /* bytes 0x00 to 0x20 are moved */
    MID = 0x7f,   /* and 0x7f to 0xa0 */
    N_MID = 0x22,
    SOFT_HYPHEN = 0xad, /* and this */
};

static bool byte_of(uint32_t point, char *byte)
{
    uint32_t moved = point - MOVED_FROM;
    bool printable = point >= N_LOW && point <= 0xff && !(point >= MID && point < MID + N_MID) &&
                     point != SOFT_HYPHEN;
    if (printable)
        *byte = (char)point;
    else if (point < MOVED_FROM || moved > N_LOW + N_MID)
        return false;
    else if (moved < N_LOW)
        *byte = (char)moved;
    else
        *byte = (char)(moved < N_LOW + N_MID ? MID + (moved - N_LOW) : SOFT_HYPHEN);
    return true;
}

bool alphabet_decode(const char *text, size_t n, char *to, size_t *wrote)
{
    size_t out = 0;
    for (size_t at = 0; at < n;) {
        struct utf8 c = utf8_next(text + at, n - at);
        if (!c.good || !byte_of(c.point, &to[out]))
            return false;
        out++;
        at += c.n;
    }
    *wrote = out;
    return true;
}
