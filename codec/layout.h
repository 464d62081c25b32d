/* layout.h - where the tensors of a checkpoint file are: safetensors and GGUF v2/v3.
 *
 * Reads a file's header through a weir_source and cuts the file into segments that cover it: one
 * per tensor, opaque bytes for the rest (header, alignment, gaps).  A file that is anything but
 * well formed - truncated, overlapping tensors, a header longer than the file, names with NUL -
 * comes back as one opaque segment: packing never refuses.  So does a safetensors header of more
 * than 65,536 tensors, or of JSON that takes more than 68 MiB as a tree (a long list of next to
 * nothing does).  Safe on hostile input; takes at most 96 MiB for a safetensors file while it reads
 * it, for others WEIR_LAYOUT_MAX_HEADER times a small constant. */
#ifndef WEIR_CODEC_LAYOUT_H
#define WEIR_CODEC_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"
#include "codec/source.h"
#include "codec/store.h"
#include "codec/tile.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    WEIR_LAYOUT_MAX_HEADER = 16 << 20, /* bytes; a longer header makes the file opaque */
};

struct weir_layout_part {
    uint64_t offset, bytes; /* in the file; bytes may be 0 for a tensor */
    bool is_tensor;
    struct weir_tensor tensor;     /* strings owned by the layout */
    struct weir_elements elements; /* elem_bytes 0: no idea, treat as opaque */
};

struct weir_layout {
    const char *format; /* "safetensors", "gguf" or "opaque" */
    size_t n_parts;
    struct weir_layout_part *part; /* ascending by offset; they cover [0, src->size) without gaps */
    char *strings;                 /* private */
};

/* `path` is looked at for its ending only (".safetensors", ".gguf"; GGUF also by its magic).
 * An empty file has no parts.  Freed with weir_layout_free().
 * WEIR_ERR_NOMEM, and what src->read returns; never a complaint about the file's contents. */
WEIR_MUST_CHECK weir_err weir_layout_find(const struct weir_source *src, const char *path,
                                          struct weir_layout **out);
void weir_layout_free(struct weir_layout *layout); /* NULL is fine */

#ifdef __cplusplus
}
#endif

#endif
