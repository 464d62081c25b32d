/* form_q8.cuh - the resident form of whole steps (cuda/form_q8.h) on the device: decoding half a
 * unit, 16 rows x 64 columns, into the tensor cores' A operands. */
#ifndef WEIR_CUDA_FORM_Q8_CUH
#define WEIR_CUDA_FORM_Q8_CUH

#include <stdint.h>

#include "cuda/form_q8.h"
#include "form.cuh"

enum {
    FORM_Q8_EXCEPTIONS_AT = WEIR_FORM_Q8_HALF_BYTES,
    FORM_Q8_PAIRS_OF_WORDS_AT = 512, /* of a half */
    FORM_Q8_LAST_WORDS_AT = 768,
    FORM_Q8_SPREAD = 14, /* the first of the two pairs that have a bit of each word */
};

/* Where half `half` of a unit begins, bytes from the unit's first. */
static __device__ __forceinline__ uint32_t form_q8_half_at(uint32_t half)
{
    return half ? WEIR_FORM_Q8_UNIT_BYTES - WEIR_FORM_Q8_HALF_BYTES : 0;
}

/* A lane's words of a half. */
struct form_q8_words {
    uint4 first;
    uint2 then;
    uint32_t last;
};

/* Numbers become weights: a pair of BF16, times two equal steps; plus -0, which changes nothing.
 * Numbers are below 2^-126, which the tensor cores' processors multiply as fast and as exactly. */
static __device__ __forceinline__ uint32_t form_q8_scale(uint32_t numbers, uint32_t steps)
{
    uint32_t weights;
    asm("fma.rn.bf16x2 %0, %1, %2, %3;"
        : "=r"(weights)
        : "r"(numbers), "r"(steps), "r"(0x80008000u));
    return weights;
}

/* The two pairs of a word: as they are, and rotated. */
static __device__ __forceinline__ void form_q8_two(uint32_t word, uint2 steps, uint32_t *even,
                                                   uint32_t *odd)
{
    *even = form_q8_scale(word & 0x807e807eu, steps.x);
    *odd = form_q8_scale(__byte_perm(word, 0, 0x0321) & 0x807e807eu, steps.y);
}

/* The two pairs that have a bit of each word. */
static __device__ __forceinline__ void form_q8_spread(const struct form_q8_words &w, uint2 steps,
                                                      uint32_t *even, uint32_t *odd)
{
    const uint32_t word[WEIR_FORM_Q8_WORDS] = {w.first.x, w.first.y, w.first.z, w.first.w,
                                               w.then.x,  w.then.y,  w.last};
    uint32_t both = word[WEIR_FORM_Q8_WORDS - 1] & 0x01010101u;
#pragma unroll
    for (int b = WEIR_FORM_Q8_WORDS - 2; b >= 0; b--)
        both = both * 2 + (word[b] & 0x01010101u);
    both *= 2; /* in each byte a sign and a magnitude: of the even pair, of the odd one */
    *even = form_q8_scale((both & 0x007e007eu) | (both << 8 & 0x80008000u), steps.x);
    *odd = form_q8_scale((both >> 8 & 0x007e007eu) | (both & 0x80008000u), steps.y);
}

/* Columns 32 h to 32 h + 31 of the half, without exceptions; steps: of the lane's two rows, twice
 * each. */
static __device__ __forceinline__ void form_q8_decode(const struct form_q8_words &w, int h,
                                                      uint2 steps, uint32_t a[2][4])
{
    form_q8_two(h ? w.then.x : w.first.x, steps, &a[0][0], &a[0][1]);
    form_q8_two(h ? w.then.y : w.first.y, steps, &a[0][2], &a[0][3]);
    form_q8_two(h ? w.last : w.first.z, steps, &a[1][0], &a[1][1]);
    if (h)
        form_q8_spread(w, steps, &a[1][2], &a[1][3]);
    else
        form_q8_two(w.first.w, steps, &a[1][2], &a[1][3]);
}

/* The steps of rows i and i + 8, twice each. */
static __device__ __forceinline__ uint2 form_q8_steps(uint32_t word)
{
    return make_uint2(__byte_perm(word, 0, 0x1010), __byte_perm(word, 0, 0x3232));
}

/* Puts the exceptions of a quarter of a unit, 32 columns, in.  word: word lane % 8 of the unit's
 * eight.  By all threads of the warp. */
static __device__ __forceinline__ void form_q8_put_exceptions(uint32_t word, const uint32_t *lines,
                                                              uint32_t quarter, uint32_t lane,
                                                              uint32_t a[2][4])
{
    if (__any_sync(~0u, word == WEIR_FORM_LIST)) {
        const uint32_t *list = lines + (size_t)__shfl_sync(~0u, word, 1) * WEIR_FORM_LINE;
        const uint32_t n = __shfl_sync(~0u, word, 2);
#pragma unroll 1
        for (uint32_t i = 0; i < n; i++)
            if (list[i] >> 25 == quarter)
                form_put_exception(list[i], lane, a);
        return;
    }
    uint32_t here = __ballot_sync(~0u, word >> 25 == quarter) & ((1u << WEIR_FORM_Q8_INLINE) - 1);
#pragma unroll 1
    for (; here; here &= here - 1)
        form_put_exception(__shfl_sync(~0u, word, __ffs((int)here) - 1), lane, a);
}

#endif
