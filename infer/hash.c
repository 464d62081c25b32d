#include "hash.h"

#include <string.h>
#include <xxhash.h>

/* A big-endian machine would have to turn the bytes around. */
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "logits are hashed as they lie in memory"
#endif

weir_err weir_logits_hash_new(struct weir_logits_hash **out)
{
    XXH3_state_t *state = XXH3_createState();
    if (!state)
        return WEIR_ERR_NOMEM;
    (void)XXH3_64bits_reset(state);
    *out = (struct weir_logits_hash *)state;
    return WEIR_OK;
}

void weir_logits_hash_free(struct weir_logits_hash *h)
{
    (void)XXH3_freeState((XXH3_state_t *)h);
}

void weir_logits_hash_add(struct weir_logits_hash *h, const float *logits, size_t n)
{
    (void)XXH3_64bits_update((XXH3_state_t *)h, logits, n * sizeof(*logits));
}

uint64_t weir_logits_hash_value(const struct weir_logits_hash *h)
{
    return XXH3_64bits_digest((const XXH3_state_t *)h);
}
