#include "generate.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "interrupt.h"
#include "output.h"

enum { FIRST_ROOM = 256 };

weir_err add_id(struct weir_ids *ids, uint32_t id)
{
    if (ids->n == ids->room) {
        size_t room = ids->room ? 2 * ids->room : FIRST_ROOM;
        uint32_t *more = realloc(ids->id, room * sizeof(*more));
        if (!more)
            return WEIR_ERR_NOMEM;
        ids->id = more;
        ids->room = room;
    }
    ids->id[ids->n++] = id;
    return WEIR_OK;
}

static weir_err written(bool fine, const char *what, struct weir_diag *diag)
{
    if (fine)
        return WEIR_OK;
    weir_diag_set(diag, "%s: %s", what, strerror(errno));
    return WEIR_ERR_IO;
}

static weir_err show(struct generation *g, struct weir_diag *diag)
{
    FILE *to = g->rules->stream;
    size_t n = g->text.n - g->shown;
    if (!to || n == 0 || g->rules->show_tokens)
        return WEIR_OK;
    bool fine = fwrite(g->text.bytes + g->shown, 1, n, to) == n && fflush(to) == 0;
    g->shown = g->text.n;
    return written(fine, "standard output", diag);
}

static weir_err show_id(const struct generation *g, uint32_t id, struct weir_diag *diag)
{
    FILE *to = g->rules->stream;
    if (!to || !g->rules->show_tokens)
        return WEIR_OK;
    bool fine = fprintf(to, "%s%" PRIu32, g->ids.n > 1 ? " " : "", id) > 0 && fflush(to) == 0;
    return written(fine, "standard output", diag);
}

/* ---- a token ---- */

/* The logits into the hash, the file, and to the next token. */
static weir_err choose(struct generation *g, const float *logits, uint32_t *id,
                       struct weir_diag *diag)
{
    const size_t n = g->rules->model->config.vocab;
    FILE *file = g->rules->logits;
    weir_logits_hash_add(g->hash, logits, n);
    if (file) {
        weir_err err = written(fwrite(logits, sizeof(*logits), n, file) == n, "logits", diag);
        if (err)
            return err;
    }
    weir_err err = weir_sampler_next(g->sampler, logits, id);
    if (err)
        weir_diag_set(diag, "the logits are not numbers: weights with NaNs, or too large for F32");
    return err;
}

static bool ends_text(const struct generation *g, uint32_t id)
{
    for (size_t i = 0; i < g->rules->n_ends; i++)
        if (g->rules->end_id[i] == id)
            return true;
    return false;
}

/* One chosen token to the reader.  Ids beyond the tokenizer's have no text. */
static weir_err say(struct generation *g, uint32_t id, bool *stopped, struct weir_diag *diag)
{
    weir_err err = add_id(&g->ids, id);
    weir_sampler_accept(g->sampler, id);
    g->piece.n = 0;
    if (!err && id < weir_tokenizer_n_tokens(g->rules->tokenizer))
        err = weir_detok_push(&g->detok, id, &g->piece);
    if (!err)
        err = weir_stops_push(&g->stops, g->piece.bytes, g->piece.n, &g->text, stopped);
    if (!err)
        err = show_id(g, id, diag);
    return err ? err : show(g, diag);
}

/* What is held back, unless a stop was found. */
static weir_err finish(struct generation *g, struct weir_diag *diag)
{
    bool stopped = false;
    g->piece.n = 0;
    weir_err err = weir_detok_end(&g->detok, &g->piece);
    if (!err)
        err = weir_stops_push(&g->stops, g->piece.bytes, g->piece.n, &g->text, &stopped);
    if (!err && !stopped)
        err = weir_stops_end(&g->stops, &g->text);
    return err ? err : show(g, diag);
}

weir_err generation_take(struct generation *g, const float *logits, uint32_t *id, bool *goes_on,
                         struct weir_diag *diag)
{
    bool stopped = false;
    *goes_on = false;
    if (g->ids.n == g->rules->most) { /* none were asked for */
        g->end = "length";
        return finish(g, diag);
    }
    weir_err err = choose(g, logits, id, diag);
    if (err)
        return err;
    if (ends_text(g, *id)) {
        g->end = "eos";
        return finish(g, diag);
    }
    err = say(g, *id, &stopped, diag);
    if (err)
        return err;
    const bool full = weir_graph_length(g->graph, g->sequence) >= g->context;
    g->end = stopped ? "stop" : interrupted() ? "interrupted" : full ? "context" : "length";
    *goes_on = !stopped && !interrupted() && !full && g->ids.n < g->rules->most;
    return stopped || *goes_on ? WEIR_OK : finish(g, diag);
}

/* ---- a text ---- */

weir_err generation_begin(struct generation *g, struct weir_diag *diag)
{
    const struct generation_rules *r = g->rules;
    g->end = "interrupted";
    g->detok = (struct weir_detok){.tokenizer = r->tokenizer, .goes_on = true};
    g->stops = (struct weir_stops){.stop = r->stop, .n = r->n_stops};
    weir_err err = weir_sampler_new(r->model->config.vocab, &r->sampling, &g->sampler);
    if (err == WEIR_ERR_INVALID)
        weir_diag_set(diag, "the numbers for choosing tokens make no sense");
    if (!err)
        err = weir_logits_hash_new(&g->hash);
    for (size_t i = 0; i < g->n_prompt && !err; i++)
        weir_sampler_accept(g->sampler, g->prompt[i]);
    return err;
}

void generation_free(struct generation *g)
{
    weir_text_free(&g->text);
    weir_text_free(&g->piece);
    weir_ids_free(&g->ids);
    weir_stops_free(&g->stops);
    weir_sampler_free(g->sampler);
    weir_logits_hash_free(g->hash);
    *g = (struct generation){0};
}

static weir_err read_prompt(struct generation *g, uint32_t chunk, struct weir_diag *diag)
{
    struct weir_graph_token *token = calloc(chunk, sizeof(*token));
    if (!token)
        return WEIR_ERR_NOMEM;
    weir_err err = WEIR_OK;
    for (size_t at = g->n_known; at < g->n_prompt && !err;) {
        size_t n = g->n_prompt - at < chunk ? g->n_prompt - at : chunk;
        for (size_t i = 0; i < n; i++)
            token[i] = (struct weir_graph_token){g->sequence, g->prompt[at + i],
                                                 at + i + 1 == g->n_prompt};
        err = interrupted() ? WEIR_ERR_CANCELLED : weir_graph_run(g->graph, token, n, diag);
        at += n;
    }
    free(token);
    return err;
}

static weir_err answer(struct generation *g, struct weir_diag *diag)
{
    bool goes_on = true;
    weir_err err = WEIR_OK;
    while (!err && goes_on) {
        struct weir_graph_token token = {.sequence = g->sequence, .wants_logits = true};
        err = generation_take(g, weir_graph_logits(g->graph, 0), &token.id, &goes_on, diag);
        if (!err && goes_on)
            err = weir_graph_run(g->graph, &token, 1, diag);
    }
    return err;
}

weir_err generate(struct generation *g, uint32_t chunk, struct weir_diag *diag)
{
    double began = now_seconds();
    weir_err err = read_prompt(g, chunk, diag);
    double read = now_seconds();
    uint64_t bytes = weir_graph_counts(g->graph).used_bytes;
    const struct weir_device_counts before = weir_device_graph_counts(g->graph);
    g->prompt_seconds = read - began;
    if (!err)
        err = answer(g, diag);
    if (err == WEIR_ERR_CANCELLED && interrupted())
        err = WEIR_OK;
    g->answer_seconds = now_seconds() - read;
    g->answer_bytes = weir_graph_counts(g->graph).used_bytes - bytes;
    const struct weir_device_counts after = weir_device_graph_counts(g->graph);
    g->answer_copied = after.copied_bytes - before.copied_bytes;
    g->answer_decoded = after.decoded_bytes - before.decoded_bytes;
    return err;
}
