/* Passes beginning and ending: tokens get their places, and what follows them is chosen. */
#include <stdlib.h>

#include "graph_private.h"
#include "sample_private.h"

/* ---- making ---- */

static bool new_begun(struct graph_begun *b, size_t chunk, size_t n_logits)
{
    b->token = calloc(chunk, sizeof(*b->token));
    b->position = calloc(chunk, sizeof(*b->position));
    b->fed = calloc(chunk, sizeof(*b->fed));
    b->asked_row = calloc(n_logits, sizeof(*b->asked_row));
    b->sampler = calloc(n_logits, sizeof(struct weir_sampler *));
    return b->token && b->position && b->fed && b->asked_row && b->sampler;
}

weir_err graph_steps_new(struct weir_graph *g)
{
    bool fine = true;
    for (size_t i = 0; i < WEIR_GRAPH_MOST_BEGUN; i++)
        fine = new_begun(&g->begun[i], g->options.chunk, g->options.n_logits) && fine;
    return fine ? WEIR_OK : WEIR_ERR_NOMEM;
}

void graph_steps_free(struct weir_graph *g)
{
    for (size_t i = 0; i < WEIR_GRAPH_MOST_BEGUN; i++) {
        struct graph_begun *b = &g->begun[i];
        free(b->token);
        free(b->position);
        free(b->fed);
        free(b->asked_row);
        free(b->sampler);
    }
}

/* ---- tokens to their places ---- */

static struct graph_begun *nth_begun(struct weir_graph *g, unsigned n)
{
    return &g->begun[(g->oldest + n) % WEIR_GRAPH_MOST_BEGUN];
}

/* The id of a row, known or fed. */
static weir_err place_id(struct weir_graph *g, struct graph_begun *b, size_t row, uint32_t id,
                         struct weir_diag *diag)
{
    const uint32_t sequence = b->token[row].sequence;
    const struct graph_last *last = &g->last[sequence];
    b->fed[row] = GRAPH_KNOWN;
    if (id != WEIR_GRAPH_CHOSEN) {
        b->token[row].id = id;
        return WEIR_OK;
    }
    if (!last->any || last->length != g->length[sequence]) {
        weir_diag_set(diag, "nothing was chosen for text %u", sequence);
        return WEIR_ERR_INVALID;
    }
    b->token[row].id = last->awaited ? 0 : last->id;
    if (last->awaited)
        b->fed[row] = last->at;
    return WEIR_OK;
}

static weir_err place_token(struct weir_graph *g, struct graph_begun *b,
                            const struct weir_graph_token *t, uint32_t most_asked,
                            struct weir_diag *diag)
{
    const size_t row = b->n_rows;
    const bool chosen = t->id == WEIR_GRAPH_CHOSEN;
    if (t->sequence >= g->options.n_sequences || (!chosen && t->id >= g->model->config.vocab)) {
        weir_diag_set(diag, "token %u of text %u: there is no such thing", t->id, t->sequence);
        return WEIR_ERR_INVALID;
    }
    if (g->length[t->sequence] >= g->options.context) {
        weir_diag_set(diag, "the context of %u tokens is full", g->options.context);
        return WEIR_ERR_INVALID;
    }
    if (t->wants_logits && b->n_asked == most_asked) {
        weir_diag_set(diag, "logits of more than %u tokens at once", most_asked);
        return WEIR_ERR_INVALID;
    }
    b->token[row] = *t;
    weir_err err = place_id(g, b, row, t->id, diag);
    if (err)
        return err;
    b->position[row] = g->length[t->sequence]++;
    if (t->wants_logits)
        b->asked_row[b->n_asked++] = (uint32_t)row;
    b->n_rows++;
    return WEIR_OK;
}

/* Its sequences are as before it, where nobody has set them anew. */
static void take_back(struct weir_graph *g, const struct graph_begun *b)
{
    for (size_t row = b->n_rows; row-- > 0;) {
        const uint32_t sequence = b->token[row].sequence;
        if (g->length[sequence] == b->position[row] + 1)
            g->length[sequence] = b->position[row];
    }
}

static weir_err place_all(struct weir_graph *g, struct graph_begun *b,
                          const struct weir_graph_token *token, size_t n, uint32_t most_asked,
                          struct weir_diag *diag)
{
    weir_err err = WEIR_OK;
    b->n_rows = b->n_asked = 0;
    b->chooses = b->any_sampler = false;
    if (n == 0 || n > g->options.chunk) {
        weir_diag_set(diag, "%zu tokens at once: 1 to %u are possible", n, g->options.chunk);
        return WEIR_ERR_INVALID;
    }
    for (size_t i = 0; i < n && !err; i++)
        err = place_token(g, b, &token[i], most_asked, diag);
    if (err)
        take_back(g, b);
    return err;
}

/* ---- beginning ---- */

static weir_err start(struct weir_graph *g, struct graph_begun *b, struct weir_diag *diag)
{
    const struct graph_pass pass = {.token = b->token,
                                    .n_rows = b->n_rows,
                                    .n_asked = b->n_asked,
                                    .position = b->position,
                                    .asked_row = b->asked_row,
                                    .is_long = g->is_long,
                                    .slot = (unsigned)(b - g->begun),
                                    .sampler = b->any_sampler ? b->sampler : NULL,
                                    .fed = b->fed,
                                    .wants_logits = b->wants_logits};
    weir_err err = g->back->start(g->self, &pass, &b->chooses, diag);
    if (err)
        take_back(g, b);
    else
        g->n_begun++;
    return err;
}

static uint32_t sequence_of(const struct graph_begun *b, size_t asked)
{
    return b->token[b->asked_row[asked]].sequence;
}

/* One choice of a sequence, behind its last token. */
static bool choices_fit(const struct weir_graph *g, const struct graph_begun *b)
{
    for (size_t i = 0; i < b->n_asked; i++) {
        const uint32_t row = b->asked_row[i];
        if (b->sampler[i] && b->position[row] + 1 != g->length[b->token[row].sequence])
            return false;
    }
    return true;
}

bool weir_graph_may_start(const struct weir_graph *g)
{
    return g->n_begun == 0 || (g->n_begun < WEIR_GRAPH_MOST_BEGUN && g->begun[g->oldest].chooses &&
                               g->back->may_go_ahead(g->self));
}

static void await_choices(struct weir_graph *g, const struct graph_begun *b)
{
    for (uint32_t i = 0; i < b->n_asked; i++) {
        if (!b->sampler[i])
            continue;
        const uint32_t s = sequence_of(b, i);
        g->last[s] =
            (struct graph_last){.any = true, .awaited = true, .length = g->length[s], .at = i};
        sampler_await(b->sampler[i], i);
    }
}

weir_err weir_graph_start(struct weir_graph *g, const struct weir_graph_token *token, size_t n,
                          struct weir_sampler *const *sampler, bool wants_logits,
                          struct weir_diag *diag)
{
    const uint32_t most =
        g->options.n_logits < g->options.n_sequences ? g->options.n_logits : g->options.n_sequences;
    if (!weir_graph_may_start(g)) {
        weir_diag_set(diag, "a pass begins while others are on their way");
        return WEIR_ERR_INVALID;
    }
    struct graph_begun *b = nth_begun(g, g->n_begun);
    weir_err err = place_all(g, b, token, n, most, diag);
    if (err)
        return err;
    for (size_t i = 0; i < b->n_asked; i++) {
        b->sampler[i] = sampler[i];
        b->any_sampler = b->any_sampler || sampler[i];
    }
    b->wants_logits = wants_logits;
    if (!choices_fit(g, b)) {
        take_back(g, b);
        weir_diag_set(diag, "a choice that is not behind the last token of its text");
        return WEIR_ERR_INVALID;
    }
    err = start(g, b, diag);
    if (!err)
        await_choices(g, b);
    return err;
}

/* ---- ending ---- */

static void let_go(struct graph_begun *b, size_t asked)
{
    if (b->sampler[asked])
        sampler_forget(b->sampler[asked]);
    b->sampler[asked] = NULL;
}

void graph_forget_choices(struct weir_graph *g, uint32_t sequence)
{
    g->last[sequence].any = false;
    for (unsigned n = 0; n < g->n_begun; n++) {
        struct graph_begun *b = nth_begun(g, n);
        for (size_t i = 0; i < b->n_asked; i++)
            if (sequence_of(b, i) == sequence)
                let_go(b, i);
    }
}

/* The oldest, which has ended, and those behind it. */
static void drop_all(struct weir_graph *g)
{
    const uint32_t *unused = NULL;
    struct weir_diag second = {""};
    for (unsigned n = 1; n < g->n_begun; n++) /* whatever it ends with */
        (void)g->back->finish(g->self, (unsigned)(nth_begun(g, n) - g->begun), &unused, &second);
    for (unsigned n = g->n_begun; n-- > 0;) {
        struct graph_begun *b = nth_begun(g, n);
        for (size_t i = 0; i < b->n_asked; i++) {
            g->last[sequence_of(b, i)].any = false;
            let_go(b, i);
        }
        take_back(g, b);
    }
    g->oldest = g->n_begun = 0;
}

static weir_err choose(struct weir_graph *g, const struct graph_begun *b, size_t i,
                       const uint32_t *ids, struct weir_graph_choice *out)
{
    const unsigned slot = (unsigned)(b - g->begun);
    const uint32_t row = b->asked_row[i];
    *out = (struct weir_graph_choice){WEIR_GRAPH_CHOSEN, b->position[row] + 1, NULL};
    if (b->wants_logits)
        out->logits = g->back->logits(g->self, slot, i);
    if (!b->sampler[i])
        return WEIR_OK;
    weir_err err = WEIR_OK;
    if (b->chooses)
        out->id = ids[i];
    else
        err = weir_sampler_next(b->sampler[i], g->back->logits(g->self, slot, i), &out->id);
    if (err || out->id >= g->model->config.vocab)
        return err ? err : WEIR_ERR_CORRUPT;
    weir_sampler_accept(b->sampler[i], out->id);
    return WEIR_OK;
}

/* What is known now; a newer pass may have chosen since. */
static void remember(struct weir_graph *g, const struct graph_begun *b, size_t i, uint32_t id)
{
    struct graph_last *last = &g->last[sequence_of(b, i)];
    if (!b->sampler[i] || !last->any)
        return;
    const struct graph_begun *newer = g->n_begun > 1 ? nth_begun(g, 1) : NULL;
    for (uint32_t k = 0; newer && k < newer->n_asked; k++)
        if (newer->sampler[k] && sequence_of(newer, k) == sequence_of(b, i)) {
            sampler_await(newer->sampler[k], k);
            return;
        }
    *last = (struct graph_last){.any = true, .length = b->position[b->asked_row[i]] + 1, .id = id};
}

static weir_err choose_all(struct weir_graph *g, const struct graph_begun *b, const uint32_t *ids,
                           struct weir_graph_choice *choice, struct weir_diag *diag)
{
    for (size_t i = 0; i < b->n_asked; i++) {
        weir_err err = choose(g, b, i, ids, &choice[i]);
        if (err) {
            weir_diag_set(diag, "the logits are not numbers: weights with NaNs, or too large for "
                                "F32");
            return err;
        }
        remember(g, b, i, choice[i].id);
    }
    return WEIR_OK;
}

weir_err weir_graph_finish(struct weir_graph *g, struct weir_graph_choice *choice,
                           struct weir_diag *diag)
{
    const struct graph_begun *b = nth_begun(g, 0);
    const uint32_t *ids = NULL;
    weir_err err = g->back->finish(g->self, (unsigned)(b - g->begun), &ids, diag);
    if (!err)
        err = choose_all(g, b, ids, choice, diag);
    if (err) {
        drop_all(g);
        return err;
    }
    g->n_begun--;
    g->oldest = g->n_begun ? (g->oldest + 1) % WEIR_GRAPH_MOST_BEGUN : 0;
    return WEIR_OK;
}

/* ---- both at once ---- */

weir_err weir_graph_run(struct weir_graph *g, const struct weir_graph_token *token, size_t n,
                        struct weir_diag *diag)
{
    struct graph_begun *b = &g->begun[0];
    const uint32_t *unused = NULL;
    if (g->n_begun) {
        weir_diag_set(diag, "a pass begins while others are on their way");
        return WEIR_ERR_INVALID;
    }
    weir_err err = place_all(g, b, token, n, g->options.n_logits, diag);
    b->wants_logits = true;
    if (!err)
        err = start(g, b, diag);
    if (err)
        return err;
    err = g->back->finish(g->self, 0, &unused, diag);
    g->n_begun = 0;
    if (err)
        take_back(g, b);
    return err;
}

float *weir_graph_logits(const struct weir_graph *g, size_t i)
{
    return g->back->logits(g->self, 0, i);
}
