#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "index_parser.h"

enum { SIGN_FIRST = 1 }; /* a part's flags */

#define NO_CODING UINT32_MAX
#define REFERENCE (UINT32_MAX - 1)
static const uint64_t tiles_limit = UINT64_C(1) << 40;       /* below it */
static const uint64_t plain_bytes_limit = UINT64_C(1) << 62; /* below it */

static weir_err read_part(struct parser *p, struct weir_part *part)
{
    part->offset = cursor_u16(&p->c);
    part->count = cursor_u16(&p->c);
    part->item_bytes = cursor_u8(&p->c);
    uint8_t flags = cursor_u8(&p->c);
    part->drop_bits = cursor_u8(&p->c);
    part->symbol_bits = cursor_u8(&p->c);
    part->base = cursor_u16(&p->c);
    unsigned first = cursor_u8(&p->c);
    unsigned last = cursor_u8(&p->c);
    if (p->c.bad)
        return parser_cut_short(p);
    if (flags & ~SIGN_FIRST)
        return parser_bad(p, "unknown flags of a part");
    part->sign_first = flags & SIGN_FIRST;
    if (last < first)
        return parser_bad(p, "a table that ends before it starts");
    for (unsigned j = first; j <= last; j++)
        part->freq[j] = cursor_u16(&p->c);
    if (p->c.bad)
        return parser_cut_short(p);
    if (part->freq[first] == 0 || part->freq[last] == 0)
        return parser_bad(p, "a table that starts or ends with frequency 0");
    return WEIR_OK;
}

/* Behind the parts of a coding whose kind is not 0. */
static weir_err read_transform(struct parser *p, struct weir_transform *t)
{
    t->number = cursor_u8(&p->c);
    t->made = cursor_u8(&p->c);
    t->near = cursor_u8(&p->c);
    t->item_bytes = cursor_u8(&p->c);
    t->row_elements = cursor_u32(&p->c);
    t->block_rows = cursor_u32(&p->c);
    t->block_cols = cursor_u32(&p->c);
    return p->c.bad ? parser_cut_short(p) : WEIR_OK;
}

weir_err parser_read_coding(struct parser *p, struct weir_coding **out)
{
    uint16_t elem_bytes = cursor_u16(&p->c);
    uint8_t n_parts = cursor_u8(&p->c);
    uint8_t kind = cursor_u8(&p->c);
    if (p->c.bad)
        return parser_cut_short(p);
    if (n_parts == 0 || n_parts > WEIR_MAX_PARTS)
        return parser_bad(p, "number of parts is not 1 to 8");
    if (kind > WEIR_TRANSFORM_Q8_0)
        return parser_bad(p, "unknown kind of transform");
    struct weir_coding *coding = arena_items(p->arena, 1, weir_coding_bytes(n_parts));
    if (!coding)
        return parser_no_memory(p);
    coding->elem_bytes = elem_bytes;
    coding->n_parts = n_parts;
    for (size_t i = 0; i < n_parts; i++) {
        weir_err err = read_part(p, &coding->part[i]);
        if (err)
            return err;
    }
    coding->transform.kind = kind;
    weir_err err = kind ? read_transform(p, &coding->transform) : WEIR_OK;
    if (err)
        return err;
    if (weir_coding_check(coding))
        return parser_bad(p, "parts, bits, transform or frequencies break the rules of a coding");
    *out = coding;
    return WEIR_OK;
}

weir_err index_coding_parse(const uint8_t *bytes, size_t n_bytes, struct weir_coding **out)
{
    struct arena *arena = arena_new(PARSER_MEMORY_ALLOWANCE);
    if (!arena)
        return WEIR_ERR_NOMEM;
    struct parser p = {.c = {bytes, n_bytes, false}, .arena = arena};
    struct weir_coding *in_arena = NULL;
    weir_err err = parser_read_coding(&p, &in_arena);
    if (!err && p.c.left)
        err = WEIR_ERR_CORRUPT;
    size_t n = err || !in_arena ? 0 : weir_coding_bytes(in_arena->n_parts);
    struct weir_coding *coding = n ? malloc(n) : NULL;
    if (coding)
        *out = memcpy(coding, in_arena, n);
    else if (!err)
        err = WEIR_ERR_NOMEM;
    arena_free(arena);
    return err;
}

static bool is_sum(double x)
{
    return isfinite(x) && x >= 0;
}

static weir_err read_nearness(struct parser *p, struct weir_nearness *near)
{
    uint64_t sums[2] = {cursor_u64(&p->c), cursor_u64(&p->c)};
    uint32_t parts[2] = {cursor_u32(&p->c), cursor_u32(&p->c)};
    if (p->c.bad)
        return parser_cut_short(p);
    memcpy(&near->signal, &sums[0], sizeof(near->signal));
    memcpy(&near->noise, &sums[1], sizeof(near->noise));
    memcpy(&near->largest, &parts[0], sizeof(near->largest));
    memcpy(&near->step, &parts[1], sizeof(near->step));
    if (!is_sum(near->signal) || !is_sum(near->noise) || !is_sum((double)near->largest) ||
        !is_sum((double)near->step))
        return parser_bad(p, "what it says of its error is no number");
    if (near->largest > 0.5F || near->step > 1)
        return parser_bad(p, "says that it is further off than near-lossless may be");
    return WEIR_OK;
}

/* Where an object that is, or differs from, one of the base is to be found there. */
static weir_err read_base_place(struct parser *p, struct weir_object *object)
{
    object->base_object = cursor_u32(&p->c);
    object->base_at = cursor_u64(&p->c);
    if (p->c.bad)
        return parser_cut_short(p);
    if (!(p->features & WEIR_FEATURE_BASE))
        return parser_bad(p, "needs a base, which the store does not name");
    if (object->base_object == WEIR_NO_OBJECT || object->base_at >= plain_bytes_limit)
        return parser_bad(p, "no place in a base");
    return WEIR_OK;
}

weir_err parser_read_object(struct parser *p, struct weir_object *object)
{
    struct index *ix = p->ix;
    object->bytes = cursor_u64(&p->c);
    uint32_t coding = cursor_u32(&p->c);
    if (p->c.bad)
        return parser_cut_short(p);
    if (object->bytes == 0)
        return parser_bad(p, "has no bytes");
    object->is_reference = coding == REFERENCE;
    bool has_coding = coding != NO_CODING && coding != REFERENCE;
    if (has_coding && coding >= ix->n_codings)
        return parser_bad(p, "there is no such coding");
    object->coding = has_coding ? ix->coding[coding] : NULL;
    object->tile_bytes = weir_coding_tile_bytes(object->coding);
    uint64_t n_tiles = weir_object_tiles(object);
    object->n_tiles = object->is_reference ? 0 : n_tiles;
    object->first_tile = ix->n_tiles;
    if (n_tiles >= tiles_limit - ix->n_numbers)
        return parser_bad(p, "more than 2^40 tiles");
    ix->n_tiles += object->n_tiles;
    ix->n_numbers += n_tiles;
    if (weir_object_needs_base(object))
        return read_base_place(p, object);
    bool is_near = object->coding && object->coding->transform.near;
    return is_near ? read_nearness(p, &object->nearness) : WEIR_OK;
}
