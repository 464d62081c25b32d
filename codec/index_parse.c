#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "codec/path.h"
#include "index_parser.h"

/* docs/format.md, 3: the fewest bytes that each record takes. */
enum {
    MIN_PART_BYTES = 12 + 2,
    MIN_CODING_BYTES = 4 + MIN_PART_BYTES,
    OBJECT_BYTES = 8 + 4,
    EXTENT_BYTES = 4 + WEIR_DIGEST_BYTES,
    MIN_ENTRY_BYTES = 2 + 2 + 2 + 1,
    MIN_SEGMENT_BYTES = 8 + 4 + 1,
};

enum {
    MAX_MODE = 07777,
    MAX_DTYPE_BYTES = 31,
    MEMORY_FACTOR = 8,
};

static const uint64_t plain_bytes_limit = UINT64_C(1) << 62; /* below it */

weir_err parser_bad(const struct parser *p, const char *what)
{
    /* The path comes last: it may be long enough to be cut. */
    const char *path = p->path ? p->path : "";
    const char *open = p->path ? " (" : "", *close = p->path ? ")" : "";
    if (!p->noun)
        weir_diag_set(p->diag, "index: %s", what);
    else if (!p->in_segment)
        weir_diag_set(p->diag, "index: %s %" PRIu32 ": %s%s%s%s", p->noun, p->number, what, open,
                      path, close);
    else
        weir_diag_set(p->diag, "index: %s %" PRIu32 ", segment %" PRIu32 ": %s%s%s%s", p->noun,
                      p->number, p->segment, what, open, path, close);
    return WEIR_ERR_CORRUPT;
}

weir_err parser_cut_short(const struct parser *p)
{
    return parser_bad(p, "the index ends in the middle of it");
}

weir_err parser_no_memory(const struct parser *p)
{
    if (arena_error(p->arena) == WEIR_ERR_CORRUPT)
        return parser_bad(p, "takes more memory than an index of this size may");
    return arena_error(p->arena);
}

/* ---- extents ---- */

static weir_err read_extent(struct parser *p, struct index_extent *extent)
{
    extent->bytes = cursor_u32(&p->c);
    const uint8_t *sha256 = cursor_take(&p->c, WEIR_DIGEST_BYTES);
    if (!sha256)
        return parser_cut_short(p);
    if (extent->bytes == 0 || extent->bytes > WEIR_MAX_EXTENT_BYTES)
        return parser_bad(p, "stored bytes are not 1 to 4194816");
    memcpy(extent->sha256, sha256, WEIR_DIGEST_BYTES);
    return WEIR_OK;
}

/* ---- entries ---- */

static weir_err read_text(struct parser *p, size_t n, const char **out)
{
    const uint8_t *bytes = cursor_take(&p->c, n);
    if (!bytes)
        return parser_cut_short(p);
    if (memchr(bytes, 0, n))
        return parser_bad(p, "text with a NUL in it");
    *out = arena_string(p->arena, bytes, n);
    return *out ? WEIR_OK : parser_no_memory(p);
}

static weir_err read_tensor(struct parser *p, const struct weir_tensor **out)
{
    struct weir_tensor *tensor = arena_items(p->arena, 1, sizeof(*tensor));
    if (!tensor)
        return parser_no_memory(p);
    weir_err err = read_text(p, cursor_u16(&p->c), &tensor->name);
    if (err)
        return err;
    size_t dtype_bytes = cursor_u8(&p->c);
    if (!p->c.bad && (dtype_bytes == 0 || dtype_bytes > MAX_DTYPE_BYTES))
        return parser_bad(p, "bytes of the dtype are not 1 to 31");
    err = read_text(p, dtype_bytes, &tensor->dtype);
    if (err)
        return err;
    tensor->n_dims = cursor_u8(&p->c);
    if (tensor->n_dims > WEIR_MAX_DIMS)
        return parser_bad(p, "more than 8 dimensions");
    for (size_t i = 0; i < tensor->n_dims; i++)
        tensor->dim[i] = cursor_u64(&p->c);
    if (p->c.bad)
        return parser_cut_short(p);
    *out = tensor;
    return WEIR_OK;
}

/* Objects are numbered by their first showing, so the first segment to show one shows the next. */
static weir_err show_object(struct parser *p, const struct weir_segment *segment)
{
    if (segment->object >= p->ix->n_objects)
        return parser_bad(p, "there is no such object");
    if (segment->object > p->n_shown)
        return parser_bad(p, "objects are not numbered in the order of their showing");
    if (segment->bytes != p->ix->object[segment->object].bytes)
        return parser_bad(p, "has not as many bytes as its object");
    if (segment->object == p->n_shown)
        p->n_shown++;
    /* No overflow: the sum of the files' sizes is checked before. */
    if (!p->ix->object[segment->object].is_reference)
        p->ix->own_bytes += segment->bytes;
    return WEIR_OK;
}

static weir_err read_segment(struct parser *p, struct weir_segment *segment)
{
    segment->bytes = cursor_u64(&p->c);
    segment->object = cursor_u32(&p->c);
    uint8_t kind = cursor_u8(&p->c);
    if (p->c.bad)
        return parser_cut_short(p);
    if (kind > 1)
        return parser_bad(p, "unknown kind of segment");
    if (segment->bytes == 0 && kind == 0)
        return parser_bad(p, "opaque, but without bytes");
    if ((segment->bytes == 0) != (segment->object == WEIR_NO_OBJECT))
        return parser_bad(p, "has bytes but no object, or an object but no bytes");
    weir_err err = segment->bytes ? show_object(p, segment) : WEIR_OK;
    if (err || kind == 0)
        return err;
    return read_tensor(p, &segment->tensor);
}

static weir_err read_segments(struct parser *p, struct weir_entry *entry)
{
    if (entry->n_segments > p->c.left / MIN_SEGMENT_BYTES)
        return parser_bad(p, "more segments than the index has bytes for");
    struct weir_segment *segment =
        arena_items(p->arena, entry->n_segments, sizeof(entry->segment[0]));
    if (!segment)
        return parser_no_memory(p);
    entry->segment = segment;
    uint64_t at = 0;
    p->in_segment = true;
    for (p->segment = 0; p->segment < entry->n_segments; p->segment++, segment++) {
        weir_err err = read_segment(p, segment);
        if (err)
            return err;
        if (segment->bytes > entry->size - at)
            return parser_bad(p, "passes the end of its file");
        segment->file_offset = at;
        at += segment->bytes;
    }
    p->in_segment = false;
    return at == entry->size ? WEIR_OK : parser_bad(p, "its segments do not add up to its size");
}

static weir_err read_file(struct parser *p, struct weir_entry *entry)
{
    entry->size = cursor_u64(&p->c);
    const uint8_t *sha256 = cursor_take(&p->c, WEIR_DIGEST_BYTES);
    entry->n_segments = cursor_u32(&p->c);
    if (p->c.bad)
        return parser_cut_short(p);
    memcpy(entry->sha256, sha256, WEIR_DIGEST_BYTES);
    if (entry->size >= plain_bytes_limit - p->ix->plain_bytes)
        return parser_bad(p, "the files add up to 2^62 bytes or more");
    p->ix->plain_bytes += entry->size;
    return read_segments(p, entry);
}

static weir_err read_link(struct parser *p, struct weir_entry *entry)
{
    size_t n = cursor_u16(&p->c);
    weir_err err = read_text(p, n, &entry->target);
    if (err)
        return err;
    if (!weir_path_target_stays_inside(entry->path, entry->target))
        return parser_bad(p,
                          "a link whose target is empty, too long, absolute or outside the tree");
    return WEIR_OK;
}

/* `path` compared with the first n bytes of `other`. */
static int compare_prefix(const char *path, const char *other, size_t n)
{
    int order = strncmp(path, other, n);
    return order ? order : path[n] != '\0';
}

/* Is the parent of `path` a directory among the n entries, which are ascending? */
static bool has_parent(const struct weir_entry *entry, uint32_t n, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return true;
    uint32_t low = 0;
    while (low < n) {
        uint32_t middle = low + (n - low) / 2;
        int order = compare_prefix(entry[middle].path, path, (size_t)(slash - path));
        if (order == 0)
            return entry[middle].kind == WEIR_ENTRY_DIR;
        if (order < 0)
            low = middle + 1;
        else
            n = middle;
    }
    return false;
}

static weir_err read_entry(struct parser *p, struct weir_entry *entry)
{
    uint8_t kind = cursor_u8(&p->c);
    uint8_t zero = cursor_u8(&p->c);
    entry->mode = cursor_u16(&p->c);
    p->path = NULL;
    weir_err err = read_text(p, cursor_u16(&p->c), &entry->path);
    if (err)
        return err;
    p->path = entry->path;
    if (kind > WEIR_ENTRY_LINK)
        return parser_bad(p, "unknown kind of entry");
    if (zero)
        return parser_bad(p, "a byte that must be zero is not");
    if (entry->mode > MAX_MODE)
        return parser_bad(p, "mode has more than permission bits");
    if (!weir_path_is_valid(entry->path))
        return parser_bad(p, "path breaks the rules of a path");
    if (p->number && strcmp(entry[-1].path, entry->path) >= 0)
        return parser_bad(p, "path is not above the one before it");
    if (!has_parent(p->ix->entry, p->number, entry->path))
        return parser_bad(p, "the directory it is in is missing, or not a directory");
    entry->kind = (enum weir_entry_kind)kind;
    if (kind == WEIR_ENTRY_FILE)
        return read_file(p, entry);
    return kind == WEIR_ENTRY_LINK ? read_link(p, entry) : WEIR_OK;
}

/* ---- the whole ---- */

static weir_err read_counts(struct parser *p)
{
    struct index *ix = p->ix;
    const uint8_t *digest =
        p->features & WEIR_FEATURE_BASE ? cursor_take(&p->c, WEIR_DIGEST_BYTES) : NULL;
    if (digest)
        memcpy(ix->base_digest, digest, WEIR_DIGEST_BYTES);
    ix->n_codings = cursor_u32(&p->c);
    ix->n_objects = cursor_u32(&p->c);
    ix->n_extents = cursor_u32(&p->c);
    ix->n_entries = cursor_u32(&p->c);
    if (p->c.bad)
        return parser_bad(p, "shorter than its counts");
    uint64_t least =
        (uint64_t)ix->n_codings * MIN_CODING_BYTES + (uint64_t)ix->n_objects * OBJECT_BYTES +
        (uint64_t)ix->n_extents * EXTENT_BYTES + (uint64_t)ix->n_entries * MIN_ENTRY_BYTES;
    if (least > p->c.left)
        return parser_bad(p, "its counts need more bytes than it has");
    ix->coding = arena_items(p->arena, ix->n_codings, sizeof(struct weir_coding *));
    ix->object = arena_items(p->arena, ix->n_objects, sizeof(struct weir_object));
    ix->extent = arena_items(p->arena, ix->n_extents, sizeof(struct index_extent));
    ix->entry = arena_items(p->arena, ix->n_entries, sizeof(struct weir_entry));
    if (!ix->coding || !ix->object || !ix->extent || !ix->entry)
        return parser_no_memory(p);
    return WEIR_OK;
}

static weir_err read_extents(struct parser *p)
{
    struct index *ix = p->ix;
    uint64_t needed = (ix->n_tiles + WEIR_EXTENT_TILES - 1) / WEIR_EXTENT_TILES;
    p->noun = NULL;
    if (ix->n_extents != needed)
        return parser_bad(p, "the number of extents is not the number that its tiles need");
    p->noun = "extent";
    weir_err err = WEIR_OK;
    for (p->number = 0; !err && p->number < ix->n_extents; p->number++)
        err = read_extent(p, &ix->extent[p->number]);
    return err;
}

static weir_err read_index(struct parser *p)
{
    struct index *ix = p->ix;
    weir_err err = read_counts(p);
    p->noun = "coding";
    for (p->number = 0; !err && p->number < ix->n_codings; p->number++)
        err = parser_read_coding(p, &ix->coding[p->number]);
    p->noun = "object";
    for (p->number = 0; !err && p->number < ix->n_objects; p->number++)
        err = parser_read_object(p, &ix->object[p->number]);
    if (!err) {
        index_number(ix);
        err = read_extents(p);
    }
    p->noun = "entry";
    for (p->number = 0; !err && p->number < ix->n_entries; p->number++)
        err = read_entry(p, &ix->entry[p->number]);
    p->noun = NULL;
    p->path = NULL;
    if (!err && p->n_shown != ix->n_objects)
        err = parser_bad(p, "an object that no file shows");
    if (!err && p->c.left)
        err = parser_bad(p, "bytes left over behind the last entry");
    if (!err)
        ix->features = index_features(ix);
    if (!err && ix->features != p->features)
        err = parser_bad(p, "the trailer's features are not those that it needs");
    return err;
}

void index_number(struct index *ix)
{
    uint64_t next = ix->n_tiles;
    for (uint32_t i = 0; i < ix->n_objects; i++) {
        struct weir_object *o = &ix->object[i];
        o->first_number = o->is_reference ? next : o->first_tile;
        next += o->is_reference ? weir_object_tiles(o) : 0;
    }
}

unsigned index_features(const struct index *ix)
{
    unsigned features = 0;
    for (uint32_t i = 0; i < ix->n_objects; i++)
        features |= weir_object_needs_base(&ix->object[i]) ? WEIR_FEATURE_BASE : 0u;
    for (uint32_t i = 0; i < ix->n_codings; i++) {
        const struct weir_transform *t = &ix->coding[i]->transform;
        features |= (t->kind ? WEIR_FEATURE_TRANSFORM : 0u) | (t->near ? WEIR_FEATURE_NEAR : 0u);
    }
    return features;
}

weir_err index_parse(const uint8_t *bytes, size_t n_bytes, unsigned features, struct index **out,
                     struct weir_diag *diag)
{
    struct index *ix = calloc(1, sizeof(*ix));
    if (!ix)
        return WEIR_ERR_NOMEM;
    struct arena *arena = arena_new((uint64_t)n_bytes * MEMORY_FACTOR + PARSER_MEMORY_ALLOWANCE);
    ix->memory = arena;
    struct parser p = {
        .c = {bytes, n_bytes, false}, .ix = ix, .arena = arena, .features = features, .diag = diag};
    weir_err err = arena ? read_index(&p) : WEIR_ERR_NOMEM;
    if (err) {
        index_free(ix);
        return err;
    }
    *out = ix;
    return WEIR_OK;
}

void index_free(struct index *ix)
{
    if (!ix)
        return;
    arena_free(ix->memory);
    free(ix);
}
