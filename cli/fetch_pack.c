/* fetch_pack.c - files of a repository of the Hub into a store, packed on the way. */
#include <stdio.h>
#include <stdlib.h>

#include "cmd_fetch.h"
#include "fail.h"
#include "fetch/hub_pack.h"
#include "fetch_job.h"
#include "interrupt.h"
#include "output.h"

struct pack_job {
    struct fetch_job job;
    struct weir_hub_ref ref;
    char endpoint[CLIENT_MAX_TEXT];
    char commit[WEIR_HUB_COMMIT_DIGITS + 1];
};

static bool take_options(struct pack_job *p, const struct cli *cli)
{
    struct weir_diag diag = {""};
    if (!fetch_job_begin(&p->job, cli))
        return false;
    if (weir_hub_ref_parse(cli->operand[0], &p->ref, &diag)) {
        fail_usage(cli, "'%s': %s", cli->operand[0], diag.text);
        return false;
    }
    client_endpoint(p->endpoint);
    hub_page_shown(&p->ref, p->endpoint, p->job.from, sizeof(p->job.from));
    char base[WEIR_HUB_MAX_REPO + sizeof(".weir")];
    snprintf(base, sizeof(base), "%s.weir", weir_hub_ref_name(&p->ref));
    return fetch_job_target(&p->job, base);
}

static weir_err pack(struct pack_job *p, struct weir_http *http,
                     struct weir_hub_pack_result *result, struct weir_diag *diag)
{
    const struct cli *cli = p->job.cli;
    const struct weir_hub_pack_options options = {.n_connections = p->job.how.n_connections,
                                                  .replace = option_given(cli, FETCH_FORCE),
                                                  .watch = &p->job.watch,
                                                  .self = (void *)cli,
                                                  .wants = fetch_wants};
    struct weir_hub *hub = NULL;
    weir_err err = weir_hub_open(http, &p->ref, p->endpoint, &hub, diag);
    if (!err) {
        snprintf(p->commit, sizeof(p->commit), "%s", weir_hub_commit(hub));
        err = weir_hub_pack(http, hub, p->job.target, &options, result, diag);
    }
    weir_hub_free(hub);
    return err;
}

static int report(const struct pack_job *p, const struct weir_hub_pack_result *r, double seconds)
{
    const struct cli *cli = p->job.cli;
    char plain[HUMAN_BYTES], stored[HUMAN_BYTES], body[HUMAN_BYTES], rate[HUMAN_BYTES];
    char hex[HEX_DIGEST];
    double ratio = ratio_of(r->plain_bytes, r->stored_bytes);
    hex_digest(hex, r->digest);
    if (cli->json)
        fetch_job_event(
            &p->job,
            json_pack("{s:s,s:o,s:s,s:s,s:I,s:I,s:I,s:f,s:I,s:I,s:b,s:f}", "event", "done", "path",
                      json_text(p->job.target), "commit", p->commit, "digest", hex, "files",
                      (json_int_t)r->n_files, "plain_bytes", (json_int_t)r->plain_bytes,
                      "stored_bytes", (json_int_t)r->stored_bytes, "ratio", ratio, "body_bytes",
                      (json_int_t)r->body_bytes, "resumed_bytes", (json_int_t)r->resumed_bytes,
                      "refetched", (int)r->was_refetched, "seconds", seconds));
    else if (!cli->quiet)
        fprintf(cli->out,
                "%zu files of commit %.12s, %s -> %s (%.3fx): %s fetched in %.2f s, %s/s\n"
                "sha256:%s\n",
                r->n_files, p->commit, human_bytes(plain, (double)r->plain_bytes),
                human_bytes(stored, (double)r->stored_bytes), ratio,
                human_bytes(body, (double)r->body_bytes), seconds,
                human_bytes(rate, seconds > 0 ? (double)r->body_bytes / seconds : 0), hex);
    return fetch_job_done(&p->job);
}

static int run(struct pack_job *p)
{
    struct weir_hub_pack_result result = {0};
    struct weir_diag diag = {""};
    struct weir_http *http = NULL;
    double started = now_seconds();
    interrupt_catch();
    weir_err err = weir_http_new(&p->job.how, &http, &diag);
    progress_begin(&p->job.progress, p->job.cli, "packing");
    if (!err)
        err = pack(p, http, &result, &diag);
    progress_end(&p->job.progress);
    weir_http_free(http);
    if (err)
        return fetch_job_failed(&p->job, err, &diag, result.kept_bytes, result.plain_bytes);
    return report(p, &result, now_seconds() - started);
}

int fetch_pack(struct cli *cli)
{
    struct pack_job *p = calloc(1, sizeof(*p));
    if (!p)
        return fail(cli, WEIR_ERR_NOMEM, NULL, NULL);
    int code = EXIT_USAGE;
    if (take_options(p, cli)) {
        const struct weir_diag offline = {"HF_HUB_OFFLINE is set; unset it to ask the Hub"};
        code = client_is_offline() ? fetch_job_failed(&p->job, WEIR_ERR_NETWORK, &offline, 0, 0)
                                   : run(p);
    }
    free(p);
    return code;
}
