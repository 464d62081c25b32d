/* Composed text (NFC), from utf8proc's tables.
 *
 * Marks are put in order here: utf8proc 2.8 takes quadratic time for a long run of them. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "norm.h"
#include "utf8.h"

enum {
    FIRST_MARK = 0xcc,     /* the first byte of U+0300; nothing below it changes or composes */
    RUN_BYTES = 16384,     /* text taken at once, or more if it cannot be cut there */
    N_CLASSES = 256,       /* of marks; 0 is none */
    POINTS_PER_BYTE = 2,   /* at most, decomposed: 2 bytes may become 3 code points */
    IDEOGRAPH_FROM = 0xe4, /* first bytes of U+4000 to U+9FFF */
    IDEOGRAPH_TO = 0xe9,
};

/* Code points of a run, and room to sort them. */
struct points {
    utf8proc_int32_t *point, *sorted;
    size_t n, room;
};

static uint8_t class_of(utf8proc_int32_t point)
{
    return (uint8_t)utf8proc_get_property(point)->combining_class;
}

/* point[at .. end) are marks: by class, equals as they were. */
static void sort_marks(struct points *p, size_t at, size_t end)
{
    size_t start[N_CLASSES + 1] = {0};
    for (size_t i = at; i < end; i++)
        start[class_of(p->point[i]) + 1]++;
    for (size_t c = 1; c <= N_CLASSES; c++)
        start[c] += start[c - 1];
    for (size_t i = at; i < end; i++)
        p->sorted[start[class_of(p->point[i])]++] = p->point[i];
    memcpy(p->point + at, p->sorted, (end - at) * sizeof(*p->point));
}

static void order_marks(struct points *p)
{
    for (size_t at = 0; at < p->n;) {
        size_t end = at;
        while (end < p->n && class_of(p->point[end]) != 0)
            end++;
        if (end - at > 1)
            sort_marks(p, at, end);
        at = end > at ? end : at + 1;
    }
}

static weir_err reserve(struct points *p, size_t room)
{
    if (p->point && room <= p->room)
        return WEIR_OK;
    free(p->point);
    free(p->sorted);
    p->room = 0;
    p->point = malloc((room + 1) * sizeof(*p->point));
    p->sorted = malloc((room + 1) * sizeof(*p->sorted));
    if (!p->point || !p->sorted)
        return WEIR_ERR_NOMEM; /* norm_nfc() frees what there is */
    p->room = room;
    return WEIR_OK;
}

/* n bytes of UTF-8 into p. */
static weir_err decompose(const char *text, size_t n, struct points *p)
{
    int boundary = 0;
    weir_err err = reserve(p, n * POINTS_PER_BYTE); /* n <= WEIR_TEXT_MAX_BYTES */
    p->n = 0;
    if (err)
        return err;
    for (size_t at = 0; at < n;) {
        struct utf8 c = utf8_next(text + at, n - at);
        utf8proc_ssize_t wrote = utf8proc_decompose_char((utf8proc_int32_t)c.point, p->point + p->n,
                                                         (utf8proc_ssize_t)(p->room - p->n),
                                                         UTF8PROC_DECOMPOSE, &boundary);
        if (wrote < 0 || (size_t)wrote > p->room - p->n)
            return WEIR_ERR_NOMEM; /* not with POINTS_PER_BYTE */
        p->n += (size_t)wrote;
        at += c.n;
    }
    return WEIR_OK;
}

static weir_err compose(struct points *p, struct weir_text *out)
{
    order_marks(p);
    utf8proc_ssize_t n = utf8proc_normalize_utf32(p->point, (utf8proc_ssize_t)p->n,
                                                  UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    weir_err err = n < 0 ? WEIR_ERR_NOMEM : WEIR_OK;
    for (utf8proc_ssize_t i = 0; !err && i < n; i++) {
        char bytes[UTF8_MAX];
        err = weir_text_add(out, bytes, utf8_put(bytes, (uint32_t)p->point[i]));
    }
    return err;
}

/* Nothing composes with a character in front of it that begins so, nor passes over it. */
static bool stands_alone(uint8_t first)
{
    return first < 0x80 || (first >= IDEOGRAPH_FROM && first <= IDEOGRAPH_TO);
}

/* How many of n good bytes make a run. */
static size_t run_of(const char *text, size_t n)
{
    size_t end = RUN_BYTES;
    while (end < n && !stands_alone((uint8_t)text[end]))
        end++;
    return end < n ? end : n;
}

static bool is_plain(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((uint8_t)text[i] >= FIRST_MARK)
            return false;
    return true;
}

static weir_err add_good(const char *text, size_t n, struct points *p, struct weir_text *out)
{
    weir_err err = WEIR_OK;
    while (!err && n > 0) {
        size_t run = run_of(text, n);
        if (is_plain(text, run)) {
            err = weir_text_add(out, text, run);
        } else {
            err = decompose(text, run, p);
            if (!err)
                err = compose(p, out);
        }
        text += run;
        n -= run;
    }
    return err;
}

weir_err norm_nfc(const char *text, size_t n, struct weir_text *out)
{
    struct points p = {0};
    weir_err err = WEIR_OK;
    while (!err && n > 0) {
        size_t good = utf8_good(text, n);
        err = add_good(text, good, &p, out);
        size_t bad = utf8_bad(text + good, n - good);
        if (!err)
            err = weir_text_add(out, text + good, bad);
        text += good + bad;
        n -= good + bad;
    }
    free(p.point);
    free(p.sorted);
    return err;
}
