/* fetch_job.h - what every kind of fetch shares: the client's options, progress on a terminal or as
 * events, and the last words.  fetch_store.c and its like bring the kinds. */
#ifndef WEIR_CLI_FETCH_JOB_H
#define WEIR_CLI_FETCH_JOB_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "client.h"
#include "codec/pack.h"
#include "fetch/http.h"
#include "options.h"
#include "progress.h"

enum { FETCH_NAME_BYTES = 4096 };

struct fetch_job {
    const struct cli *cli;
    char from[512];                /* for messages: the URL without its secrets */
    char target[FETCH_NAME_BYTES]; /* what is made, or repaired */
    struct weir_http_options how;
    struct client_text texts; /* how's strings */
    struct weir_watch watch;  /* for the library: bytes of whatever is counted */
    struct progress progress;
    bool begun;
    double started, last; /* seconds */
    uint64_t first;       /* bytes that were there when it began */
};

/* Fills in all but `from` and `target` from the command line and the environment.  The job must not
 * move from then on.  false: reported. */
bool fetch_job_begin(struct fetch_job *job, const struct cli *cli);

/* job->target: DST, or in the directory DST, or here, `base`, the last part of what is fetched.
 * false: reported. */
bool fetch_job_target(struct fetch_job *job, const char *base);

/* One line of --json on stdout; takes `event` over, and NULL for one that had no memory. */
void fetch_job_event(const struct fetch_job *job, json_t *event);

/* Reports `err`; *diag may name a file of ours, of which what is wrong on this side is told.
 * kept_bytes of stored_bytes need not be fetched again.  Returns the exit code. */
int fetch_job_failed(const struct fetch_job *job, weir_err err, const struct weir_diag *diag,
                     uint64_t kept_bytes, uint64_t all_bytes);

/* The last line on stdout: the path.  Not with --json. */
int fetch_job_done(const struct fetch_job *job);

/* ---- the kinds: the command's `run`, chosen by cmd_fetch_curl.c ---- */

int fetch_store(struct cli *cli); /* a store behind a URL into a file; --repair too */
int fetch_plain(struct cli *cli); /* --plain: its plain files into a folder */
int fetch_hub(struct cli *cli);   /* files of a Hub repository; --hf-cache too */
int fetch_pack(struct cli *cli);  /* the same into a store, packed on the way */

/* Whether --include and --exclude want a repository's file; self: the struct cli.  In fetch_hub.c.
 */
bool fetch_wants(void *self, const char *path);

#endif
