#include "seed.h"

#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b, void *store)
{
    struct weir_extent ea = weir_store_extent(store, *(const uint32_t *)a);
    struct weir_extent eb = weir_store_extent(store, *(const uint32_t *)b);
    return memcmp(ea.sha256, eb.sha256, sizeof(ea.sha256));
}

weir_err seed_open(struct seed *seed, const char *name, struct weir_diag *diag)
{
    memset(seed, 0, sizeof(*seed));
    struct weir_diag what = {""};
    weir_err err = weir_source_open_file(name, &seed->src, &what);
    if (!err)
        err = weir_store_open(&seed->src, &seed->store, &what);
    if (err) {
        weir_diag_set(diag, "the seed %.200s: %.250s", name, what.text);
        return err == WEIR_ERR_INVALID ? WEIR_ERR_IO : err;
    }
    uint32_t n = weir_store_info(seed->store)->n_extents;
    seed->by_sha256 = calloc((size_t)n + 1, sizeof(seed->by_sha256[0]));
    if (!seed->by_sha256)
        return WEIR_ERR_NOMEM;
    for (uint32_t i = 0; i < n; i++)
        seed->by_sha256[i] = i;
    qsort_r(seed->by_sha256, n, sizeof(seed->by_sha256[0]), compare, seed->store);
    return WEIR_OK;
}

void seed_close(struct seed *seed)
{
    free(seed->by_sha256);
    weir_store_free(seed->store);
    weir_source_close(&seed->src);
    memset(seed, 0, sizeof(*seed));
}

bool seed_read(const struct seed *seed, const struct weir_extent *e, uint8_t *bytes)
{
    uint32_t low = 0;
    uint32_t high = weir_store_info(seed->store)->n_extents;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct weir_extent m = weir_store_extent(seed->store, seed->by_sha256[middle]);
        int order = memcmp(m.sha256, e->sha256, sizeof(m.sha256));
        if (order == 0)
            return m.bytes == e->bytes &&
                   weir_store_has_extent(seed->store, seed->by_sha256[middle]) &&
                   weir_source_read(&seed->src, m.at, bytes, m.bytes) == WEIR_OK;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}
