#include "cli/gen/normal.h"

#include <math.h>
#include <string.h>

/* Marsaglia and Tsang's ziggurat in Doornik's form: 128 layers of equal area under exp(-x^2 / 2).
 * 3.5 ns a sample; Box-Muller with libm's log and cos takes 20. */
static const double tail_x = 3.442619855899;
static const double layer_area = 9.91256303526217e-3;

struct random {
    uint64_t s[4]; /* xoshiro256++ */
};

static uint64_t mix(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

static void random_seed(struct random *r, uint64_t seed, uint64_t block)
{
    uint64_t state = seed;
    state = mix(&state) ^ block;
    for (int i = 0; i < 4; i++)
        r->s[i] = mix(&state);
}

static uint64_t rotate(uint64_t v, int by)
{
    return v << by | v >> (64 - by);
}

static uint64_t random_next(struct random *r)
{
    uint64_t *s = r->s;
    uint64_t result = rotate(s[0] + s[3], 23) + s[0];
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

/* In (0, 1]: its logarithm is finite. */
static double random_unit(struct random *r)
{
    return (double)((random_next(r) >> 11) + 1) * 0x1p-53;
}

void gen_normal_init(struct gen_normal *g)
{
    double f = exp(-0.5 * tail_x * tail_x);
    g->x[0] = layer_area / f;
    g->x[1] = tail_x;
    g->x[GEN_LAYERS] = 0;
    for (int i = 2; i < GEN_LAYERS; i++) {
        g->x[i] = sqrt(-2 * log(layer_area / g->x[i - 1] + f));
        f = exp(-0.5 * g->x[i] * g->x[i]);
    }
    for (int i = 0; i < GEN_LAYERS; i++)
        g->ratio[i] = g->x[i + 1] / g->x[i];
}

static double tail(struct random *r)
{
    double x, y;
    do {
        x = -log(random_unit(r)) / tail_x;
        y = -log(random_unit(r));
    } while (y + y < x * x);
    return tail_x + x;
}

static double normal(const struct gen_normal *g, struct random *r)
{
    for (;;) {
        uint64_t bits = random_next(r);
        unsigned i = bits & (GEN_LAYERS - 1);
        /* The low bits chose the layer; the top 54 are the place in it, with a sign. */
        double u = (double)((int64_t)bits >> 10) * 0x1p-53;
        double v = u * g->x[i];
        if (fabs(u) < g->ratio[i])
            return v;
        if (i == 0)
            return u < 0 ? -tail(r) : tail(r);
        double high = exp(-0.5 * (g->x[i] * g->x[i] - v * v));
        double low = exp(-0.5 * (g->x[i + 1] * g->x[i + 1] - v * v));
        if (low + random_unit(r) * (high - low) < 1)
            return v;
    }
}

/* ---- rounding to the types ---- */

static uint16_t to_bf16(double v)
{
    float f = (float)v;
    uint32_t bits;
    memcpy(&bits, &f, sizeof(bits));
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* A small float: exponent_bits, then mantissa_bits.  `most` is the largest code without the sign.
 * Values below the normal range round at the spacing of the smallest normal. */
static uint32_t to_small(double v, int exponent_bits, int mantissa_bits, uint32_t most)
{
    int bias = (1 << (exponent_bits - 1)) - 1, e;
    double a = fabs(v);
    (void)frexp(a, &e); /* a = m * 2^e, 0.5 <= m < 1 */
    e = a > 0 && e - 1 >= 1 - bias ? e - 1 : 1 - bias;
    /* In units of the spacing; 2^mantissa_bits and more is a normal number. */
    double units = nearbyint(ldexp(a, mantissa_bits - e));
    double code = units + ldexp((double)(e - 1 + bias), mantissa_bits);
    uint32_t sign = v < 0 ? 1U << (exponent_bits + mantissa_bits) : 0;
    return sign | (code < most ? (uint32_t)code : most);
}

static void put(enum gen_type type, double v, uint8_t *out)
{
    float f = (float)v;
    uint16_t half;
    uint32_t word;
    switch (type) {
    case GEN_BF16:
        half = to_bf16(v);
        memcpy(out, &half, sizeof(half));
        break;
    case GEN_F16:
        half = (uint16_t)to_small(v, 5, 10, 0x7bff);
        memcpy(out, &half, sizeof(half));
        break;
    case GEN_F32:
        memcpy(out, &f, sizeof(f));
        break;
    case GEN_F32_BF16:
        word = (uint32_t)to_bf16(v) << 16;
        memcpy(out, &word, sizeof(word));
        break;
    case GEN_F64:
        memcpy(out, &v, sizeof(v));
        break;
    case GEN_F8_E4M3:
        *out = (uint8_t)to_small(v, 4, 3, 0x7e);
        break;
    case GEN_F8_E5M2:
        *out = (uint8_t)to_small(v, 5, 2, 0x7b);
        break;
    case GEN_I8:
        *out = (uint8_t)(int8_t)nearbyint(fmax(-127, fmin(127, v)));
        break;
    }
}

size_t gen_type_bytes(enum gen_type type)
{
    static const size_t bytes[] = {
        [GEN_BF16] = 2, [GEN_F16] = 2,     [GEN_F32] = 4,     [GEN_F32_BF16] = 4,
        [GEN_F64] = 8,  [GEN_F8_E4M3] = 1, [GEN_F8_E5M2] = 1, [GEN_I8] = 1,
    };
    return bytes[type];
}

/* As the rows of a trained layer differ. */
static double row_sigma(const struct gen_spec *spec, uint64_t row)
{
    uint64_t state = spec->seed ^ ~row;
    return spec->sigma * exp2((double)(mix(&state) >> 11) * 0x1p-52 - 1);
}

static void put_rows(const struct gen_normal *g, const struct gen_spec *spec, uint64_t first,
                     size_t n, uint8_t *to)
{
    struct random r;
    random_seed(&r, spec->seed, first / GEN_BLOCK);
    double sigma = row_sigma(spec, first / spec->row_elements);
    for (size_t i = 0; i < n; i++, to += gen_type_bytes(spec->type)) {
        if ((first + i) % spec->row_elements == 0)
            sigma = row_sigma(spec, (first + i) / spec->row_elements);
        double v = sigma * normal(g, &r);
        put(spec->type, spec->mean + (random_next(&r) % GEN_OUTLIER_ONE_IN ? v : 10 * v), to);
    }
}

void gen_normal_block(const struct gen_normal *g, const struct gen_spec *spec, uint64_t block,
                      size_t n, void *out)
{
    if (spec->row_elements) {
        put_rows(g, spec, block * GEN_BLOCK, n, out);
        return;
    }
    struct random r;
    random_seed(&r, spec->seed, block);
    size_t bytes = gen_type_bytes(spec->type);
    uint8_t *to = out;
    for (size_t i = 0; i < n; i++, to += bytes)
        put(spec->type, spec->mean + spec->sigma * normal(g, &r), to);
}
