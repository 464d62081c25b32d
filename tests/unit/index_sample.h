/* index_sample.h - one index that has everything, and where in it each record begins. */
#ifndef WEIR_TESTS_INDEX_SAMPLE_H
#define WEIR_TESTS_INDEX_SAMPLE_H

#include "index_bytes.h"

/* Where the records of the sample begin, filled in while it is written. */
enum mark {
    COUNTS,
    CODING,
    CODING_2,
    OBJECT,
    OBJECT_2,
    EXTENT,
    DIR,
    FILE_EMPTY,
    FILE_FULL,
    SEGMENT,      /* a tensor that shows object 0 */
    SEGMENT_NONE, /* a tensor without bytes */
    SEGMENT_RAW,  /* opaque, object 1 */
    LINK,
    LAST,
    N_MARKS
};

struct sample {
    struct bytes b;
    size_t mark[N_MARKS];
};

/* docs/format.md 3, by hand: two codings, three objects of 1, 33 and 1 tiles (2 extents), a
 * directory, two files, a link, a file. */
static const uint64_t big = 131070 * 32 + 1; /* 33 tiles of 5-byte elements */

static inline void put_codings(struct sample *s)
{
    struct bytes *b = &s->b;
    s->mark[CODING] = b->n;
    put_coding(b, 2, 1);
    put_part(b, 0, 1, 2, 1);
    s->mark[CODING_2] = b->n;
    put_coding(b, 5, 2);
    put_part(b, 0, 2, 2, 0);
    put_part(b, 4, 1, 1, 0);
}

static inline void put_full_file(struct sample *s)
{
    struct bytes *b = &s->b;
    s->mark[FILE_FULL] = b->n;
    put_file(b, "a/b", 10 + big + 10, 4);
    s->mark[SEGMENT] = b->n;
    put_segment(b, 10, 0, "w");
    s->mark[SEGMENT_NONE] = b->n;
    put_segment(b, 0, NONE, "");
    s->mark[SEGMENT_RAW] = b->n;
    put_segment(b, big, 1, NULL);
    put_segment(b, 10, 0, "w again");
}

static inline struct sample make_sample(void)
{
    struct sample s = {0};
    struct bytes *b = &s.b;
    s.mark[COUNTS] = b->n;
    put_counts(b, 2, 3, 2, 5);
    put_codings(&s);
    s.mark[OBJECT] = b->n;
    bytes_number(b, 10, 8);
    bytes_number(b, 0, 4);
    s.mark[OBJECT_2] = b->n;
    bytes_number(b, big, 8);
    bytes_number(b, 1, 4);
    bytes_number(b, 7, 8);
    bytes_number(b, NONE, 4);
    s.mark[EXTENT] = b->n;
    for (unsigned i = 0; i < 2; i++) {
        bytes_number(b, 4096 + 512 * i, 4);
        for (unsigned j = 0; j < 32; j++)
            bytes_number(b, i + j, 1);
    }
    s.mark[DIR] = b->n;
    put_entry(b, 1, 0755, "a");
    s.mark[FILE_EMPTY] = b->n;
    put_file(b, "a-b", 0, 0);
    put_full_file(&s);
    s.mark[LINK] = b->n;
    put_entry(b, 2, 0777, "a/l");
    bytes_text(b, "../a-b", 2);
    s.mark[LAST] = b->n;
    put_file(b, "z", 7, 1);
    put_segment(b, 7, 2, NULL);
    return s;
}

#endif
