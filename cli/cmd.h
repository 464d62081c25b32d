/* cmd.h - what a subcommand is, and what it is given.
 *
 * A command is a table entry: how it is called, what --help says, and run().  run() gets options
 * and operands that are already cut apart and returns an exit code; it prints its own results and
 * reports its own errors through fail.h. */
#ifndef WEIR_CLI_CMD_H
#define WEIR_CLI_CMD_H

#include <stdbool.h>
#include <stdio.h>

enum {
    CLI_MAX_OPTIONS = 40,     /* of one command, the common ones not counted */
    CLI_ANY_NUMBER = 1 << 20, /* of operands */
    CLI_MAX_THREADS = 1024,   /* what -j takes; the library uses fewer */
};

/* One option of a command.  A table of them ends with a zeroed entry. */
struct cli_option {
    char letter;      /* 0: none */
    const char *name; /* without "--" */
    const char *arg;  /* what its argument is called; NULL: it takes none */
    const char *help;
    bool joins;   /* given again, its arguments are joined, with ... */
    char with;    /* ... this; 0: ',' */
    bool repeats; /* given again, all of its arguments are kept: option_nth() */
};

/* An argument of an option that repeats. */
struct cli_given {
    int option;
    char *text;
};

struct cli;

struct cmd {
    const char *name;     /* "pack" */
    const char *called;   /* how it introduces itself; NULL: "weir NAME" */
    const char *operands; /* "SRC DST" */
    const char *summary;  /* one line, no full stop */
    const char *text;     /* what --help says between summary and options */
    const char *examples;
    const struct cli_option *option; /* its own; -q, --json and --help are everybody's */
    void (*more_help)(FILE *to);     /* after the options; NULL: nothing */
    const char *exit_codes;          /* for --help; NULL: the usual ones */
    int min_operands, max_operands;
    int (*run)(struct cli *cli);
};

struct cli {
    const struct cmd *cmd;
    bool quiet, json;
    FILE *out; /* where results go: stdout, or stderr while stdout carries a store */
    int n_operands;
    char **operand;               /* NULL after the last */
    char *value[CLI_MAX_OPTIONS]; /* by position in cmd->option; "" for a flag; NULL: not given */
    struct cli_given *given;      /* in the order of the command line */
    size_t n_given;
};

extern const struct cmd cmd_pack, cmd_unpack, cmd_verify, cmd_ls, cmd_mount, cmd_umount, cmd_fetch,
    cmd_run, cmd_doctor, cmd_bench;

#endif
