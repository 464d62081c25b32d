/* fetch_hub.c - files of a repository of the Hub, into a directory or its cache. */
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd_fetch.h"
#include "fail.h"
#include "fetch/checkout.h"
#include "fetch_job.h"
#include "interrupt.h"
#include "output.h"

struct hub_job {
    struct fetch_job job;
    struct weir_hub_ref ref;
    char endpoint[CLIENT_MAX_TEXT], cache[CLIENT_MAX_TEXT]; /* cache: "" without --hf-cache */
    char commit[WEIR_HUB_COMMIT_DIGITS + 1];
};

/* ---- which files ---- */

/* Whether `path` matches one of the patterns in `list`, which '\n' separates.  As the Hub's Python
 * client has it: '*' goes over '/', too, a pattern that ends in '/' means all below. */
static bool matches(const char *list, const char *path)
{
    char pattern[FETCH_NAME_BYTES];
    for (const char *at = list; at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL) {
        int n = (int)strcspn(at, "\n");
        bool below = n && at[n - 1] == '/';
        int length = snprintf(pattern, sizeof(pattern), "%.*s%s", n, at, below ? "*" : "");
        if (length > 0 && (size_t)length < sizeof(pattern) &&
            fnmatch(pattern, path, FNM_NOESCAPE) == 0)
            return true;
    }
    return false;
}

bool fetch_wants(void *self, const char *path)
{
    const struct cli *cli = self;
    const char *include = cli->value[FETCH_INCLUDE], *exclude = cli->value[FETCH_EXCLUDE];
    return (!include || matches(include, path)) && !(exclude && matches(exclude, path));
}

/* ---- what to do ---- */

static bool take_options(struct hub_job *h, const struct cli *cli)
{
    struct weir_diag diag = {""};
    if (!fetch_job_begin(&h->job, cli))
        return false;
    if (weir_hub_ref_parse(cli->operand[0], &h->ref, &diag)) {
        fail_usage(cli, "'%s': %s", cli->operand[0], diag.text);
        return false;
    }
    client_endpoint(h->endpoint);
    hub_page_shown(&h->ref, h->endpoint, h->job.from, sizeof(h->job.from));
    if (!option_given(cli, FETCH_HF_CACHE)) {
        const char *dir = cli->n_operands > 1 ? cli->operand[1] : weir_hub_ref_name(&h->ref);
        int n = snprintf(h->job.target, sizeof(h->job.target), "%s", dir);
        if (n > 0 && (size_t)n < sizeof(h->job.target))
            return true;
        fail_usage(cli, "the name of DIR is empty or too long");
        return false;
    }
    if (cli->n_operands > 1) {
        fail_usage(cli, "--hf-cache takes no DIR; HF_HUB_CACHE says where the cache is");
        return false;
    }
    if (client_hub_cache(h->cache))
        return true;
    fail_usage(cli, "nobody says where the cache is; set HF_HUB_CACHE");
    return false;
}

static weir_err take_snapshot(struct hub_job *h, char *snapshot, struct weir_diag *diag)
{
    int n = snprintf(h->job.target, sizeof(h->job.target), "%s", snapshot);
    free(snapshot);
    if (n > 0 && (size_t)n < sizeof(h->job.target))
        return WEIR_OK;
    weir_diag_set(diag, "the name of the snapshot is too long");
    return WEIR_ERR_IO;
}

static weir_err fetch(struct hub_job *h, struct weir_http *http,
                      struct weir_checkout_result *result, struct weir_diag *diag)
{
    const struct cli *cli = h->job.cli;
    const struct weir_checkout_options options = {.n_connections = h->job.how.n_connections,
                                                  .replace = option_given(cli, FETCH_FORCE),
                                                  .watch = &h->job.watch,
                                                  .self = (void *)cli,
                                                  .wants = fetch_wants};
    struct weir_hub *hub = NULL;
    char *snapshot = NULL;
    weir_err err = weir_hub_open(http, &h->ref, h->endpoint, &hub, diag);
    if (!err)
        snprintf(h->commit, sizeof(h->commit), "%s", weir_hub_commit(hub));
    if (!err && h->cache[0])
        err = weir_checkout_cache(http, hub, h->cache, &options, &snapshot, result, diag);
    else if (!err)
        err = weir_checkout_dir(http, hub, h->job.target, &options, result, diag);
    weir_hub_free(hub);
    return err || !snapshot ? err : take_snapshot(h, snapshot, diag);
}

/* ---- what came of it ---- */

static int report(const struct hub_job *h, const struct weir_checkout_result *r, double seconds)
{
    const struct cli *cli = h->job.cli;
    char bytes[HUMAN_BYTES], all[HUMAN_BYTES], rate[HUMAN_BYTES];
    if (cli->json)
        fetch_job_event(&h->job,
                        json_pack("{s:s,s:o,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:f}", "event", "done",
                                  "path", json_text(h->job.target), "commit", h->commit, "files",
                                  (json_int_t)r->n_files, "total_bytes", (json_int_t)r->total_bytes,
                                  "body_bytes", (json_int_t)r->body_bytes, "resumed_bytes",
                                  (json_int_t)r->resumed_bytes, "present_bytes",
                                  (json_int_t)r->present_bytes, "refetched_files",
                                  (json_int_t)r->n_refetched, "seconds", seconds));
    else if (!cli->quiet)
        fprintf(cli->out, "%zu files, %s, of commit %.12s: %s fetched in %.2f s, %s/s\n",
                r->n_files, human_bytes(all, (double)r->total_bytes), h->commit,
                human_bytes(bytes, (double)r->body_bytes), seconds,
                human_bytes(rate, seconds > 0 ? (double)r->body_bytes / seconds : 0));
    return fetch_job_done(&h->job);
}

/* HF_HUB_OFFLINE: what the cache has, or nothing. */
static int fetch_offline(struct hub_job *h)
{
    struct weir_diag diag = {""}, why = {""};
    char *snapshot = NULL;
    weir_err err = WEIR_ERR_NETWORK;
    if (h->cache[0])
        err = weir_checkout_cached(&h->ref, h->cache, &snapshot, &why);
    if (!err)
        err = take_snapshot(h, snapshot, &diag);
    if (err == WEIR_ERR_NETWORK || err == WEIR_ERR_NOT_FOUND) {
        weir_diag_set(&diag, "%s%sHF_HUB_OFFLINE is set; unset it to ask the Hub", why.text,
                      why.text[0] ? ", and " : "");
        err = WEIR_ERR_NETWORK;
    }
    if (err)
        return fetch_job_failed(&h->job, err, &diag, 0, 0);
    if (h->job.cli->json)
        fetch_job_event(&h->job, json_pack("{s:s,s:o,s:b}", "event", "done", "path",
                                           json_text(h->job.target), "offline", 1));
    return fetch_job_done(&h->job);
}

static int run(struct hub_job *h)
{
    struct weir_checkout_result result = {0};
    struct weir_diag diag = {""};
    struct weir_http *http = NULL;
    double started = now_seconds();
    interrupt_catch();
    weir_err err = weir_http_new(&h->job.how, &http, &diag);
    progress_begin(&h->job.progress, h->job.cli, "fetching");
    if (!err)
        err = fetch(h, http, &result, &diag);
    progress_end(&h->job.progress);
    weir_http_free(http);
    if (err)
        return fetch_job_failed(&h->job, err, &diag, result.kept_bytes, result.total_bytes);
    return report(h, &result, now_seconds() - started);
}

int fetch_hub(struct cli *cli)
{
    struct hub_job *h = calloc(1, sizeof(*h));
    if (!h)
        return fail(cli, WEIR_ERR_NOMEM, NULL, NULL);
    int code = EXIT_USAGE;
    if (take_options(h, cli))
        code = client_is_offline() ? fetch_offline(h) : run(h);
    free(h);
    return code;
}
