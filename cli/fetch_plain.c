/* fetch_plain.c - the plain files of a store, through fetch/. */
#include <string.h>

#include "cmd_fetch.h"
#include "fail.h"
#include "fetch/plain.h"
#include "fetch_job.h"
#include "interrupt.h"
#include "output.h"
#include "remote.h"

static bool take_options(struct fetch_job *job, struct weir_plain_options *options)
{
    const struct cli *cli = job->cli;
    *options = (struct weir_plain_options){.n_connections = job->how.n_connections,
                                           .replace = option_given(cli, FETCH_FORCE),
                                           .watch = &job->watch};
    if (cli->n_operands < 2) {
        fail_usage(cli, "--plain needs a URL and a folder");
        return false;
    }
    if (option_given(cli, FETCH_REPAIR) || option_given(cli, FETCH_SEED)) {
        fail_usage(cli, "--plain makes plain files; --repair and --seed are about stores");
        return false;
    }
    if (option_given(cli, FETCH_TENSORS) || option_given(cli, FETCH_LAYERS)) {
        fail_usage(cli, "--plain makes whole files; --tensors and --layers make a part of a store");
        return false;
    }
    url_name(cli->operand[0], job->from, sizeof(job->from));
    if (!cli->operand[1][0] || strlen(cli->operand[1]) >= sizeof(job->target)) {
        fail_usage(cli, "the name of DIR is empty or too long");
        return false;
    }
    snprintf(job->target, sizeof(job->target), "%s", cli->operand[1]);
    return true;
}

static int report(const struct fetch_job *job, const struct weir_plain_result *r, double seconds)
{
    const struct cli *cli = job->cli;
    char hex[HEX_DIGEST], bytes[HUMAN_BYTES], plain[HUMAN_BYTES], rate[HUMAN_BYTES];
    hex_digest(hex, r->digest);
    if (cli->json)
        fetch_job_event(job, json_pack("{s:s,s:o,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:b,s:f}", "event",
                                       "done", "path", json_text(job->target), "digest", hex,
                                       "plain_bytes", (json_int_t)r->plain_bytes, "body_bytes",
                                       (json_int_t)r->body_bytes, "resumed_bytes",
                                       (json_int_t)r->resumed_bytes, "refetched_extents",
                                       (json_int_t)r->n_refetched, "files", (json_int_t)r->n_files,
                                       "files_there", (json_int_t)r->n_there, "was_there",
                                       (int)(r->n_there == r->n_files), "seconds", seconds));
    else if (!cli->quiet && r->n_there == r->n_files)
        fprintf(cli->out, "already there: sha256:%s\n", hex);
    else if (!cli->quiet)
        fprintf(cli->out, "%s fetched as %s of plain files in %.2f s, %s/s: sha256:%s\n",
                human_bytes(bytes, (double)r->body_bytes),
                human_bytes(plain, (double)r->plain_bytes), seconds,
                human_bytes(rate, seconds > 0 ? (double)r->body_bytes / seconds : 0), hex);
    return fetch_job_done(job);
}

int fetch_plain(struct cli *cli)
{
    struct fetch_job job;
    struct weir_plain_options options;
    struct weir_plain_result result = {.plain_bytes = 0};
    if (!fetch_job_begin(&job, cli) || !take_options(&job, &options))
        return EXIT_USAGE;
    struct weir_diag diag = {""};
    struct weir_http *http = NULL;
    double started = now_seconds();
    interrupt_catch();
    weir_err err = weir_http_new(&job.how, &http, &diag);
    progress_begin(&job.progress, cli, "fetching");
    if (!err)
        err = weir_fetch_plain(http, cli->operand[0], job.target, &options, &result, &diag);
    progress_end(&job.progress);
    weir_http_free(http);
    if (err)
        return fetch_job_failed(&job, err, &diag, result.kept_bytes, result.stored_bytes);
    return report(&job, &result, now_seconds() - started);
}
