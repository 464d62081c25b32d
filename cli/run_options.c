/* The command line of `weir run` as a job. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "options.h"
#include "run_job.h"

enum {
    DEFAULT_N = 128,
    DEFAULT_N_CHAT = 1024,
    DEFAULT_CHUNK = 256,
    MOST_CHUNK = 8192,
    DEFAULT_TOP_K = 40,
    MOST_BATCH = 256,
};

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

/* -1: until the model or the context ends it. */
static bool read_length(const struct cli *cli, unsigned long long *n)
{
    if (!option_given(cli, RUN_N) || strcmp(cli->value[RUN_N], "-1") != 0)
        return count_option(cli, RUN_N, WEIR_MAX_CONTEXT, n);
    *n = RUN_NO_END;
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

static bool read_stops(struct run_job *job, const struct cli *cli)
{
    if (!option_given(cli, RUN_STOP))
        return true;
    job->stops = strdup(cli->value[RUN_STOP]);
    if (!job->stops) {
        (void)fail(cli, WEIR_ERR_NOMEM, NULL, NULL);
        return false;
    }
    const char border[] = {RUN_STOP_BORDER, 0};
    for (char *at = job->stops, *next; at; at = next) {
        next = strpbrk(at, border);
        if (next)
            *next++ = 0;
        if (!*at || job->rules.n_stops == RUN_MOST_STOPS) {
            (void)fail_usage(cli,
                             *at ? "--stop is given more than %d times" : "--stop needs a text",
                             RUN_MOST_STOPS);
            return false;
        }
        job->stop[job->rules.n_stops++] = at;
    }
    return true;
}

/* What several models, or several prompts, do not do together. */
static const char *check_several(const struct cli *cli)
{
    static const int alone[] = {RUN_CHAT, RUN_SYS, RUN_PERPLEXITY, RUN_PLAN, RUN_LOGITS, RUN_BATCH};
    const bool models = option_nth(cli, RUN_MODEL, 1), prompts = option_nth(cli, RUN_PROMPT, 1);
    if (!models && !prompts)
        return NULL;
    if (models && option_nth(cli, RUN_MODEL, RUN_MOST_MODELS))
        return "--model is given too many times";
    for (size_t i = 0; i < sizeof(alone) / sizeof(alone[0]); i++)
        if (option_given(cli, alone[i]))
            return models ? "several models answer --prompt and --file; all else is of one model"
                          : "several --prompt are answered one after the other; all else is of one";
    return NULL;
}

/* What it is to do: at most one thing. */
static bool check_task(struct run_job *job, const struct cli *cli)
{
    const bool text = option_given(cli, RUN_PROMPT), file = option_given(cli, RUN_FILE);
    const bool ppl = option_given(cli, RUN_PERPLEXITY), plan = option_given(cli, RUN_PLAN);
    const char *why = NULL;
    if ((cli->n_operands > 0) == option_given(cli, RUN_MODEL))
        why = cli->n_operands ? "the model is given twice" : "needs STORE|URL|DIR|FILE";
    else if (text && file)
        why = "only one of --prompt and --file says what the text begins with";
    else if (ppl && (text || file || job->chats))
        why = "--perplexity goes without --prompt, --file and --chat";
    else if (!text && !file && !ppl && !plan && !job->chats)
        why = "one of --prompt and --file says what the text begins with; or --chat";
    else if (job->chats && run_prompts_are_lines(cli->value[RUN_FILE]))
        why = "--chat goes without prompts in a .jsonl file";
    else if (option_given(cli, RUN_BATCH) && !run_prompts_are_lines(cli->value[RUN_FILE]))
        why = "--batch-size is of the prompts of --file NAME.jsonl; --ubatch-size is of the tokens "
              "of one";
    else if (option_given(cli, RUN_TEMPLATE) && job->raw)
        why = "only one of --raw and --chat-template";
    else if ((option_given(cli, RUN_TEMPLATE) || job->raw) && !job->chats)
        why = "--raw and --chat-template go with --chat or --sys";
    else if (option_given(cli, RUN_LOGITS) && (ppl || run_prompts_are_lines(cli->value[RUN_FILE])))
        why = "--logits is of one text";
    if (!why)
        why = check_several(cli);
    if (why)
        (void)fail_usage(cli, "%s", why);
    return !why;
}

/* The operand, or the n-th --model. */
static const char *name_of(const struct cli *cli, size_t n)
{
    return cli->n_operands ? cli->operand[0] : option_nth(cli, RUN_MODEL, n);
}

bool run_job_options(struct run_job *job, const struct cli *cli, size_t number)
{
    struct weir_graph_options *o = &job->graph_options;
    job->cli = cli;
    job->name = name_of(cli, number);
    job->raw = option_given(cli, RUN_RAW);
    job->chats = option_given(cli, RUN_CHAT) || option_given(cli, RUN_SYS);
    job->ignore_eos = option_given(cli, RUN_IGNORE_EOS);
    unsigned long long n = job->chats ? DEFAULT_N_CHAT : DEFAULT_N, context = 0;
    bool fine = read_sampling(cli, &job->rules.sampling) &&
                option_number(cli, RUN_THREADS, CLI_MAX_THREADS, 0, &o->n_threads) &&
                option_number(cli, RUN_CHUNK, MOST_CHUNK, DEFAULT_CHUNK, &o->chunk) &&
                option_number(cli, RUN_BATCH, MOST_BATCH, 1, &job->n_batch) &&
                option_bytes(cli, RUN_RAM, 0, &job->ram) && read_keep(cli, o) &&
                read_length(cli, &n) &&
                count_option(cli, RUN_CONTEXT, WEIR_MAX_CONTEXT, &context) &&
                read_stops(job, cli) && check_task(job, cli);
    job->rules.most = (uint32_t)n;
    job->rules.stop = job->stop;
    job->rules.hashes = cli->json || !cli->quiet || run_prompts_are_lines(cli->value[RUN_FILE]);
    job->rules.show_tokens = option_given(cli, RUN_TOKENS);
    job->rules.stream = cli->json ? NULL : cli->out;
    o->context = (uint32_t)context;
    o->kv_bf16 = option_given(cli, RUN_KV_BF16);
    o->kernels = cli->value[RUN_KERNELS];
    return fine;
}
