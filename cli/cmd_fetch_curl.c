/* cmd_fetch_curl.c - a store downloaded or repaired, through fetch/. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "client.h"
#include "cmd_fetch.h"
#include "fail.h"
#include "fetch/download.h"
#include "interrupt.h"
#include "options.h"
#include "output.h"
#include "progress.h"
#include "remote.h"

enum { NAME_BYTES = 4096, RETRIES = 10, MAX_SECONDS = 86400, PATIENCE_SECONDS = 600 };

static const double event_seconds = 0.5; /* between two of --json's progress events */

struct job {
    const struct cli *cli;
    char url[512];           /* for messages */
    char target[NAME_BYTES]; /* the file that is made, or repaired */
    struct weir_http_options how;
    struct weir_download_options options;
    struct weir_download_result result;
    struct weir_watch watch;
    struct progress progress;
    bool begun;
    double started, last; /* seconds */
    uint64_t first;       /* bytes that were there when it began */
};

/* ---- how far it is ---- */

static void print_event(const struct job *job, json_t *event)
{
    /* A full disk behind stdout is reported at the end. */
    if (event && json_dumpf(event, job->cli->out, JSON_COMPACT | JSON_REAL_PRECISION(6)) == 0)
        (void)fputc('\n', job->cli->out);
    (void)fflush(job->cli->out);
    json_decref(event);
}

static bool tick(void *self, uint64_t done, uint64_t total)
{
    struct job *job = self;
    double now = now_seconds();
    if (!job->begun) {
        job->begun = true;
        job->first = done;
        job->started = job->progress.started = now;
        job->progress.first = (double)done;
    }
    if (!job->cli->json)
        return job->progress.watch.tick(job->progress.watch.self, done, total);
    if (now - job->last >= event_seconds) {
        double seconds = now - job->started;
        print_event(job, json_pack("{s:s,s:I,s:I,s:f}", "event", "progress", "done_bytes",
                                   (json_int_t)done, "total_bytes", (json_int_t)total,
                                   "bytes_per_second",
                                   seconds > 0 ? (double)(done - job->first) / seconds : 0.0));
        job->last = now;
    }
    return !interrupted();
}

/* ---- what to do ---- */

/* The file that a URL is fetched to: DST, or in the directory DST, or here, what the URL's path
 * ends with.  false: reported. */
static bool find_target(struct job *job)
{
    const char *dst = job->cli->n_operands > 1 ? job->cli->operand[1] : ".";
    struct stat st;
    bool folder = stat(dst, &st) == 0 && S_ISDIR(st.st_mode);
    size_t n = strlen(dst);
    const char *scheme = strstr(job->url, "://");
    const char *slash = scheme ? strrchr(scheme + 3, '/') : NULL;
    const char *base = slash ? slash + 1 : "";
    if (folder && (!*base || strcmp(base, ".") == 0 || strcmp(base, "..") == 0)) {
        fail_usage(job->cli, "%s names no file; say where to put it", job->url);
        return false;
    }
    int length = !folder                 ? snprintf(job->target, sizeof(job->target), "%s", dst)
                 : strcmp(dst, ".") == 0 ? snprintf(job->target, sizeof(job->target), "%s", base)
                                         : snprintf(job->target, sizeof(job->target), "%s%s%s", dst,
                                                    dst[n - 1] == '/' ? "" : "/", base);
    if (length > 0 && (size_t)length < sizeof(job->target) - 32)
        return true;
    fail_usage(job->cli, "the name of DST is empty or too long");
    return false;
}

static bool take_options(struct job *job)
{
    const struct cli *cli = job->cli;
    unsigned speed_seconds;
    if (!option_number(cli, FETCH_CONNECTIONS, WEIR_HTTP_MAX_CONNECTIONS, WEIR_HTTP_MAX_CONNECTIONS,
                       &job->how.n_connections) ||
        !option_number(cli, FETCH_RETRY, CLI_MAX_THREADS, RETRIES, &job->how.n_retries) ||
        !option_number(cli, FETCH_SPEED_TIME, MAX_SECONDS, 0, &speed_seconds) ||
        !option_bytes(cli, FETCH_SPEED_LIMIT, 0, &job->how.speed_limit) ||
        !option_bytes(cli, FETCH_LIMIT_RATE, 0, &job->how.limit_rate))
        return false;
    job->how.speed_seconds = speed_seconds;
    job->how.timeout_seconds = PATIENCE_SECONDS; /* --retry counts */
    job->options.n_connections = job->how.n_connections;
    job->options.seed = cli->value[FETCH_SEED];
    job->options.replace = option_given(cli, FETCH_FORCE);
    job->options.watch = &job->watch;
    if (!is_url(cli->operand[0])) {
        fail_usage(cli, "'%s' is not a URL; it begins with http:// or https://", cli->operand[0]);
        return false;
    }
    if (option_given(cli, FETCH_REPAIR) && (cli->n_operands < 2 || job->options.seed)) {
        fail_usage(cli, "--repair needs a URL and the store that is damaged, and no --seed");
        return false;
    }
    url_name(cli->operand[0], job->url, sizeof(job->url));
    return find_target(job);
}

/* ---- what came of it ---- */

static int report_failure(struct job *job, weir_err err, const struct weir_diag *diag)
{
    const struct weir_download_result *r = &job->result;
    /* What is wrong on this side names its file. */
    bool here = err == WEIR_ERR_IO || err == WEIR_ERR_MISMATCH;
    int code = fail_with(job->cli, err, here ? NULL : job->url, diag,
                         job->cli->json ? json_pack("{s:s,s:I}", "event", "error", "kept_bytes",
                                                    (json_int_t)r->kept_bytes)
                                        : NULL);
    char kept[HUMAN_BYTES], all[HUMAN_BYTES];
    if (r->kept_bytes && !job->cli->quiet && !job->cli->json)
        fprintf(stderr, "weir fetch: %s of %s are kept; the same command goes on from there\n",
                human_bytes(kept, (double)r->kept_bytes),
                human_bytes(all, (double)r->stored_bytes));
    return code;
}

static int report_success(struct job *job, double seconds)
{
    const struct cli *cli = job->cli;
    const struct weir_download_result *r = &job->result;
    char hex[HEX_DIGEST], bytes[HUMAN_BYTES], rate[HUMAN_BYTES];
    if (cli->json) {
        print_event(
            job,
            json_pack("{s:s,s:o,s:s,s:I,s:I,s:I,s:I,s:I,s:b,s:f}", "event", "done", "path",
                      json_text(job->target), "digest", hex_digest(hex, r->digest), "stored_bytes",
                      (json_int_t)r->stored_bytes, "body_bytes", (json_int_t)r->body_bytes,
                      "resumed_bytes", (json_int_t)r->resumed_bytes, "seeded_bytes",
                      (json_int_t)r->seeded_bytes, "refetched_extents", (json_int_t)r->n_refetched,
                      "was_there", (int)r->was_there, "seconds", seconds));
        return EXIT_FINE;
    }
    if (!cli->quiet && r->was_there)
        fprintf(cli->out, "already there: sha256:%s\n", hex_digest(hex, r->digest));
    else if (!cli->quiet)
        fprintf(cli->out, "%s fetched in %.2f s, %s/s: sha256:%s\n",
                human_bytes(bytes, (double)r->body_bytes), seconds,
                human_bytes(rate, seconds > 0 ? (double)r->body_bytes / seconds : 0),
                hex_digest(hex, r->digest));
    print_name(cli->out, job->target);
    fputc('\n', cli->out);
    return EXIT_FINE;
}

int fetch_run(struct cli *cli)
{
    struct job job = {.cli = cli};
    job.watch = (struct weir_watch){&job, tick};
    if (!take_options(&job))
        return EXIT_USAGE;
    client_options(&job.how);
    struct weir_diag diag = {""};
    struct weir_http *http = NULL;
    bool repair = option_given(cli, FETCH_REPAIR);
    double started = now_seconds();
    interrupt_catch();
    weir_err err = weir_http_new(&job.how, &http, &diag);
    progress_begin(&job.progress, cli, repair ? "repairing" : "fetching");
    if (!err)
        err = (repair ? weir_repair : weir_download)(http, cli->operand[0], job.target,
                                                     &job.options, &job.result, &diag);
    progress_end(&job.progress);
    weir_http_free(http);
    return err ? report_failure(&job, err, &diag) : report_success(&job, now_seconds() - started);
}
