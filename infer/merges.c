#include "merges.h"

#include <stdlib.h>
#include <string.h>

enum {
    FEW_SLOTS = 16,
};

weir_err merges_start(struct merges *m, size_t most, uint64_t seed)
{
    size_t n_slots = FEW_SLOTS;
    while (n_slots < most + most / 2)
        n_slots *= 2;
    *m = (struct merges){.mask = n_slots - 1, .most = most, .seed = seed};
    m->slot = malloc(n_slots * sizeof(*m->slot));
    if (!m->slot)
        return WEIR_ERR_NOMEM;
    memset(m->slot, 0xff, n_slots * sizeof(*m->slot));
    return WEIR_OK;
}

void merges_add(struct merges *m, uint32_t left, uint32_t right, uint32_t rank, uint32_t id)
{
    uint64_t pair = (uint64_t)left << 32 | right;
    size_t i = merges_place(m, pair);
    while (m->slot[i].pair != UINT64_MAX && m->slot[i].pair != pair)
        i = (i + 1) & m->mask;
    m->slot[i] = (struct merge){pair, rank, id};
    m->n++;
}

void merges_free(struct merges *m)
{
    free(m->slot);
    *m = (struct merges){0};
}
