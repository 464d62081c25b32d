/* appendix.h - what says, behind a store's trailer, that only some of its extents are there
 * (docs/format.md, 10).  Safe on hostile input. */
#ifndef WEIR_CODEC_APPENDIX_PRIVATE_H
#define WEIR_CODEC_APPENDIX_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/source.h"
#include "codec/store.h"

enum { APPENDIX_END_BYTES = 64 };

struct appendix {
    uint64_t store_bytes; /* of the whole store: where the appendix begins */
    uint32_t n_extents;
    uint8_t digest[WEIR_DIGEST_BYTES];
};

size_t appendix_map_bytes(uint32_t n_extents);

/* Looks at the end of `src`, which has APPENDIX_END_BYTES at least.  *found: it is a part; then
 * *out is what the end of its appendix says, which fits the source's size.
 *
 * WEIR_ERR_CORRUPT, WEIR_ERR_UNSUPPORTED with *diag; what src->read returns. */
WEIR_MUST_CHECK weir_err appendix_read_end(const struct weir_source *src, bool *found,
                                           struct appendix *out, struct weir_diag *diag);

void appendix_write_end(const struct appendix *appendix, uint8_t out[APPENDIX_END_BYTES]);

/* Whether the bits past the last extent are zero, in appendix_map_bytes() bytes. */
bool appendix_map_is_right(const uint8_t *map, uint32_t n_extents);

/* Reads the bitmap of the extents that are there; *out is freed with free().
 * WEIR_ERR_CORRUPT with *diag; WEIR_ERR_NOMEM; what src->read returns. */
WEIR_MUST_CHECK weir_err appendix_read_map(const struct weir_source *src,
                                           const struct appendix *appendix, uint8_t **out,
                                           struct weir_diag *diag);

#endif
