#include "opened.h"

#include <string.h>

weir_err opened_open(struct opened *o, const char *name, struct weir_diag *diag)
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

void opened_close(struct opened *o)
{
    weir_store_free(o->store);
    o->store = NULL;
    weir_source_close(&o->src);
}
