#include "tree.h"

#include <stdlib.h>
#include <string.h>

/* ---- parents and children ---- */

/* strcmp(path, prefix[0 .. n)) */
static int compare_prefix(const char *path, const char *prefix, size_t n)
{
    int order = strncmp(path, prefix, n);
    return order ? order : path[n] != 0;
}

/* The node of the directory path[0 .. n), among the first `n_nodes`; TREE_NONE if there is none. */
static uint32_t find_dir(const struct tree *t, uint32_t n_nodes, const char *path, size_t n)
{
    uint32_t low = 1, high = n_nodes;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        int order = compare_prefix(t->node[mid].entry->path, path, n);
        if (order == 0)
            return t->node[mid].entry->kind == WEIR_ENTRY_DIR ? mid : TREE_NONE;
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return TREE_NONE;
}

static weir_err link_to_parent(struct tree *t, uint32_t i)
{
    struct tree_node *node = &t->node[i];
    const char *slash = strrchr(node->entry->path, '/');
    node->name = slash ? slash + 1 : node->entry->path;
    if (slash) {
        size_t n = (size_t)(slash - node->entry->path);
        node->parent = find_dir(t, i, node->entry->path, n);
        if (node->parent == TREE_NONE)
            return WEIR_ERR_CORRUPT;
    }
    struct tree_node *parent = &t->node[node->parent];
    parent->n_children++;
    if (node->entry->kind == WEIR_ENTRY_DIR)
        parent->n_dirs++;
    return WEIR_OK;
}

/* Deals the nodes to their parents.  In order of path, so each parent's come ascending by name. */
static void list_children(struct tree *t)
{
    uint32_t next = 0;
    for (uint32_t i = 0; i < t->n_nodes; i++) {
        t->node[i].first_child = next;
        next += t->node[i].n_children;
        t->node[i].n_children = 0;
    }
    for (uint32_t i = 1; i < t->n_nodes; i++) {
        struct tree_node *parent = &t->node[t->node[i].parent];
        t->child[parent->first_child + parent->n_children++] = i;
    }
}

/* ---- stored bytes ---- */

/* What the tiles [tile, stop) of an object have in plain bytes; numbered through the store. */
static uint64_t plain_bytes(const struct weir_object *object, uint64_t tile, uint64_t stop)
{
    uint64_t from = (tile - object->first_tile) * object->tile_bytes;
    uint64_t to = (stop - object->first_tile) * object->tile_bytes;
    return (to < object->bytes ? to : object->bytes) - from;
}

/* The end of the run of an object's tiles that begins at `tile` and stays in one extent. */
static uint64_t run_end(const struct weir_object *object, uint64_t tile)
{
    uint64_t object_end = object->first_tile + object->n_tiles;
    uint64_t extent_end = (tile / WEIR_EXTENT_TILES + 1) * WEIR_EXTENT_TILES;
    return object_end < extent_end ? object_end : extent_end;
}

static void add_extent_plain(uint64_t *extent_plain, const struct weir_object *object)
{
    uint64_t end = object->first_tile + object->n_tiles;
    for (uint64_t tile = object->first_tile; tile < end; tile = run_end(object, tile))
        extent_plain[tile / WEIR_EXTENT_TILES] += plain_bytes(object, tile, run_end(object, tile));
}

/* An object's share of the extents that it lies in, by plain bytes: exact but for the first and
 * the last of them, and without reading anything. */
static uint64_t object_share(const struct weir_store *store, const struct weir_object *object,
                             const uint64_t *extent_plain)
{
    uint64_t sum = 0, end = object->first_tile + object->n_tiles;
    for (uint64_t tile = object->first_tile; tile < end; tile = run_end(object, tile)) {
        uint32_t e = (uint32_t)(tile / WEIR_EXTENT_TILES);
        sum += plain_bytes(object, tile, run_end(object, tile)) *
               weir_store_extent(store, e).bytes / extent_plain[e];
    }
    return sum;
}

static void share_out(struct tree *t, const struct weir_store *store, uint64_t *extent_plain,
                      uint64_t *object_bytes)
{
    uint32_t n_objects = weir_store_info(store)->n_objects;
    for (uint32_t i = 0; i < n_objects; i++)
        add_extent_plain(extent_plain, weir_store_object(store, i));
    for (uint32_t i = 0; i < n_objects; i++)
        object_bytes[i] = object_share(store, weir_store_object(store, i), extent_plain);
    for (uint32_t i = 1; i < t->n_nodes; i++) {
        const struct weir_entry *entry = t->node[i].entry;
        for (uint32_t k = 0; k < entry->n_segments; k++)
            if (entry->segment[k].object != WEIR_NO_OBJECT)
                t->node[i].stored_bytes += object_bytes[entry->segment[k].object];
    }
}

static weir_err count_stored_bytes(struct tree *t, const struct weir_store *store)
{
    const struct weir_store_info *info = weir_store_info(store);
    uint64_t *extent_plain = calloc((size_t)info->n_extents + 1, sizeof(extent_plain[0]));
    uint64_t *object_bytes = calloc((size_t)info->n_objects + 1, sizeof(object_bytes[0]));
    bool fine = extent_plain && object_bytes;
    if (fine)
        share_out(t, store, extent_plain, object_bytes);
    free(extent_plain);
    free(object_bytes);
    return fine ? WEIR_OK : WEIR_ERR_NOMEM;
}

/* ---- what is shown ---- */

static weir_err find_root(struct tree *t, const char *subdir)
{
    subdir += strspn(subdir, "/");
    size_t n = strlen(subdir);
    while (n > 0 && subdir[n - 1] == '/')
        n--;
    t->root = n ? find_dir(t, t->n_nodes, subdir, n) : TREE_STORE_ROOT;
    return t->root == TREE_NONE ? WEIR_ERR_NOT_FOUND : WEIR_OK;
}

/* How many directories `node` lies below the root; n_nodes if it does not. */
static uint32_t depth_of(const struct tree *t, uint32_t node)
{
    uint32_t depth = 0;
    for (; node != t->root; node = t->node[node].parent, depth++)
        if (node == TREE_STORE_ROOT)
            return t->n_nodes;
    return depth;
}

static void count_shown(struct tree *t)
{
    for (uint32_t i = 0; i < t->n_nodes; i++) {
        if (depth_of(t, i) == t->n_nodes)
            continue;
        t->n_shown++;
        const struct weir_entry *entry = t->node[i].entry;
        if (entry && entry->kind == WEIR_ENTRY_FILE)
            t->plain_bytes += entry->size;
    }
}

/* A target has ".." only in front (docs/format.md, 3.4), so it goes up as often as it has them. */
bool tree_link_leaves(const struct tree *t, uint32_t link)
{
    uint32_t n_up = 0;
    for (const char *c = t->node[link].entry->target; *c; c += strcspn(c, "/"), c += *c == '/') {
        size_t n = strcspn(c, "/");
        n_up += n == 2 && strncmp(c, "..", n) == 0;
    }
    return n_up >= depth_of(t, link);
}

/* ---- the tree ---- */

static weir_err fill(struct tree *t, const struct weir_store *store, const char *subdir)
{
    /* An entry takes more than 4 bytes of an index of at most WEIR_MAX_INDEX_BYTES: + 1 fits. */
    t->n_nodes = weir_store_info(store)->n_entries + 1;
    t->node = calloc(t->n_nodes, sizeof(t->node[0]));
    t->child = calloc(t->n_nodes, sizeof(t->child[0]));
    if (!t->node || !t->child)
        return WEIR_ERR_NOMEM;
    t->node[TREE_STORE_ROOT].name = "";
    for (uint32_t i = 1; i < t->n_nodes; i++) {
        t->node[i].entry = weir_store_entry(store, i - 1);
        weir_err err = link_to_parent(t, i);
        if (err)
            return err;
    }
    list_children(t);
    weir_err err = find_root(t, subdir ? subdir : "");
    if (err)
        return err;
    count_shown(t);
    return count_stored_bytes(t, store);
}

weir_err tree_new(const struct weir_store *store, const char *subdir, struct tree **out)
{
    struct tree *t = calloc(1, sizeof(*t));
    if (!t)
        return WEIR_ERR_NOMEM;
    weir_err err = fill(t, store, subdir);
    if (err) {
        tree_free(t);
        return err;
    }
    *out = t;
    return WEIR_OK;
}

void tree_free(struct tree *t)
{
    if (!t)
        return;
    free(t->child);
    free(t->node);
    free(t);
}

uint32_t tree_find(const struct tree *t, uint32_t dir, const char *name)
{
    uint32_t low = t->node[dir].first_child, high = low + t->node[dir].n_children;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        int order = strcmp(t->node[t->child[mid]].name, name);
        if (order == 0)
            return t->child[mid];
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return TREE_NONE;
}
