#include "rope.h"

#include <math.h>

/* Long waves are stretched by `factor`, short ones not, those between by a share of both. */
static float stretch(const struct weir_rope *c, float frequency)
{
    const float original = (float)c->original_context;
    const float wave = 6.28318530717958647692F / frequency;
    if (wave < original / c->high_freq_factor)
        return frequency;
    if (wave > original / c->low_freq_factor)
        return frequency / c->factor;
    float share =
        (original / wave - c->low_freq_factor) / (c->high_freq_factor - c->low_freq_factor);
    return (1 - share) * frequency / c->factor + share * frequency;
}

void rope_init(struct rope *r, const struct weir_rope *config)
{
    r->n_pairs = config->n_dims / 2;
    r->scale = config->scale;
    for (uint32_t i = 0; i < r->n_pairs; i++) {
        float power = powf(config->theta, (float)(2 * i) / (float)config->n_dims);
        float frequency = 1 / power;
        r->frequency[i] = r->long_frequency[i] = frequency;
        if (config->type == WEIR_ROPE_LINEAR)
            r->frequency[i] = r->long_frequency[i] = frequency / config->factor;
        else if (config->type == WEIR_ROPE_LLAMA3)
            r->frequency[i] = r->long_frequency[i] = stretch(config, frequency);
        else if (config->type == WEIR_ROPE_FACTORS) {
            r->frequency[i] = 1 / (config->short_factor[i] * power);
            r->long_frequency[i] = 1 / (config->long_factor[i] * power);
        }
    }
}

void rope_turn(const struct rope *r, uint32_t position, bool is_long, float *turn)
{
    const float *frequency = is_long ? r->long_frequency : r->frequency;
    for (size_t i = 0; i < r->n_pairs; i++) {
        float angle = (float)position * frequency[i];
        turn[2 * i] = (float)cos((double)angle) * r->scale;
        turn[2 * i + 1] = (float)sin((double)angle) * r->scale;
    }
}

void rope_apply(const float *turn, uint32_t n_pairs, bool adjacent, float *head)
{
    for (size_t i = 0; i < n_pairs; i++) {
        float *a = adjacent ? head + 2 * i : head + i;
        float *b = adjacent ? head + 2 * i + 1 : head + i + n_pairs;
        float c = turn[2 * i], s = turn[2 * i + 1];
        float x = *a, y = *b;
        *a = x * c - y * s;
        *b = y * c + x * s;
    }
}
