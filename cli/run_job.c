#include "run_job.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "infer/tokenizer_read.h"
#include "memory.h"
#include "options.h"
#include "output.h"

enum {
    MAX_PROMPT_BYTES = 64 << 20,
    ENDLESS_TOKENS = 4096, /* room for an answer without a length */
};

/* ---- the model ---- */

weir_err run_job_open(struct run_job *job, struct weir_diag *diag)
{
    const struct cli *cli = job->cli;
    struct weir_model_config config;
    double began = now_seconds();
    weir_err err =
        model_source_open(&job->source, job->name, cli->value[RUN_BASE], cli->value[RUN_DIR], diag);
    if (!err)
        err = weir_model_config_read(job->source.checkpoint, &config, diag);
    if (!err)
        err = weir_model_open(job->source.checkpoint, &config, &job->model, diag);
    if (!err)
        err = weir_tokenizer_read(job->source.checkpoint, &job->tokenizer, diag);
    if (err)
        return err;
    job->rules.model = job->model;
    job->rules.tokenizer = job->tokenizer;
    job->rules.end_id = job->end_id;
    for (uint32_t i = 0; i < config.n_eos && !job->ignore_eos; i++)
        job->end_id[job->rules.n_ends++] = config.eos[i];
    err = run_device_choose(job->device, job, diag);
    job->load_seconds += now_seconds() - began;
    return err;
}

void run_job_close(struct run_job *job)
{
    if (job->rules.logits)
        (void)fclose(job->rules.logits);
    weir_graph_free(job->graph);
    weir_tokenizer_free(job->tokenizer);
    weir_model_free(job->model);
    model_source_close(&job->source);
    free(job->stops);
}

/* ---- the prompt ---- */

static weir_err read_stream(FILE *f, struct weir_text *out)
{
    char piece[1 << 14];
    size_t n;
    weir_err err = WEIR_OK;
    while (!err && (n = fread(piece, 1, sizeof(piece), f)) > 0)
        err = out->n + n > MAX_PROMPT_BYTES ? WEIR_ERR_INVALID : weir_text_add(out, piece, n);
    return err ? err : ferror(f) ? WEIR_ERR_IO : WEIR_OK;
}

weir_err run_job_read_file(const char *path, struct weir_text *out, struct weir_diag *diag)
{
    const bool standard = strcmp(path, "-") == 0;
    FILE *f = standard ? stdin : fopen(path, "rbe");
    weir_err err = f ? read_stream(f, out) : errno == ENOENT ? WEIR_ERR_NOT_FOUND : WEIR_ERR_IO;
    if (err)
        weir_diag_set(diag, "%s: %s", path,
                      err == WEIR_ERR_INVALID ? "too long for a prompt" : strerror(errno));
    if (f && !standard)
        (void)fclose(f);
    return err;
}

weir_err run_job_text(const struct run_job *job, struct weir_text *out, struct weir_diag *diag)
{
    const char *text = job->cli->value[RUN_PROMPT];
    return text ? weir_text_add(out, text, strlen(text))
                : run_job_read_file(job->cli->value[RUN_FILE], out, diag);
}

weir_err run_job_encode(const struct run_job *job, const char *text, size_t n, struct weir_ids *ids,
                        struct weir_diag *diag)
{
    const struct weir_encoding how = {.add_special = true, .parse_special = true};
    return weir_tokenizer_encode(job->tokenizer, text, n, how, ids, diag);
}

weir_err run_job_prompt(const struct run_job *job, struct weir_ids *ids, struct weir_diag *diag)
{
    struct weir_text text = {0};
    weir_err err = run_job_text(job, &text, diag);
    if (!err)
        err = run_job_encode(job, text.n ? text.bytes : "", text.n, ids, diag);
    weir_text_free(&text);
    if (!err && ids->n == 0) {
        weir_diag_set(diag, "the prompt is empty, and this model's texts begin with nothing; say "
                            "something with --prompt");
        err = WEIR_ERR_INVALID;
    }
    return err;
}

weir_err run_job_context(const struct run_job *job, size_t n, uint32_t *context,
                         struct weir_diag *diag)
{
    const uint32_t most = job->model->config.context;
    uint64_t wanted =
        (uint64_t)n + (job->rules.most == RUN_NO_END ? ENDLESS_TOKENS : job->rules.most);
    *context = job->graph_options.context ? job->graph_options.context
               : wanted < most            ? (uint32_t)wanted
                                          : most;
    if (n < *context || (n == *context && job->rules.most == 0))
        return WEIR_OK;
    weir_diag_set(diag, "the prompt has %zu tokens, the context room for %u; %s", n, *context,
                  *context < most ? "make it larger with --ctx-size" : "make it shorter");
    return WEIR_ERR_INVALID;
}

/* ---- the graph ---- */

static weir_err make_on_cpu(struct run_job *job, uint64_t ram, struct weir_diag *diag)
{
    weir_err err = memory_fit(ram, job->model, &job->graph_options, diag);
    if (err)
        return err;
    job->fixed_bytes = memory_fixed(job->model, &job->graph_options);
    return weir_graph_new(job->model, &job->graph_options, &job->graph, diag);
}

weir_err run_job_graph(struct run_job *job, uint64_t bytes, uint64_t ram, struct weir_diag *diag)
{
    double began = now_seconds();
    weir_err err = job->on_gpu ? run_device_graph(job, bytes, diag) : WEIR_OK;
    if (err && run_device_give_up(job, err, diag))
        err = WEIR_OK;
    if (!err && !job->on_gpu)
        err = make_on_cpu(job, ram, diag);
    job->load_seconds += now_seconds() - began;
    return err;
}

weir_err run_job_make(struct run_job *job, struct weir_diag *diag)
{
    const char *logits = job->cli->value[RUN_LOGITS];
    weir_err err = run_job_graph(job, 0, job->ram, diag);
    if (err || !logits || option_given(job->cli, RUN_PLAN))
        return err;
    job->rules.logits = fopen(logits, "wbe");
    if (job->rules.logits)
        return WEIR_OK;
    weir_diag_set(diag, "%s: %s", logits, strerror(errno));
    return WEIR_ERR_IO;
}

weir_err run_job_end_logits(struct run_job *job, struct weir_diag *diag)
{
    FILE *f = job->rules.logits;
    job->rules.logits = NULL;
    if (!f || fclose(f) == 0)
        return WEIR_OK;
    weir_diag_set(diag, "%s: %s", job->cli->value[RUN_LOGITS], strerror(errno));
    return WEIR_ERR_IO;
}
