#include "codec/part.h"

#include <fnmatch.h>
#include <string.h>

#include "appendix.h"
#include "store_private.h"

/* ---- the appendix ---- */

static struct appendix appendix_of(const struct weir_store *store)
{
    struct appendix a = {.store_bytes = store->info.stored_bytes,
                         .n_extents = store->info.n_extents};
    memcpy(a.digest, store->info.digest, sizeof(a.digest));
    return a;
}

size_t weir_part_map_bytes(const struct weir_store *store)
{
    return appendix_map_bytes(store->info.n_extents);
}

size_t weir_part_bytes(const struct weir_store *store)
{
    return weir_part_map_bytes(store) + APPENDIX_END_BYTES;
}

void weir_part_write(const struct weir_store *store, const uint8_t *map, uint8_t *out)
{
    const struct appendix a = appendix_of(store);
    memcpy(out, map, weir_part_map_bytes(store));
    appendix_write_end(&a, out + weir_part_map_bytes(store));
}

bool weir_part_fits(const struct weir_store *store, const uint8_t *bytes, size_t n)
{
    const struct appendix a = appendix_of(store);
    uint8_t end[APPENDIX_END_BYTES];
    appendix_write_end(&a, end);
    return n == weir_part_bytes(store) && memcmp(bytes + n - sizeof(end), end, sizeof(end)) == 0 &&
           appendix_map_is_right(bytes, a.n_extents);
}

/* ---- names ---- */

static bool names_layers(const char *part, size_t n)
{
    static const char *const word[] = {"layers", "layer", "h", "blocks", "block", "blk"};
    for (size_t i = 0; i < sizeof(word) / sizeof(word[0]); i++)
        if (strlen(word[i]) == n && memcmp(part, word[i], n) == 0)
            return true;
    return false;
}

/* -1: no decimal number, or above UINT32_MAX. */
static int64_t number_of(const char *part, size_t n)
{
    int64_t number = 0;
    for (size_t i = 0; i < n; i++) {
        if (part[i] < '0' || part[i] > '9')
            return -1;
        number = 10 * number + (part[i] - '0');
        if (number > UINT32_MAX)
            return -1;
    }
    return n ? number : -1;
}

int64_t weir_tensor_layer(const char *name)
{
    bool follows = false;
    for (const char *part = name;;) {
        size_t n = strcspn(part, ".");
        int64_t number = follows ? number_of(part, n) : -1;
        if (number >= 0)
            return number;
        follows = names_layers(part, n);
        if (!part[n])
            return -1;
        part += n + 1;
    }
}

/* ---- what is wanted ---- */

static bool is_wanted(const struct weir_part_wish *wish, const char *name)
{
    int64_t layer = wish->has_layers ? weir_tensor_layer(name) : -1;
    if (layer >= 0 && layer >= wish->first_layer && layer <= wish->last_layer)
        return true;
    for (size_t i = 0; i < wish->n_globs; i++)
        if (fnmatch(wish->glob[i], name, 0) == 0)
            return true;
    return false;
}

static void add_object(const struct weir_store *store, uint32_t object, uint8_t *map)
{
    if (object == WEIR_NO_OBJECT)
        return;
    const struct weir_object *o = weir_store_object(store, object);
    if (o->n_tiles == 0) /* a reference */
        return;
    uint64_t last = (o->first_tile + o->n_tiles - 1) / WEIR_EXTENT_TILES;
    for (uint64_t i = o->first_tile / WEIR_EXTENT_TILES; i <= last; i++)
        map[i / 8] = (uint8_t)(map[i / 8] | 1U << i % 8);
}

weir_err weir_part_select(const struct weir_store *store, const struct weir_part_wish *wish,
                          uint8_t *map, struct weir_diag *diag)
{
    bool any = false;
    memset(map, 0, weir_part_map_bytes(store));
    for (uint32_t i = 0; i < store->info.n_entries; i++) {
        const struct weir_entry *e = weir_store_entry(store, i);
        for (uint32_t k = 0; e->kind == WEIR_ENTRY_FILE && k < e->n_segments; k++) {
            const struct weir_segment *s = &e->segment[k];
            bool wanted = s->tensor && is_wanted(wish, s->tensor->name);
            any = any || wanted;
            if (wanted || !s->tensor)
                add_object(store, s->object, map);
        }
    }
    if (any)
        return WEIR_OK;
    weir_diag_set(diag, "no tensor of the store is among those; 'weir ls -t' lists them");
    return WEIR_ERR_NOT_FOUND;
}
