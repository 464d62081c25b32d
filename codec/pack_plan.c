#include "pack_plan.h"

#include <stdlib.h>
#include <string.h>

#include "codec/path.h"

enum {
    /* What segments, objects and tensor names may take of the index; files after that are one
     * opaque segment each.  The rest is for entries, codings and extents. */
    PARTS_INDEX_BYTES = 24 << 20,
    /* A file of very many very small parts would grow by what each part costs. */
    MANY_PARTS = 4096,
    SMALL_PART_BYTES = 128, /* on average */

    OBJECT_BYTES = 12, /* docs/format.md, 3.2 and 3.4 */
    SEGMENT_BYTES = 13,
    ENTRY_BYTES = 50,

    MAX_NAME_BYTES = UINT16_MAX,
    MAX_DTYPE_BYTES = 31,
};

#define MAX_PLAIN_BYTES ((UINT64_C(1) << 62) - 1)

/* ---- entries ---- */

static weir_err check_entry(const struct weir_pack_entry *e, struct weir_diag *diag)
{
    const char *wrong = NULL;
    if (!e->path || !weir_path_is_valid(e->path))
        wrong = "not a valid path inside a store";
    else if (e->mode > 07777)
        wrong = "not a valid mode";
    else if (e->kind == WEIR_ENTRY_FILE && !e->open)
        wrong = "a file without bytes";
    else if (e->kind == WEIR_ENTRY_LINK && !e->target)
        wrong = "a link without a target";
    else if (e->kind == WEIR_ENTRY_LINK && !weir_path_target_stays_inside(e->path, e->target))
        wrong = "the link leaves the tree";
    else if (e->kind != WEIR_ENTRY_FILE && e->kind != WEIR_ENTRY_DIR && e->kind != WEIR_ENTRY_LINK)
        wrong = "neither file nor directory nor link";
    if (!wrong)
        return WEIR_OK;
    weir_diag_set(diag, "%s: %s", e->path ? e->path : "(no path)", wrong);
    return WEIR_ERR_INVALID;
}

static int compare_files(const void *a, const void *b)
{
    const struct pack_file *left = a;
    const struct pack_file *right = b;
    return strcmp(left->from->path, right->from->path);
}

struct path_prefix {
    const char *path;
    size_t n;
};

static int compare_prefix(const void *prefix, const void *file)
{
    const struct path_prefix *want = prefix;
    const char *path = ((const struct pack_file *)file)->from->path;
    int order = strncmp(want->path, path, want->n);
    return order ? order : -(path[want->n] != 0);
}

static weir_err check_parent(const struct pack *p, const char *path, struct weir_diag *diag)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return WEIR_OK;
    struct path_prefix parent = {path, (size_t)(slash - path)};
    const struct pack_file *found =
        bsearch(&parent, p->file, p->ix.n_entries, sizeof(p->file[0]), compare_prefix);
    if (found && found->from->kind == WEIR_ENTRY_DIR)
        return WEIR_OK;
    weir_diag_set(diag, "%s: its parent is not among the directories", path);
    return WEIR_ERR_INVALID;
}

static weir_err sort_entries(struct pack *p, const struct weir_pack_entry *entries,
                             size_t n_entries, struct weir_diag *diag)
{
    if (n_entries > WEIR_MAX_INDEX_BYTES) {
        weir_diag_set(diag, "too many entries for one store");
        return WEIR_ERR_INVALID;
    }
    p->file = calloc(n_entries + 1, sizeof(p->file[0]));
    p->ix.entry = calloc(n_entries + 1, sizeof(p->ix.entry[0]));
    if (!p->file || !p->ix.entry)
        return WEIR_ERR_NOMEM;
    for (size_t i = 0; i < n_entries; i++) {
        weir_err err = check_entry(&entries[i], diag);
        if (err)
            return err;
        p->file[i].from = &entries[i];
    }
    p->ix.n_entries = (uint32_t)n_entries;
    qsort(p->file, n_entries, sizeof(p->file[0]), compare_files);
    for (size_t i = 0; i < n_entries; i++) {
        const struct weir_pack_entry *from = p->file[i].from;
        if (i && strcmp(p->file[i - 1].from->path, from->path) == 0) {
            weir_diag_set(diag, "%s: named twice", from->path);
            return WEIR_ERR_INVALID;
        }
        weir_err err = check_parent(p, from->path, diag);
        if (err)
            return err;
        p->ix.entry[i] = (struct weir_entry){
            .path = from->path,
            .kind = from->kind,
            .mode = from->mode,
            .target = from->kind == WEIR_ENTRY_LINK ? from->target : NULL,
        };
        p->index_bytes += ENTRY_BYTES + strlen(from->path);
        if (from->kind == WEIR_ENTRY_LINK)
            p->index_bytes += strlen(from->target);
    }
    return WEIR_OK;
}

/* ---- segments ---- */

static uint64_t tensor_bytes(const struct weir_tensor *t)
{
    return 4 + strlen(t->name) + strlen(t->dtype) + 8 * (uint64_t)t->n_dims;
}

static bool part_fits(const struct weir_layout_part *part, uint64_t offset)
{
    if (part->offset != offset)
        return false;
    if (!part->is_tensor)
        return part->bytes > 0;
    size_t n_dtype = strlen(part->tensor.dtype);
    return strlen(part->tensor.name) <= MAX_NAME_BYTES && n_dtype > 0 &&
           n_dtype <= MAX_DTYPE_BYTES && part->tensor.n_dims <= WEIR_MAX_DIMS;
}

/* Can the parts be segments, and are they worth it?  *index_bytes: what they take. */
static bool layout_fits(const struct weir_layout *layout, uint64_t size, uint64_t *index_bytes)
{
    if (layout->n_parts > MANY_PARTS && size / layout->n_parts < SMALL_PART_BYTES)
        return false;
    uint64_t offset = 0;
    uint64_t n_bytes = 0;
    for (size_t i = 0; i < layout->n_parts; i++) {
        const struct weir_layout_part *part = &layout->part[i];
        if (!part_fits(part, offset) || part->bytes > size - offset)
            return false;
        offset += part->bytes;
        n_bytes += OBJECT_BYTES + SEGMENT_BYTES;
        if (part->is_tensor)
            n_bytes += tensor_bytes(&part->tensor);
    }
    *index_bytes = n_bytes;
    return offset == size;
}

static weir_err make_segments(struct pack_file *file, struct weir_entry *e)
{
    const struct weir_layout *layout = file->layout;
    size_t n = layout ? layout->n_parts : e->size > 0;
    file->segment = calloc(n + 1, sizeof(file->segment[0]));
    if (!file->segment)
        return WEIR_ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        struct weir_segment *s = &file->segment[i];
        s->object = WEIR_NO_OBJECT;
        s->bytes = e->size;
        if (!layout)
            continue;
        s->file_offset = layout->part[i].offset;
        s->bytes = layout->part[i].bytes;
        s->tensor = layout->part[i].is_tensor ? &layout->part[i].tensor : NULL;
    }
    e->segment = file->segment;
    e->n_segments = (uint32_t)n;
    return WEIR_OK;
}

static weir_err plan_file(struct pack *p, uint32_t entry, const struct weir_source *src,
                          uint64_t *parts_bytes)
{
    struct pack_file *file = &p->file[entry];
    struct weir_entry *e = &p->ix.entry[entry];
    if (src->size > MAX_PLAIN_BYTES - p->ix.plain_bytes)
        return WEIR_ERR_INVALID;
    e->size = src->size;
    p->ix.plain_bytes += src->size;

    weir_err err = weir_layout_find(src, e->path, &file->layout);
    if (err)
        return err;
    uint64_t n_bytes = 0;
    if (!layout_fits(file->layout, e->size, &n_bytes) ||
        *parts_bytes + n_bytes > PARTS_INDEX_BYTES) {
        weir_layout_free(file->layout);
        file->layout = NULL;
        n_bytes = OBJECT_BYTES + SEGMENT_BYTES;
    } else {
        *parts_bytes += n_bytes;
    }
    p->index_bytes += n_bytes;
    err = make_segments(file, e);
    for (uint32_t i = 0; !err && i < e->n_segments; i++)
        p->n_parts += e->segment[i].bytes > 0;
    return err;
}

static weir_err open_and_plan(struct pack *p, uint32_t entry, uint64_t *parts_bytes,
                              struct weir_diag *diag)
{
    const struct weir_pack_entry *from = p->file[entry].from;
    struct weir_source src = {0};
    weir_err err = from->open(from->self, &src, diag);
    if (err)
        return err;
    err = plan_file(p, entry, &src, parts_bytes);
    weir_source_close(&src);
    p->read_failed = err != WEIR_OK; /* one thread so far */
    if (err)
        weir_diag_set(diag, "%s: %s", from->path,
                      err == WEIR_ERR_INVALID ? "too large for one store" : weir_err_text(err));
    return err;
}

weir_err pack_plan(struct pack *p, const struct weir_pack_entry *entries, size_t n_entries,
                   struct weir_diag *diag)
{
    weir_err err = sort_entries(p, entries, n_entries, diag);
    uint64_t parts_bytes = 0;
    for (uint32_t i = 0; !err && i < p->ix.n_entries; i++) {
        if (p->ix.entry[i].kind != WEIR_ENTRY_FILE)
            continue;
        err = pack_tick(p, 0);
        if (!err)
            err = open_and_plan(p, i, &parts_bytes, diag);
    }
    if (!err && p->index_bytes > WEIR_MAX_INDEX_BYTES) {
        weir_diag_set(diag, "too many entries for one store");
        err = WEIR_ERR_INVALID;
    }
    return err;
}

const struct weir_elements *pack_elements(const struct pack *p, uint32_t entry, uint32_t segment)
{
    const struct weir_layout *layout = p->file[entry].layout;
    if (!layout || !layout->part[segment].elements.elem_bytes)
        return NULL;
    return &layout->part[segment].elements;
}
