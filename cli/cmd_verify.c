/* cmd_verify.c - every byte of a store checked, and compared with a plain tree if wanted. */
#include "cache_options.h"
#include "cmd.h"
#include "codec/extract.h"
#include "compare.h"
#include "fail.h"
#include "interrupt.h"
#include "nearness.h"
#include "opened.h"
#include "options.h"
#include "output.h"
#include "progress.h"

enum { OPT_AGAINST, OPT_THREADS, OPT_BASE, OPT_CACHE, OPT_CACHE_SIZE };

static const struct cli_option options[] = {
    [OPT_AGAINST] = {0, "against", "DIR", "compare with the plain files in DIR too", false},
    [OPT_THREADS] = {'j', "threads", "N", "use N threads (default: one per processor)", false},
    [OPT_BASE] = {0, "base", "STORE|URL",
                  "of a store of differences: the one that it differs from (default: beside it)",
                  false},
    [OPT_CACHE] = {0, "cache", "DIR", "of a URL: keep what was fetched there, for later", false},
    [OPT_CACHE_SIZE] = {0, "cache-size", "BYTES", "how much of it (default: 2Gi)", false},
    {0},
};

struct job {
    struct opened in;
    struct remote_options remote;
    const char *base; /* NULL: beside the store */
    struct compare compare;
    const char *against; /* NULL: only the store itself */
    bool of_tree;        /* what went wrong is the plain tree's, and names it */
    double seconds;
};

static weir_err check(const struct cli *cli, struct job *job, unsigned n_threads,
                      struct weir_diag *diag)
{
    double started = now_seconds();
    struct progress progress;
    progress_begin(&progress, cli, "checking");
    struct weir_extract_options how = {.n_threads = n_threads, .watch = &progress.watch};
    /* A remote store's extents are checked as they come: once over the network is enough. */
    bool is_part = weir_store_is_part(job->in.store);
    weir_err err =
        job->in.remote && !is_part ? WEIR_OK : weir_check_extents(job->in.store, &how, diag);
    progress_end(&progress);
    if (!err)
        err = opened_need_all(&job->in, diag); /* only now: damage is worse than a lack */
    if (!err)
        err = opened_base(&job->in, job->base, &job->remote, diag);
    if (err)
        return err;
    if (job->against)
        err = compare_open(&job->compare, job->in.store, job->against, diag);
    job->of_tree = err && diag->text[0];
    if (err)
        return err;

    struct weir_sink sink = compare_sink(&job->compare);
    progress_begin(&progress, cli, "decoding");
    err = weir_extract(job->in.store, job->against ? &sink : NULL, &how, diag);
    progress_end(&progress);
    job->of_tree = err && job->compare.diag.text[0];
    if (job->of_tree)
        *diag = job->compare.diag;
    job->seconds = now_seconds() - started;
    return err;
}

static json_t *result_object(const struct job *job, bool fine)
{
    const struct weir_store_info *info = weir_store_info(job->in.store);
    char hex[HEX_DIGEST];
    struct near_sum near = near_sum_store(job->in.store);
    json_t *recorded = near_sum_object(&near), *found = json_null();
    if (near.n && job->against)
        found = nearness_object(&job->compare.nearness);
    return json_pack("{s:o,s:o,s:b,s:s,s:I,s:I,s:f,s:I,s:I,s:I,s:f}", "near_lossless", recorded,
                     "near_lossless_found", found, "ok", (int)fine, "digest",
                     hex_digest(hex, info->digest), "plain_bytes", (json_int_t)info->plain_bytes,
                     "stored_bytes", (json_int_t)info->stored_bytes, "ratio",
                     ratio_of(info->plain_bytes, info->stored_bytes), "extents",
                     (json_int_t)info->n_extents, "present_extents", (json_int_t)info->n_present,
                     "tiles", (json_int_t)info->n_tiles, "seconds", job->seconds);
}

static int print_fine(const struct cli *cli, const struct job *job)
{
    const struct weir_store_info *info = weir_store_info(job->in.store);
    if (cli->json)
        return print_json(cli, result_object(job, true));
    if (cli->quiet)
        return EXIT_FINE;
    char hex[HEX_DIGEST], plain[HUMAN_BYTES], rate[HUMAN_BYTES], near_text[NEARNESS_TEXT];
    const struct near_sum near = near_sum_store(job->in.store);
    const char *same = near.n ? " and near-lossless, as recorded" : " and the same";
    fprintf(cli->out, "fine%s: %u extents, %llu tiles, %s, %.2f s, %s/s\nsha256:%s\n",
            job->against ? same : "", info->n_extents, (unsigned long long)info->n_tiles,
            human_bytes(plain, (double)info->plain_bytes), job->seconds,
            human_bytes(rate, job->seconds > 0 ? (double)info->plain_bytes / job->seconds : 0),
            hex_digest(hex, info->digest));
    near_sum_print(cli->out, &near);
    if (near.n && job->against)
        fprintf(cli->out, "against %s: %s\n", job->against,
                nearness_text(&job->compare.nearness, near_text));
    return EXIT_FINE;
}

static int report_differences(const struct cli *cli, const struct job *job)
{
    const struct compare *c = &job->compare;
    json_t *list = cli->json ? json_array() : NULL;
    char text[DIFFERENCE_TEXT];
    for (size_t i = 0; i < c->n; i++) {
        const struct difference *d = &c->difference[i];
        difference_text(d, text);
        if (list) {
            json_t *o = json_pack("{s:o,s:s}", "path", json_text(d->path), "what", text);
            if (o && (d->kind == DIFF_SIZE || d->kind == DIFF_BYTES))
                (void)json_object_set_new(o, "at", json_integer((json_int_t)d->at));
            (void)json_array_append_new(list, o); /* out of memory: the count below still tells */
        } else if (!cli->quiet) {
            print_name(cli->out, d->path);
            fprintf(cli->out, ": %s\n", text);
        }
    }
    json_t *more = list ? result_object(job, false) : NULL;
    if (more)
        (void)json_object_set_new(more, "differences", list);
    else
        json_decref(list);
    struct weir_diag diag;
    weir_diag_set(&diag,
                  "%s: %zu difference%s from the store; keep both until you know which is right",
                  job->against, c->n, c->n == 1 ? "" : "s");
    (void)fflush(cli->out); /* the list before the verdict */
    return fail_with(cli, WEIR_ERR_MISMATCH, NULL, &diag, more);
}

static int run(struct cli *cli)
{
    unsigned n_threads;
    struct job job = {.against = cli->value[OPT_AGAINST], .base = cli->value[OPT_BASE]};
    if (!option_number(cli, OPT_THREADS, CLI_MAX_THREADS, 0, &n_threads) ||
        !cache_options(cli, OPT_CACHE, OPT_CACHE_SIZE, &job.remote))
        return EXIT_USAGE;
    struct weir_diag diag = {""};
    weir_err err = opened_open(&job.in, cli->operand[0], &job.remote, &diag);
    if (err)
        return fail(cli, err, job.in.name, &diag);
    interrupt_catch();
    err = check(cli, &job, n_threads, &diag);
    int code;
    if (err) {
        if (!job.of_tree)
            (void)opened_explain(&job.in, err, &diag);
        bool absent = cli->json && err == WEIR_ERR_ABSENT;
        code = fail_with(cli, err, job.of_tree ? NULL : job.in.name, &diag,
                         absent ? result_object(&job, false) : NULL);
    } else {
        code = job.compare.n ? report_differences(cli, &job) : print_fine(cli, &job);
    }
    compare_close(&job.compare);
    opened_close(&job.in);
    return code;
}

const struct cmd cmd_verify = {
    .name = "verify",
    .operands = "STORE|URL",
    .summary = "Check every byte of a store, and compare it with plain files",
    .text =
        "Checks the SHA-256 of every extent, the checksum of every tile and the SHA-256 of every\n"
        "file. With --against, files that differ, are missing or are not in the store are named\n"
        "and the exit code is 3. Permissions are not compared. The weights of a near-lossless "
        "store\n"
        "(weir pack --profile q8) have to be within half a step of those in DIR; how near they "
        "are is\n"
        "printed, and what is further off is a difference. Of a part of a store (weir fetch "
        "--layers)\n"
        "the extents and tiles that are there are checked; then it says what is lacking, and the "
        "exit\n"
        "code is 2. So it is of a store of differences (weir pack --base) whose base is not there: "
        "its\n"
        "own bytes are checked, but what they mean takes the base.\n",
    .examples = "  weir verify llama.weir\n"
                "  weir verify llama.weir --against Llama-3.1-8B && rm -r Llama-3.1-8B\n",
    .option = options,
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
