/* compare_near.h - a near-lossless tensor against what it was packed from. */
#ifndef WEIR_CLI_COMPARE_NEAR_H
#define WEIR_CLI_COMPARE_NEAR_H

#include "codec/quantise.h"
#include "codec/source.h"
#include "codec/store.h"

/* n bytes of a near tensor, as the store gives them, from `at` of the file `plain`.
 *
 * *nearness      what was found is added
 * *first         lowered to the first byte of a weight that is out of its bound
 * WEIR_ERR_NOMEM, WEIR_ERR_CORRUPT (a shape that the segment does not have), and what reading gives
 */
struct compare_near {
    const struct weir_store *store;
    const struct weir_segment *segment;
    const struct weir_source *plain;
    uint64_t at;
};
WEIR_MUST_CHECK weir_err compare_near(const struct compare_near *c, const uint8_t *given, size_t n,
                                      struct weir_nearness *nearness, uint64_t *first);

#endif
