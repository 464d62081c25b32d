/* client.h - what the environment says about talking to servers, and about the Hub.
 *
 *     SSL_CERT_FILE, CURL_CA_BUNDLE    whom to trust
 *     HF_ENDPOINT                      the Hub; the only one who sees the token
 *     HF_TOKEN                         the token; else the first line of ...
 *     HF_TOKEN_PATH, $HF_HOME/token    ... this file
 *     HF_HUB_DISABLE_IMPLICIT_TOKEN    no token
 *     HF_HUB_OFFLINE                   no network for what the Hub has
 *     HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, $HF_HOME/hub    the cache
 *     HF_HOME                          else $XDG_CACHE_HOME/huggingface, ~/.cache/huggingface
 *
 * Proxies are libcurl's to read. */
#ifndef WEIR_CLI_CLIENT_H
#define WEIR_CLI_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include "fetch/http.h"
#include "fetch/hub.h"

enum { CLIENT_MAX_TEXT = 4096 };

/* Strings of options that are not the environment's own. */
struct client_text {
    char token[CLIENT_MAX_TEXT], endpoint[CLIENT_MAX_TEXT];
};

/* Fills in whom to trust, the token and where it goes, and ^C; leaves all else.  The strings live
 * as long as *text. */
void client_options(struct weir_http_options *options, struct client_text *text);

/* The Hub, without '/' at its end.  Returns buf. */
char *client_endpoint(char buf[CLIENT_MAX_TEXT]);

/* A repository's page, for messages: without what HF_ENDPOINT may hide.  Returns buf. */
char *hub_page_shown(const struct weir_hub_ref *ref, const char *endpoint, char *buf, size_t bytes);

bool client_is_offline(void);

/* The Hub's cache.  false: it is not known where, or the name is too long. */
bool client_hub_cache(char buf[CLIENT_MAX_TEXT]);

/* The URL of a store that is called hf:ORG/NAME[@REVISION]/PATH.  WEIR_ERR_INVALID: it is not
 * called like that; WEIR_ERR_NETWORK: HF_HUB_OFFLINE is set. */
WEIR_MUST_CHECK weir_err hub_store_url(const char *name, char *buf, size_t bytes,
                                       struct weir_diag *diag);

#endif
