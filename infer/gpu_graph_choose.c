/* What comes next, chosen on the device, and fed to the next pass from there.
 *
 * A line of logits gives its k largest, and one of these is drawn (cuda/ops.h), with a random
 * number that the host's sampler has made.  What a penalty looks at, and the token that is
 * computed, may be an id that the host does not know yet: it writes down where such an id belongs,
 * and the device puts it there. */
#include <string.h>

#include "gpu_graph.h"
#include "sample_private.h"

enum { DOUBLE_WORDS = sizeof(double) / sizeof(uint32_t) };

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Where doubles may lie. */
static size_t even(size_t words)
{
    return (words + 1) / 2 * 2;
}

size_t gpu_choice_most_words(const struct weir_graph_options *options)
{
    const size_t n = gpu_n_choices(options);
    const size_t line = DOUBLE_WORDS + 1 + GPU_MOST_RECENT + 2; /* its penalty's newest is fed */
    return 2 + n * line + (size_t)2 * options->n_sequences;
}

/* ---- whether ---- */

/* How many of the likeliest there are to draw from; 0: more than the device takes. */
static uint32_t most_likely(const struct graph_gpu *g, const struct weir_sampler_options *o)
{
    const uint32_t vocab = g->model->config.vocab;
    if (o->temperature == 0)
        return 1;
    const uint32_t k = o->top_k && o->top_k < vocab ? o->top_k : vocab;
    return k <= WEIR_GPU_MOST_TOP ? k : 0;
}

/* The one that all others are like, or NULL. */
static const struct weir_sampler *common(const struct graph_pass *pass)
{
    const struct weir_sampler *first = NULL;
    for (size_t i = 0; pass->sampler && i < pass->n_asked; i++) {
        if (!pass->sampler[i])
            continue;
        if (first && !sampler_alike(first, pass->sampler[i]))
            return NULL;
        first = first ? first : pass->sampler[i];
    }
    return first;
}

static bool decide(const struct graph_gpu *g, const struct graph_pass *pass, struct gpu_choice *c)
{
    const struct weir_sampler *s = common(pass);
    if (!s || g->rules.host_choice)
        return false;
    c->options = sampler_options(s);
    c->k = most_likely(g, c->options);
    c->recent_stride = sampler_penalises(s) ? c->options->repeat_last : 0;
    return c->k && c->recent_stride <= GPU_MOST_RECENT;
}

/* ---- what it takes ---- */

static void feed(struct graph_gpu *g, uint32_t *from, size_t to, uint32_t asked)
{
    struct gpu_choice *c = &g->choice;
    g->params[c->to + c->n_fed] = (uint32_t)to;
    from[c->n_fed++] = asked;
}

static void fill_line(struct graph_gpu *g, struct weir_sampler *s, uint32_t line, uint32_t *from)
{
    const struct gpu_choice *c = &g->choice;
    const double uniform = c->options->temperature > 0 ? sampler_draw(s) : 0;
    uint32_t asked, n;
    memcpy(g->params + c->uniform + (size_t)line * DOUBLE_WORDS, &uniform, sizeof(uniform));
    if (!c->recent_stride)
        return;
    const size_t recent = c->recent + (size_t)line * c->recent_stride;
    n = sampler_recent(s, g->params + recent);
    g->params[c->n_recent + line] = n;
    if (sampler_awaits(s, &asked))
        feed(g, from, recent + n - 1, asked);
}

/* A line that nobody chooses by: anything will do, and is not looked at. */
static void fill_idle(struct graph_gpu *g, uint32_t line)
{
    const struct gpu_choice *c = &g->choice;
    memset(g->params + c->uniform + (size_t)line * DOUBLE_WORDS, 0, sizeof(double));
    if (c->recent_stride)
        g->params[c->n_recent + line] = 0;
}

static void fill_lines(struct graph_gpu *g, const struct graph_pass *pass, uint32_t *from)
{
    for (uint32_t i = 0; i < g->n_asked; i++)
        if (pass->sampler[i])
            fill_line(g, pass->sampler[i], i, from);
        else
            fill_idle(g, i);
}

/* Which of the rows are fed, too.  `from` lies behind `to`, whose length shows last. */
void gpu_choice_arrange(struct graph_gpu *g, const struct graph_pass *pass)
{
    const uint32_t n = g->n_asked, most = gpu_n_choices(&g->options);
    struct gpu_choice c = {.into = (size_t)pass->slot * most,
                           .fed = (size_t)((pass->slot + GPU_SLOTS - 1) % GPU_SLOTS) * most,
                           .uniform = even(g->at.words)};
    c.is_made = decide(g, pass, &c);
    const uint32_t lines = c.is_made ? n : 0, stride = c.is_made ? c.recent_stride : 0;
    c.n_recent = c.uniform + (size_t)lines * DOUBLE_WORDS;
    c.recent = c.n_recent + (stride ? lines : 0);
    c.to = c.recent + (size_t)lines * stride;
    const size_t most_fed = (size_t)least(g->n_rows, g->options.n_sequences) + lines;
    c.from = c.to + most_fed;
    g->choice = c;
    uint32_t *from = g->params + c.from;
    for (uint32_t i = 0; i < g->n_rows; i++)
        if (pass->fed && pass->fed[i] != GRAPH_KNOWN)
            feed(g, from, g->at.id + g->place[i], pass->fed[i]);
    if (c.is_made)
        fill_lines(g, pass, from);
    g->choice.words = g->choice.n_fed || c.is_made ? c.from + g->choice.n_fed : g->at.words;
}

void gpu_choice_take_back(const struct graph_gpu *g, const struct graph_pass *pass)
{
    for (uint32_t i = 0; g->choice.is_made && i < g->n_asked; i++)
        if (pass->sampler[i] && g->choice.options->temperature > 0)
            sampler_undraw(pass->sampler[i]);
}

/* ---- queued ---- */

weir_err gpu_choice_feed(struct graph_gpu *g)
{
    const struct weir_gpu_feed o = {.n = g->choice.n_fed,
                                    .to = g->room.params + g->choice.to,
                                    .from = g->room.params + g->choice.from,
                                    .chosen = g->room.chosen + g->choice.fed,
                                    .n_ids = g->model->config.vocab,
                                    .words = g->room.params};
    return weir_gpu_op_feed(g->stream, &o);
}

/* Lines from `at` on, n of them. */
static weir_err queue_lines(struct graph_gpu *g, uint32_t at, uint32_t n)
{
    const struct gpu_choice *c = &g->choice;
    const uint32_t *params = g->room.params, stride = c->recent_stride;
    const struct weir_gpu_top top = {
        .logits = g->room.logits + (size_t)at * g->sizes.logits,
        .stride = g->sizes.logits,
        .n = n,
        .width = g->model->config.vocab,
        .k = c->k,
        .penalty = c->options->repeat_penalty,
        .recent = stride ? params + c->recent + (size_t)at * stride : NULL,
        .n_recent = stride ? params + c->n_recent + at : NULL,
        .recent_stride = stride,
        .id = g->room.top_id,
        .logit = g->room.top_logit,
        .scratch = g->room.top,
    };
    const size_t uniform = c->uniform + (size_t)at * DOUBLE_WORDS;
    const struct weir_gpu_draw draw = {.id = g->room.top_id,
                                       .logit = g->room.top_logit,
                                       .n = n,
                                       .k = c->k,
                                       .temperature = c->options->temperature,
                                       .top_p = c->options->top_p,
                                       .min_p = c->options->min_p,
                                       .uniform = (const double *)(const void *)(params + uniform),
                                       .chosen = g->room.chosen + c->into + at};
    weir_err err = weir_gpu_op_top(g->stream, &top);
    return err ? err : weir_gpu_op_draw(g->stream, &draw);
}

weir_err gpu_choice_queue(struct graph_gpu *g, struct gpu_slot *slot)
{
    weir_err err = WEIR_OK;
    for (uint32_t at = 0; at < g->n_asked && !err; at += GPU_SMALL)
        err = queue_lines(g, at, least(g->n_asked - at, GPU_SMALL));
    if (err)
        return err;
    return weir_gpu_to_host(g->stream, slot->chosen, g->room.chosen + g->choice.into,
                            g->n_asked * sizeof(*slot->chosen));
}
