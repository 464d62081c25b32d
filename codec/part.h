/* part.h - a store of which some extents were fetched, and others not (docs/format.md, 10).
 *
 * Such a part is the whole store's bytes at their places, with an appendix behind them that says
 * which extents are there.  weir_store_open() reads it; here is what whoever makes one needs: the
 * appendix as bytes, and which extents some tensors lie in.
 *
 * A bitmap of extents has bit e % 8 of byte e / 8 for extent e; the bits past the last extent are
 * zero.  Pure, but for reading the store's index. */
#ifndef WEIR_CODEC_PART_H
#define WEIR_CODEC_PART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"
#include "codec/store.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of a bitmap of the store's extents, which is the beginning of the appendix, and of all of
 * that. */
size_t weir_part_map_bytes(const struct weir_store *store);
size_t weir_part_bytes(const struct weir_store *store);

/* The appendix of the store with these extents; `out` has room for weir_part_bytes(). */
void weir_part_write(const struct weir_store *store, const uint8_t *map, uint8_t *out);

/* Whether n bytes are an appendix of this very store.  Any bytes are fine. */
bool weir_part_fits(const struct weir_store *store, const uint8_t *bytes, size_t n);

/* The number of the layer that a tensor belongs to, by its name: the first component that is a
 * decimal number and follows one of `layers`, `layer`, `h`, `blocks`, `block` and `blk`, as in
 * "model.layers.7.mlp.up_proj.weight", "h.7.attn.weight" and "blk.7.ffn_up.weight".  -1: none, or
 * one above UINT32_MAX. */
int64_t weir_tensor_layer(const char *name);

/* Which tensors are wanted: those in one of the layers, and those with a matching name. */
struct weir_part_wish {
    bool has_layers;
    uint32_t first_layer, last_layer; /* inclusive */
    const char *const *glob; /* shell patterns (fnmatch) for whole names; '*' matches '.' and '/' */
    size_t n_globs;
};

/* Puts the extents of all wanted tensors, and of all bytes that belong to no tensor (configuration,
 * tokenizer, headers), in `map`, a bitmap.
 *
 * WEIR_ERR_NOT_FOUND  no tensor is wanted; *diag says so, `map` is undefined */
WEIR_MUST_CHECK weir_err weir_part_select(const struct weir_store *store,
                                          const struct weir_part_wish *wish, uint8_t *map,
                                          struct weir_diag *diag);

#ifdef __cplusplus
}
#endif

#endif
