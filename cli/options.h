/* options.h - a command line cut into options and operands, and the --help text made of the same
 * table, so that the two cannot disagree. */
#ifndef WEIR_CLI_OPTIONS_H
#define WEIR_CLI_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "cmd.h"

/* Parses argv[1 ...] for cli->cmd (argv[0] is the command's name).  Options may stand before or
 * after operands; "--" ends them.
 *
 * true      run the command; cli is filled in; free with options_free()
 * false     nothing left to do: *code is the exit code (--help, or an error already reported) */
bool options_parse(struct cli *cli, int argc, char **argv, int *code);
void options_free(struct cli *cli);

/* Whether option number i of the command's table was given. */
bool option_given(const struct cli *cli, int i);

/* The n-th argument, from 0, of an option that repeats; NULL: it was not given so often. */
const char *option_nth(const struct cli *cli, int i, size_t n);

/* A number from 1 to max, or `otherwise` when option i was not given.  false: reported. */
bool option_number(const struct cli *cli, int i, unsigned max, unsigned otherwise, unsigned *out);

/* Bytes with an optional unit: k, M, G (of 1000), Ki, Mi, Gi (of 1024), a B may follow. */
bool option_bytes(const struct cli *cli, int i, uint64_t otherwise, uint64_t *out);

void options_help(const struct cmd *cmd, FILE *to);

#endif
