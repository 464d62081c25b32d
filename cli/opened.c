#include "opened.h"

#include <string.h>

enum { MAX_TRIES = 3 };

static weir_err try_open(struct opened *o, const char *name, struct weir_diag *diag)
{
    memset(o, 0, sizeof(*o));
    weir_err err = weir_source_open_file(name, &o->src, diag);
    /* The call was fine; it is the file that is something else. */
    if (err == WEIR_ERR_INVALID) {
        weir_diag_set(diag, "%s: not a regular file; name a store, such as model.weir", name);
        return WEIR_ERR_IO;
    }
    if (!err)
        err = weir_store_open(&o->src, &o->store, diag);
    if (err)
        opened_close(o);
    return err;
}

/* A link or a touch in the wrong moment looks like a change, so it is worth another try or two. */
weir_err opened_open(struct opened *o, const char *name, struct weir_diag *diag)
{
    weir_err err = WEIR_ERR_CHANGED;
    for (int i = 0; i < MAX_TRIES && err == WEIR_ERR_CHANGED; i++)
        err = try_open(o, name, diag);
    return err;
}

void opened_close(struct opened *o)
{
    weir_store_free(o->store);
    o->store = NULL;
    weir_source_close(&o->src);
}
