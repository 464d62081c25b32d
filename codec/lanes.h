/* lanes.h - join and cut for one item width; included once per width, with
 *     ITEM       the item's type, uint8_t to uint64_t
 *     JOIN, CUT  the names of the two functions to define
 * defined before and undefined here.  Each kernels_*.c includes it for all four widths, so that the
 * compiler turns the same 64-lane loops into the instructions which that file is compiled for.
 * Rows are copied to aligned locals first: streams start at any address. */

static void JOIN(const struct item_code *code, const uint8_t *index, const uint8_t *raw,
                 size_t first_row, size_t n_rows, uint8_t *items)
{
    enum { W = 8 * sizeof(ITEM) };
    const unsigned r_bits = code->raw_bits, drop = code->drop_bits;
    const ITEM mask = (ITEM)(((uint64_t)1 << r_bits) - 1), base = (ITEM)code->base;
    for (size_t row = 0; row < n_rows; row++) {
        size_t bit = (first_row + row) * r_bits;
        unsigned shift = (unsigned)(bit % W);
        ITEM c[WEIR_LANES], next[WEIR_LANES];
        if (r_bits) {
            memcpy(c, raw + bit / W * sizeof(c), sizeof(c));
            for (int l = 0; l < WEIR_LANES; l++)
                c[l] = (ITEM)(c[l] >> shift);
        } else {
            memset(c, 0, sizeof(c));
        }
        if (shift + r_bits > W) {
            memcpy(next, raw + (bit / W + 1) * sizeof(next), sizeof(next));
            for (int l = 0; l < WEIR_LANES; l++)
                c[l] = (ITEM)(c[l] | (ITEM)(next[l] << (W - shift)));
        }
        for (int l = 0; l < WEIR_LANES; l++) {
            ITEM j = index[row * WEIR_LANES + (size_t)l];
            ITEM symbol = (ITEM)(j ? j + base : 0);
            c[l] = (ITEM)((c[l] & mask) | (ITEM)(symbol << r_bits));
        }
        if (code->sign_first)
            for (int l = 0; l < WEIR_LANES; l++)
                c[l] = (ITEM)((ITEM)((ITEM)(c[l] >> 1) << drop) | (ITEM)(c[l] << (W - 1)));
        else
            for (int l = 0; l < WEIR_LANES; l++)
                c[l] = (ITEM)(c[l] << drop);
        memcpy(items + row * sizeof(c), c, sizeof(c));
    }
}

static void CUT(const struct item_code *code, const uint8_t *items, size_t first_row, size_t n_rows,
                uint8_t *index, uint8_t *raw, uint8_t *bad)
{
    enum { W = 8 * sizeof(ITEM) };
    const unsigned r_bits = code->raw_bits, drop = code->drop_bits;
    const ITEM mask = (ITEM)(((uint64_t)1 << r_bits) - 1), base = (ITEM)code->base;
    const ITEM lost = (ITEM)(((uint64_t)1 << drop) - 1);
    ITEM pending[WEIR_LANES] = {0};
    if (first_row * r_bits % W)
        memcpy(pending, raw + first_row * r_bits / W * sizeof(pending), sizeof(pending));
    for (size_t row = 0; row < n_rows; row++) {
        size_t bit = (first_row + row) * r_bits;
        unsigned shift = (unsigned)(bit % W);
        ITEM v[WEIR_LANES], c[WEIR_LANES];
        memcpy(v, items + row * sizeof(v), sizeof(v));
        if (code->sign_first)
            for (int l = 0; l < WEIR_LANES; l++)
                c[l] = (ITEM)((ITEM)((ITEM)((ITEM)(v[l] << 1) >> (drop + 1)) << 1) |
                              (ITEM)(v[l] >> (W - 1)));
        else
            for (int l = 0; l < WEIR_LANES; l++)
                c[l] = (ITEM)(v[l] >> drop);
        uint8_t n_bad = 0, *to = index + row * WEIR_LANES;
        bool fine[WEIR_LANES];
        for (int l = 0; l < WEIR_LANES; l++) {
            ITEM symbol = (ITEM)(c[l] >> r_bits), j = (ITEM)(symbol - base);
            bool in = (ITEM)(j - 1) < 255;
            bool ok = (in | !symbol) & !(v[l] & lost);
            to[l] = (uint8_t)(symbol ? j : 0);
            fine[l] = ok;
        }
        for (int l = 0; l < WEIR_LANES; l++) {
            bool ok = fine[l] & code->present[to[l]];
            to[l] = ok ? to[l] : code->filler;
            n_bad = (uint8_t)(n_bad + !ok);
        }
        bad[row] = n_bad;
        if (!r_bits)
            continue;
        for (int l = 0; l < WEIR_LANES; l++)
            pending[l] = (ITEM)(pending[l] | (ITEM)((ITEM)(c[l] & mask) << shift));
        /* The word under way is stored after every row: it is complete once the next row starts
         * a new one, and the last is never forgotten. */
        memcpy(raw + bit / W * sizeof(pending), pending, sizeof(pending));
        if (shift + r_bits >= W)
            for (int l = 0; l < WEIR_LANES; l++)
                pending[l] = (ITEM)(shift + r_bits > W ? (ITEM)(c[l] & mask) >> (W - shift) : 0);
        if (shift + r_bits > W)
            memcpy(raw + (bit / W + 1) * sizeof(pending), pending, sizeof(pending));
    }
}

#undef ITEM
#undef JOIN
#undef CUT
