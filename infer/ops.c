#include "ops.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

/* 2^n times e^r, with n whole and r small: n from adding 1.5 * 2^23, which leaves it in the low
 * bits of the sum; e^r from a polynomial (the coefficients are Cephes').  The compiler makes
 * vectors of it. */
static inline float exp_one(float x)
{
    const float rounder = 12582912.0F; /* 1.5 * 2^23 */
    float c = x < -87.0F ? -87.0F : x;
    c = c > 89.0F ? 89.0F : c;
    float t = c * 1.44269504088896341F + rounder;
    float n = t - rounder;
    float r = c - n * 0.693359375F; /* log 2 in two parts: the first product is exact */
    r = r - n * -2.12194440e-4F;
    float p = 1.9875691500e-4F;
    p = p * r + 1.3981999507e-3F;
    p = p * r + 8.3334519073e-3F;
    p = p * r + 4.1665795894e-2F;
    p = p * r + 1.6666665459e-1F;
    p = p * r + 5.0000001201e-1F;
    p = p * (r * r) + r + 1.0F;
    uint32_t bits;
    memcpy(&bits, &t, sizeof(bits));
    bits = (bits << 23) + 0x3f800000U;
    float power;
    memcpy(&power, &bits, sizeof(power));
    return x < -87.0F ? 0.0F : p * power;
}

void op_exp(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = exp_one(x[i]);
}

void op_norm(const float *x, const float *weight, size_t n, float eps, float *to)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    float scale = (float)(1 / sqrt(sum / (double)n + (double)eps));
    for (size_t i = 0; i < n; i++)
        to[i] = weight[i] * (x[i] * scale);
}

void op_add(float *x, const float *more, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] += more[i];
}

void op_scale(float *x, float by, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] *= by;
}

/* x / (1 + e^-y): with y = x it is SiLU.  GELU with a tanh is the same with another y, because
 * (1 + tanh z) / 2 = 1 / (1 + e^-2z). */
void op_gate(enum weir_activation activation, float *gate, const float *up, size_t n)
{
    if (activation == WEIR_SILU) {
        for (size_t i = 0; i < n; i++)
            gate[i] = gate[i] / (1.0F + exp_one(-gate[i])) * up[i];
        return;
    }
    const float twice_root = 1.59576912160573071176F; /* 2 sqrt(2 / pi) */
    for (size_t i = 0; i < n; i++) {
        float x = gate[i];
        float y = twice_root * (x + 0.044715F * (x * x * x));
        gate[i] = x / (1.0F + exp_one(-y)) * up[i];
    }
}

void op_cap(float *x, float cap, size_t n)
{
    for (size_t i = 0; cap > 0 && i < n; i++)
        x[i] = cap * (float)tanh((double)(x[i] / cap));
}

void op_softmax(float *x, size_t n)
{
    float most = x[0];
    for (size_t i = 1; i < n; i++)
        most = x[i] > most ? x[i] : most;
    for (size_t i = 0; i < n; i++)
        x[i] -= most;
    op_exp(x, n);
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i];
    op_scale(x, (float)(1 / sum), n);
}
