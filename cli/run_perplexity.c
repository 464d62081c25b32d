/* How well a model foresees a text: exp of the mean of -log p(token | those before it).
 *
 * The text is cut into windows of the context, each begun anew; all tokens count but the first of a
 * window.  Computed in the order of the text, in doubles: the same logits give the same number. */
#include <math.h>
#include <stdlib.h>

#include "fail.h"
#include "interrupt.h"
#include "memory.h"
#include "output.h"
#include "run_job.h"

enum {
    DEFAULT_WINDOW = 512,
    MOST_ROWS = 64, /* logits at once: there are many */
};

struct perplexity {
    struct run_job *job;
    struct weir_ids ids;
    struct weir_logits_hash *hash;
    double sum; /* of -log p */
    uint64_t n;
    size_t n_windows;
    double seconds;
};

/* -log of the probability that the logits give `id`. */
static double surprise(const float *logits, uint32_t n, uint32_t id)
{
    float most = logits[0];
    double sum = 0;
    for (uint32_t i = 1; i < n; i++)
        if (logits[i] > most)
            most = logits[i];
    for (uint32_t i = 0; i < n; i++)
        sum += exp((double)logits[i] - (double)most);
    return log(sum) - ((double)logits[id] - (double)most);
}

/* Tokens at .. at + n - 1 of a window that ends before `end`. */
static weir_err pass(struct perplexity *p, size_t at, size_t n, size_t end, struct weir_diag *diag)
{
    struct weir_graph_token token[MOST_ROWS];
    const uint32_t vocab = p->job->model->config.vocab;
    for (size_t i = 0; i < n; i++)
        token[i] = (struct weir_graph_token){0, p->ids.id[at + i], at + i + 1 < end};
    weir_err err =
        interrupted() ? WEIR_ERR_CANCELLED : weir_graph_run(p->job->graph, token, n, diag);
    for (size_t i = 0; i < n && !err && at + i + 1 < end; i++) {
        const float *logits = weir_graph_logits(p->job->graph, i);
        weir_logits_hash_add(p->hash, logits, vocab);
        p->sum += surprise(logits, vocab, p->ids.id[at + i + 1]);
        p->n++;
    }
    return err;
}

static weir_err measure(struct perplexity *p, struct weir_diag *diag)
{
    const struct weir_graph_options *o = &p->job->graph_options;
    weir_err err = WEIR_OK;
    for (size_t first = 0; first + 1 < p->ids.n && !err; first += o->context) {
        size_t end = first + o->context < p->ids.n ? first + o->context : p->ids.n;
        weir_graph_begin(p->job->graph, 0, 0);
        for (size_t at = first; at < end && !err; at += o->chunk)
            err = pass(p, at, end - at < o->chunk ? end - at : o->chunk, end, diag);
        p->n_windows += !err;
    }
    if (!err && !isfinite(p->sum)) {
        weir_diag_set(diag, "the logits are not numbers: weights with NaNs, or too large for F32");
        err = WEIR_ERR_CORRUPT;
    }
    return err;
}

static weir_err make(struct perplexity *p, struct weir_diag *diag)
{
    struct weir_graph_options *o = &p->job->graph_options;
    const uint32_t most = p->job->model->config.context;
    struct weir_text text = {0};
    weir_err err = run_job_read_file(p->job->cli->value[RUN_PERPLEXITY], &text, diag);
    if (!err)
        err = run_job_encode(p->job, text.n ? text.bytes : "", text.n, &p->ids, diag);
    weir_text_free(&text);
    if (!err && p->ids.n < 2) {
        weir_diag_set(diag, "a text of less than two tokens has no perplexity");
        err = WEIR_ERR_INVALID;
    }
    if (err)
        return err;
    if (!o->context)
        o->context = most < DEFAULT_WINDOW ? most : DEFAULT_WINDOW;
    if (o->context < 2) {
        weir_diag_set(diag, "a window of one token foresees nothing; use --ctx-size 2 or more");
        return WEIR_ERR_INVALID;
    }
    if (o->chunk > MOST_ROWS)
        o->chunk = MOST_ROWS;
    o->n_logits = o->chunk;
    err = run_job_make(p->job, diag);
    return err ? err : weir_logits_hash_new(&p->hash);
}

/* cut: interrupted, so that it is of what was counted until then. */
static int say_result(const struct perplexity *p, bool cut)
{
    const struct cli *cli = p->job->cli;
    const double value = exp(p->sum / (double)p->n);
    const double rate = run_rate(cut ? (double)p->n : (double)p->ids.n, p->seconds);
    char hash[RUN_HASH], rss[HUMAN_BYTES];
    run_report_hash(hash, p->hash);
    if (cli->json) {
        int code = print_json(
            cli,
            json_pack("{s:f,s:b,s:I,s:I,s:I,s:I,s:f,s:s,s:I,s:I,s:{s:f,s:f}}", "perplexity", value,
                      "interrupted", (int)cut, "tokens", (json_int_t)p->ids.n, "counted",
                      (json_int_t)p->n, "window", (json_int_t)p->job->graph_options.context,
                      "windows", (json_int_t)p->n_windows, "tok_per_s", rate, "logits_hash", hash,
                      "peak_rss_bytes", (json_int_t)memory_peak(), "bytes_read",
                      (json_int_t)weir_graph_counts(p->job->graph).read_bytes, "seconds", "load",
                      p->job->load_seconds, "run", p->seconds));
        return cut ? EXIT_INTERRUPTED : code;
    }
    fprintf(cli->out, "perplexity %.9g of %zu tokens, %llu of them counted, windows of %u%s\n",
            value, p->ids.n, (unsigned long long)p->n, p->job->graph_options.context,
            cut ? "; interrupted" : "");
    if (!cli->quiet)
        fprintf(stderr, "%.1f tok/s; peak RSS %s; logits %s\n", rate,
                human_bytes(rss, (double)memory_peak()), hash);
    return cut ? EXIT_INTERRUPTED : EXIT_FINE;
}

int run_perplexity(struct run_job *job)
{
    struct weir_diag diag = {""};
    struct perplexity p = {.job = job};
    weir_err err = run_job_open(job, &diag);
    if (!err)
        err = make(&p, &diag);
    double began = now_seconds();
    if (!err)
        err = measure(&p, &diag);
    p.seconds = now_seconds() - began;
    const bool cut = err == WEIR_ERR_CANCELLED && p.n > 0 && isfinite(p.sum);
    int code = err && !cut ? fail(job->cli, err, job->source.name, &diag) : say_result(&p, cut);
    weir_logits_hash_free(p.hash);
    weir_ids_free(&p.ids);
    return code;
}
