/* A pass put in order: which token is in which row, which rows make a group. */
#include <string.h>

#include "gpu_graph.h"

static void add_row(struct graph_gpu *g, uint32_t token)
{
    g->place[token] = g->n_rows;
    g->row_of[g->n_rows++] = token;
}

/* Rows from `first` on, in groups of `most`. */
static void add_groups(struct graph_gpu *g, uint32_t first, bool large)
{
    const uint32_t most = large ? g->sizes.large : GPU_SMALL;
    for (uint32_t at = first; at < g->n_rows; at += most) {
        const uint32_t left = g->n_rows - at;
        g->group[g->n_groups++] = (struct gpu_group){at, left < most ? left : most, large};
    }
}

static void add_small(struct graph_gpu *g, const struct graph_pass *pass)
{
    for (uint32_t i = 0; i < pass->n_rows; i++)
        if (g->n_of[pass->token[i].sequence] <= g->sizes.most_small)
            add_row(g, i);
    add_groups(g, 0, false);
}

/* All tokens of token `from`'s text, which begin there. */
static void add_large(struct graph_gpu *g, const struct graph_pass *pass, uint32_t from)
{
    const uint32_t sequence = pass->token[from].sequence, first = g->n_rows;
    for (uint32_t i = from; i < pass->n_rows; i++)
        if (pass->token[i].sequence == sequence)
            add_row(g, i);
    add_groups(g, first, true);
    g->n_of[sequence] = 0;
}

static uint32_t bucket(const struct graph_gpu *g, uint32_t positions)
{
    uint32_t most = GPU_LEAST_BUCKET;
    while (most < positions)
        most *= 2;
    return most < g->options.context ? most : g->options.context;
}

static void fill_params(struct graph_gpu *g, const struct graph_pass *pass)
{
    uint32_t *to = g->params, most = 0;
    g->at = gpu_params_at(g->n_rows, g->options.n_sequences);
    for (uint32_t row = 0; row < g->n_rows; row++) {
        const uint32_t i = g->row_of[row];
        to[g->at.sequence + row] = pass->token[i].sequence;
        to[g->at.position + row] = pass->position[i];
        to[g->at.id + row] = pass->token[i].id;
        most = most < pass->position[i] ? pass->position[i] : most;
    }
    for (uint32_t i = 0; i < g->n_asked; i++)
        to[g->at.asked + i] = g->place[pass->asked_row[i]];
    uint8_t *is_long = (uint8_t *)(to + g->at.is_long);
    for (uint32_t s = 0; s < g->options.n_sequences; s++)
        is_long[s] = pass->is_long[s];
    g->most_positions = bucket(g, most + 1);
}

void gpu_pass_arrange(struct graph_gpu *g, const struct graph_pass *pass)
{
    g->n_rows = g->n_groups = 0;
    g->params = g->slot[pass->slot].params;
    g->n_asked = (uint32_t)pass->n_asked;
    for (uint32_t i = 0; i < pass->n_rows; i++)
        g->n_of[pass->token[i].sequence]++;
    add_small(g, pass);
    for (uint32_t i = 0; i < pass->n_rows && g->n_rows < pass->n_rows; i++)
        if (g->n_of[pass->token[i].sequence] > g->sizes.most_small)
            add_large(g, pass, i);
    for (uint32_t i = 0; i < pass->n_rows; i++)
        g->n_of[pass->token[i].sequence] = 0;
    fill_params(g, pass);
}
