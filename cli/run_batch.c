/* Many texts, several at a time: each pass goes through the weights once for all of them.
 *
 * A place is a sequence of the graph with a text in it.  A pass takes one token of each text that
 * is being answered, and as many pieces of prompts as there is room for.  A prompt is cut into
 * pieces as it would be alone, because on a GPU its logits depend on that.  When a text ends its
 * place gets the next one.  Results are printed in the order of the file, as soon as all before
 * are. */
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "interrupt.h"
#include "memory.h"
#include "output.h"
#include "run_job.h"

struct text {
    struct weir_ids prompt;
    uint32_t context;
    struct generation g;
    bool ended;
};

struct place {
    struct text *text; /* NULL: none */
    size_t at;         /* tokens of the prompt that the graph has */
};

/* A pass that has begun. */
struct begun {
    struct place **asked; /* [n_batch]: whose the i-th choice is, ... */
    struct text **text;   /* ... if this is still there */
    size_t n;
};

struct batch {
    struct run_job *job;
    struct text *text;
    size_t n;
    size_t begun, printed;
    struct place *place; /* n_batch */
    uint32_t piece;      /* tokens of a prompt that go through a pass together */
    /* a pass */
    struct weir_graph_token *token; /* chunk */
    size_t n_tokens;
    struct weir_sampler **sampler;    /* [n_batch], by number of the asked */
    struct weir_graph_choice *choice; /* [n_batch] */
    struct begun begun_pass[WEIR_GRAPH_MOST_BEGUN];
    unsigned oldest, n_on_way;
    /* for the report */
    size_t n_prompt, n_answer;
    double seconds;
};

/* ---- the file ---- */

static weir_err add_text(struct batch *b, const struct run_prompt *p, struct weir_diag *diag)
{
    struct text *t = &b->text[b->n++];
    *t = (struct text){.ended = false};
    weir_err err = run_job_encode(b->job, p->text.bytes, p->text.n, &t->prompt, diag);
    if (!err && t->prompt.n == 0) {
        weir_diag_set(diag,
                      "line %zu: the prompt is empty, and this model's texts begin with "
                      "nothing",
                      p->line);
        err = WEIR_ERR_INVALID;
    }
    return err ? err : run_job_context(b->job, t->prompt.n, &t->context, diag);
}

static weir_err read_texts(struct batch *b, struct weir_diag *diag)
{
    struct run_prompts prompts = {0};
    weir_err err = run_prompts_read(b->job->cli->value[RUN_FILE], &prompts, diag);
    b->text = err ? NULL : calloc(prompts.n ? prompts.n : 1, sizeof(*b->text));
    if (!err && !b->text)
        err = WEIR_ERR_NOMEM;
    for (size_t i = 0; i < prompts.n && !err; i++)
        err = add_text(b, &prompts.at[i], diag);
    run_prompts_free(&prompts);
    return err;
}

/* ---- making ---- */

static weir_err make_passes(struct batch *b)
{
    for (size_t i = 0; i < WEIR_GRAPH_MOST_BEGUN; i++) {
        struct begun *pass = &b->begun_pass[i];
        pass->asked = calloc(b->job->n_batch, sizeof(struct place *));
        pass->text = calloc(b->job->n_batch, sizeof(struct text *));
        if (!pass->asked || !pass->text)
            return WEIR_ERR_NOMEM;
    }
    return WEIR_OK;
}

static weir_err make(struct batch *b, struct weir_diag *diag)
{
    struct weir_graph_options *o = &b->job->graph_options;
    uint32_t most = 1;
    for (size_t i = 0; i < b->n; i++)
        most = b->text[i].context > most ? b->text[i].context : most;
    if (b->job->n_batch > b->n)
        b->job->n_batch = b->n ? (uint32_t)b->n : 1;
    o->context = most;
    o->n_sequences = b->job->n_batch;
    o->n_logits = o->n_sequences;
    o->chunk += o->n_sequences; /* a piece and a token of each text */
    b->job->rules.stream = NULL;
    weir_err err = run_job_make(b->job, diag);
    if (err)
        return err;
    b->piece = o->chunk - o->n_sequences;
    b->place = calloc(o->n_sequences, sizeof(struct place));
    b->token = calloc(o->chunk, sizeof(struct weir_graph_token));
    b->sampler = calloc(o->n_sequences, sizeof(struct weir_sampler *));
    b->choice = calloc(o->n_sequences, sizeof(*b->choice));
    return b->place && b->token && b->sampler && b->choice ? make_passes(b) : WEIR_ERR_NOMEM;
}

static void free_text(struct text *t)
{
    generation_free(&t->g);
    weir_ids_free(&t->prompt);
}

static void free_batch(struct batch *b)
{
    for (size_t i = 0; i < b->n; i++)
        free_text(&b->text[i]);
    free(b->text);
    free(b->place);
    free(b->token);
    free(b->sampler);
    free(b->choice);
    for (size_t i = 0; i < WEIR_GRAPH_MOST_BEGUN; i++) {
        free(b->begun_pass[i].asked);
        free(b->begun_pass[i].text);
    }
}

/* ---- results ---- */

static weir_err print_result(struct batch *b, size_t index, struct weir_diag *diag)
{
    const struct cli *cli = b->job->cli;
    struct generation *g = &b->text[index].g;
    char hash[RUN_HASH];
    json_t *o = json_pack("{s:I,s:o,s:o,s:I,s:s,s:s}", "index", (json_int_t)index, "text",
                          run_report_text(&g->text), "tokens", run_report_ids(&g->ids),
                          "prompt_tokens", (json_int_t)g->n_prompt, "end", g->end, "logits_hash",
                          run_report_hash(hash, g->hash));
    char *line = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    if (!line)
        return WEIR_ERR_NOMEM;
    bool fine = fprintf(cli->out, "%s\n", line) > 0 && fflush(cli->out) == 0;
    free(line);
    if (fine)
        return WEIR_OK;
    weir_diag_set(diag, "standard output could not be written");
    return WEIR_ERR_IO;
}

static weir_err print_ended(struct batch *b, struct weir_diag *diag)
{
    weir_err err = WEIR_OK;
    while (!err && b->printed < b->begun && b->text[b->printed].ended) {
        struct text *t = &b->text[b->printed];
        b->n_answer += t->g.ids.n;
        err = print_result(b, b->printed++, diag);
        free_text(t);
    }
    return err;
}

static void report(const struct batch *b)
{
    char rss[HUMAN_BYTES], read[HUMAN_BYTES], device[RUN_DEVICE_LINE];
    const size_t n = b->n_prompt + b->n_answer;
    fprintf(stderr,
            "%zu texts, %u at a time; prompts: %zu tokens; answers: %zu tokens; all: %.1f tok/s; "
            "read %s; peak RSS %s; %s\n",
            b->printed, b->job->n_batch, b->n_prompt, b->n_answer, run_rate((double)n, b->seconds),
            human_bytes(read, (double)weir_graph_counts(b->job->graph).read_bytes),
            human_bytes(rss, (double)memory_peak()), run_device_line(device, b->job));
}

/* ---- passes ---- */

static weir_err fill_places(struct batch *b, struct weir_diag *diag)
{
    weir_err err = WEIR_OK;
    for (uint32_t i = 0; i < b->job->n_batch && b->begun < b->n && !err; i++) {
        if (b->place[i].text)
            continue;
        struct text *t = &b->text[b->begun++];
        b->place[i] = (struct place){.text = t};
        t->g = (struct generation){.rules = &b->job->rules,
                                   .graph = b->job->graph,
                                   .sequence = i,
                                   .context = t->context,
                                   .prompt = t->prompt.id,
                                   .n_prompt = t->prompt.n};
        weir_graph_begin(b->job->graph, i, t->context);
        err = generation_begin(&t->g, diag);
        b->n_prompt += t->prompt.n;
    }
    return err;
}

static struct begun *newest(struct batch *b)
{
    return &b->begun_pass[(b->oldest + b->n_on_way) % WEIR_GRAPH_MOST_BEGUN];
}

static void add_token(struct batch *b, struct place *p, uint32_t id, bool asks)
{
    struct begun *pass = newest(b);
    b->token[b->n_tokens++] = (struct weir_graph_token){(uint32_t)(p - b->place), id, asks};
    if (!asks)
        return;
    b->sampler[pass->n] = generation_sampler(&p->text->g);
    pass->text[pass->n] = p->text;
    pass->asked[pass->n++] = p;
}

static bool is_asked(const struct place *p)
{
    return p->at < p->text->prompt.n;
}

/* The next piece of a prompt, where there is room for it; it waits otherwise. */
static void add_piece(struct batch *b, struct place *p)
{
    const size_t left = p->text->prompt.n - p->at, n = left < b->piece ? left : b->piece;
    if (n > b->job->graph_options.chunk - b->n_tokens)
        return;
    for (const size_t end = p->at + n; p->at < end;) {
        uint32_t id = p->text->prompt.id[p->at++];
        add_token(b, p, id, p->at == p->text->prompt.n);
    }
}

/* One token of each text that is being answered, then prompts. */
static void choose_tokens(struct batch *b)
{
    const uint32_t n = b->job->n_batch;
    b->n_tokens = newest(b)->n = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct place *p = &b->place[i];
        if (p->text && !is_asked(p) && generation_may_ask(&p->text->g))
            add_token(b, p, WEIR_GRAPH_CHOSEN, true);
    }
    for (uint32_t i = 0; i < n; i++)
        if (b->place[i].text && is_asked(&b->place[i]))
            add_piece(b, &b->place[i]);
}

/* As many as may be on their way. */
static weir_err begin_passes(struct batch *b, struct weir_diag *diag)
{
    weir_err err = WEIR_OK;
    while (!err && weir_graph_may_start(b->job->graph)) {
        err = fill_places(b, diag);
        if (err)
            break;
        choose_tokens(b);
        if (b->n_tokens == 0)
            break;
        err = weir_graph_start(b->job->graph, b->token, b->n_tokens, b->sampler,
                               generation_wants_logits(&b->job->rules), diag);
        b->n_on_way += err == WEIR_OK;
    }
    return err;
}

/* A text that has ended meanwhile takes nothing more. */
static weir_err take_choices(struct batch *b, const struct begun *pass, struct weir_diag *diag)
{
    weir_err err = WEIR_OK;
    for (size_t i = 0; i < pass->n && !err; i++) {
        struct place *p = pass->asked[i];
        bool goes_on;
        if (p->text != pass->text[i])
            continue;
        err = generation_take(&p->text->g, &b->choice[i], &goes_on, diag);
        if (!err && !goes_on) {
            p->text->ended = true;
            p->text = NULL;
        }
    }
    return err;
}

static weir_err end_pass(struct batch *b, struct weir_diag *diag)
{
    const struct begun *pass = &b->begun_pass[b->oldest];
    weir_err err = weir_graph_finish(b->job->graph, b->choice, diag);
    b->oldest = (b->oldest + 1) % WEIR_GRAPH_MOST_BEGUN;
    b->n_on_way--;
    return err ? err : take_choices(b, pass, diag);
}

static weir_err run_all(struct batch *b, struct weir_diag *diag)
{
    weir_err err = WEIR_OK;
    while (!err && b->printed < b->n && !interrupted()) {
        err = begin_passes(b, diag);
        if (!err)
            err = end_pass(b, diag);
        if (!err)
            err = print_ended(b, diag);
    }
    return err;
}

int run_batch(struct run_job *job)
{
    struct weir_diag diag = {""};
    struct batch b = {.job = job};
    weir_err err = run_job_open(job, &diag);
    if (!err)
        err = read_texts(&b, &diag);
    if (!err)
        err = make(&b, &diag);
    double began = now_seconds();
    if (!err)
        err = run_all(&b, &diag);
    while (!err && b.n_on_way) /* what was begun for texts that had ended */
        err = end_pass(&b, &diag);
    b.seconds = now_seconds() - began;
    if (!err && !job->cli->quiet)
        report(&b);
    int code = err             ? fail(job->cli, err, job->source.name, &diag)
               : interrupted() ? EXIT_INTERRUPTED
                               : EXIT_FINE;
    free_batch(&b);
    return code;
}
