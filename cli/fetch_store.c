/* fetch_store.c - a store downloaded or repaired, through fetch/. */
#include <string.h>

#include "cmd_fetch.h"
#include "fail.h"
#include "fetch/download.h"
#include "fetch_job.h"
#include "fetch_part.h"
#include "interrupt.h"
#include "output.h"
#include "remote.h"

static bool take_options(struct fetch_job *job, struct weir_download_options *options,
                         struct fetch_part *part)
{
    const struct cli *cli = job->cli;
    bool asked;
    *options = (struct weir_download_options){.n_connections = job->how.n_connections,
                                              .seed = cli->value[FETCH_SEED],
                                              .replace = option_given(cli, FETCH_FORCE),
                                              .watch = &job->watch};
    if (option_given(cli, FETCH_REPAIR) && (cli->n_operands < 2 || options->seed)) {
        fail_usage(cli, "--repair needs a URL and the store that is damaged, and no --seed");
        return false;
    }
    if (!fetch_part_take(part, cli, &asked))
        return false;
    if (asked && option_given(cli, FETCH_REPAIR)) {
        fail_usage(cli, "--repair mends what is there; --tensors and --layers fetch more");
        return false;
    }
    options->part = asked ? &part->wish : NULL;
    url_name(cli->operand[0], job->from, sizeof(job->from));
    const char *scheme = strstr(job->from, "://");
    const char *slash = scheme ? strrchr(scheme + 3, '/') : NULL;
    return fetch_job_target(job, slash ? slash + 1 : "");
}

/* What is there of the store.  Returns buf. */
enum { PART_TEXT = 64 };
static char *part_text(const struct weir_download_result *r, char buf[PART_TEXT])
{
    snprintf(buf, PART_TEXT, "%u of %u extents of ", r->n_present, r->n_extents);
    return buf;
}

static int report(const struct fetch_job *job, const struct weir_download_result *r, double seconds)
{
    const struct cli *cli = job->cli;
    char of[PART_TEXT];
    char hex[HEX_DIGEST], bytes[HUMAN_BYTES], rate[HUMAN_BYTES];
    hex_digest(hex, r->digest);
    if (cli->json)
        fetch_job_event(
            job, json_pack("{s:s,s:o,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:b,s:f}", "event", "done",
                           "path", json_text(job->target), "digest", hex, "stored_bytes",
                           (json_int_t)r->stored_bytes, "body_bytes", (json_int_t)r->body_bytes,
                           "resumed_bytes", (json_int_t)r->resumed_bytes, "seeded_bytes",
                           (json_int_t)r->seeded_bytes, "refetched_extents",
                           (json_int_t)r->n_refetched, "extents", (json_int_t)r->n_extents,
                           "present_extents", (json_int_t)r->n_present, "was_there",
                           (int)r->was_there, "seconds", seconds));
    else if (!cli->quiet && r->was_there)
        fprintf(cli->out, "already there: sha256:%s\n", hex);
    else if (!cli->quiet)
        fprintf(cli->out, "%s fetched in %.2f s, %s/s: %ssha256:%s\n",
                human_bytes(bytes, (double)r->body_bytes), seconds,
                human_bytes(rate, seconds > 0 ? (double)r->body_bytes / seconds : 0),
                r->n_present < r->n_extents ? part_text(r, of) : "", hex);
    return fetch_job_done(job);
}

int fetch_store(struct cli *cli)
{
    struct fetch_job job;
    struct weir_download_options options;
    struct weir_download_result result = {.stored_bytes = 0};
    struct fetch_part part = {.text = NULL};
    if (!fetch_job_begin(&job, cli) || !take_options(&job, &options, &part)) {
        fetch_part_free(&part);
        return EXIT_USAGE;
    }
    struct weir_diag diag = {""};
    struct weir_http *http = NULL;
    bool repair = option_given(cli, FETCH_REPAIR);
    double started = now_seconds();
    interrupt_catch();
    weir_err err = weir_http_new(&job.how, &http, &diag);
    progress_begin(&job.progress, cli, repair ? "repairing" : "fetching");
    if (!err)
        err = (repair ? weir_repair : weir_download)(http, cli->operand[0], job.target, &options,
                                                     &result, &diag);
    progress_end(&job.progress);
    weir_http_free(http);
    fetch_part_free(&part);
    if (err)
        return fetch_job_failed(&job, err, &diag, result.kept_bytes, result.stored_bytes);
    return report(&job, &result, now_seconds() - started);
}
