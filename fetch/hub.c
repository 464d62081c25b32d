#include "fetch/hub.h"

#include <stdlib.h>
#include <string.h>

#include "hub_answer.h"
#include "url.h"

struct weir_hub {
    struct weir_hub_ref ref;
    char commit[WEIR_HUB_COMMIT_DIGITS + 1];
    struct hub_list list;
};

/* What opening one takes besides. */
struct opening {
    struct weir_http *http;
    const struct weir_hub_ref *ref;
    const char *endpoint;
    char *url;    /* WEIR_HUB_MAX_URL bytes */
    char *answer; /* HUB_MAX_ANSWER_BYTES */
    struct weir_http_answer about;
};

static weir_err ask(struct opening *o, struct weir_diag *diag)
{
    weir_err err = weir_http_get(o->http, o->url, o->answer, HUB_MAX_ANSWER_BYTES, &o->about, diag);
    /* The Hub does not tell strangers what exists. */
    if (err == WEIR_ERR_NETWORK && o->about.status == 401 && !o->about.error_code[0]) {
        weir_diag_set(diag, "no such repository, or a private one (401); check the name, or set "
                            "HF_TOKEN");
        err = WEIR_ERR_NOT_FOUND;
    }
    return err;
}

static weir_err find_commit(struct opening *o, char commit[WEIR_HUB_COMMIT_DIGITS + 1],
                            struct weir_diag *diag)
{
    weir_err err = hub_api_url(o->ref, o->endpoint, "revision", o->ref->revision, "", o->url,
                               WEIR_HUB_MAX_URL);
    if (!err)
        err = ask(o, diag);
    return err ? err : hub_commit_parse(o->answer, o->about.n, commit, diag);
}

/* Where the listing goes on.  The token would go there too, and so would our trust. */
static weir_err next_page(struct opening *o, struct weir_diag *diag)
{
    if (!o->about.next[0] || !url_same_origin(o->about.next, o->endpoint)) {
        char shown[256];
        weir_diag_set(diag, "the Hub's listing goes on at another server, %s; not followed",
                      url_shown(o->about.next, shown, sizeof(shown)));
        return WEIR_ERR_NETWORK;
    }
    if (strcmp(o->about.next, o->url) == 0) {
        weir_diag_set(diag, "the Hub's listing goes round in a circle");
        return WEIR_ERR_NETWORK;
    }
    memcpy(o->url, o->about.next, strlen(o->about.next) + 1);
    return WEIR_OK;
}

static weir_err list_files(struct opening *o, struct weir_hub *hub, struct weir_diag *diag)
{
    weir_err err = hub_api_url(o->ref, o->endpoint, "tree", hub->commit, "?recursive=true", o->url,
                               WEIR_HUB_MAX_URL);
    for (unsigned n_pages = 1; !err; n_pages++) {
        err = ask(o, diag);
        if (!err)
            err = hub_list_add(&hub->list, o->answer, o->about.n, diag);
        if (err || !o->about.has_next)
            break;
        if (n_pages == HUB_MAX_PAGES) {
            weir_diag_set(diag, "the Hub's listing has more than %d pages", HUB_MAX_PAGES);
            err = WEIR_ERR_UNSUPPORTED;
        } else {
            err = next_page(o, diag);
        }
    }
    return err ? err : hub_list_end(&hub->list, diag);
}

static weir_err name_urls(const struct opening *o, struct weir_hub *hub)
{
    for (size_t i = 0; i < hub->list.n; i++) {
        struct weir_hub_file *file = &hub->list.file[i];
        weir_err err =
            weir_hub_url(o->ref, o->endpoint, hub->commit, file->path, o->url, WEIR_HUB_MAX_URL);
        if (err)
            return err;
        file->url = strdup(o->url);
        if (!file->url)
            return WEIR_ERR_NOMEM;
    }
    return WEIR_OK;
}

static weir_err check_endpoint(const char *endpoint, struct weir_diag *diag)
{
    struct weir_diag why = {""};
    weir_err err = url_check(endpoint, &why);
    if (err)
        weir_diag_set(diag, "%s; check HF_ENDPOINT", why.text);
    return err;
}

static weir_err fill(struct opening *o, struct weir_hub *hub, struct weir_diag *diag)
{
    hub->ref = *o->ref;
    o->url = malloc(WEIR_HUB_MAX_URL);
    o->answer = malloc(HUB_MAX_ANSWER_BYTES); /* pages that are not used cost nothing */
    if (!o->url || !o->answer)
        return WEIR_ERR_NOMEM;
    weir_err err = check_endpoint(o->endpoint, diag);
    if (!err)
        err = find_commit(o, hub->commit, diag);
    if (!err)
        err = list_files(o, hub, diag);
    return err ? err : name_urls(o, hub);
}

weir_err weir_hub_open(struct weir_http *http, const struct weir_hub_ref *ref, const char *endpoint,
                       struct weir_hub **out, struct weir_diag *diag)
{
    struct opening o = {.http = http, .ref = ref, .endpoint = endpoint};
    struct weir_diag own = {""}; /* a caller may not want any */
    struct weir_hub *hub = calloc(1, sizeof(*hub));
    weir_err err = hub ? fill(&o, hub, &own) : WEIR_ERR_NOMEM;
    free(o.url);
    free(o.answer);
    if (!err) {
        *out = hub;
        return WEIR_OK;
    }
    if (own.text[0])
        weir_diag_set(diag, "%s", own.text);
    weir_hub_free(hub);
    return err;
}

void weir_hub_free(struct weir_hub *hub)
{
    if (!hub)
        return;
    hub_list_free(&hub->list);
    free(hub);
}

const struct weir_hub_ref *weir_hub_named(const struct weir_hub *hub)
{
    return &hub->ref;
}

const char *weir_hub_commit(const struct weir_hub *hub)
{
    return hub->commit;
}

const struct weir_hub_file *weir_hub_files(const struct weir_hub *hub, size_t *n)
{
    *n = hub->list.n;
    return hub->list.file;
}
