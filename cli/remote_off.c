/* remote_off.c - URLs where libcurl was not there at build time. */
#include <stdio.h>

#include "remote.h"

char *url_name(const char *url, char *buf, size_t bytes)
{
    snprintf(buf, bytes, "%s", url);
    return buf;
}

weir_err remote_open(const char *url, const struct remote_options *options, struct remote **out,
                     struct weir_diag *diag)
{
    (void)url;
    (void)options;
    (void)out;
    weir_diag_set(diag, "this weir was built without libcurl; install libcurl4-openssl-dev and "
                        "build it again, or download the store");
    return WEIR_ERR_UNSUPPORTED;
}

void remote_cancel(struct remote *remote)
{
    (void)remote;
}

void remote_close(struct remote *remote)
{
    (void)remote;
}

weir_err remote_set_base(struct remote *remote, const struct weir_store *base,
                         struct weir_diag *diag)
{
    (void)remote;
    (void)base;
    (void)diag;
    return WEIR_ERR_UNSUPPORTED;
}

const struct weir_source *remote_source(const struct remote *remote)
{
    (void)remote;
    return NULL;
}

const struct weir_store *remote_store(const struct remote *remote)
{
    (void)remote;
    return NULL;
}

void remote_explain(const struct remote *remote, struct weir_diag *diag)
{
    (void)remote;
    (void)diag;
}

long long remote_modified(const struct remote *remote)
{
    (void)remote;
    return 0;
}
