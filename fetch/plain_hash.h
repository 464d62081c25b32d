/* plain_hash.h - SHA-256 of plain files. */
#ifndef WEIR_FETCH_PLAIN_HASH_H
#define WEIR_FETCH_PLAIN_HASH_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/err.h"
#include "codec/pack.h"
#include "codec/store.h"

/* Whether the file `fd` has `size` bytes with this SHA-256; one that cannot be read has not.
 * `watch` (or NULL) is only asked whether to go on.  WEIR_ERR_CANCELLED, WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err plain_hash_file(int fd, uint64_t size,
                                         const uint8_t sha256[WEIR_DIGEST_BYTES],
                                         const struct weir_watch *watch, bool *same);

#endif
