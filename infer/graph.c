#include "graph.h"

#include <stdlib.h>
#include <string.h>

#include "graph_private.h"

enum {
    DEFAULT_CHUNK = 256,
    MAX_CHUNK = 1 << 16,
    MAX_SEQUENCES = 1 << 12,
    ALIGNMENT = 64,
};

/* ---- memory ---- */

enum { N_NEEDS = 14 };

struct need {
    struct lines *lines;
    size_t n, rows;
};

static void list_needs(struct weir_graph *g, unsigned n_threads, struct need need[N_NEEDS])
{
    const struct weir_model_config *c = &g->model->config;
    const size_t chunk = g->options.chunk, n_logits = g->options.n_logits;
    const size_t heads = (size_t)c->n_heads * c->head_dim;
    const size_t kv_heads = (size_t)c->n_kv_heads * c->head_dim;
    const struct need all[N_NEEDS] = {
        {&g->x, c->hidden, chunk},
        {&g->normed, c->hidden, chunk},
        {&g->q, heads, chunk},
        {&g->k, kv_heads, chunk},
        {&g->v, kv_heads, chunk},
        {&g->looked, heads, chunk},
        {&g->gate, c->intermediate, chunk},
        {&g->up, c->intermediate, chunk},
        {&g->sum, c->hidden, chunk},
        {&g->turn, c->rope.n_dims, chunk},
        {&g->local_turn, c->local_rope.n_dims, chunk},
        {&g->asked, c->hidden, n_logits},
        {&g->logits, c->vocab, n_logits},
        {&g->scratch, attention_scratch(c, g->options.context), n_threads},
    };
    memcpy(need, all, sizeof(all));
}

/* Elements of all lines; 0: too many. */
static size_t count_elements(const struct need need[N_NEEDS])
{
    size_t sum = 0, part;
    for (size_t i = 0; i < N_NEEDS; i++)
        if (__builtin_mul_overflow(whole_lanes(need[i].n), need[i].rows, &part) ||
            __builtin_add_overflow(sum, part, &sum) || sum > SIZE_MAX / sizeof(float) - ALIGNMENT)
            return 0;
    return sum;
}

static weir_err allocate_lines(struct weir_graph *g)
{
    struct need need[N_NEEDS];
    list_needs(g, pool_threads(g->pool), need);
    size_t n = count_elements(need);
    if (!n)
        return WEIR_ERR_NOMEM;
    size_t bytes = (n * sizeof(float) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    g->memory = aligned_alloc(ALIGNMENT, bytes);
    if (!g->memory)
        return WEIR_ERR_NOMEM;
    memset(g->memory, 0, bytes);
    float *at = g->memory;
    for (size_t i = 0; i < N_NEEDS; i++) {
        *need[i].lines = (struct lines){at, need[i].n, whole_lanes(need[i].n)};
        at += whole_lanes(need[i].n) * need[i].rows;
    }
    return WEIR_OK;
}

static struct kv_shape shape_of(const struct weir_graph *g)
{
    const struct weir_model_config *c = &g->model->config;
    return (struct kv_shape){.type = g->options.kv_bf16 ? NUMBER_BF16 : NUMBER_F32,
                             .n_layers = c->n_layers,
                             .n_sequences = g->options.n_sequences,
                             .n_heads = c->n_kv_heads,
                             .context = g->options.context,
                             .head_dim = c->head_dim};
}

/* ---- making ---- */

static void fill_options(const struct weir_model *model, const struct weir_graph_options *from,
                         struct weir_graph_options *to)
{
    *to = *from;
    if (!to->n_sequences)
        to->n_sequences = 1;
    if (!to->context)
        to->context = model->config.context;
    if (!to->chunk)
        to->chunk = DEFAULT_CHUNK;
    if (!to->n_logits)
        to->n_logits = to->n_sequences;
}

static weir_err check_options(const struct weir_graph *g, struct weir_diag *diag)
{
    const struct weir_graph_options *o = &g->options;
    if (o->context > g->model->config.context) {
        weir_diag_set(diag, "a context of %u tokens: the model takes %u", o->context,
                      g->model->config.context);
        return WEIR_ERR_INVALID;
    }
    if (o->chunk > MAX_CHUNK || o->n_sequences > MAX_SEQUENCES || o->n_logits > MAX_CHUNK) {
        weir_diag_set(diag, "more than %d tokens at once or %d texts", MAX_CHUNK, MAX_SEQUENCES);
        return WEIR_ERR_INVALID;
    }
    if (!g->kernels) {
        weir_diag_set(diag, "this processor has no %s", o->kernels);
        return WEIR_ERR_INVALID;
    }
    return WEIR_OK;
}

static size_t most_cols(const struct weir_model_config *c)
{
    size_t n = (size_t)c->n_heads * c->head_dim;
    n = n < c->hidden ? c->hidden : n;
    return n < c->intermediate ? c->intermediate : n;
}

static weir_err fill(struct weir_graph *g, struct weir_diag *diag)
{
    const struct weir_graph_options *o = &g->options;
    const struct kv_shape shape = shape_of(g);
    weir_err err = check_options(g, diag);
    if (!err)
        err = pool_new(o->n_threads, &g->pool);
    if (!err && o->keep_bytes)
        err = keep_new(g->model, o->keep_bytes, o->keep_plain, &g->keep, diag);
    if (!err)
        err = linear_new(g->model, g->pool, g->kernels, g->keep, most_cols(&g->model->config),
                         &g->linear);
    if (!err)
        err = kv_init(&g->kv, &shape);
    if (!err)
        err = allocate_lines(g);
    if (err)
        return err;
    g->length = calloc(o->n_sequences, sizeof(*g->length));
    g->is_long = calloc(o->n_sequences, sizeof(*g->is_long));
    g->position = calloc(o->chunk, sizeof(*g->position));
    g->asked_row = calloc(o->n_logits, sizeof(*g->asked_row));
    if (!g->length || !g->is_long || !g->position || !g->asked_row)
        return WEIR_ERR_NOMEM;
    rope_init(&g->rope, &g->model->config.rope);
    rope_init(&g->local_rope, &g->model->config.local_rope);
    for (uint32_t s = 0; s < o->n_sequences; s++)
        weir_graph_begin(g, s, 0);
    return WEIR_OK;
}

weir_err weir_graph_new(const struct weir_model *model, const struct weir_graph_options *options,
                        struct weir_graph **out, struct weir_diag *diag)
{
    struct weir_graph *g = calloc(1, sizeof(*g));
    if (!g)
        return WEIR_ERR_NOMEM;
    g->model = model;
    fill_options(model, options, &g->options);
    g->kernels = options->kernels ? math_kernels_named(options->kernels) : math_kernels_best();
    weir_err err = fill(g, diag);
    if (err)
        weir_graph_free(g);
    else
        *out = g;
    return err;
}

void weir_graph_free(struct weir_graph *g)
{
    if (!g)
        return;
    linear_free(g->linear);
    keep_free(g->keep);
    pool_free(g->pool);
    kv_free(&g->kv);
    free(g->memory);
    free(g->length);
    free(g->is_long);
    free(g->position);
    free(g->asked_row);
    free(g);
}

uint64_t weir_graph_bytes(const struct weir_model *model, const struct weir_graph_options *options)
{
    struct weir_graph g = {.model = model};
    struct need need[N_NEEDS];
    fill_options(model, options, &g.options);
    const struct kv_shape shape = shape_of(&g);
    const unsigned n_threads = pool_threads_for(options->n_threads);
    list_needs(&g, n_threads, need);
    uint64_t lines = count_elements(need) * sizeof(float), kv = kv_bytes(&shape), sum;
    uint64_t hands = n_threads * (uint64_t)linear_hand_bytes(model, most_cols(&model->config));
    if (!lines || !kv || __builtin_add_overflow(lines, kv, &sum) ||
        __builtin_add_overflow(sum, hands, &sum))
        return 0;
    return sum;
}

/* ---- sequences ---- */

void weir_graph_begin(struct weir_graph *g, uint32_t sequence, uint32_t most_tokens)
{
    const uint32_t most = most_tokens ? most_tokens : g->options.context;
    g->length[sequence] = 0;
    g->is_long[sequence] = most > g->model->config.rope.original_context;
}

void weir_graph_cut(struct weir_graph *g, uint32_t sequence, uint32_t n)
{
    g->length[sequence] = n;
}

uint32_t weir_graph_length(const struct weir_graph *g, uint32_t sequence)
{
    return g->length[sequence];
}

static weir_err place_token(struct weir_graph *g, size_t row, const struct weir_graph_token *t,
                            struct weir_diag *diag)
{
    if (t->sequence >= g->options.n_sequences || t->id >= g->model->config.vocab) {
        weir_diag_set(diag, "token %u of text %u: there is no such thing", t->id, t->sequence);
        return WEIR_ERR_INVALID;
    }
    if (g->length[t->sequence] == g->options.context) {
        weir_diag_set(diag, "the context of %u tokens is full", g->options.context);
        return WEIR_ERR_INVALID;
    }
    if (t->wants_logits && g->n_asked == g->options.n_logits) {
        weir_diag_set(diag, "logits of more than %u tokens at once", g->options.n_logits);
        return WEIR_ERR_INVALID;
    }
    g->position[row] = g->length[t->sequence]++;
    if (t->wants_logits)
        g->asked_row[g->n_asked++] = (uint32_t)row;
    return WEIR_OK;
}

weir_err weir_graph_run(struct weir_graph *g, const struct weir_graph_token *token, size_t n,
                        struct weir_diag *diag)
{
    if (n == 0 || n > g->options.chunk) {
        weir_diag_set(diag, "%zu tokens at once: 1 to %u are possible", n, g->options.chunk);
        return WEIR_ERR_INVALID;
    }
    weir_err err = WEIR_OK;
    g->token = token;
    g->n_asked = 0;
    for (g->n_rows = 0; g->n_rows < n; g->n_rows++) {
        err = place_token(g, g->n_rows, &token[g->n_rows], diag);
        if (err)
            break;
    }
    if (!err)
        err = graph_forward(g, diag);
    if (g->keep)
        keep_settle(g->keep);
    if (err)
        while (g->n_rows-- > 0)
            g->length[token[g->n_rows].sequence]--;
    return err;
}

float *weir_graph_logits(const struct weir_graph *g, size_t i)
{
    return line(&g->logits, i);
}

unsigned weir_graph_threads(const struct weir_graph *g)
{
    return pool_threads(g->pool);
}

struct weir_graph_counts weir_graph_counts(const struct weir_graph *g)
{
    return (struct weir_graph_counts){.used_bytes = linear_used_bytes(g->linear),
                                      .read_bytes = linear_read_bytes(g->linear),
                                      .kept_bytes = g->keep ? keep_bytes(g->keep) : 0};
}

enum weir_place weir_graph_place(const struct weir_graph *g, const struct weir_checkpoint_tensor *t,
                                 uint64_t *bytes)
{
    enum keep_form form = KEEP_NOTHING;
    *bytes = 0;
    if (g->keep)
        form = keep_form_of(g->keep, t, bytes);
    return form == KEEP_RESIDENT ? WEIR_PLACE_RESIDENT
           : form == KEEP_PLAIN  ? WEIR_PLACE_PLAIN
                                 : WEIR_PLACE_STREAMED;
}
