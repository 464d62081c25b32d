/* form.cuh - the resident form (cuda/form.h) on the device: decoding half a unit, 16 rows x 64
 * columns, into the tensor cores' A operands, and putting exceptions in. */
#ifndef WEIR_CUDA_FORM_CUH
#define WEIR_CUDA_FORM_CUH

#include <stdint.h>

#include "cuda/form.h"

enum { FORM_STEPS = 4 /* of half a unit: 16 columns each */ };

/* Where half `half` of a unit and the exceptions begin, bytes from the unit's first. */
static __device__ __forceinline__ uint32_t form_half_at(uint32_t half)
{
    return half ? WEIR_FORM_UNIT_BYTES - WEIR_FORM_HALF_BYTES : 0;
}
enum { FORM_EXCEPTIONS_AT = WEIR_FORM_HALF_BYTES };

/* Eight weights: low bytes of 0 to 3 and of 4 to 7, the word of codes; 11 instructions. */
static __device__ __forceinline__ void form_decode_step(uint32_t low0, uint32_t low1,
                                                        uint32_t codes, uint2 high, uint32_t a[4])
{
    const uint32_t pick = codes & 0x77777777u;
    const uint32_t h0 = __byte_perm(high.x, high.y, pick) | (codes & 0x80808080u);
    const uint32_t h1 = __byte_perm(high.x, high.y, pick >> 16) | (codes << 4 & 0x80808080u);
    a[0] = __byte_perm(low0, h0, 0x5140);
    a[1] = __byte_perm(low0, h0, 0x7362);
    a[2] = __byte_perm(low1, h1, 0x5140);
    a[3] = __byte_perm(low1, h1, 0x7362);
}

/* Two steps, 32 columns: their low bytes, their codes. */
static __device__ __forceinline__ void form_decode(uint4 low, uint32_t codes0, uint32_t codes1,
                                                   uint2 high, uint32_t a[2][4])
{
    form_decode_step(low.x, low.y, codes0, high, a[0]);
    form_decode_step(low.z, low.w, codes1, high, a[1]);
}

/* Puts an exception of these 32 columns in, if it is this lane's. */
static __device__ __forceinline__ void form_put_exception(uint32_t e, uint32_t lane,
                                                          uint32_t a[2][4])
{
    if ((e >> 19 & 31) != lane)
        return;
    const uint32_t at = (e >> 22 & 4) | (e >> 17 & 3);
    const uint32_t bytes = e >> 16 & 1 ? 0x5410 : 0x3254;
#pragma unroll
    for (uint32_t k = 0; k < 8; k++)
        if (k == at)
            a[k / 4][k % 4] = __byte_perm(a[k / 4][k % 4], e, bytes);
}

/* Puts the exceptions of a quarter of a unit, 32 columns, in.  word(i): the i-th of the unit's four
 * words. */
template <class F>
static __device__ __forceinline__ void form_put_exceptions(F word, const uint32_t *lines,
                                                           uint32_t quarter, uint32_t lane,
                                                           uint32_t a[2][4])
{
    const uint32_t *list = NULL;
    uint32_t n = WEIR_FORM_INLINE;
    if (word(0) == WEIR_FORM_LIST) {
        list = lines + (size_t)word(1) * WEIR_FORM_LINE;
        n = word(2);
    }
#pragma unroll 1
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t e = list ? list[i] : word(i);
        if (e == WEIR_FORM_NONE)
            break;
        if (e >> 25 == quarter)
            form_put_exception(e, lane, a);
    }
}

#endif
