/* normal.h - made-up weights: normally distributed numbers in the element types of checkpoints.
 *
 * Deterministic: the same seed gives the same bytes, whichever thread makes which block.  Used by
 * `weir bench` and by the tests' checkpoint generator; knows nothing of either. */
#ifndef WEIR_CLI_GEN_NORMAL_H
#define WEIR_CLI_GEN_NORMAL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    GEN_BLOCK = 65536, /* elements that come from one stream of random numbers */
    GEN_LAYERS = 128,
    GEN_OUTLIER_ONE_IN = 1000,
};

enum gen_type {
    GEN_BF16,
    GEN_F16,
    GEN_F32,
    GEN_F32_BF16, /* F32 whose values are all exactly bf16 */
    GEN_F64,
    GEN_F8_E4M3, /* "fn": no infinity, 448 at most */
    GEN_F8_E5M2,
    GEN_I8,
};

/* Tables of the generator (the ziggurat method); constant after gen_normal_init(). */
struct gen_normal {
    double x[GEN_LAYERS + 1]; /* right edges of the layers, descending */
    double ratio[GEN_LAYERS]; /* x[i + 1] / x[i] */
};

void gen_normal_init(struct gen_normal *g);

size_t gen_type_bytes(enum gen_type type);

/* n elements (at most GEN_BLOCK) of block number `block`: N(mean, sigma), rounded to nearest even,
 * saturated.  `out` holds n * gen_type_bytes(type) bytes, any alignment.  Little-endian. */
struct gen_spec {
    enum gen_type type;
    double mean, sigma;
    uint64_t seed;
    /* Rows of so many elements with a sigma of their own, half to twice of what it says, and one
     * element in GEN_OUTLIER_ONE_IN that is ten times as far out; 0: none of that. */
    uint64_t row_elements;
};

void gen_normal_block(const struct gen_normal *g, const struct gen_spec *spec, uint64_t block,
                      size_t n, void *out);

#ifdef __cplusplus
}
#endif

#endif
