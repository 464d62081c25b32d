/* hash.h - one number for the logits of a run: XXH3-64 of all of them, one row behind the other, as
 * little-endian F32.  Two runs that agree in it agree in every bit. */
#ifndef WEIR_INFER_HASH_H
#define WEIR_INFER_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_logits_hash; /* opaque */

WEIR_MUST_CHECK weir_err weir_logits_hash_new(struct weir_logits_hash **out); /* WEIR_ERR_NOMEM */
void weir_logits_hash_free(struct weir_logits_hash *h);                       /* NULL is fine */

void weir_logits_hash_add(struct weir_logits_hash *h, const float *logits, size_t n);
uint64_t weir_logits_hash_value(const struct weir_logits_hash *h);

#ifdef __cplusplus
}
#endif

#endif
