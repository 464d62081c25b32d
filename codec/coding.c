#include "codec/tile.h"

#include "transform.h"

size_t weir_coding_bytes(size_t n_parts)
{
    return sizeof(struct weir_coding) + n_parts * sizeof(struct weir_part);
}

uint32_t weir_coding_tile_bytes(const struct weir_coding *coding)
{
    uint32_t elem = coding ? coding->elem_bytes : 1;
    return WEIR_TILE_BYTES / elem * elem;
}

/* Sum 4096, none above 4095, and base + the last index with a frequency within the symbol bits. */
static weir_err check_frequencies(const struct weir_part *p)
{
    uint32_t sum = 0, last = 0;
    for (uint32_t j = 0; j < 256; j++) {
        if (p->freq[j] > 4095)
            return WEIR_ERR_CORRUPT;
        sum += p->freq[j];
        last = p->freq[j] ? j : last;
    }
    if (sum != 1u << WEIR_PROB_BITS)
        return WEIR_ERR_CORRUPT;
    return p->base + last < 1u << p->symbol_bits ? WEIR_OK : WEIR_ERR_CORRUPT;
}

static weir_err check_part(const struct weir_part *p)
{
    unsigned width = 8u * p->item_bytes;
    if (p->count == 0 || (width != 8 && width != 16 && width != 32 && width != 64))
        return WEIR_ERR_CORRUPT;
    if (p->symbol_bits < 1 || p->symbol_bits > 16)
        return WEIR_ERR_CORRUPT;
    if ((unsigned)p->drop_bits + p->symbol_bits > width - (p->sign_first ? 1 : 0))
        return WEIR_ERR_CORRUPT;
    return check_frequencies(p);
}

weir_err weir_coding_check(const struct weir_coding *coding)
{
    if (coding->elem_bytes < 1 || coding->elem_bytes > WEIR_MAX_ELEM_BYTES || coding->n_parts < 1 ||
        coding->n_parts > WEIR_MAX_PARTS)
        return WEIR_ERR_CORRUPT;
    weir_err err = transform_check(&coding->transform, coding->elem_bytes);
    if (err)
        return err;
    uint32_t at = 0;
    for (int i = 0; i < coding->n_parts; i++) {
        const struct weir_part *p = &coding->part[i];
        if (p->offset != at)
            return WEIR_ERR_CORRUPT;
        err = check_part(p);
        if (err)
            return err;
        at += (uint32_t)p->count * p->item_bytes;
    }
    return at == coding_item_bytes(coding) ? WEIR_OK : WEIR_ERR_CORRUPT;
}
