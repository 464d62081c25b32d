/* cmd_run_infer.c - `weir run`: opens the model, makes what generating needs, and says how it
 * went. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmd_run.h"
#include "fail.h"
#include "generate.h"
#include "infer/tokenizer_read.h"
#include "interrupt.h"
#include "memory.h"
#include "model_source.h"
#include "options.h"
#include "output.h"

enum {
    DEFAULT_N = 128,
    DEFAULT_CHUNK = 256,
    MOST_CHUNK = 8192,
    DEFAULT_TOP_K = 40,
    MAX_PROMPT_BYTES = 64 << 20,
};

struct job {
    struct model_source source;
    struct weir_model *model;
    struct weir_tokenizer *tokenizer;
    struct weir_ids prompt;
    struct weir_sampler_options sampling;
    struct weir_graph_options graph;
    struct generation g;
    uint64_t ram; /* 0: what the machine has to spare */
    double load_seconds;
};

/* ---- options ---- */

static bool real_option(const struct cli *cli, int i, double most, float *out)
{
    char *end;
    if (!option_given(cli, i))
        return true;
    errno = 0;
    double v = strtod(cli->value[i], &end);
    if (end == cli->value[i] || *end || errno || !(v >= 0 && v <= most)) {
        (void)fail_usage(cli, "--%s is a number from 0 to %g", cli->cmd->option[i].name, most);
        return false;
    }
    *out = (float)v;
    return true;
}

/* From 0 on. */
static bool count_option(const struct cli *cli, int i, unsigned long long most,
                         unsigned long long *out)
{
    char *end;
    if (!option_given(cli, i))
        return true;
    const char *value = cli->value[i];
    errno = 0;
    unsigned long long v = strtoull(value, &end, 10);
    if (*value < '0' || *value > '9' || *end || errno || v > most) {
        (void)fail_usage(cli, "--%s is a number from 0 to %llu", cli->cmd->option[i].name, most);
        return false;
    }
    *out = v;
    return true;
}

static bool read_sampling(const struct cli *cli, struct weir_sampler_options *s)
{
    unsigned long long top_k = DEFAULT_TOP_K, seed = 0;
    *s = (struct weir_sampler_options){
        .temperature = 0.8F, .top_p = 0.95F, .min_p = 0.05F, .repeat_penalty = 1};
    bool fine = real_option(cli, RUN_TEMPERATURE, 100, &s->temperature) &&
                real_option(cli, RUN_TOP_P, 1, &s->top_p) &&
                real_option(cli, RUN_MIN_P, 1, &s->min_p) &&
                real_option(cli, RUN_REPEAT_PENALTY, 100, &s->repeat_penalty) &&
                count_option(cli, RUN_TOP_K, UINT32_MAX, &top_k) &&
                count_option(cli, RUN_SEED, UINT64_MAX, &seed);
    s->top_k = (uint32_t)top_k;
    s->seed = seed;
    return fine;
}

static bool read_keep(const struct cli *cli, struct weir_graph_options *o)
{
    const char *form = option_given(cli, RUN_KEEP) ? cli->value[RUN_KEEP] : "resident";
    o->keep_plain = strcmp(form, "plain") == 0;
    o->keep_bytes = strcmp(form, "none") == 0 ? 0 : UINT64_MAX;
    if (o->keep_plain || !o->keep_bytes || strcmp(form, "resident") == 0)
        return true;
    (void)fail_usage(cli, "--keep is 'resident', 'plain' or 'none'");
    return false;
}

static bool read_options(struct cli *cli, struct job *job)
{
    struct weir_graph_options *o = &job->graph;
    unsigned long long n = DEFAULT_N, context = 0;
    bool fine = read_sampling(cli, &job->sampling) &&
                option_number(cli, RUN_THREADS, CLI_MAX_THREADS, 0, &o->n_threads) &&
                option_number(cli, RUN_CHUNK, MOST_CHUNK, DEFAULT_CHUNK, &o->chunk) &&
                option_bytes(cli, RUN_RAM, 0, &job->ram) && read_keep(cli, o) &&
                count_option(cli, RUN_N, WEIR_MAX_CONTEXT, &n) &&
                count_option(cli, RUN_CONTEXT, WEIR_MAX_CONTEXT, &context);
    if (!fine)
        return false;
    job->g.most = (uint32_t)n;
    job->g.ignore_eos = option_given(cli, RUN_IGNORE_EOS);
    job->g.show_tokens = option_given(cli, RUN_TOKENS);
    job->g.stop = cli->value[RUN_STOP];
    o->context = (uint32_t)context;
    o->kv_bf16 = option_given(cli, RUN_KV_BF16);
    if (job->g.stop && !*job->g.stop) {
        (void)fail_usage(cli, "--stop needs a text");
        return false;
    }
    if (option_given(cli, RUN_PROMPT) == option_given(cli, RUN_FILE)) {
        (void)fail_usage(cli, "one of --prompt and --file says what the text begins with");
        return false;
    }
    return true;
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

static weir_err read_file(const char *path, struct weir_text *out, struct weir_diag *diag)
{
    const bool standard = strcmp(path, "-") == 0;
    FILE *f = standard ? stdin : fopen(path, "rb");
    weir_err err = f ? read_stream(f, out) : errno == ENOENT ? WEIR_ERR_NOT_FOUND : WEIR_ERR_IO;
    if (err)
        weir_diag_set(diag, "%s: %s", path,
                      err == WEIR_ERR_INVALID ? "too long for a prompt" : strerror(errno));
    if (f && !standard)
        (void)fclose(f);
    return err;
}

static weir_err encode_prompt(const struct cli *cli, struct job *job, struct weir_diag *diag)
{
    const char *text = cli->value[RUN_PROMPT];
    struct weir_text file = {0};
    weir_err err = text ? WEIR_OK : read_file(cli->value[RUN_FILE], &file, diag);
    const struct weir_encoding how = {.add_special = true, .parse_special = true};
    if (!err)
        err = weir_tokenizer_encode(job->tokenizer, text ? text : file.bytes,
                                    text ? strlen(text) : file.n, how, &job->prompt, diag);
    weir_text_free(&file);
    if (!err && job->prompt.n == 0) {
        weir_diag_set(diag, "the prompt is empty, and this model's texts begin with nothing; say "
                            "something with --prompt");
        err = WEIR_ERR_INVALID;
    }
    return err;
}

/* How many tokens there is room for.  The prompt and one more must fit. */
static weir_err fit_context(struct job *job, struct weir_diag *diag)
{
    const uint32_t most = job->model->config.context;
    struct weir_graph_options *o = &job->graph;
    uint64_t wanted = (uint64_t)job->prompt.n + job->g.most;
    if (!o->context)
        o->context = wanted < most ? (uint32_t)wanted : most;
    if (job->prompt.n > o->context || (job->prompt.n == o->context && job->g.most > 0)) {
        weir_diag_set(diag, "the prompt has %zu tokens, the context room for %u; %s", job->prompt.n,
                      o->context,
                      o->context < most ? "make it larger with --ctx-size" : "make it shorter");
        return WEIR_ERR_INVALID;
    }
    if (o->chunk > job->prompt.n)
        o->chunk = (uint32_t)job->prompt.n;
    return WEIR_OK;
}

/* ---- making and running ---- */

static weir_err open_model(const struct cli *cli, struct job *job, struct weir_diag *diag)
{
    struct weir_model_config config;
    weir_err err = model_source_open(&job->source, cli->operand[0], cli->value[RUN_DIR], diag);
    if (!err)
        err = weir_model_config_read(job->source.checkpoint, &config, diag);
    if (!err)
        err = weir_model_open(job->source.checkpoint, &config, &job->model, diag);
    if (!err)
        err = weir_tokenizer_read(job->source.checkpoint, &job->tokenizer, diag);
    return err;
}

static weir_err make_generation(const struct cli *cli, struct job *job, struct weir_diag *diag)
{
    struct generation *g = &job->g;
    weir_err err = memory_fit(job->ram, job->model, &job->graph, diag);
    if (!err)
        err = weir_graph_new(job->model, &job->graph, &g->graph, diag);
    if (!err)
        err = weir_sampler_new(job->model->config.vocab, &job->sampling, &g->sampler);
    if (!err)
        err = weir_logits_hash_new(&g->hash);
    if (err)
        return err;
    g->model = job->model;
    g->tokenizer = job->tokenizer;
    g->prompt = job->prompt.id;
    g->n_prompt = job->prompt.n;
    g->chunk = job->graph.chunk;
    g->context = job->graph.context;
    g->stream = cli->json ? NULL : cli->out;
    weir_graph_begin(g->graph, 0, job->graph.context);
    if (!option_given(cli, RUN_LOGITS))
        return WEIR_OK;
    g->logits = fopen(cli->value[RUN_LOGITS], "wb");
    if (g->logits)
        return WEIR_OK;
    weir_diag_set(diag, "%s: %s", cli->value[RUN_LOGITS], strerror(errno));
    return WEIR_ERR_IO;
}

static weir_err end_logits(struct job *job, const char *path, struct weir_diag *diag)
{
    FILE *f = job->g.logits;
    job->g.logits = NULL;
    if (!f || fclose(f) == 0)
        return WEIR_OK;
    weir_diag_set(diag, "%s: %s", path, strerror(errno));
    return WEIR_ERR_IO;
}

static weir_err do_job(const struct cli *cli, struct job *job, struct weir_diag *diag)
{
    double began = now_seconds();
    weir_err err = open_model(cli, job, diag);
    if (!err)
        err = encode_prompt(cli, job, diag);
    if (!err)
        err = fit_context(job, diag);
    if (!err)
        err = make_generation(cli, job, diag);
    job->load_seconds = now_seconds() - began;
    if (err)
        return err;
    err = generate(&job->g, diag);
    weir_err ended = end_logits(job, cli->value[RUN_LOGITS], err ? NULL : diag);
    return err ? err : ended;
}

static void close_job(struct job *job)
{
    if (job->g.logits)
        (void)fclose(job->g.logits);
    generation_free(&job->g);
    weir_graph_free(job->g.graph);
    weir_sampler_free(job->g.sampler);
    weir_logits_hash_free(job->g.hash);
    weir_ids_free(&job->prompt);
    weir_tokenizer_free(job->tokenizer);
    weir_model_free(job->model);
    model_source_close(&job->source);
}

/* ---- saying ---- */

static double rate(double n, double seconds)
{
    return seconds > 0 ? n / seconds : 0;
}

/* Passes after the prompt's: the first token of the answer comes from that. */
static double passes(const struct job *job)
{
    return job->g.ids.n > 0 ? (double)(job->g.ids.n - 1) : 0;
}

static json_t *ids_array(const struct weir_ids *ids)
{
    json_t *list = json_array();
    for (size_t i = 0; i < ids->n; i++)
        (void)json_array_append_new(list, json_integer((json_int_t)ids->id[i]));
    if (json_array_size(list) == ids->n)
        return list;
    json_decref(list);
    return NULL;
}

/* The text may have NULs and bytes that are no UTF-8. */
static json_t *text_of(struct weir_text *text)
{
    if (weir_text_add(text, "", 1))
        return NULL;
    return json_text(text->bytes);
}

static json_t *result(struct job *job)
{
    struct generation *g = &job->g;
    char hash[17];
    (void)snprintf(hash, sizeof(hash), "%016llx",
                   (unsigned long long)weir_logits_hash_value(g->hash));
    return json_pack("{s:o,s:o,s:I,s:s,s:f,s:f,s:f,s:s,s:I,s:I,s:I,s:I,s:{s:f,s:f,s:f}}", "text",
                     text_of(&g->text), "tokens", ids_array(&g->ids), "prompt_tokens",
                     (json_int_t)g->n_prompt, "end", g->end, "prompt_tok_per_s",
                     rate((double)g->n_prompt, g->prompt_seconds), "gen_tok_per_s",
                     rate(passes(job), g->answer_seconds), "gb_per_s",
                     rate((double)g->answer_bytes / 1e9, g->answer_seconds), "logits_hash", hash,
                     "peak_rss_bytes", (json_int_t)memory_peak(), "peak_vram_bytes", (json_int_t)0,
                     "bytes_read", (json_int_t)weir_graph_counts(g->graph).read_bytes, "threads",
                     (json_int_t)weir_graph_threads(g->graph), "seconds", "load", job->load_seconds,
                     "prompt", g->prompt_seconds, "generate", g->answer_seconds);
}

static void print_line(const struct job *job)
{
    const struct generation *g = &job->g;
    char rss[HUMAN_BYTES], speed[HUMAN_BYTES];
    fprintf(stderr,
            "prompt: %zu tokens, %.1f tok/s; answer: %zu tokens, %.1f tok/s, %s/s of weights; "
            "peak RSS %s; logits %016llx; end: %s\n",
            g->n_prompt, rate((double)g->n_prompt, g->prompt_seconds), g->ids.n,
            rate(passes(job), g->answer_seconds),
            human_bytes(speed, rate((double)g->answer_bytes, g->answer_seconds)),
            human_bytes(rss, (double)memory_peak()),
            (unsigned long long)weir_logits_hash_value(g->hash), g->end);
}

static int say_result(const struct cli *cli, struct job *job)
{
    if (cli->json) {
        int code = print_json(cli, result(job));
        return code == EXIT_FINE && interrupted() ? EXIT_INTERRUPTED : code;
    }
    if (job->g.ids.n)
        (void)fputc('\n', cli->out);
    (void)fflush(cli->out);
    if (!cli->quiet)
        print_line(job);
    return interrupted() ? EXIT_INTERRUPTED : EXIT_FINE;
}

int run_run(struct cli *cli)
{
    struct weir_diag diag = {""};
    struct job job = {.load_seconds = 0};
    if (!read_options(cli, &job))
        return EXIT_USAGE;
    interrupt_catch();
    weir_err err = do_job(cli, &job, &diag);
    int code = err ? fail(cli, err, job.source.name, &diag) : say_result(cli, &job);
    close_job(&job);
    return code;
}
