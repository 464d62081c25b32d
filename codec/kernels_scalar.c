/* The plain version of every kernel: what docs/format.md says, and the truth for the others. */
#include "kernels.h"

#include "delta.h"
#include "items.h"
#include "quantise_loops.h"
#include "scale.h"

static uint32_t load_u16(const uint8_t *p)
{
    return (uint32_t)(p[0] | p[1] << 8);
}

/* One row, every word checked: the last few rows of a stream, and rows of broken ones. */
static bool decode_row_checked(const struct rans_decode_table *table, struct rans_reader *r,
                               uint8_t *index)
{
    for (int l = 0; l < WEIR_LANES; l++) {
        uint32_t e = table->entry[r->x[l] % RANS_SLOTS];
        uint32_t x = (e >> 12 & 0xfff) * (r->x[l] >> WEIR_PROB_BITS) + (e & 0xfff);
        if (x < RANS_LOW) {
            if (r->end - r->at < 2)
                return false;
            x = x << 16 | load_u16(r->at);
            r->at += 2;
        }
        r->x[l] = x;
        index[l] = (uint8_t)(e >> 24);
    }
    return true;
}

/* The same without branches, for when 64 words are left: whether a lane takes a word is a coin
 * toss, and a mispredicted branch costs more than the load.  Selecting by mask, not by ?:, keeps
 * compilers from making it a branch again (13.4 cycles an item against 5). */
static const uint8_t *decode_row_unchecked(const uint32_t *restrict entry, uint32_t *restrict state,
                                           const uint8_t *restrict at, uint8_t *restrict index)
{
    for (int l = 0; l < WEIR_LANES; l++) {
        uint32_t e = entry[state[l] % RANS_SLOTS];
        uint32_t x = (e >> 12 & 0xfff) * (state[l] >> WEIR_PROB_BITS) + (e & 0xfff);
        uint32_t low = ((x >> 16) - 1) >> 31; /* 1 for x < 65536 */
        uint32_t shift = 16 * low;
        state[l] = x << shift | (load_u16(at) & (0 - low));
        at += (size_t)2 * low;
        index[l] = (uint8_t)(e >> 24);
    }
    return at;
}

static bool decode_rows(const struct rans_decode_table *table, struct rans_reader *r,
                        uint8_t *index, size_t n_rows)
{
    for (size_t row = 0; row < n_rows; row++, index += WEIR_LANES) {
        if (r->end - r->at >= (ptrdiff_t)2 * WEIR_LANES)
            r->at = decode_row_unchecked(table->entry, r->x, r->at, index);
        else if (!decode_row_checked(table, r, index))
            return false;
    }
    return true;
}

static uint8_t *encode_rows(const struct rans_encode_table *table, uint32_t *state,
                            const uint8_t *index, size_t n_rows, uint8_t *words)
{
    for (size_t i = n_rows * WEIR_LANES; i-- > 0;) {
        uint32_t e = table->entry[index[i]], f = e & 0xffff, first = e >> 16;
        uint32_t x = state[i % WEIR_LANES];
        if (x >= f << 20) {
            words -= 2;
            words[0] = (uint8_t)x;
            words[1] = (uint8_t)(x >> 8);
            x >>= 16;
        }
        state[i % WEIR_LANES] = (x / f << WEIR_PROB_BITS) + x % f + first;
    }
    return words;
}

bool decode_items_in_chunks(const struct weir_kernels *k, const struct rans_decode_table *table,
                            const struct item_code *code, struct rans_reader *r, size_t first_row,
                            size_t n_rows, uint8_t *items)
{
    enum { CHUNK_ROWS = 64 };
    uint8_t index[CHUNK_ROWS * WEIR_LANES];
    size_t row_bytes = (size_t)WEIR_LANES * code->item_bytes;
    for (size_t row = 0, n; row < n_rows; row += n) {
        n = n_rows - row < CHUNK_ROWS ? n_rows - row : CHUNK_ROWS;
        if (!k->decode_rows(table, r, index, n))
            return false;
        k->join(code, index, r->raw, first_row + row, n, items + row * row_bytes);
    }
    return true;
}

static bool decode_items(const struct rans_decode_table *table, const struct item_code *code,
                         struct rans_reader *r, size_t first_row, size_t n_rows, uint8_t *items)
{
    return decode_items_in_chunks(&weir_kernels_scalar, table, code, r, first_row, n_rows, items);
}

const struct weir_kernels weir_kernels_scalar = {
    .name = "scalar",
    .decode_rows = decode_rows,
    .encode_rows = encode_rows,
    .join = join,
    .decode_items = decode_items,
    .cut = cut,
    .scale = scale_items,
    .squares = squares,
    .quantise = quantise,
    .misfits = misfits,
    .add_errors = add_errors,
    .take_delta = delta_take,
    .put_delta = delta_put,
    .xxh3 = xxh3,
};
