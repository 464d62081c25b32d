#include "codec/grid.h"

#include <stdbool.h>
#include <string.h>

enum { MAGNITUDE = 0x7fff };

static float widen(uint16_t bf16)
{
    const uint32_t bits = (uint32_t)bf16 << 16;
    float f;
    memcpy(&f, &bits, sizeof(f));
    return f;
}

/* Of a number that is no NaN. */
static uint16_t round_bf16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof(bits));
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static bool may_be_step(uint16_t bits)
{
    return bits >= WEIR_GRID_LEAST_STEP && bits < WEIR_GRID_END_STEP;
}

uint16_t weir_grid_weight(uint16_t step, uint32_t number)
{
    return round_bf16((float)number * widen(step));
}

/* The weight is off by 2^-9 of itself at the most, a quarter of a step, so rounding gives the
 * number back. */
uint32_t weir_grid_number(uint16_t step, uint16_t weight, uint32_t most)
{
    const uint16_t magnitude = weight & MAGNITUDE;
    if (magnitude == 0)
        return 0;
    const float steps = widen(magnitude) / widen(step);
    if (!(steps < (float)most + 0.5F)) /* infinite and no number, too */
        return WEIR_GRID_NONE;
    const uint32_t number = (uint32_t)(steps + 0.5F);
    return number <= most && weir_grid_weight(step, number) == magnitude ? number : WEIR_GRID_NONE;
}

/* The number that a weight has if it has one, by the inverse of the step: which is off by so little
 * that it is the same.  What is no number has one that is too large. */
static inline int32_t likely_number(uint32_t magnitude, float inverse)
{
    const float beyond = WEIR_GRID_MOST + 1;
    const float steps = widen((uint16_t)magnitude) * inverse;
    return (int32_t)((steps < beyond ? steps : beyond) + 0.5F);
}

size_t weir_grid_count_odd(uint16_t step, const uint16_t *weights, size_t n, uint32_t most)
{
    const float size = widen(step), inverse = step ? 1 / size : 0;
    size_t odd = 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t magnitude = weights[i] & MAGNITUDE;
        const int32_t number = likely_number(magnitude, inverse);
        odd += (uint32_t)(round_bf16((float)number * size) != magnitude) |
               (uint32_t)(number > (int32_t)most);
    }
    return odd;
}

size_t weir_grid_numbers(uint16_t step, const uint16_t *weights, size_t n, int8_t *numbers)
{
    const float size = widen(step), inverse = step ? 1 / size : 0;
    size_t odd = 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t magnitude = weights[i] & MAGNITUDE, sign = weights[i] >> 15;
        const int32_t number = likely_number(magnitude, inverse);
        const uint32_t bad = (uint32_t)(round_bf16((float)number * size) != magnitude) |
                             (uint32_t)(number > WEIR_GRID_MOST) | (sign & (magnitude == 0));
        numbers[i] = (int8_t)(bad ? 0 : sign ? -number : number);
        odd += bad;
    }
    return odd;
}

/* The least magnitude above `above`, and how often it comes. */
static uint16_t next_least(const uint16_t *weights, size_t n, uint16_t above, size_t *count)
{
    uint16_t least = MAGNITUDE;
    *count = 0;
    for (size_t i = 0; i < n; i++) {
        const uint16_t magnitude = weights[i] & MAGNITUDE;
        if (magnitude <= above || magnitude > least)
            continue;
        *count = magnitude < least ? 1 : *count + 1;
        least = magnitude;
    }
    return least;
}

uint16_t weir_grid_find(const uint16_t *weights, size_t n, uint32_t most)
{
    uint16_t least = 0, best = 0;
    size_t fewest = n + 1, count = 0;
    for (int i = 0; i < WEIR_GRID_TRIES && count <= n / WEIR_GRID_RARE_PART; i++)
        least = next_least(weights, n, least, &count);
    if (count <= n / WEIR_GRID_RARE_PART)
        return 0;
    for (uint32_t k = 1; k <= WEIR_GRID_DIVISORS; k++) {
        const uint16_t step = round_bf16(widen(least) / (float)k);
        if (!may_be_step(step) || weir_grid_weight(step, k) != least)
            continue;
        const size_t odd = weir_grid_count_odd(step, weights, n, most);
        if (odd < fewest) {
            fewest = odd;
            best = step;
        }
        if (odd <= n / WEIR_GRID_ODD_PART)
            break;
    }
    return best;
}
