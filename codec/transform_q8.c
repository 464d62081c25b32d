/* Q8_0 blocks of 8-bit floats, as docs/format.md, 5.1, has them.  Plain IEEE, never fused (see
 * CMakeLists.txt): the same bytes on every machine. */
#include <math.h>
#include <string.h>

#include "transform.h"

enum { LARGEST = 127 }; /* integer of a block */

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

/* Finite x, or infinite: a NaN is no longer asked for. */
static float rounded(float x, uint8_t made)
{
    uint32_t bits = bits_of(x);
    if (made == WEIR_FLOAT_F32)
        return x;
    if (made == WEIR_FLOAT_F16)
        return f16_as_float(f16_of(bits));
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

/* To the nearest, halves away from zero; |x| < 2^7 or so. */
static int nearest(float x)
{
    const int whole = (int)x;
    const float left = x - (float)whole;
    return whole + (left >= 0.5F) - (left <= -0.5F);
}

void transform_make_q8(const struct weir_transform *t, const uint8_t *items, float scale,
                       uint8_t out[WEIR_Q8_BYTES])
{
    const float *number = t->number == WEIR_NUMBER_E4M3 ? number_e4m3 : number_e5m2;
    float x[WEIR_Q8_WEIGHTS], largest = 0;
    bool finite = true;
    for (size_t i = 0; i < WEIR_Q8_WEIGHTS; i++) {
        const float product = number[items[i]] * scale;
        x[i] = isnan(product) ? product : rounded(product, t->made);
        finite = finite && isfinite(x[i]);
        largest = fabsf(x[i]) > largest ? fabsf(x[i]) : largest;
    }
    const float d = largest / LARGEST, inverse = d > 0 ? 1 / d : 0;
    memset(out, 0, WEIR_Q8_BYTES);
    if (!finite || !isfinite(inverse))
        return;
    const uint16_t half = f16_of(bits_of(d));
    memcpy(out, &half, sizeof(half)); /* little-endian hosts only */
    for (size_t i = 0; i < WEIR_Q8_WEIGHTS; i++)
        out[sizeof(half) + i] = (uint8_t)nearest(x[i] * inverse);
}
