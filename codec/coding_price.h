/* coding_price.h - the best table for a part, given how often each of its symbols comes. */
#ifndef WEIR_CODEC_CODING_PRICE_PRIVATE_H
#define WEIR_CODEC_CODING_PRICE_PRIVATE_H

#include "codec/tile.h"

struct symbol_counts {
    const uint32_t *count; /* by symbol */
    uint32_t n_symbols;
    uint64_t n_items;  /* those of other symbols, too: they are patches */
    unsigned raw_bits; /* of an item */
    double patch_bits; /* that a patch takes beyond its raw bits */
};

/* Fills in base and freq.  Returns the bits of all items, tables included; 1e300 when no symbol is
 * worth an index.  The same everywhere: plain IEEE double, no libm. */
double coding_price(const struct symbol_counts *counts, uint16_t *base, uint16_t freq[256]);

#endif
