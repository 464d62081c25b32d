/* outcome.c - what became of a try. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "url.h"

static void fail(struct verdict *v, enum verdict_kind kind, weir_err err, const char *cause)
{
    *v = (struct verdict){.kind = kind, .err = err};
    snprintf(v->cause, sizeof(v->cause), "%.*s", (int)sizeof(v->cause) - 1, cause);
}

static void follow(struct try *t, struct verdict *v)
{
    struct range *r = t->range;
    char *to = NULL; /* libcurl's, absolute */
    (void)curl_easy_getinfo(t->easy, CURLINFO_REDIRECT_URL, &to);
    struct weir_diag why;
    if (!to) {
        fail(v, VERDICT_FAIL, WEIR_ERR_NETWORK, "a redirect to nowhere");
    } else if (++r->n_redirects > JUDGE_MAX_REDIRECTS) {
        fail(v, VERDICT_FAIL, WEIR_ERR_NETWORK, "more than 10 redirects, one after the other");
    } else if (url_check(to, &why)) {
        fail(v, VERDICT_FAIL, WEIR_ERR_NETWORK, "a redirect to what is no http or https URL");
    } else if (url_is_https(range_url(r)) && !url_is_https(to)) {
        fail(v, VERDICT_FAIL, WEIR_ERR_NETWORK, "a redirect from https to http");
    } else {
        char *copy = strdup(to);
        if (!copy) {
            fail(v, VERDICT_FAIL, WEIR_ERR_NOMEM, "out of memory");
            return;
        }
        free(r->url);
        r->url = copy;
        *v = (struct verdict){.kind = VERDICT_FOLLOW};
    }
}

static bool is_tls(CURLcode code)
{
    return code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE ||
           code == CURLE_SSL_ISSUER_ERROR || code == CURLE_SSL_CERTPROBLEM ||
           code == CURLE_SSL_INVALIDCERTSTATUS || code == CURLE_SSL_PINNEDPUBKEYNOTMATCH;
}

/* What went wrong below HTTP. */
static void judge_code(const struct try *t, CURLcode code, struct verdict *v)
{
    const char *text = t->error[0] ? t->error : curl_easy_strerror(code);
    char cause[sizeof(v->cause)];
    if (code == CURLE_OUT_OF_MEMORY) {
        fail(v, VERDICT_FAIL, WEIR_ERR_NOMEM, "out of memory");
    } else if (code == CURLE_URL_MALFORMAT) {
        fail(v, VERDICT_FAIL, WEIR_ERR_NETWORK, text);
    } else if (is_tls(code)) {
        snprintf(cause, sizeof(cause), "the server's certificate cannot be trusted: %.100s", text);
        fail(v, VERDICT_FAIL, WEIR_ERR_NETWORK, cause);
    } else if (t->range->body && code == CURLE_PARTIAL_FILE) {
        fail(v, VERDICT_LATER, WEIR_ERR_NETWORK, "the answer is cut short");
    } else if (code == CURLE_PARTIAL_FILE || (code == CURLE_OK && t->range->want.n)) {
        snprintf(cause, sizeof(cause), "the body is %" PRIu64 " bytes short", t->range->want.n);
        fail(v, VERDICT_LATER, WEIR_ERR_NETWORK, cause);
    } else {
        fail(v, VERDICT_LATER, WEIR_ERR_NETWORK, text);
    }
}

/* The verdict is all that there is to say: of a body that is wanted when all of it came, of one
 * that is not when that is why it was broken off. */
static bool is_settled(const struct try *t, CURLcode code)
{
    if (t->verdict.kind == VERDICT_TAKE)
        return code == CURLE_OK && (t->range->body || t->range->want.n == 0);
    return code == CURLE_OK || (code == CURLE_WRITE_ERROR && t->n_skipped > TRY_MAX_SKIPPED);
}

/* What the last reply said, whether it is liked or not. */
static void keep_answer(const struct try *t)
{
    const struct body *body = t->range->body;
    struct weir_http_answer *answer = body->answer;
    answer->status = t->reply.status;
    answer->n = body->n;
    if (!t->reply.next[0] ||
        !url_resolve(range_url(t->range), t->reply.next, answer->next, sizeof(answer->next)))
        answer->next[0] = 0;
    memcpy(answer->error_code, t->reply.error_code, sizeof(t->reply.error_code));
    answer->has_next = t->reply.next[0] != 0;
}

void try_end(struct try *t, CURLcode code, struct verdict *out)
{
    (void)curl_multi_remove_handle(t->http->multi, t->easy);
    /* A head without a body is judged here; one that was cut is not judged at all. */
    if (code == CURLE_OK && !t->judged && t->reply.status)
        try_judge(t);
    if (t->range->body)
        keep_answer(t);
    if (t->too_long)
        fail(out, VERDICT_FAIL, WEIR_ERR_NETWORK, "the reply's head is longer than 64 KiB");
    else if (t->data_err)
        fail(out, VERDICT_FAIL, t->data_err, "");
    else if (t->excess)
        fail(out, VERDICT_FAIL, WEIR_ERR_NETWORK,
             t->range->body ? "the answer is longer than it may be"
                            : "the body is longer than the range asked for");
    else if (t->judged && t->verdict.kind == VERDICT_FOLLOW)
        follow(t, out);
    else if (t->judged && is_settled(t, code))
        *out = t->verdict;
    else
        judge_code(t, code, out);
    t->range = NULL;
}
