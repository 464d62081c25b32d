/* Which bits of an item to entropy-code, and with what frequencies: for each part, every sensible
 * number of symbol bits is priced on the sample's histogram, and the cheapest wins.
 *
 * All arithmetic is plain IEEE double without fused operations (see CMakeLists.txt) and without
 * libm, so that the same sample gives the same coding on every machine. */
#include "codec/tile.h"

#include <stdlib.h>
#include <string.h>

#include "coding_price.h"
#include "stream.h"

enum {
    HISTOGRAM_BITS = 16,    /* the most that a symbol has */
    EXTRA_BITS = 3,         /* mantissa bits tried on top of a float's exponent; 4 always lost */
    MAX_EXPONENT_BITS = 11, /* a double's */
    PLAIN_BITS = 8,         /* a symbol of numbers that are no floats */
    N_SLOTS = 1 << WEIR_PROB_BITS,
    FEW_ITEMS_OF = 64, /* one item of so many tells whether the low bits are worth a count */
    MOST_MISFITS = 32, /* one item of so many, at most, may be a patch for its low bits */
};

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "items are loaded as they lie");

/* Bytes by themselves are taken where they are so much smaller: decoding takes that much longer. */
static const double worth_bytes = 0.95;

/* What one part looks like in the sample. */
struct survey {
    uint64_t n_items;
    uint64_t seen;       /* all magnitudes, or-ed: shows the low bits that are always zero */
    unsigned width;      /* bits of an item */
    unsigned top_bits;   /* of the histogram: the highest bits of the magnitude */
    bool near_zero;      /* numbers, of which small ones are frequent: symbols may be longer */
    unsigned drop;       /* low bits that are zero in all items, or in all but a few */
    uint64_t lowest[64]; /* items by the place of their lowest bit that is set, where it matters */
    uint32_t count[1 << HISTOGRAM_BITS];
    uint32_t scratch[1 << HISTOGRAM_BITS];
};

/* A priced way of coding a part. */
struct offer {
    struct weir_part part;
    double bits; /* of the whole sample, tables and stream heads included */
};

/* log2(n) for 1 <= n <= 4096 to about 1e-9, by squaring: libm's last digit differs by version. */
static double log2_of(uint32_t n)
{
    double x = n, result = 0, step = 1;
    while (x >= 2) {
        x /= 2;
        result += 1;
    }
    for (int i = 0; i < 30; i++) {
        x *= x;
        step /= 2;
        if (x >= 2) {
            x /= 2;
            result += step;
        }
    }
    return result;
}

static uint64_t load_item(const uint8_t *p, unsigned item_bytes)
{
    uint64_t v = 0;
    memcpy(&v, p, item_bytes); /* little-endian hosts only */
    return v;
}

/* The usual case, BF16 and F16, into two histograms in turn: neighbours often have one symbol, and
 * adding to one counter twice in a row waits for the first. */
static void survey_array_16(const uint8_t *sample, size_t n, uint16_t mask, unsigned below,
                            struct survey *s)
{
    uint32_t *other = s->scratch;
    uint16_t v[2] = {0, 0}, seen = 0;
    for (size_t i = 0; i + 2 <= n; i += 2) {
        memcpy(v, sample + 2 * i, sizeof(v));
        seen = (uint16_t)(seen | v[0] | v[1]);
        s->count[(v[0] & mask) >> below]++;
        other[(v[1] & mask) >> below]++;
    }
    if (n % 2) {
        memcpy(v, sample + 2 * (n - 1), 2);
        seen = (uint16_t)(seen | v[0]);
        s->count[(v[0] & mask) >> below]++;
    }
    for (uint32_t j = 0; j <= (uint32_t)mask >> below; j++)
        s->count[j] += other[j];
    s->seen = seen & mask;
}

static unsigned top_bits_of(const struct weir_elements *like, int i, bool near_zero)
{
    if (like->part[i].is_float)
        return like->part[i].exponent_bits + EXTRA_BITS;
    return near_zero ? HISTOGRAM_BITS : PLAIN_BITS;
}

static void survey_part(const struct weir_elements *like, int i, const uint8_t *sample,
                        size_t n_elements, struct survey *s)
{
    unsigned item_bytes = like->part[i].item_bytes;
    bool is_float = like->part[i].is_float, near_zero = s->near_zero;
    memset(s, 0, sizeof(*s));
    s->near_zero = near_zero;
    s->width = 8 * item_bytes;
    unsigned magnitude = s->width - (is_float ? 1 : 0);
    s->top_bits = top_bits_of(like, i, near_zero);
    if (s->top_bits > magnitude)
        s->top_bits = magnitude;
    unsigned below = magnitude - s->top_bits;
    uint64_t mask = UINT64_MAX >> (64 - magnitude);
    s->n_items = (uint64_t)n_elements * like->part[i].count;
    if (like->elem_bytes == 2 && item_bytes == 2) {
        survey_array_16(sample, n_elements, (uint16_t)mask, below, s);
        return;
    }
    for (size_t e = 0; e < n_elements; e++) {
        const uint8_t *p = sample + e * like->elem_bytes + like->part[i].offset;
        for (unsigned k = 0; k < like->part[i].count; k++, p += item_bytes) {
            uint64_t v = load_item(p, item_bytes) & mask;
            s->seen |= v;
            s->count[v >> below]++;
        }
    }
}

/* Counts every step-th item by its lowest bit. */
static void count_lowest(const struct weir_elements *like, int i, const uint8_t *sample,
                         size_t n_elements, size_t step, struct survey *s)
{
    const unsigned item_bytes = like->part[i].item_bytes, count = like->part[i].count;
    const uint64_t mask = UINT64_MAX >> (64 - s->width + (like->part[i].is_float ? 1 : 0));
    memset(s->lowest, 0, sizeof(s->lowest));
    for (size_t k = 0; k < n_elements * count; k += step) {
        const uint8_t *p = sample + k / count * like->elem_bytes + like->part[i].offset;
        uint64_t v = load_item(p + k % count * item_bytes, item_bytes) & mask;
        if (v)
            s->lowest[__builtin_ctzll(v)]++;
    }
}

static uint64_t set_below(const struct survey *s, unsigned drop)
{
    uint64_t n = 0;
    for (unsigned k = 0; k < drop; k++)
        n += s->lowest[k];
    return n;
}

static double patch_price(const struct survey *s)
{
    return s->width + 32 + 1;
}

/* The number of low bits that are best not stored: each saves a bit an item, items that have one of
 * them set become patches. */
static unsigned best_drop(const struct survey *s, uint64_t n_items, unsigned least)
{
    unsigned best = least;
    double best_gain = 0;
    for (unsigned drop = least + 1; drop < s->width; drop++) {
        const uint64_t misfits = set_below(s, drop);
        const double gain = (double)n_items * (drop - least) - (double)misfits * patch_price(s);
        if (misfits <= n_items / MOST_MISFITS && gain > best_gain) {
            best = drop;
            best_gain = gain;
        }
    }
    return best;
}

/* Low bits that are zero in every item cost nothing to find.  A few items that have them set, as
 * the denormal numbers of what was BF16 and became F16, should not spoil it. */
static void survey_low_bits(const struct weir_elements *like, int i, const uint8_t *sample,
                            size_t n_elements, struct survey *s)
{
    const size_t n_seen = (size_t)((s->n_items + FEW_ITEMS_OF - 1) / FEW_ITEMS_OF);
    s->drop = s->seen ? (unsigned)__builtin_ctzll(s->seen) : s->width;
    if (!s->seen)
        return;
    count_lowest(like, i, sample, n_elements, FEW_ITEMS_OF, s);
    if (best_drop(s, n_seen, s->drop) > s->drop) {
        count_lowest(like, i, sample, n_elements, 1, s);
        s->drop = best_drop(s, s->n_items, s->drop);
    }
}

/* The 255 symbols above *base that hold most items.  Symbol 0 has an index of its own. */
static uint32_t best_base(const uint32_t *count, uint32_t n_symbols)
{
    uint64_t sum = 0, best = 0;
    uint32_t base = 0;
    for (uint32_t v = 1; v < n_symbols; v++) { /* the window is v - 254 .. v */
        sum += count[v];
        if (v > 255)
            sum -= count[v - 255];
        if (sum > best) {
            best = sum;
            base = v > 255 ? v - 255 : 0;
        }
    }
    return base;
}

/* Scales the kept counts to frequencies that add up to 4096: each at least 1, and beyond rounding
 * down, the slots left over (or taken back) one by one where a slot is worth most (least). */
static void scale(const uint32_t kept[256], uint64_t total, uint16_t freq[256])
{
    int64_t left = N_SLOTS;
    for (int j = 0; j < 256; j++) {
        uint64_t f = kept[j] ? (uint64_t)kept[j] * N_SLOTS / total : 0;
        freq[j] = (uint16_t)(kept[j] && f == 0 ? 1 : f);
        left -= freq[j];
    }
    for (; left > 0; left--) {
        int best = -1;
        double gain = -1;
        for (int j = 0; j < 256; j++)
            if (kept[j] && kept[j] / (freq[j] + 0.5) > gain) {
                gain = kept[j] / (freq[j] + 0.5);
                best = j;
            }
        freq[best]++;
    }
    for (; left < 0; left++) {
        int best = -1;
        double loss = 0;
        for (int j = 0; j < 256; j++)
            if (freq[j] > 1 && (best < 0 || kept[j] / (freq[j] - 0.5) < loss)) {
                loss = kept[j] / (freq[j] - 0.5);
                best = j;
            }
        freq[best]--;
    }
}

/* A table needs two indices, and no frequency of 4096. */
static void make_room_for_a_second(uint16_t freq[256], uint32_t base, uint32_t n_symbols)
{
    for (uint32_t j = 0; j < 256; j++) {
        if (freq[j] != N_SLOTS)
            continue;
        freq[j]--;
        freq[j > 0 || base + 1 >= n_symbols ? 0 : 1] = 1;
        return;
    }
}

double coding_price(const struct symbol_counts *c, uint16_t *base, uint16_t freq[256])
{
    static const double slot_price = 1.4426950408889634 / N_SLOTS; /* bits lost per item and slot */
    uint32_t kept[256];
    uint64_t total = 0;
    *base = (uint16_t)best_base(c->count, c->n_symbols);
    for (uint32_t j = 0; j < 256; j++) {
        uint32_t v = j ? *base + j : 0;
        kept[j] = v < c->n_symbols ? c->count[v] : 0;
        /* Is an index worth the slot that it takes from all the others? */
        if (kept[j] * (c->patch_bits - WEIR_PROB_BITS) <= slot_price * (double)c->n_items)
            kept[j] = 0;
        total += kept[j];
    }
    if (total == 0) /* all items are alike only in that none is: nothing to gain */
        return 1e300;
    scale(kept, total, freq);
    make_room_for_a_second(freq, *base, c->n_symbols);
    double bits =
        (double)(c->n_items - total) * (c->patch_bits + c->raw_bits) + (double)total * c->raw_bits;
    for (int j = 0; j < 256; j++)
        if (kept[j])
            bits += kept[j] * (WEIR_PROB_BITS - log2_of(freq[j])) + WEIR_PROB_BITS;
    return bits;
}

/* Prices `symbol_bits` of symbol on the survey. */
static void price(struct survey *s, unsigned symbol_bits, struct offer *o)
{
    uint32_t fold = s->top_bits - symbol_bits;
    uint32_t *count = s->scratch;
    memset(count, 0, ((size_t)1 << symbol_bits) * sizeof(count[0]));
    for (uint32_t v = 0; v < 1u << s->top_bits; v++)
        count[v >> fold] += s->count[v];
    o->part.symbol_bits = (uint8_t)symbol_bits;
    const struct symbol_counts counts = {
        .count = count,
        .n_symbols = 1u << symbol_bits,
        .n_items = s->n_items,
        .raw_bits = s->width - o->part.drop_bits - symbol_bits,
        .patch_bits = 8.0 * o->part.item_bytes + 32 + 1,
    };
    o->bits = coding_price(&counts, &o->part.base, o->part.freq);
}

/* The cheapest offer for one part. */
static void choose_part(const struct weir_elements *like, int i, struct survey *s,
                        struct offer *best)
{
    bool is_float = like->part[i].is_float;
    struct offer o = {.part = {.offset = like->part[i].offset,
                               .count = like->part[i].count,
                               .item_bytes = like->part[i].item_bytes,
                               .sign_first = is_float}};
    unsigned low = is_float       ? like->part[i].exponent_bits
                   : s->near_zero ? (unsigned)PLAIN_BITS
                                  : s->top_bits;
    if (low > s->top_bits)
        low = s->top_bits;
    best->bits = 2e300;
    for (unsigned symbol_bits = low; symbol_bits <= s->top_bits; symbol_bits++) {
        unsigned room = s->width - (is_float ? 1 : 0) - symbol_bits;
        unsigned drop = s->drop < room ? s->drop : room;
        o.part.drop_bits = (uint8_t)drop;
        price(s, symbol_bits, &o);
        if (s->seen & ((UINT64_C(1) << drop) - 1))
            o.bits += (double)set_below(s, drop) * patch_price(s);
        if (o.bits < best->bits)
            *best = o;
    }
}

static bool elements_are_sane(const struct weir_elements *like)
{
    uint32_t at = 0;
    if (like->n_parts < 1 || like->n_parts > WEIR_MAX_PARTS)
        return false;
    for (int i = 0; i < like->n_parts; i++) {
        unsigned b = like->part[i].item_bytes;
        if (like->part[i].offset != at || like->part[i].count == 0 ||
            (b != 1 && b != 2 && b != 4 && b != 8))
            return false;
        if (like->part[i].is_float &&
            (like->part[i].exponent_bits < 1 || like->part[i].exponent_bits > MAX_EXPONENT_BITS))
            return false;
        at += like->part[i].count * b;
    }
    return at == like->elem_bytes && at > 0 && at <= WEIR_MAX_ELEM_BYTES;
}

static weir_err choose(const struct weir_elements *like, bool near_zero, const uint8_t *sample,
                       size_t sample_bytes, struct weir_coding **out, double *bits_per_byte)
{
    if (!elements_are_sane(like) || sample_bytes == 0 || sample_bytes % like->elem_bytes)
        return WEIR_ERR_INVALID;
    size_t n_elements = sample_bytes / like->elem_bytes;
    struct survey *s = calloc(1, sizeof(*s));
    struct weir_coding *coding = calloc(1, weir_coding_bytes(like->n_parts));
    if (!s || !coding) {
        free(s);
        free(coding);
        return WEIR_ERR_NOMEM;
    }
    s->near_zero = near_zero;
    coding->elem_bytes = like->elem_bytes;
    coding->n_parts = like->n_parts;
    size_t n_tiles = (sample_bytes + WEIR_TILE_BYTES - 1) / WEIR_TILE_BYTES;
    double bits = 0;
    for (int i = 0; i < like->n_parts; i++) {
        struct offer best;
        survey_part(like, i, sample, n_elements, s);
        survey_low_bits(like, i, sample, n_elements, s);
        choose_part(like, i, s, &best);
        coding->part[i] = best.part;
        bits += best.bits + 8.0 * STREAM_HEAD_BYTES * (double)n_tiles;
    }
    free(s);
    *bits_per_byte = bits / (double)sample_bytes;
    if (*bits_per_byte >= 8) {
        free(coding);
        coding = NULL;
        *bits_per_byte = 8;
    }
    *out = coding;
    return WEIR_OK;
}

weir_err weir_coding_choose(const struct weir_elements *like, const uint8_t *sample,
                            size_t sample_bytes, struct weir_coding **out, double *bits_per_byte)
{
    return choose(like, false, sample, sample_bytes, out, bits_per_byte);
}

/* Each byte by itself: takes as many symbols as the number has bytes. */
static struct weir_elements bytes_of(uint8_t item_bytes)
{
    struct weir_elements like = {.elem_bytes = item_bytes, .n_parts = item_bytes};
    for (uint8_t i = 0; i < item_bytes; i++) {
        like.part[i].offset = i;
        like.part[i].count = 1;
        like.part[i].item_bytes = 1;
    }
    return like;
}

weir_err weir_coding_choose_near_zero(uint8_t item_bytes, const uint8_t *sample,
                                      size_t sample_bytes, struct weir_coding **out,
                                      double *bits_per_byte)
{
    const struct weir_elements whole = {
        .elem_bytes = item_bytes, .n_parts = 1, .part = {{.count = 1, .item_bytes = item_bytes}}};
    struct weir_coding *best = NULL, *apart = NULL;
    double bits = 8, bits_apart = 8;
    weir_err err = choose(&whole, true, sample, sample_bytes, &best, &bits);
    if (!err && item_bytes > 2) {
        const struct weir_elements like = bytes_of(item_bytes);
        err = choose(&like, false, sample, sample_bytes, &apart, &bits_apart);
    }
    if (err) {
        free(best);
        return err;
    }
    bool use_apart = apart && bits_apart < bits * worth_bytes;
    *out = use_apart ? apart : best;
    *bits_per_byte = use_apart ? bits_apart : bits;
    free(use_apart ? best : apart);
    return WEIR_OK;
}
