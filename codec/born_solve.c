/* Which scale a block of numbers was multiplied with. */
#include "born.h"

#include <math.h>
#include <string.h>

#include "transform.h"

/* The scale is between these. */
struct interval {
    double low, high;
};

/* Numbers are rounded more than once, and a quotient is: a little more room. */
static const double slack = 0x1p-40;

enum {
    N_TRIES = 9,    /* float32 numbers of an interval that are tried */
    F16_LAST = -24, /* the exponent of the last digit of F16's denormal numbers */
};

/* What rounds to the value: down to half way to the number below it, up to half way to the next. */
static struct interval preimage(float value, enum weir_float type)
{
    static const int digits[] = {
        [WEIR_FLOAT_BF16] = 8, [WEIR_FLOAT_F16] = 11, [WEIR_FLOAT_F32] = 24};
    int exponent;
    double mantissa = frexp((double)value, &exponent); /* 1/2 to 1 */
    int last = exponent - digits[type];
    if (type == WEIR_FLOAT_F16 && last < F16_LAST)
        last = F16_LAST;
    double half = ldexp(0.5, last);
    double lower = mantissa == 0.5 ? half / 2 : half; /* a power of two: they lie closer there */
    return (struct interval){((double)value - lower) * (1 - slack),
                             ((double)value + half) * (1 + slack)};
}

static bool narrow(struct interval *s, double low, double high)
{
    struct interval next = {low > s->low ? low : s->low, high < s->high ? high : s->high};
    if (next.low > next.high)
        return false;
    *s = next;
    return true;
}

/* Number i of the float32 numbers in the interval: from the middle outwards. */
static float candidate(const struct interval *s, int i)
{
    float x = (float)((s->low + s->high) / 2);
    uint32_t bits;
    memcpy(&bits, &x,
           sizeof(bits)); /* of neighbours, which are all positive, they are neighbours */
    bits += i % 2 ? (uint32_t)(i + 1) / 2 : -((uint32_t)i / 2);
    memcpy(&x, &bits, sizeof(x));
    return x;
}

/* ---- integers ---- */

/* The integer at or below 0 <= x < 2^31, and the one at or above. */
static double below(double x)
{
    return (double)(int64_t)x;
}

static double above(double x)
{
    return below(x) < x ? below(x) + 1 : x;
}

/* Narrows the scale by every value that leaves no choice of its integer.  false: none fits. */
static bool narrow_by_all(const struct born_values *v, enum weir_float type, struct interval *s)
{
    for (size_t i = 0; i < v->n; i++) {
        struct interval p = preimage(v->value[i], type);
        double least = above(p.low / s->high), most = below(p.high / s->low);
        if (least > most)
            return false;
        if (least == most && !narrow(s, p.low / least, p.high / least))
            return false;
    }
    return true;
}

static bool makes_all(const struct born_values *v, enum weir_float type, float scale)
{
    for (size_t i = 0; i < v->n; i++) {
        float number = (float)born_nearest((double)(v->value[i] / scale));
        if (born_round(number * scale, type) != v->value[i])
            return false;
    }
    return true;
}

bool born_solve_int(const struct born_values *v, enum weir_float type, float *scale)
{
    const struct interval most = preimage(v->largest, type);
    for (unsigned k = 1; k <= BORN_MAX_INTS; k++) {
        struct interval s = {most.low / k, most.high / k};
        /* Twice: what left a choice at first may not do so any more. */
        if (k < v->n || !narrow_by_all(v, type, &s) || !narrow_by_all(v, type, &s))
            continue;
        for (int i = 0; i < N_TRIES; i++) {
            *scale = candidate(&s, i);
            if (*scale > 0 && makes_all(v, type, *scale))
                return true;
        }
    }
    return false;
}

/* ---- 8-bit floats ---- */

/* A number is k x 2^j, with k from `one` to 2 * one - 1, but for small ones, whose k may be
 * smaller, and with the mantissa of one of these. */
struct shape {
    unsigned one;     /* 1.0, as k */
    unsigned largest; /* k of the largest number; larger ones have a lower j at most */
    int top;          /* its j */
};

static const struct shape shapes[] = {
    [WEIR_NUMBER_E4M3] = {8, 14, 5},
    [WEIR_NUMBER_E5M2] = {4, 7, 13},
};

/* The number that is closest to value / scale, were there no end to exponents. */
static double closest(float value, double scale, const struct shape *shape)
{
    int e;
    double mantissa = frexp((double)value / scale, &e); /* 1/2 to 1 */
    return ldexp(born_nearest(mantissa * 2 * shape->one) / (2 * shape->one), e);
}

static bool makes_mantissas(const struct born_values *v, enum weir_float type,
                            const struct shape *shape, float scale)
{
    for (size_t i = 0; i < v->n; i++) {
        float number = (float)closest(v->value[i], (double)scale, shape);
        if (born_round(number * scale, type) != v->value[i])
            return false;
    }
    return true;
}

static bool solve_with(const struct born_values *v, enum weir_float type, const struct shape *shape,
                       unsigned k, float *scale)
{
    struct interval p = preimage(v->largest, type);
    double number = ldexp(k, k > shape->largest ? shape->top - 1 : shape->top);
    struct interval s = {p.low / number, p.high / number};
    for (size_t i = 0; i < v->n; i++) {
        double unit = closest(v->value[i], (s.low + s.high) / 2, shape);
        p = preimage(v->value[i], type);
        if (!narrow(&s, p.low / unit, p.high / unit))
            return false;
    }
    for (int i = 0; i < N_TRIES; i++) {
        *scale = candidate(&s, i);
        if (*scale > 0 && makes_mantissas(v, type, shape, *scale))
            return true;
    }
    return false;
}

bool born_solve_float(const struct born_values *v, enum weir_float type, enum weir_number number,
                      float *scale)
{
    const struct shape *shape = &shapes[number];
    if (v->n > shape->one)
        return false;
    /* The largest number first: that is what scales are mostly made for. */
    if (solve_with(v, type, shape, shape->largest, scale))
        return true;
    for (unsigned k = 2 * shape->one - 1; k >= shape->one; k--)
        if (k != shape->largest && solve_with(v, type, shape, k, scale))
            return true;
    return false;
}
