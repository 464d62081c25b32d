/* fail.h - errors as the user sees them: one line on stderr, an object with --json, an exit code.
 *
 * The only place where a weir_err becomes an exit code. */
#ifndef WEIR_CLI_FAIL_H
#define WEIR_CLI_FAIL_H

#include "codec/err.h"

struct cli;
struct json_t;

enum exit_code {
    EXIT_FINE = 0,
    EXIT_USAGE = 1,
    EXIT_IO = 2,
    EXIT_CORRUPT = 3,
    EXIT_UNSUPPORTED = 4,
    EXIT_NETWORK = 5,
    EXIT_BUDGET = 6,
    EXIT_INTERRUPTED = 130,
};

enum exit_code exit_code_of(weir_err err);

/* One word for --json, such as "corrupt". */
const char *err_kind(weir_err err);

/* Reports `err` and returns its exit code.
 *
 * subject   the file it is about; printed first unless the text begins with it; NULL: none
 * diag      "what was wrong" or "what was wrong; what to do"; NULL or empty: what err means.
 *           Without a "; " the usual thing to do is added. */
int fail(const struct cli *cli, weir_err err, const char *subject, const struct weir_diag *diag);

/* The same; with --json the keys of `more` stand beside "error".  Takes `more` over; NULL: none. */
int fail_with(const struct cli *cli, weir_err err, const char *subject,
              const struct weir_diag *diag, struct json_t *more);

/* Adds what to do to what a GPU's part has said, where that says nothing about it ("; ..."): the
 * usual advice is about files.  An empty text becomes what err means. */
void fail_advise_gpu(weir_err err, struct weir_diag *diag);

/* As fail(), for a command line that makes no sense; points to --help.  Returns EXIT_USAGE. */
int fail_usage(const struct cli *cli, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
