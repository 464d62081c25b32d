/* opened.h - the store that a command was given by name: a file, or a URL. */
#ifndef WEIR_CLI_OPENED_H
#define WEIR_CLI_OPENED_H

#include <sys/stat.h>

#include "codec/source.h"
#include "codec/store.h"
#include "remote.h"

enum { OPENED_SHOWN = 512 };

struct opened {
    const char
        *name; /* for messages: as it was given, but for what a URL may hide; set in any case */
    struct weir_source src;
    const struct weir_store *store;
    struct timespec mtime; /* zero: unknown */
    mode_t mode;           /* who may read it; zero: unknown */
    /* its own */
    struct weir_store *file_store; /* NULL: of a URL */
    struct remote *remote;         /* NULL: of a file */
    struct opened *base;           /* NULL: none */
    char shown[OPENED_SHOWN];
};

/* Must not move while it is open: the store holds on to &o->src.  On error *o is closed; *diag may
 * lack the store's name.  A URL's does not survive fork().  options: of a URL; NULL: the defaults.
 * What weir_source_open_file() and weir_store_open() return, or remote_open(). */
WEIR_MUST_CHECK weir_err opened_open(struct opened *o, const char *name,
                                     const struct remote_options *options, struct weir_diag *diag);

/* Opens the base of a store that needs one, and gives it to it: opened_base.c.
 *
 * base  its name, as for opened_open(); NULL: whichever file *.weir in the store's folder has the
 *       digest that the store names.  Of a store that needs no base it is not looked at.
 * The base stays open as long as the store.  On error *o is not closed; *diag names the digest and
 * says what to do.
 *
 * WEIR_ERR_ABSENT     no base was named, and none lies beside the store
 * What opened_open() and weir_store_set_base() return. */
WEIR_MUST_CHECK weir_err opened_base(struct opened *o, const char *base,
                                     const struct remote_options *options, struct weir_diag *diag);

/* opened_open() and opened_base(); on error *o is closed. */
WEIR_MUST_CHECK weir_err opened_open_whole(struct opened *o, const char *name, const char *base,
                                           const struct remote_options *options,
                                           struct weir_diag *diag);

/* A URL's: reads that wait, and all that follow, end with WEIR_ERR_CANCELLED. */
void opened_cancel(const struct opened *o);
void opened_close(struct opened *o); /* a zeroed one, or once more, does no harm */

/* WEIR_ERR_ABSENT with *diag if the store is a part and lacks extents. */
WEIR_MUST_CHECK weir_err opened_need_all(const struct opened *o, struct weir_diag *diag);

/* What reading the store ended with: adds to *diag what only the source knows.  Returns err. */
weir_err opened_explain(const struct opened *o, weir_err err, struct weir_diag *diag);

#endif
