#include "slow.h"

#include <string.h>

static void parse_part(struct cursor *c, struct part *p)
{
    p->offset = (unsigned)take(c, 2);
    p->count = (unsigned)take(c, 2);
    p->item_bytes = (unsigned)take(c, 1);
    unsigned flags = (unsigned)take(c, 1);
    p->drop = (unsigned)take(c, 1);
    p->symbol_bits = (unsigned)take(c, 1);
    p->base = (unsigned)take(c, 2);
    unsigned first = (unsigned)take(c, 1);
    unsigned last = (unsigned)take(c, 1);
    p->sign_first = flags & 1;
    p->width = 8 * p->item_bytes;

    require(p->count >= 1, "a part has items (3.1)");
    require(p->item_bytes == 1 || p->item_bytes == 2 || p->item_bytes == 4 || p->item_bytes == 8,
            "an item has 1, 2, 4 or 8 bytes (3.1)");
    require(flags <= 1, "a part's flags above bit 0 are zero (3.1)");
    require(p->symbol_bits >= 1 && p->symbol_bits <= 16, "symbol bits are 1 to 16 (3.1)");
    require(p->drop + p->symbol_bits + (p->sign_first ? 1 : 0) <= p->width,
            "dropped bits, symbol and sign fit the item (3.1)");
    p->raw_bits = p->width - p->drop - p->symbol_bits;

    require(last >= first, "last is at least first (3.1)");
    unsigned sum = 0;
    for (unsigned j = first; j <= last; j++) {
        p->freq[j] = (unsigned)take(c, 2);
        require(p->freq[j] <= 4095, "a frequency is at most 4095 (3.1)");
        sum += p->freq[j];
    }
    require(sum == 4096, "the frequencies add up to 4096 (3.1)");
    require(p->freq[first] && p->freq[last], "the first and the last frequency are not 0 (3.1)");
    require(p->base + last <= (1U << p->symbol_bits) - 1, "base + last is a symbol (3.1)");
}

static void parse_transform(struct cursor *c, struct coding *coding)
{
    struct transform *t = &coding->transform;
    t->number = (unsigned)take(c, 1);
    t->made = (unsigned)take(c, 1);
    unsigned near = (unsigned)take(c, 1);
    t->item_bytes = (unsigned)take(c, 1);
    t->row_elements = take(c, 4);
    t->block_rows = take(c, 4);
    t->block_columns = take(c, 4);
    t->near = near == 1;
    if (t->kind != KIND_SCALE) {
        require(t->number == 0 && t->made == 0 && near == 0 && t->row_elements == 0 &&
                    t->block_rows == 0 && t->block_columns == 0,
                "the parameters of a difference are 0 but for one (3.1)");
        unsigned n = coding->element_bytes;
        require((n == 1 || n == 2 || n == 4 || n == 8) && t->item_bytes == n,
                "an element of a difference has 1, 2, 4 or 8 bytes, as its item (3.1)");
        return;
    }
    require(t->number <= 2 && t->made <= 2 && near <= 1, "a transform's numbers (3.1)");
    require(t->item_bytes == 1 || (t->item_bytes == 2 && t->number == 0),
            "an item has 1 byte, or 2 of an integer (3.1)");
    require(t->row_elements >= 1 && t->block_rows >= 1 && t->block_columns >= 1 &&
                t->block_columns <= t->row_elements,
            "rows and blocks of a transform (3.1)");
    require(coding->element_bytes == (t->made == 2 ? 4 : 2), "an element is what is made (3.1)");
}

static void parse_coding(struct cursor *c, struct coding *coding)
{
    coding->element_bytes = (unsigned)take(c, 2);
    coding->n_parts = (unsigned)take(c, 1);
    require(coding->element_bytes >= 1 && coding->element_bytes <= 4096,
            "element bytes are 1 to 4096 (3.1)");
    require(coding->n_parts >= 1 && coding->n_parts <= 8, "a coding has 1 to 8 parts (3.1)");
    unsigned kind = (unsigned)take(c, 1);
    require(kind <= KIND_XOR, "a kind of transform is 0 to 3 (3.1)");
    coding->transform.kind = kind;

    coding->parts = allocate(coding->n_parts, sizeof(coding->parts[0]));
    unsigned covered = 0;
    for (unsigned i = 0; i < coding->n_parts; i++) {
        parse_part(c, &coding->parts[i]);
        require(coding->parts[i].offset == covered, "a part starts where the last ended (3.1)");
        covered += coding->parts[i].count * coding->parts[i].item_bytes;
    }
    if (kind)
        parse_transform(c, coding);
    require(covered == (kind ? coding->transform.item_bytes : coding->element_bytes),
            "the parts cover the element, or the item (3.1)");
}

/* A number that a sum of squares, an error or a step may be: its bits say so. */
static void require_finite(uint64_t bits, unsigned exponent_bits, unsigned width)
{
    uint64_t all = ((uint64_t)1 << exponent_bits) - 1;
    require(bits >> (width - 1) == 0 || bits << (65 - width) == 0, "no number below 0 (3.2)");
    require((bits >> (width - 1 - exponent_bits) & all) != all, "a number is finite (3.2)");
}

static void parse_nearness(struct cursor *c)
{
    require_finite(take(c, 8), 11, 64);
    require_finite(take(c, 8), 11, 64);
    require_finite(take(c, 4), 8, 32);
    require_finite(take(c, 4), 8, 32);
}

/* Where in the base the bytes below are; whether they are is checked when there is one. */
static void parse_below(struct cursor *c, struct object *o)
{
    o->needs_base = true;
    o->base_object = (uint32_t)take(c, 4);
    o->base_offset = take(c, 8);
    require(o->base_object != NO_NUMBER, "an object of the base has a number (3.2)");
    require(o->base_offset < (uint64_t)1 << 62, "an offset in the base is below 2^62 (3.2)");
}

/* `*n_tiles`: of all objects so far, references too. */
static void parse_object(struct store *s, struct cursor *c, struct object *o, uint64_t *n_tiles)
{
    o->plain_bytes = take(c, 8);
    uint32_t coding = (uint32_t)take(c, 4);
    require(o->plain_bytes >= 1, "an object has bytes (3.2)");
    o->reference = coding == REFERENCE;
    require(coding < s->n_codings || o->reference || coding == NO_NUMBER,
            "an object's coding exists (3.2)");
    o->coding = coding < s->n_codings ? &s->codings[coding] : NULL;

    uint64_t element_bytes = o->coding ? o->coding->element_bytes : 1;
    o->tile_bytes = element_bytes * (MAX_TILE / element_bytes);
    o->n_tiles = o->plain_bytes / o->tile_bytes + (o->plain_bytes % o->tile_bytes != 0);
    o->first_tile = s->n_tiles;
    *n_tiles += o->n_tiles;
    require(*n_tiles < (uint64_t)1 << 40, "fewer than 2^40 tiles (3.2)");
    if (!o->reference)
        s->n_tiles += o->n_tiles;
    if (o->coding && o->coding->transform.near)
        parse_nearness(c);
    if (o->reference || (o->coding && o->coding->transform.kind >= KIND_DIFFERENCE))
        parse_below(c, o);
}

static void parse_extents(struct store *s, struct cursor *c)
{
    uint64_t n = (s->n_tiles + EXTENT_TILES - 1) / EXTENT_TILES;
    require(s->n_extents == n, "as many extents as the tiles need (3.2)");
    uint64_t end = ALIGNMENT;
    for (uint32_t i = 0; i < s->n_extents; i++) {
        struct extent *e = &s->extents[i];
        e->stored_bytes = (uint32_t)take(c, 4);
        e->sha256 = take_bytes(c, SHA256_BYTES);
        require(e->stored_bytes >= 1 && e->stored_bytes <= 4194816,
                "an extent's bytes are 1 to 4194816 (3.3)");
        e->at = (end + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        end = e->at + e->stored_bytes;
    }
    require(end == s->index_at, "the extents lead exactly to the index (2)");
}

/* The length of the component that starts at `path`, of which `n` bytes are left. */
static size_t component_bytes(const uint8_t *path, size_t n)
{
    const uint8_t *slash = memchr(path, '/', n);
    return slash ? (size_t)(slash - path) : n;
}

static bool is_dots(const uint8_t *component, size_t n)
{
    return (n == 1 || n == 2) && memcmp(component, "..", n) == 0;
}

/* Checks a path; its depth, the number of slashes in it. */
static unsigned check_path(const uint8_t *path, size_t n)
{
    require(n >= 1 && n <= 4095, "a path has 1 to 4095 bytes (3.4)");
    require(!memchr(path, 0, n), "a path has no NUL (3.4)");
    for (unsigned depth = 0;; depth++) {
        size_t k = component_bytes(path, n);
        require(k >= 1 && k <= 255, "a component has 1 to 255 bytes (3.4)");
        require(!is_dots(path, k), "a component is not . or .. (3.4)");
        if (k == n)
            return depth;
        path += k + 1;
        n -= k + 1;
    }
}

/* ".." only before the first name, and at most `depth` of them: as deep as the link lies. */
static void check_target(const uint8_t *target, size_t n, unsigned depth)
{
    require(n >= 1 && n <= 4095, "a target has 1 to 4095 bytes (3.4)");
    require(!memchr(target, 0, n), "a target has no NUL (3.4)");
    require(target[0] != '/', "a target is not absolute (3.4)");
    for (bool named = false;;) {
        size_t k = component_bytes(target, n);
        if (k == 2 && is_dots(target, k)) {
            require(!named, "a target has .. only before its first name (3.4)");
            require(depth > 0, "a target does not leave the root (3.4)");
            depth--;
        } else if (k > 0 && !is_dots(target, k)) {
            named = true;
        }
        if (k == n)
            return;
        target += k + 1;
        n -= k + 1;
    }
}

static int compare_paths(const struct entry *a, const struct entry *b)
{
    size_t n = a->path_bytes < b->path_bytes ? a->path_bytes : b->path_bytes;
    int order = memcmp(a->path, b->path, n);
    return order ? order : (a->path_bytes > b->path_bytes) - (a->path_bytes < b->path_bytes);
}

/* The parent of entry `i` is one of the entries before it, and a directory. */
static void check_parent(const struct store *s, uint32_t i)
{
    struct entry parent = s->entries[i];
    while (parent.path_bytes > 0 && parent.path[parent.path_bytes - 1] != '/')
        parent.path_bytes--;
    if (parent.path_bytes == 0)
        return;
    parent.path_bytes--;
    for (uint32_t k = 0; k < i; k++) {
        if (compare_paths(&s->entries[k], &parent) == 0) {
            require(s->entries[k].kind == KIND_DIRECTORY, "a path's parent is a directory (3.4)");
            return;
        }
    }
    require(false, "a path's parent is an entry (3.4)");
}

static void parse_tensor(struct cursor *c)
{
    size_t name_bytes = (size_t)take(c, 2);
    require(!memchr(take_bytes(c, name_bytes), 0, name_bytes), "a name has no NUL (3.4)");
    size_t dtype_bytes = (size_t)take(c, 1);
    require(dtype_bytes >= 1 && dtype_bytes <= 31, "a dtype has 1 to 31 bytes (3.4)");
    require(!memchr(take_bytes(c, dtype_bytes), 0, dtype_bytes), "a dtype has no NUL (3.4)");
    uint64_t n_dims = take(c, 1);
    require(n_dims <= 8, "a tensor has at most 8 dimensions (3.4)");
    take_bytes(c, 8 * n_dims);
}

/* `*n_shown` objects have been shown so far: 0 to *n_shown - 1. */
static void parse_segment(struct store *s, struct cursor *c, struct segment *g, uint32_t *n_shown)
{
    g->bytes = take(c, 8);
    g->object = (uint32_t)take(c, 4);
    uint64_t kind = take(c, 1);
    require(kind <= 1, "a segment is opaque or a tensor (3.4)");
    if (kind == 0)
        require(g->bytes >= 1, "an opaque segment has bytes (3.4)");
    else
        parse_tensor(c);
    require((g->bytes == 0) == (g->object == NO_NUMBER),
            "a segment has no object if and only if it has no bytes (3.4)");
    if (g->bytes == 0)
        return;
    require(g->object < s->n_objects, "a segment's object exists (3.4)");
    require(g->bytes == s->objects[g->object].plain_bytes,
            "a segment has as many bytes as its object (3.4)");
    require(g->object <= *n_shown, "objects are numbered as they are first shown (3.4)");
    if (g->object == *n_shown)
        ++*n_shown;
}

static void parse_file(struct store *s, struct cursor *c, struct entry *e, uint32_t *n_shown)
{
    e->size = take(c, 8);
    e->sha256 = take_bytes(c, SHA256_BYTES);
    e->n_segments = (uint32_t)take(c, 4);
    require(e->size < (uint64_t)1 << 62, "files have less than 2^62 bytes (3.4)");
    require(e->n_segments <= left(c) / 13, "the index has room for the segments (8)");
    e->segments = allocate(e->n_segments, sizeof(e->segments[0]));
    uint64_t covered = 0;
    for (uint32_t i = 0; i < e->n_segments; i++) {
        parse_segment(s, c, &e->segments[i], n_shown);
        require(e->segments[i].bytes <= e->size - covered, "segments fit the file (3.4)");
        covered += e->segments[i].bytes;
    }
    require(covered == e->size, "segments add up to the file's size (3.4)");
}

static void parse_entry(struct store *s, struct cursor *c, uint32_t i, uint32_t *n_shown)
{
    struct entry *e = &s->entries[i];
    e->kind = (unsigned)take(c, 1);
    require(take(c, 1) == 0, "an entry's second byte is zero (3.4)");
    e->mode = (unsigned)take(c, 2);
    e->path_bytes = (size_t)take(c, 2);
    e->path = take_bytes(c, e->path_bytes);
    require(e->kind <= KIND_LINK, "an entry is a file, a directory or a link (3.4)");
    require(e->mode <= 07777, "a mode is at most 07777 (3.4)");
    unsigned depth = check_path(e->path, e->path_bytes);
    require(i == 0 || compare_paths(&s->entries[i - 1], e) < 0, "paths ascend (3.4)");
    check_parent(s, i);

    if (e->kind == KIND_FILE) {
        parse_file(s, c, e, n_shown);
    } else if (e->kind == KIND_LINK) {
        e->target_bytes = (size_t)take(c, 2);
        e->target = take_bytes(c, e->target_bytes);
        check_target(e->target, e->target_bytes, depth);
    }
}

/* The bytes of a file that are not of references. */
static uint64_t own_bytes(const struct store *s, const struct entry *e)
{
    uint64_t own = 0;
    for (uint32_t i = 0; i < e->n_segments; i++)
        if (e->segments[i].bytes && !s->objects[e->segments[i].object].reference)
            own += e->segments[i].bytes;
    return own;
}

static void parse_entries(struct store *s, struct cursor *c)
{
    uint64_t own = 0;
    uint32_t n_shown = 0;
    for (uint32_t i = 0; i < s->n_entries; i++) {
        parse_entry(s, c, i, &n_shown);
        own += own_bytes(s, &s->entries[i]);
        s->total += s->entries[i].size;
        require(s->total < (uint64_t)1 << 62, "files have less than 2^62 bytes (3.4)");
    }
    require(n_shown == s->n_objects, "every object is shown (3.4)");
    require((own + 16383) / 16384 <= s->size, "files are at most 16384 times the store (3.4)");
}

static void check_features(const struct store *s)
{
    unsigned needed = 0;
    for (uint32_t i = 0; i < s->n_codings; i++) {
        needed |= s->codings[i].transform.kind != KIND_NONE ? FEATURE_TRANSFORM : 0;
        needed |= s->codings[i].transform.near ? FEATURE_NEAR : 0;
    }
    for (uint32_t i = 0; i < s->n_objects; i++)
        needed |= s->objects[i].needs_base ? FEATURE_BASE : 0;
    require(needed == s->features, "the trailer's features are those that are needed (2.3)");
}

void parse_index(struct store *s, size_t n)
{
    struct cursor c = {s->index, s->index + n};
    if (s->features & FEATURE_BASE)
        s->base_digest = take_bytes(&c, SHA256_BYTES);
    s->n_codings = (uint32_t)take(&c, 4);
    s->n_objects = (uint32_t)take(&c, 4);
    s->n_extents = (uint32_t)take(&c, 4);
    s->n_entries = (uint32_t)take(&c, 4);
    require(s->n_codings <= left(&c) / 16 && s->n_objects <= left(&c) / 12 &&
                s->n_extents <= left(&c) / 36 && s->n_entries <= left(&c) / 7,
            "the index has room for what it counts (8)");
    s->codings = allocate(s->n_codings, sizeof(s->codings[0]));
    s->objects = allocate(s->n_objects, sizeof(s->objects[0]));
    s->extents = allocate(s->n_extents, sizeof(s->extents[0]));
    s->entries = allocate(s->n_entries, sizeof(s->entries[0]));

    for (uint32_t i = 0; i < s->n_codings; i++)
        parse_coding(&c, &s->codings[i]);
    uint64_t n_tiles = 0;
    for (uint32_t i = 0; i < s->n_objects; i++)
        parse_object(s, &c, &s->objects[i], &n_tiles);
    check_features(s);
    parse_extents(s, &c);
    parse_entries(s, &c);
    require(left(&c) == 0, "nothing follows the last entry (3)");
}
