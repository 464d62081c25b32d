#include "url.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { SCHEME, HOST, PORT, PATH, N_PARTS };

/* The parts of a URL; all NULL when it is none. */
struct parts {
    CURLU *handle;
    char *text[N_PARTS];
};

static void parts_free(struct parts *p)
{
    for (int i = 0; i < N_PARTS; i++)
        curl_free(p->text[i]);
    curl_url_cleanup(p->handle);
}

/* false: no URL, or out of memory.  parts_free() in any case. */
static bool parts_of(const char *url, struct parts *p)
{
    static const CURLUPart part[N_PARTS] = {CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT,
                                            CURLUPART_PATH};
    *p = (struct parts){.handle = curl_url()};
    if (!p->handle || curl_url_set(p->handle, CURLUPART_URL, url, 0) != CURLUE_OK)
        return false;
    for (int i = 0; i < N_PARTS; i++)
        if (curl_url_get(p->handle, part[i], &p->text[i], CURLU_DEFAULT_PORT) != CURLUE_OK)
            return false;
    return true;
}

static bool is_http(const char *scheme)
{
    return strcasecmp(scheme, "http") == 0 || strcasecmp(scheme, "https") == 0;
}

static bool has_user(CURLU *handle)
{
    static const CURLUPart part[] = {CURLUPART_USER, CURLUPART_PASSWORD};
    bool has = false;
    for (size_t i = 0; i < sizeof(part) / sizeof(part[0]); i++) {
        char *text = NULL;
        has = curl_url_get(handle, part[i], &text, 0) == CURLUE_OK || has;
        curl_free(text);
    }
    return has;
}

weir_err url_check(const char *url, struct weir_diag *diag)
{
    struct parts p;
    weir_err err = WEIR_OK;
    if (!parts_of(url, &p)) {
        err = p.handle ? WEIR_ERR_INVALID : WEIR_ERR_NOMEM;
        weir_diag_set(diag, "not a URL such as https://host/model.weir");
    } else if (!is_http(p.text[SCHEME])) {
        err = WEIR_ERR_INVALID;
        weir_diag_set(diag, "a URL here begins with http:// or https://");
    } else if (has_user(p.handle)) {
        err = WEIR_ERR_INVALID;
        weir_diag_set(diag, "a URL here holds no user's name or password");
    }
    parts_free(&p);
    return err;
}

bool url_same_origin(const char *a, const char *b)
{
    struct parts pa, pb;
    bool fine_a = parts_of(a, &pa);
    bool fine_b = parts_of(b, &pb);
    bool same = fine_a && fine_b && strcasecmp(pa.text[SCHEME], pb.text[SCHEME]) == 0 &&
                strcasecmp(pa.text[HOST], pb.text[HOST]) == 0 &&
                strcmp(pa.text[PORT], pb.text[PORT]) == 0;
    parts_free(&pa);
    parts_free(&pb);
    return same;
}

bool url_resolve(const char *base, const char *target, char *buf, size_t bytes)
{
    char *text = NULL;
    CURLU *handle = curl_url();
    bool fine = handle && curl_url_set(handle, CURLUPART_URL, base, 0) == CURLUE_OK &&
                curl_url_set(handle, CURLUPART_URL, target, 0) == CURLUE_OK &&
                curl_url_get(handle, CURLUPART_URL, &text, 0) == CURLUE_OK && strlen(text) < bytes;
    if (fine)
        memcpy(buf, text, strlen(text) + 1);
    curl_free(text);
    curl_url_cleanup(handle);
    return fine;
}

bool url_is_https(const char *url)
{
    return strncasecmp(url, "https:", 6) == 0;
}

char *url_shown(const char *url, char *buf, size_t bytes)
{
    struct parts p;
    if (!parts_of(url, &p)) {
        snprintf(buf, bytes, "(no URL)");
    } else {
        bool usual =
            strcmp(p.text[PORT], strcasecmp(p.text[SCHEME], "https") == 0 ? "443" : "80") == 0;
        snprintf(buf, bytes, "%s://%s%s%s%s", p.text[SCHEME], p.text[HOST], usual ? "" : ":",
                 usual ? "" : p.text[PORT], p.text[PATH]);
    }
    parts_free(&p);
    return buf;
}
