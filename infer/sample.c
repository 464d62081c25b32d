#include "sample_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { USUAL_REPEAT_LAST = 64, MOST_REPEAT_LAST = 1 << 20 };

struct candidate {
    float logit;
    uint32_t id;
};

struct weir_sampler {
    struct weir_sampler_options options;
    uint32_t vocab;
    struct candidate *candidate; /* vocab */
    double *weight;              /* vocab: of the candidates, in their order */
    uint32_t *last;              /* a ring of options.repeat_last ids */
    uint64_t n_accepted;
    bool *seen; /* vocab: among `last`; set and cleared by penalise() */
    uint64_t state;
    bool awaits; /* one more id, which is not known yet */
    uint32_t awaited_at;
};

static bool sensible(float v)
{
    return isfinite(v) && v >= 0;
}

weir_err weir_sampler_new(uint32_t vocab, const struct weir_sampler_options *options,
                          struct weir_sampler **out)
{
    if (vocab == 0 || !sensible(options->temperature) || !sensible(options->top_p) ||
        !sensible(options->min_p) || !sensible(options->repeat_penalty) ||
        options->repeat_last > MOST_REPEAT_LAST)
        return WEIR_ERR_INVALID;
    struct weir_sampler *s = calloc(1, sizeof(*s));
    if (!s)
        return WEIR_ERR_NOMEM;
    s->options = *options;
    s->vocab = vocab;
    s->state = options->seed;
    if (!s->options.repeat_last)
        s->options.repeat_last = USUAL_REPEAT_LAST;
    s->candidate = calloc(vocab, sizeof(*s->candidate));
    s->weight = calloc(vocab, sizeof(*s->weight));
    s->seen = calloc(vocab, sizeof(*s->seen));
    s->last = calloc(s->options.repeat_last, sizeof(*s->last));
    if (!s->candidate || !s->weight || !s->seen || !s->last) {
        weir_sampler_free(s);
        return WEIR_ERR_NOMEM;
    }
    *out = s;
    return WEIR_OK;
}

void weir_sampler_free(struct weir_sampler *s)
{
    if (!s)
        return;
    free(s->candidate);
    free(s->weight);
    free(s->seen);
    free(s->last);
    free(s);
}

void weir_sampler_accept(struct weir_sampler *s, uint32_t id)
{
    s->last[s->n_accepted++ % s->options.repeat_last] = id;
    s->awaits = false;
}

static uint32_t n_last(const struct weir_sampler *s)
{
    return s->n_accepted < s->options.repeat_last ? (uint32_t)s->n_accepted
                                                  : s->options.repeat_last;
}

bool sampler_penalises(const struct weir_sampler *s)
{
    return s->options.repeat_penalty != 1 && s->options.repeat_penalty != 0;
}

/* Towards less likely, whatever the sign; each id once. */
static void penalise(struct weir_sampler *s)
{
    const float by = s->options.repeat_penalty;
    if (!sampler_penalises(s))
        return;
    for (uint32_t i = 0; i < n_last(s); i++) {
        uint32_t id = s->last[i];
        if (id >= s->vocab || s->seen[id])
            continue;
        s->seen[id] = true;
        float *logit = &s->candidate[id].logit;
        *logit = *logit > 0 ? *logit / by : *logit * by;
    }
    for (uint32_t i = 0; i < n_last(s); i++)
        if (s->last[i] < s->vocab)
            s->seen[s->last[i]] = false;
}

static bool before(const struct candidate *a, const struct candidate *b)
{
    return a->logit > b->logit || (a->logit == b->logit && a->id < b->id);
}

static int compare(const void *a, const void *b)
{
    return before(a, b) ? -1 : before(b, a) ? 1 : 0;
}

/* The likeliest first; returns how many stay of the n. */
static uint32_t cut_off(struct weir_sampler *s, uint32_t n)
{
    const struct weir_sampler_options *o = &s->options;
    qsort(s->candidate, n, sizeof(*s->candidate), compare);
    if (o->top_k && o->top_k < n)
        n = o->top_k;
    double sum = 0, so_far = 0;
    for (uint32_t i = 0; i < n; i++) {
        s->weight[i] = exp((double)s->candidate[i].logit - (double)s->candidate[0].logit);
        sum += s->weight[i];
    }
    uint32_t left = 0;
    while (left < n && (left == 0 || (double)o->top_p >= 1 || so_far < (double)o->top_p * sum))
        so_far += s->weight[left++];
    while (left > 1 && s->weight[left - 1] < (double)o->min_p) /* the likeliest one's weight is 1 */
        left--;
    return left;
}

static const uint64_t state_step = 0x9e3779b97f4a7c15;

/* 53 bits of splitmix64, from 0 on, below 1. */
double sampler_draw(struct weir_sampler *s)
{
    s->state += state_step;
    uint64_t z = s->state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1p-53;
}

void sampler_undraw(struct weir_sampler *s)
{
    s->state -= state_step;
}

static uint32_t choose(struct weir_sampler *s, uint32_t n)
{
    const double most = (double)s->candidate[0].logit, heat = (double)s->options.temperature;
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        s->weight[i] = exp(((double)s->candidate[i].logit - most) / heat);
        sum += s->weight[i];
    }
    double at = sampler_draw(s) * sum;
    for (uint32_t i = 0; i + 1 < n; i++) {
        at -= s->weight[i];
        if (at < 0)
            return s->candidate[i].id;
    }
    return s->candidate[n - 1].id;
}

weir_err weir_sampler_next(struct weir_sampler *s, const float *logits, uint32_t *id)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->vocab; i++)
        s->candidate[i] = (struct candidate){logits[i], i};
    penalise(s);
    for (uint32_t i = 0; i < s->vocab; i++) {
        float logit = s->candidate[i].logit;
        if (!isnan(logit) && logit > -INFINITY)
            s->candidate[n++] = s->candidate[i];
    }
    if (n == 0)
        return WEIR_ERR_CORRUPT;
    if (s->options.temperature == 0) {
        uint32_t best = 0;
        for (uint32_t i = 1; i < n; i++)
            best = before(&s->candidate[i], &s->candidate[best]) ? i : best;
        *id = s->candidate[best].id;
        return WEIR_OK;
    }
    *id = choose(s, cut_off(s, n));
    return WEIR_OK;
}

/* ---- chosen elsewhere ---- */

const struct weir_sampler_options *sampler_options(const struct weir_sampler *s)
{
    return &s->options;
}

bool sampler_alike(const struct weir_sampler *a, const struct weir_sampler *b)
{
    const struct weir_sampler_options *x = &a->options, *y = &b->options;
    return x->temperature == y->temperature && x->top_k == y->top_k && x->top_p == y->top_p &&
           x->min_p == y->min_p && x->repeat_penalty == y->repeat_penalty &&
           x->repeat_last == y->repeat_last;
}

/* The oldest makes room for the one that is awaited. */
uint32_t sampler_recent(const struct weir_sampler *s, uint32_t *to)
{
    const uint32_t known = n_last(s), most = s->options.repeat_last;
    const uint32_t n = s->awaits && known == most ? known - 1 : known;
    for (uint32_t i = 0; i < n; i++)
        to[i] = s->last[(s->n_accepted - n + i) % most];
    if (s->awaits)
        to[n] = UINT32_MAX;
    return n + s->awaits;
}

void sampler_await(struct weir_sampler *s, uint32_t at)
{
    s->awaits = true;
    s->awaited_at = at;
}

bool sampler_awaits(const struct weir_sampler *s, uint32_t *at)
{
    *at = s->awaited_at;
    return s->awaits;
}

void sampler_forget(struct weir_sampler *s)
{
    s->awaits = false;
}
