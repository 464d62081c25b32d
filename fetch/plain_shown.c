#include "plain_shown.h"

#include <stdlib.h>

#include "sidecar.h"

/* Calls visit() for each showing of the files that are not there. */
static void each(struct plain_shown *shown, const struct plain_tree *tree,
                 void (*visit)(struct plain_shown *shown, uint32_t object, struct plain_showing s))
{
    for (uint32_t i = 0; i < weir_store_info(tree->store)->n_entries; i++) {
        const struct weir_entry *e = weir_store_entry(tree->store, i);
        if (e->kind != WEIR_ENTRY_FILE || tree->file[i].there)
            continue;
        for (uint32_t k = 0; k < e->n_segments; k++)
            if (e->segment[k].object != WEIR_NO_OBJECT)
                visit(shown, e->segment[k].object, (struct plain_showing){i, k});
    }
}

static void count(struct plain_shown *shown, uint32_t object, struct plain_showing s)
{
    (void)s;
    shown->first[object + 1]++;
}

/* first[o + 1] runs from where o's showings begin to where they end. */
static void put(struct plain_shown *shown, uint32_t object, struct plain_showing s)
{
    shown->showing[shown->first[object + 1]++] = s;
}

weir_err plain_shown_new(struct plain_shown *shown, const struct plain_tree *tree)
{
    size_t n = weir_store_info(tree->store)->n_objects;
    shown->first = calloc(n + 2, sizeof(shown->first[0]));
    if (!shown->first)
        return WEIR_ERR_NOMEM;
    each(shown, tree, count);
    size_t sum = 0;
    for (size_t i = 1; i <= n; i++) {
        size_t here = shown->first[i];
        shown->first[i] = sum;
        sum += here;
    }
    shown->showing = malloc((sum + 1) * sizeof(shown->showing[0]));
    if (!shown->showing)
        return WEIR_ERR_NOMEM;
    each(shown, tree, put);
    return WEIR_OK;
}

void plain_shown_free(struct plain_shown *shown)
{
    free(shown->first);
    free(shown->showing);
    *shown = (struct plain_shown){0};
}

static void of_object(const struct weir_store *store, uint32_t object, uint8_t *map,
                      void (*change)(uint8_t *map, uint32_t extent))
{
    const struct weir_object *o = weir_store_object(store, object);
    uint64_t last = (o->first_tile + o->n_tiles - 1) / WEIR_EXTENT_TILES;
    for (uint64_t extent = o->first_tile / WEIR_EXTENT_TILES; extent <= last; extent++)
        change(map, (uint32_t)extent);
}

void plain_want(const struct weir_store *store, uint32_t object, uint8_t *map)
{
    of_object(store, object, map, sidecar_set);
}

void plain_unwant(const struct weir_store *store, uint32_t object, uint8_t *map)
{
    of_object(store, object, map, sidecar_clear);
}
