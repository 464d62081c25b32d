#include "opened.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MAX_TRIES = 3 };

bool is_url(const char *name)
{
    return strncasecmp(name, "http://", 7) == 0 || strncasecmp(name, "https://", 8) == 0 ||
           strncmp(name, "hf:", 3) == 0;
}

static weir_err open_url(struct opened *o, const char *url, const struct remote_options *options,
                         struct weir_diag *diag)
{
    static const struct remote_options defaults = {0};
    o->name = url_name(url, o->shown, sizeof(o->shown));
    weir_err err = remote_open(url, options ? options : &defaults, &o->remote, diag);
    if (err)
        return err;
    o->src = *remote_source(o->remote);
    o->store = remote_store(o->remote);
    o->mtime.tv_sec = remote_modified(o->remote);
    o->mode = 0444;
    return WEIR_OK;
}

static weir_err try_open(struct opened *o, const char *name, const struct remote_options *options,
                         struct weir_diag *diag)
{
    memset(o, 0, sizeof(*o));
    if (is_url(name))
        return open_url(o, name, options, diag);
    o->name = name;
    weir_err err = weir_source_open_file(name, &o->src, diag);
    /* The call was fine; it is the file that is something else. */
    if (err == WEIR_ERR_INVALID) {
        weir_diag_set(diag, "%s: not a regular file; name a store, such as model.weir", name);
        return WEIR_ERR_IO;
    }
    struct stat st;
    if (!err && stat(name, &st) == 0) {
        o->mtime = st.st_mtim;
        o->mode = st.st_mode & 0444;
    }
    if (!err)
        err = weir_store_open(&o->src, &o->file_store, diag);
    o->store = o->file_store;
    if (err)
        opened_close(o);
    return err;
}

/* To a file, a link or a touch in the wrong moment looks like a change, so it is worth another try
 * or two. */
weir_err opened_open(struct opened *o, const char *name, const struct remote_options *options,
                     struct weir_diag *diag)
{
    int n_tries = is_url(name) ? 1 : MAX_TRIES;
    weir_err err = WEIR_ERR_CHANGED;
    for (int i = 0; i < n_tries && err == WEIR_ERR_CHANGED; i++)
        err = try_open(o, name, options, diag);
    return err;
}

void opened_close(struct opened *o)
{
    weir_store_free(o->file_store);
    o->file_store = NULL;
    o->store = NULL;
    if (!o->remote)
        weir_source_close(&o->src);
    remote_close(o->remote);
    o->remote = NULL;
    if (o->base)
        opened_close(o->base);
    free(o->base);
    o->base = NULL;
}

void opened_cancel(const struct opened *o)
{
    if (o->remote)
        remote_cancel(o->remote);
    if (o->base)
        opened_cancel(o->base);
}

weir_err opened_need_all(const struct opened *o, struct weir_diag *diag)
{
    const struct weir_store_info *info = weir_store_info(o->store);
    if (info->n_present == info->n_extents)
        return WEIR_OK;
    weir_diag_set(
        diag, "lacks %u of %u extents, which were not fetched; 'weir fetch URL STORE' fetches them",
        info->n_extents - info->n_present, info->n_extents);
    return WEIR_ERR_ABSENT;
}

weir_err opened_explain(const struct opened *o, weir_err err, struct weir_diag *diag)
{
    bool of_source = err == WEIR_ERR_NETWORK || err == WEIR_ERR_CHANGED ||
                     err == WEIR_ERR_CORRUPT || err == WEIR_ERR_NOT_FOUND;
    if (of_source && o->remote)
        remote_explain(o->remote, diag);
    if (of_source && o->base && o->base->remote)
        remote_explain(o->base->remote, diag);
    return err;
}
