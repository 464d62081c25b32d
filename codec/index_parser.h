/* index_parser.h - what index_parse.c and index_coding.c share: an index on its way from bytes. */
#ifndef WEIR_CODEC_INDEX_PARSER_PRIVATE_H
#define WEIR_CODEC_INDEX_PARSER_PRIVATE_H

#include <stdbool.h>

#include "arena.h"
#include "cursor.h"
#include "index.h"

enum {
    /* A table takes 522 bytes here however few frequencies the index lists: without an allowance
     * small honest indices would pass the factor of memory to the bytes of the index. */
    PARSER_MEMORY_ALLOWANCE = 16 << 20,
};

struct parser {
    struct cursor c;
    struct index *ix;
    struct arena *arena;
    unsigned features; /* of the trailer */
    uint32_t n_shown;  /* objects 0 to n_shown - 1 have been shown by a segment */

    /* What is being read, for the message. */
    const char *noun;
    uint32_t number;
    const char *path; /* of the entry, once it is known; else NULL */
    bool in_segment;
    uint32_t segment;
    struct weir_diag *diag;
};

/* WEIR_ERR_CORRUPT, with what is being read and `what` in *diag. */
weir_err parser_bad(const struct parser *p, const char *what);
weir_err parser_cut_short(const struct parser *p);
/* The arena has given nothing: because there is no memory, or because it takes too much. */
weir_err parser_no_memory(const struct parser *p);

/* index_coding.c: the records of sections 3.1 and 3.2 of docs/format.md. */
WEIR_MUST_CHECK weir_err parser_read_coding(struct parser *p, struct weir_coding **out);
WEIR_MUST_CHECK weir_err parser_read_object(struct parser *p, struct weir_object *object);

#endif
