/* fetch_job.c - see fetch_job.h. */
#include "fetch_job.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "client.h"
#include "cmd_fetch.h"
#include "fail.h"
#include "interrupt.h"
#include "output.h"

enum { RETRIES = 10, MAX_SECONDS = 86400, PATIENCE_SECONDS = 600 };

static const double event_seconds = 0.5; /* between two of --json's progress events */

/* ---- how far it is ---- */

void fetch_job_event(const struct fetch_job *job, json_t *event)
{
    /* A full disk behind stdout is reported at the end. */
    if (event && json_dumpf(event, job->cli->out, JSON_COMPACT | JSON_REAL_PRECISION(6)) == 0)
        (void)fputc('\n', job->cli->out);
    (void)fflush(job->cli->out);
    json_decref(event);
}

static bool tick(void *self, uint64_t done, uint64_t total)
{
    struct fetch_job *job = self;
    double now = now_seconds();
    if (!total) /* nothing to count yet */
        return !interrupted();
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
        fetch_job_event(job, json_pack("{s:s,s:I,s:I,s:f}", "event", "progress", "done_bytes",
                                       (json_int_t)done, "total_bytes", (json_int_t)total,
                                       "bytes_per_second",
                                       seconds > 0 ? (double)(done - job->first) / seconds : 0.0));
        job->last = now;
    }
    return !interrupted();
}

/* ---- what to do ---- */

bool fetch_job_begin(struct fetch_job *job, const struct cli *cli)
{
    unsigned speed_seconds;
    *job = (struct fetch_job){.cli = cli};
    job->watch = (struct weir_watch){job, tick};
    if (!option_number(cli, FETCH_CONNECTIONS, WEIR_HTTP_MAX_CONNECTIONS, WEIR_HTTP_MAX_CONNECTIONS,
                       &job->how.n_connections) ||
        !option_number(cli, FETCH_RETRY, CLI_MAX_THREADS, RETRIES, &job->how.n_retries) ||
        !option_number(cli, FETCH_SPEED_TIME, MAX_SECONDS, 0, &speed_seconds) ||
        !option_bytes(cli, FETCH_SPEED_LIMIT, 0, &job->how.speed_limit) ||
        !option_bytes(cli, FETCH_LIMIT_RATE, 0, &job->how.limit_rate))
        return false;
    job->how.speed_seconds = speed_seconds;
    job->how.timeout_seconds = PATIENCE_SECONDS; /* --retry counts */
    client_options(&job->how, &job->texts);
    return true;
}

bool fetch_job_target(struct fetch_job *job, const char *base)
{
    const char *dst = job->cli->n_operands > 1 ? job->cli->operand[1] : ".";
    struct stat st;
    bool folder = stat(dst, &st) == 0 && S_ISDIR(st.st_mode);
    size_t n = strlen(dst);
    if (folder && (!*base || strcmp(base, ".") == 0 || strcmp(base, "..") == 0)) {
        fail_usage(job->cli, "%s names no file; say where to put it", job->from);
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

/* ---- what came of it ---- */

int fetch_job_failed(const struct fetch_job *job, weir_err err, const struct weir_diag *diag,
                     uint64_t kept_bytes, uint64_t all_bytes)
{
    const struct cli *cli = job->cli;
    /* What is wrong on this side names its file. */
    bool here = err == WEIR_ERR_IO || err == WEIR_ERR_MISMATCH ||
                strncmp(diag->text, job->target, strlen(job->target)) == 0;
    int code = fail_with(
        cli, err, here ? NULL : job->from, diag,
        cli->json ? json_pack("{s:s,s:I}", "event", "error", "kept_bytes", (json_int_t)kept_bytes)
                  : NULL);
    char kept[HUMAN_BYTES], all[HUMAN_BYTES];
    if (kept_bytes && !cli->quiet && !cli->json)
        fprintf(stderr, "weir fetch: %s of %s are kept; the same command goes on from there\n",
                human_bytes(kept, (double)kept_bytes), human_bytes(all, (double)all_bytes));
    return code;
}

int fetch_job_done(const struct fetch_job *job)
{
    if (job->cli->json)
        return EXIT_FINE;
    print_name(job->cli->out, job->target);
    fputc('\n', job->cli->out);
    return EXIT_FINE;
}
