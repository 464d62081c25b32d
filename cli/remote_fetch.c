/* remote_fetch.c - stores behind URLs, through fetch/. */
#include <limits.h>
#include <stdlib.h>

#include "client.h"
#include "fetch/remote.h"
#include "interrupt.h"
#include "remote.h"

/* Few, so that they stay warm: what TCP knows of a line is forgotten by those that rest. */
enum { CONNECTIONS = 5 };

struct remote {
    struct weir_http *http;
    struct weir_remote *store;
};

static bool stop(void *self)
{
    (void)self;
    return interrupted();
}

static const char *first_set(const char *const *names)
{
    for (; *names; names++) {
        const char *value = getenv(*names);
        if (value && *value)
            return value;
    }
    return NULL;
}

void client_options(struct weir_http_options *options)
{
    static const char *const authorities[] = {"SSL_CERT_FILE", "CURL_CA_BUNDLE", NULL};
    static const char *const token[] = {"HF_TOKEN", NULL};
    static const char *const endpoint[] = {"HF_ENDPOINT", NULL};
    options->ca_file = first_set(authorities);
    options->token = first_set(token);
    options->token_url = first_set(endpoint);
    if (!options->token_url)
        options->token_url = "https://huggingface.co";
    options->stop = stop;
}

char *url_name(const char *url, char *buf, size_t bytes)
{
    return weir_http_shown(url, buf, bytes);
}

static weir_err fill(struct remote *r, const char *url, const struct remote_options *options,
                     struct weir_diag *diag)
{
    /* Patience is counted in seconds here, not in tries. */
    struct weir_http_options client = {.n_connections = CONNECTIONS,
                                       .n_retries = UINT_MAX,
                                       .timeout_seconds = options->timeout_seconds};
    client_options(&client);
    const struct weir_remote_options remote = {
        .cache_folder = options->cache_folder,
        .cache_bytes = options->cache_bytes ? options->cache_bytes : REMOTE_CACHE_BYTES,
        .self = options->self,
        .warn = options->warn,
    };
    weir_err err = weir_http_new(&client, &r->http, diag);
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
