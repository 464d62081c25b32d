/* decode_rows.cuh - rows of items of one width, every other number read at run time. */
#ifndef WEIR_CUDA_DECODE_ROWS_CUH
#define WEIR_CUDA_DECODE_ROWS_CUH

#include "decode_parts.cuh"

/* Where a stream's items go: elements of which they are a part. */
struct item_place {
    const struct device_part *part;
    uint8_t *out; /* aligned to 16 */
    uint32_t elem_bytes, n_items;
};

/* What to calculate with. */
template <class T> struct wide {
    typedef uint32_t type;
};
template <> struct wide<uint64_t> {
    typedef uint64_t type;
};

/* ---- raw bits of a thread's two lanes ---- */

enum { NUMBERS_AHEAD = 16 }; /* on their way into the L2 cache */

template <class T> struct alignas(2 * sizeof(T)) lane_pair {
    T lane[2];
};

template <class T> struct raw_reader {
    const lane_pair<T> *at; /* the next number to load */
    uint32_t left;          /* how many there are from there on */
    uint32_t shift;         /* of the row's bits in ahead[0] */
    lane_pair<T> ahead[2];  /* loaded; zeros behind the last */
};

template <class T> static __device__ lane_pair<T> raw_load(struct raw_reader<T> *r)
{
    lane_pair<T> v = {{0, 0}};
    if (r->left > NUMBERS_AHEAD)
        asm volatile("prefetch.global.L2 [%0];" ::"l"(r->at + NUMBERS_AHEAD * (WEIR_LANES / 2)));
    if (r->left) {
        v = *r->at;
        r->at += WEIR_LANES / 2;
        r->left--;
    }
    return v;
}

template <class T>
static __device__ void raw_start(struct raw_reader<T> *r, const struct item_place *to,
                                 const struct stream_view *v, uint32_t first_row)
{
    const uint32_t width = 8 * sizeof(T), n_rows = (to->n_items + WEIR_LANES - 1) / WEIR_LANES;
    const uint32_t bit = first_row * to->part->raw_bits;
    const uint32_t n_numbers = (n_rows * to->part->raw_bits + width - 1) / width;
    r->at = (const lane_pair<T> *)v->raw + bit / width * (WEIR_LANES / 2) + threadIdx.x % 32;
    r->left = n_numbers - bit / width;
    r->shift = bit % width;
    r->ahead[0] = raw_load(r);
    r->ahead[1] = raw_load(r);
}

/* A lane's raw bits in this row, with anything above. */
template <class T>
static __device__ typename wide<T>::type raw_bits_of(const struct raw_reader<T> *r, int lane,
                                                     uint32_t raw_bits)
{
    const uint32_t width = 8 * sizeof(T);
    typename wide<T>::type bits = r->ahead[0].lane[lane] >> r->shift;
    if (r->shift + raw_bits > width)
        bits |= (typename wide<T>::type)r->ahead[1].lane[lane] << (width - r->shift);
    return bits;
}

template <class T> static __device__ void raw_next_row(struct raw_reader<T> *r, uint32_t raw_bits)
{
    r->shift += raw_bits;
    if (r->shift < 8 * sizeof(T))
        return;
    r->shift -= 8 * sizeof(T);
    r->ahead[0] = r->ahead[1];
    r->ahead[1] = raw_load(r);
}

/* ---- places ---- */

/* An item's place, and those of the items of the same lane in the rows below it. */
struct item_cursor {
    uint32_t at;     /* bytes from the first element */
    uint32_t within; /* of the element's items */
};

static __device__ struct item_cursor cursor_at(const struct item_place *to, uint32_t item)
{
    const struct device_part *p = to->part;
    const uint32_t within = item % p->count;
    return item_cursor{item / p->count * to->elem_bytes + p->offset + within * p->item_bytes,
                       within};
}

struct cursor_step {
    uint32_t bytes, within;
    uint32_t count, wrap; /* from behind an element's last item to the next element's first */
};

static __device__ struct cursor_step step_of(const struct item_place *to)
{
    const struct device_part *p = to->part;
    const uint32_t within = WEIR_LANES % p->count;
    return cursor_step{WEIR_LANES / p->count * to->elem_bytes + within * p->item_bytes, within,
                       p->count, to->elem_bytes - p->count * p->item_bytes};
}

static __device__ void cursor_next_row(struct item_cursor *c, const struct cursor_step *step)
{
    c->at += step->bytes;
    c->within += step->within;
    if (c->within >= step->count) {
        c->within -= step->count;
        c->at += step->wrap;
    }
}

template <class T> static __device__ void put_item(uint8_t *p, T v, bool is_aligned)
{
    if (is_aligned)
        *(T *)p = v;
    else
        for (uint32_t i = 0; i < sizeof(T); i++)
            p[i] = (uint8_t)(v >> (8 * i));
}

/* ---- rows ---- */

template <class T>
static __device__ T join_item(const struct device_part *part, uint32_t index,
                              typename wide<T>::type raw)
{
    typedef typename wide<T>::type number;
    const number symbol = index ? index + part->base : 0;
    const number code = symbol << part->raw_bits | (raw & (((number)1 << part->raw_bits) - 1));
    if (part->sign_first)
        return (T)(code >> 1 << part->drop_bits | (code & 1) << (8 * sizeof(T) - 1));
    return (T)(code << part->drop_bits);
}

/* Rows first_row and on.  The copies of states and words stay in registers. */
template <class T>
static __device__ __noinline__ void decode_rows_of(uint32_t table, const struct item_place *to,
                                                   const struct stream_view *v, uint32_t first_row,
                                                   uint32_t states[2], struct word_ring *words)
{
    const uint32_t thread = threadIdx.x % 32, below = (1u << thread) - 1;
    uint32_t x[2] = {states[0], states[1]};
    struct word_ring r = *words;
    const struct device_part part = *to->part;
    const struct cursor_step step = step_of(to);
    const bool is_aligned = to->elem_bytes % sizeof(T) == 0 && part.offset % sizeof(T) == 0;
    uint32_t item = first_row * WEIR_LANES + 2 * thread;
    struct item_cursor place[2] = {cursor_at(to, item), cursor_at(to, item + 1)};
    struct raw_reader<T> raw;
    raw_start(&raw, to, v, first_row);
    for (uint32_t row = first_row; row * WEIR_LANES < to->n_items; row++, item += WEIR_LANES) {
        ring_advance(&r);
        const uint2 e = decode_row(table, below, x, &r);
        for (int lane = 0; lane < 2; lane++) {
            const T v = join_item<T>(&part, index_of(lane ? e.y : e.x),
                                     raw_bits_of(&raw, lane, part.raw_bits));
            if (item + lane < to->n_items)
                put_item(to->out + place[lane].at, v, is_aligned);
            cursor_next_row(&place[lane], &step);
        }
        raw_next_row(&raw, part.raw_bits);
    }
    states[0] = x[0];
    states[1] = x[1];
    *words = r;
}

static __device__ void decode_rows(uint32_t table, const struct item_place *to,
                                   const struct stream_view *v, uint32_t first_row, uint32_t x[2],
                                   struct word_ring *r)
{
    if (to->part->item_bytes == 1)
        decode_rows_of<uint8_t>(table, to, v, first_row, x, r);
    else if (to->part->item_bytes == 2)
        decode_rows_of<uint16_t>(table, to, v, first_row, x, r);
    else if (to->part->item_bytes == 4)
        decode_rows_of<uint32_t>(table, to, v, first_row, x, r);
    else
        decode_rows_of<uint64_t>(table, to, v, first_row, x, r);
}

#endif
