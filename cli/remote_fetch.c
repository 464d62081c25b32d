/* remote_fetch.c - stores behind URLs, through fetch/. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "client.h"
#include "fetch/hub.h"
#include "fetch/remote.h"
#include "remote.h"

/* Few, so that they stay warm: what TCP knows of a line is forgotten by those that rest. */
enum { CONNECTIONS = 5 };

struct remote {
    struct weir_http *http;
    struct weir_remote *store;
};

char *url_name(const char *url, char *buf, size_t bytes)
{
    if (!weir_hub_is_ref(url))
        return weir_http_shown(url, buf, bytes);
    snprintf(buf, bytes, "%s", url); /* there is nothing secret in it */
    return buf;
}

char *hub_page_shown(const struct weir_hub_ref *ref, const char *endpoint, char *buf, size_t bytes)
{
    char page[WEIR_HUB_MAX_URL];
    return weir_http_shown(weir_hub_page(ref, endpoint, page, sizeof(page)), buf, bytes);
}

weir_err hub_store_url(const char *name, char *buf, size_t bytes, struct weir_diag *diag)
{
    struct weir_hub_ref ref;
    char endpoint[CLIENT_MAX_TEXT];
    weir_err err = weir_hub_ref_parse(name, &ref, diag);
    if (err)
        return err;
    if (client_is_offline()) {
        weir_diag_set(diag, "HF_HUB_OFFLINE is set; unset it, or name a store on this disk");
        return WEIR_ERR_NETWORK;
    }
    if (!ref.path[0]) {
        weir_diag_set(diag, "this names a repository, not a store in it; a store is written "
                            "hf:ORG/NAME/PATH.weir");
        return WEIR_ERR_INVALID;
    }
    err = weir_hub_url(&ref, client_endpoint(endpoint), ref.revision, ref.path, buf, bytes);
    if (err)
        weir_diag_set(diag, "the name is too long");
    return err;
}

static weir_err fill(struct remote *r, const char *url, const struct remote_options *options,
                     struct weir_diag *diag)
{
    /* Patience is counted in seconds here, not in tries. */
    struct weir_http_options client = {.n_connections = CONNECTIONS,
                                       .n_retries = UINT_MAX,
                                       .timeout_seconds = options->timeout_seconds};
    const struct weir_remote_options remote = {
        .cache_folder = options->cache_folder,
        .cache_bytes = options->cache_bytes ? options->cache_bytes : REMOTE_CACHE_BYTES,
        .self = options->self,
        .warn = options->warn,
    };
    char resolved[WEIR_HUB_MAX_URL];
    weir_err err = WEIR_OK;
    if (weir_hub_is_ref(url)) {
        err = hub_store_url(url, resolved, sizeof(resolved), diag);
        url = resolved;
    }
    struct client_text texts;
    client_options(&client, &texts);
    if (!err)
        err = weir_http_new(&client, &r->http, diag);
    return err ? err : weir_remote_open(r->http, url, &remote, &r->store, diag);
}

weir_err remote_open(const char *url, const struct remote_options *options, struct remote **out,
                     struct weir_diag *diag)
{
    struct remote *r = calloc(1, sizeof(*r));
    if (!r)
        return WEIR_ERR_NOMEM;
    weir_err err = fill(r, url, options, diag);
    if (err)
        remote_close(r);
    else
        *out = r;
    return err;
}

void remote_cancel(struct remote *r)
{
    weir_http_cancel(r->http);
}

void remote_close(struct remote *r)
{
    if (!r)
        return;
    weir_http_free(r->http); /* first: it ends what is on its way */
    weir_remote_free(r->store);
    free(r);
}

weir_err remote_set_base(struct remote *r, const struct weir_store *base, struct weir_diag *diag)
{
    return weir_remote_set_base(r->store, base, diag);
}

const struct weir_source *remote_source(const struct remote *r)
{
    return weir_remote_source(r->store);
}

const struct weir_store *remote_store(const struct remote *r)
{
    return weir_remote_store(r->store);
}

void remote_explain(const struct remote *r, struct weir_diag *diag)
{
    struct weir_diag why = {""}, what = *diag;
    weir_remote_why(r->store, &why);
    if (why.text[0])
        weir_diag_set(diag, "%.250s%s%.250s", what.text, what.text[0] ? ": " : "", why.text);
}

long long remote_modified(const struct remote *r)
{
    return weir_http_file_modified(weir_remote_file(r->store));
}
