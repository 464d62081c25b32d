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

/* The logits into the hash and the file. */
static weir_err note_logits(struct generation *g, const float *logits, struct weir_diag *diag)
{
    const size_t n = g->rules->model->config.vocab;
    FILE *file = g->rules->logits;
    if (!logits)
        return WEIR_OK;
    weir_logits_hash_add(g->hash, logits, n);
    if (!file)
        return WEIR_OK;
    return written(fwrite(logits, sizeof(*logits), n, file) == n, "logits", diag);
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

bool generation_wants_logits(const struct generation_rules *rules)
{
    return rules->most > 0 && (rules->hashes || rules->logits);
}

struct weir_sampler *generation_sampler(struct generation *g)
{
    g->n_begun++;
    return g->rules->most ? g->sampler : NULL;
}

bool generation_may_ask(const struct generation *g)
{
    return g->n_begun < g->rules->most && weir_graph_length(g->graph, g->sequence) < g->context;
}

/* The choice to the reader; whether more are wanted, and why not. */
static weir_err take(struct generation *g, const struct weir_graph_choice *choice, bool *goes_on,
                     struct weir_diag *diag)
{
    bool stopped = false;
    *goes_on = false;
    if (g->ids.n == g->rules->most) { /* none were asked for */
        g->end = "length";
        return finish(g, diag);
    }
    weir_err err = note_logits(g, choice->logits, diag);
    if (err)
        return err;
    if (ends_text(g, choice->id)) {
        g->end = "eos";
        return finish(g, diag);
    }
    err = say(g, choice->id, &stopped, diag);
    if (err)
        return err;
    const bool full = choice->length >= g->context;
    g->end = stopped ? "stop" : interrupted() ? "interrupted" : full ? "context" : "length";
    *goes_on = !stopped && !interrupted() && !full && g->ids.n < g->rules->most;
    return stopped || *goes_on ? WEIR_OK : finish(g, diag);
}

weir_err generation_take(struct generation *g, const struct weir_graph_choice *choice,
                         bool *goes_on, struct weir_diag *diag)
{
    weir_err err = take(g, choice, goes_on, diag);
    if (err || !*goes_on)
        weir_graph_cut(g->graph, g->sequence, choice->length);
    return err;
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

/* The last piece goes on to the first token of the answer. */
static weir_err read_piece(struct generation *g, struct weir_graph_token *token, size_t at,
                           size_t n, struct weir_diag *diag)
{
    const bool last = at + n == g->n_prompt;
    for (size_t i = 0; i < n; i++)
        token[i] = (struct weir_graph_token){g->sequence, g->prompt[at + i], last && i + 1 == n};
    if (interrupted())
        return WEIR_ERR_CANCELLED;
    if (!last)
        return weir_graph_run(g->graph, token, n, diag);
    struct weir_sampler *sampler = generation_sampler(g);
    return weir_graph_start(g->graph, token, n, &sampler, generation_wants_logits(g->rules), diag);
}

static weir_err read_prompt(struct generation *g, uint32_t chunk, struct weir_diag *diag)
{
    struct weir_graph_token *token = calloc(chunk, sizeof(*token));
    if (!token)
        return WEIR_ERR_NOMEM;
    weir_err err = WEIR_OK;
    for (size_t at = g->n_known; at < g->n_prompt && !err;) {
        size_t n = g->n_prompt - at < chunk ? g->n_prompt - at : chunk;
        err = read_piece(g, token, at, n, diag);
        at += n;
    }
    free(token);
    return err;
}

static weir_err ask(struct generation *g, struct weir_diag *diag)
{
    const struct weir_graph_token token = {g->sequence, WEIR_GRAPH_CHOSEN, true};
    struct weir_sampler *sampler = generation_sampler(g);
    weir_err err =
        weir_graph_start(g->graph, &token, 1, &sampler, generation_wants_logits(g->rules), diag);
    g->n_begun -= err != WEIR_OK;
    return err;
}

/* What the graph had done when the answer began. */
struct mark {
    double seconds;
    uint64_t bytes, copied, decoded;
};

static struct mark mark_of(const struct weir_graph *g)
{
    const struct weir_device_counts c = weir_device_graph_counts(g);
    return (struct mark){now_seconds(), weir_graph_counts(g).used_bytes, c.copied_bytes,
                         c.decoded_bytes};
}

/* The pass that reads the prompt's end is on its way; *read is when it has ended. */
static weir_err answer(struct generation *g, struct mark *read, struct weir_diag *diag)
{
    struct weir_graph_choice choice = {.length = 0};
    bool goes_on = true;
    uint32_t taken = 0;
    weir_err err = WEIR_OK;
    while (!err && goes_on) {
        if (weir_graph_may_start(g->graph) && generation_may_ask(g))
            err = ask(g, diag);
        if (err)
            break;
        err = weir_graph_finish(g->graph, &choice, diag);
        if (err) /* nothing is on its way */
            return err;
        if (taken++ == 0)
            *read = mark_of(g->graph);
        err = generation_take(g, &choice, &goes_on, diag);
    }
    if (g->n_begun == taken)
        return err;
    weir_err late = weir_graph_finish(g->graph, &choice, diag); /* of no use any more */
    return err ? err : late;
}

weir_err generate(struct generation *g, uint32_t chunk, struct weir_diag *diag)
{
    const double began = now_seconds();
    weir_err err = read_prompt(g, chunk, diag);
    struct mark read = mark_of(g->graph);
    if (!err)
        err = answer(g, &read, diag);
    if (err == WEIR_ERR_CANCELLED && interrupted())
        err = WEIR_OK;
    const struct mark end = mark_of(g->graph);
    g->prompt_seconds = read.seconds - began;
    g->answer_seconds = end.seconds - read.seconds;
    g->answer_bytes = end.bytes - read.bytes;
    g->answer_copied = end.copied - read.copied;
    g->answer_decoded = end.decoded - read.decoded;
    return err;
}
