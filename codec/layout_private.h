/* layout_private.h - between layout.c and the readers of the two formats. */
#ifndef WEIR_CODEC_LAYOUT_PRIVATE_H
#define WEIR_CODEC_LAYOUT_PRIVATE_H

#include "codec/layout.h"

/* What a reader found.  layout.c owns it before, during and after. */
struct layout_draft {
    struct weir_layout_part *part; /* tensors only, in any order, malloc'ed */
    size_t n_parts;
    char *strings; /* what the names point into, malloc'ed */
    weir_err err;  /* what kept the reader from reading; WEIR_OK for an odd file */
};

enum {
    LAYOUT_MAX_NAME = 65535,      /* bytes: docs/format.md 3.4 keeps a u16 */
    LAYOUT_MAX_TENSORS = 1 << 18, /* the largest models have 100 thousand; more make a file odd */
};

/* Each fills in a zeroed draft.  False: draft->err says why, or the file is not well formed.
 * Offsets and sizes of the tensors may be anything; layout.c checks them against each other. */
bool layout_read_safetensors(const struct weir_source *src, struct layout_draft *draft);
bool layout_read_gguf(const struct weir_source *src, struct layout_draft *draft);

#endif
