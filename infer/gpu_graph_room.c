/* What a graph takes of a device besides weights. */
#include <string.h>

#include "gpu_graph.h"

enum {
    STEP = 32, /* floats that a row is padded to */
    BF16_BYTES = 2,
    WORD = sizeof(uint32_t),
};

static uint32_t up_to(uint32_t n, uint32_t step)
{
    return (n + step - 1) / step * step;
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint64_t whole(uint64_t bytes)
{
    return (bytes + WEIR_GPU_ALIGN - 1) / WEIR_GPU_ALIGN * WEIR_GPU_ALIGN;
}

/* Rows of the largest matrix of a layer, as many as the library gets at once. */
static uint64_t rows_bytes(const struct weir_model_config *c)
{
    const uint64_t heads = ((uint64_t)c->n_heads + (uint64_t)2 * c->n_kv_heads) * c->head_dim;
    const uint64_t gate_up = (uint64_t)2 * c->intermediate;
    const uint64_t all = (gate_up < heads ? heads : gate_up) * c->hidden * BF16_BYTES;
    return whole(all < GPU_ROWS_BYTES ? all : GPU_ROWS_BYTES);
}

void gpu_sizes_fill(const struct weir_model *model, const struct weir_graph_options *options,
                    const struct weir_device_rules *rules, bool has_blas, struct gpu_sizes *out)
{
    const struct weir_model_config *c = &model->config;
    const uint32_t chunk = options->chunk;
    uint32_t most_small = rules->small_piece ? rules->small_piece : GPU_SMALL;
    most_small = least(most_small, GPU_SMALL);
    *out = (struct gpu_sizes){
        .most_small = has_blas ? most_small : UINT32_MAX,
        .x = up_to(c->hidden, STEP),
        .qkv = up_to((c->n_heads + 2 * c->n_kv_heads) * c->head_dim, STEP),
        .gate_up = up_to(2 * c->intermediate, STEP),
        .looked = c->n_heads * c->head_dim,
        .intermediate = c->intermediate,
        .logits = up_to(c->vocab, STEP),
        .rows_bytes = rows_bytes(c),
    };
    if (has_blas && chunk > most_small)
        out->large = least(up_to(chunk, GPU_LARGE_STEP), GPU_LARGE);
    out->group = out->large > GPU_SMALL ? out->large : least(chunk, GPU_SMALL);
    out->group = out->group < out->large ? out->large : out->group;
}

/* ---- the plan ---- */

enum { N_PARTS = 19 };

struct part {
    void *to; /* where its address goes: a pointer to a pointer */
    uint64_t bytes;
};

struct plan {
    struct part part[N_PARTS];
    size_t n;
    bool too_much;
};

/* Bytes: a times b times c. */
static uint64_t product(struct plan *p, uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t all;
    if (__builtin_mul_overflow(a, b, &all) || __builtin_mul_overflow(all, c, &all))
        p->too_much = true;
    return p->too_much ? 0 : all;
}

static void add(struct plan *p, void *to, uint64_t bytes)
{
    p->part[p->n++] = (struct part){to, bytes};
}

static uint64_t most_bytes(uint64_t a, uint64_t b)
{
    return a < b ? b : a;
}

/* Vectors of any matrix of a layer. */
static uint64_t vectors_bytes(const struct gpu_sizes *z, uint32_t hidden)
{
    const uint32_t width[] = {hidden, z->looked, z->intermediate};
    const uint32_t small = least(z->group, GPU_SMALL);
    uint64_t most = 0;
    for (size_t i = 0; i < sizeof(width) / sizeof(width[0]); i++) {
        most = most_bytes(most, weir_gpu_vectors_bytes(WEIR_GPU_FRAGMENTS, width[i], small));
        if (z->large)
            most = most_bytes(most, weir_gpu_vectors_bytes(WEIR_GPU_LINES, width[i], z->large));
    }
    return most;
}

static uint64_t kv_layer_bytes(const struct weir_model_config *c,
                               const struct weir_graph_options *o)
{
    return (uint64_t)o->n_sequences * c->n_kv_heads * o->context * c->head_dim * BF16_BYTES;
}

uint32_t gpu_n_choices(const struct weir_graph_options *options)
{
    return least(options->n_logits, options->n_sequences);
}

static uint64_t attention_bytes(const struct weir_model_config *c,
                                const struct weir_graph_options *o, const struct gpu_sizes *z)
{
    return weir_gpu_attention_bytes(z->group, c->n_heads, c->head_dim, o->context);
}

static void list_choices(struct plan *p, const struct weir_model_config *c,
                         const struct weir_graph_options *o, const struct gpu_sizes *z,
                         struct gpu_room *r)
{
    const uint32_t n = gpu_n_choices(o), k = least(c->vocab, WEIR_GPU_MOST_TOP);
    add(p, &r->aside, product(p, n, z->logits, sizeof(float)));
    add(p, &r->chosen, product(p, n, WORD, GPU_SLOTS));
    add(p, &r->top_id, product(p, least(n, GPU_SMALL), k, WORD));
    add(p, &r->top_logit, product(p, least(n, GPU_SMALL), k, sizeof(float)));
    add(p, &r->top, weir_gpu_top_bytes(least(n, GPU_SMALL), c->vocab, k));
}

static void list(struct plan *p, const struct weir_model *model, const struct weir_graph_options *o,
                 const struct gpu_sizes *z, struct gpu_room *r)
{
    const struct weir_model_config *c = &model->config;
    const uint64_t real = sizeof(float);
    const uint32_t asked = (o->n_logits + GPU_SMALL - 1) / GPU_SMALL;
    *p = (struct plan){.n = 0};
    add(p, &r->x, product(p, o->chunk, z->x, real));
    add(p, &r->sum, product(p, z->group, z->x, real));
    add(p, &r->qkv, product(p, z->group, z->qkv, real));
    add(p, &r->gate_up, product(p, z->group, z->gate_up, real));
    add(p, &r->vectors, vectors_bytes(z, c->hidden));
    add(p, &r->x_between, product(p, 1, z->x, real));
    add(p, &r->gated, weir_gpu_vectors_bytes(WEIR_GPU_FRAGMENTS, z->intermediate, 1));
    add(p, &r->attention, attention_bytes(c, o, z));
    add(p, &r->rows, z->large ? GPU_ROOMS * z->rows_bytes : 0);
    add(p, &r->asked,
        product(
            p, asked,
            weir_gpu_vectors_bytes(WEIR_GPU_FRAGMENTS, c->hidden, least(o->n_logits, GPU_SMALL)),
            1));
    add(p, &r->logits, product(p, o->n_logits, z->logits, real));
    add(p, &r->kv, product(p, c->n_layers, kv_layer_bytes(c, o), 2));
    add(p, &r->small, gpu_vectors_bytes(model, o->context));
    add(p, &r->params,
        product(p, gpu_params_at(o->chunk, o->n_sequences).words + gpu_choice_most_words(o), WORD,
                1));
    list_choices(p, c, o, z, r);
}

static uint64_t sum(const struct plan *p)
{
    uint64_t all = 0;
    for (size_t i = 0; i < p->n; i++)
        if (p->part[i].bytes > SIZE_MAX / 4 ||
            __builtin_add_overflow(all, whole(p->part[i].bytes), &all))
            return 0;
    return p->too_much || all > SIZE_MAX / 2 ? 0 : all;
}

uint64_t gpu_room_bytes(const struct weir_model *model, const struct weir_graph_options *options,
                        const struct gpu_sizes *sizes)
{
    struct gpu_room room;
    struct plan p;
    list(&p, model, options, sizes, &room);
    return sum(&p);
}

weir_err gpu_room_take(struct graph_gpu *g)
{
    struct plan p;
    list(&p, g->model, &g->options, &g->sizes, &g->room);
    const uint64_t bytes = sum(&p);
    char *at = bytes ? weir_gpu_alloc(g->gpu, (size_t)bytes) : NULL;
    if (!at)
        return WEIR_ERR_NOMEM;
    g->room.at = at;
    for (size_t i = 0; i < p.n; i++) {
        const void *here = p.part[i].bytes ? at : NULL;
        memcpy(p.part[i].to, &here, sizeof(here));
        at += whole(p.part[i].bytes);
    }
    return WEIR_OK;
}

weir_err gpu_room_clear(struct graph_gpu *g)
{
    const uint64_t bytes = gpu_room_bytes(g->model, &g->options, &g->sizes);
    const uint64_t counters = attention_bytes(&g->model->config, &g->options, &g->sizes);
    weir_err err =
        weir_gpu_fill(g->stream, g->room.at, g->rules.poison ? GPU_POISON : 0, (size_t)bytes);
    return err ? err : weir_gpu_fill(g->stream, g->room.attention, 0, (size_t)counters);
}

/* ---- what is in it ---- */

struct weir_gpu_kv gpu_room_kv(const struct graph_gpu *g, uint32_t layer)
{
    const struct weir_model_config *c = &g->model->config;
    const uint64_t bytes = kv_layer_bytes(c, &g->options);
    char *keys = g->room.kv + (size_t)2 * layer * bytes;
    return (struct weir_gpu_kv){keys, keys + bytes, c->n_kv_heads, c->head_dim, g->options.context};
}

struct gpu_params gpu_params_at(uint32_t n_rows, uint32_t n_sequences)
{
    struct gpu_params p = {.position = n_rows};
    p.id = p.position + n_rows;
    p.asked = p.id + n_rows;
    p.is_long = p.asked + n_rows;
    p.words = p.is_long + (n_sequences + WORD - 1) / WORD;
    return p;
}
