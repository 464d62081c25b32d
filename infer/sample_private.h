/* sample_private.h - a sampler from inside, for a graph whose device chooses: what it goes by. */
#ifndef WEIR_INFER_SAMPLE_PRIVATE_H
#define WEIR_INFER_SAMPLE_PRIVATE_H

#include <stdbool.h>

#include "sample.h"

/* Without zeros that mean something else. */
const struct weir_sampler_options *sampler_options(const struct weir_sampler *s);

/* Whether they choose in the same way: all but the seed is equal. */
bool sampler_alike(const struct weir_sampler *a, const struct weir_sampler *b);

/* Whether tokens that occurred lately are made less likely. */
bool sampler_penalises(const struct weir_sampler *s);

/* The next of its random numbers, from 0 on, below 1: one for each token, but for greedy ones. */
double sampler_draw(struct weir_sampler *s);

/* Gives the last one back: it will be the next. */
void sampler_undraw(struct weir_sampler *s);

/* The ids that the penalty goes by, in any order: up to options.repeat_last of them into `to`.
 * Where one is awaited the last of them is UINT32_MAX in its place.  Returns how many. */
uint32_t sampler_recent(const struct weir_sampler *s, uint32_t *to);

/* An id is being chosen on the device, as number `at` of its pass, and will be accepted; one at a
 * time.  weir_sampler_accept() ends that. */
void sampler_await(struct weir_sampler *s, uint32_t at);
bool sampler_awaits(const struct weir_sampler *s, uint32_t *at);

/* It will not be accepted after all. */
void sampler_forget(struct weir_sampler *s);

#endif
