/* opened.h - the store that a command was given by name. */
#ifndef WEIR_CLI_OPENED_H
#define WEIR_CLI_OPENED_H

#include "codec/source.h"
#include "codec/store.h"

struct opened {
    struct weir_source src;
    struct weir_store *store;
};

/* Must not move while it is open: the store holds on to &o->src.  On error *o is closed; *diag may
 * lack the store's name.  What weir_source_open_file() and weir_store_open() return. */
WEIR_MUST_CHECK weir_err opened_open(struct opened *o, const char *name, struct weir_diag *diag);
void opened_close(struct opened *o); /* a zeroed one, or once more, does no harm */

#endif
