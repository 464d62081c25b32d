#include "generate.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "interrupt.h"
#include "output.h"

/* What goes through the pieces of text on its way. */
struct flow {
    struct weir_detok detok;
    struct weir_stops stops;
    struct weir_text piece; /* of the last token */
    size_t shown;           /* bytes of g->text that the stream has */
};

static weir_err add_id(struct weir_ids *ids, uint32_t id)
{
    if (ids->n == ids->room) {
        size_t room = ids->room ? 2 * ids->room : 256;
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

static weir_err show(struct generation *g, struct flow *f, struct weir_diag *diag)
{
    size_t n = g->text.n - f->shown;
    if (!g->stream || n == 0 || g->show_tokens)
        return WEIR_OK;
    bool fine = fwrite(g->text.bytes + f->shown, 1, n, g->stream) == n && fflush(g->stream) == 0;
    f->shown = g->text.n;
    return written(fine, "standard output", diag);
}

static weir_err show_id(const struct generation *g, uint32_t id, struct weir_diag *diag)
{
    if (!g->stream || !g->show_tokens)
        return WEIR_OK;
    bool fine =
        fprintf(g->stream, "%s%" PRIu32, g->ids.n > 1 ? " " : "", id) > 0 && fflush(g->stream) == 0;
    return written(fine, "standard output", diag);
}

/* The logits of the last token: into the hash, the file, and to the next token. */
static weir_err choose(struct generation *g, uint32_t *id, struct weir_diag *diag)
{
    const float *logits = weir_graph_logits(g->graph, 0);
    const size_t n = g->model->config.vocab;
    weir_logits_hash_add(g->hash, logits, n);
    if (g->logits) {
        weir_err err = written(fwrite(logits, sizeof(*logits), n, g->logits) == n, "logits", diag);
        if (err)
            return err;
    }
    weir_err err = weir_sampler_next(g->sampler, logits, id);
    if (err)
        weir_diag_set(diag, "the logits are not numbers: weights with NaNs, or too large for F32");
    return err;
}

static weir_err read_prompt(struct generation *g, struct weir_diag *diag)
{
    struct weir_graph_token *token = calloc(g->chunk, sizeof(*token));
    if (!token)
        return WEIR_ERR_NOMEM;
    weir_err err = WEIR_OK;
    for (size_t at = 0; at < g->n_prompt && !err;) {
        size_t n = g->n_prompt - at < g->chunk ? g->n_prompt - at : g->chunk;
        for (size_t i = 0; i < n; i++) {
            token[i] = (struct weir_graph_token){0, g->prompt[at + i], at + i + 1 == g->n_prompt};
            weir_sampler_accept(g->sampler, g->prompt[at + i]);
        }
        err = interrupted() ? WEIR_ERR_CANCELLED : weir_graph_run(g->graph, token, n, diag);
        at += n;
    }
    free(token);
    return err;
}

static bool ends_text(const struct generation *g, uint32_t id)
{
    const struct weir_model_config *c = &g->model->config;
    for (uint32_t i = 0; i < c->n_eos && !g->ignore_eos; i++)
        if (c->eos[i] == id)
            return true;
    return false;
}

/* One chosen token to the reader.  Ids beyond the tokenizer's have no text. */
static weir_err say(struct generation *g, struct flow *f, uint32_t id, bool *stopped,
                    struct weir_diag *diag)
{
    weir_err err = add_id(&g->ids, id);
    weir_sampler_accept(g->sampler, id);
    f->piece.n = 0;
    if (!err && id < weir_tokenizer_n_tokens(g->tokenizer))
        err = weir_detok_push(&f->detok, id, &f->piece);
    if (!err)
        err = weir_stops_push(&f->stops, f->piece.bytes, f->piece.n, &g->text, stopped);
    if (!err)
        err = show_id(g, id, diag);
    return err ? err : show(g, f, diag);
}

static weir_err answer(struct generation *g, struct flow *f, struct weir_diag *diag)
{
    uint32_t id;
    bool stopped = false;
    for (g->end = "length"; g->ids.n < g->most;) {
        weir_err err = choose(g, &id, diag);
        if (!err && ends_text(g, id)) {
            g->end = "eos";
            return WEIR_OK;
        }
        if (!err)
            err = say(g, f, id, &stopped, diag);
        if (err)
            return err;
        bool full = weir_graph_length(g->graph, 0) == g->context;
        g->end = stopped ? "stop" : interrupted() ? "interrupted" : full ? "context" : "length";
        if (stopped || interrupted() || full || g->ids.n == g->most)
            return WEIR_OK;
        const struct weir_graph_token token = {0, id, true};
        err = weir_graph_run(g->graph, &token, 1, diag);
        if (err)
            return err;
    }
    return WEIR_OK;
}

static weir_err finish(struct generation *g, struct flow *f, struct weir_diag *diag)
{
    bool stopped = false;
    f->piece.n = 0;
    if (strcmp(g->end, "stop") == 0)
        return WEIR_OK;
    weir_err err = weir_detok_end(&f->detok, &f->piece);
    if (!err)
        err = weir_stops_push(&f->stops, f->piece.bytes, f->piece.n, &g->text, &stopped);
    if (!err && !stopped)
        err = weir_stops_end(&f->stops, &g->text);
    return err ? err : show(g, f, diag);
}

weir_err generate(struct generation *g, struct weir_diag *diag)
{
    struct flow f = {.detok = {.tokenizer = g->tokenizer, .goes_on = true},
                     .stops = {.stop = &g->stop, .n = g->stop ? 1 : 0}};
    double began = now_seconds();
    g->end = "interrupted";
    weir_err err = read_prompt(g, diag);
    double read = now_seconds();
    uint64_t bytes = weir_graph_counts(g->graph).used_bytes;
    g->prompt_seconds = read - began;
    if (!err)
        err = answer(g, &f, diag);
    if (!err)
        err = finish(g, &f, diag);
    if (err == WEIR_ERR_CANCELLED)
        err = WEIR_OK;
    g->answer_seconds = now_seconds() - read;
    g->answer_bytes = weir_graph_counts(g->graph).used_bytes - bytes;
    weir_stops_free(&f.stops);
    weir_text_free(&f.piece);
    return err;
}

void generation_free(struct generation *g)
{
    weir_text_free(&g->text);
    weir_ids_free(&g->ids);
}
