/* behind.h - a process in the background whose parent waits until it is of use.
 *
 * The parent forks, waits for one report, and knows then whether to exit with success.  What the
 * child and its own children print on stderr until then, fusermount3's complaints for one, is kept:
 * its first line becomes part of the error, anything else the parent prints. */
#ifndef WEIR_CLI_BEHIND_H
#define WEIR_CLI_BEHIND_H

#include <stdbool.h>
#include <sys/types.h>

#include "codec/err.h"

struct behind {
    pid_t child; /* 0 in the child */
    int pipe;    /* its end of the line; -1: closed */
    int words;   /* a file in memory, the child's stderr; -1: none, it has ours */
};

/* The number of "/dev/fd/N" or "/proc/self/fd/N"; -1: another path. */
int behind_fd_of(const char *path);

/* Closes what was inherited beyond stdin, stdout and stderr, but not `a` and `b` (-1: none): a
 * daemon must not hold its starter's locks and pipes.  Before anything is opened. */
void behind_close_inherited(int a, int b);

/* WEIR_ERR_NOMEM  no process or no descriptor left */
WEIR_MUST_CHECK weir_err behind_fork(struct behind *b, struct weir_diag *diag);

/* In the parent: WEIR_OK when the child is ready, else its error; *about is what the child said, or
 * as it was where the child died without a word. */
WEIR_MUST_CHECK weir_err behind_wait(struct behind *b, int *about, struct weir_diag *diag);

/* In the child.  Ready: lets go of terminal, session and working directory (of fds 0 to 2 not of
 * `keep`) and tells the parent.  false: there is no parent any more. */
bool behind_ready(struct behind *b, int keep);
/* Or not: adds to *diag what was said on stderr and tells the parent, unless it was ready.  about:
 * a number for the parent. */
void behind_failed(struct behind *b, weir_err err, int about, struct weir_diag *diag);

#endif
