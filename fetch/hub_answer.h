/* hub_answer.h - what the Hub's API answers, taken apart.
 *
 * Every byte comes from strangers: what is not as it must be is refused, what is not known is
 * passed over.  Pure, but for memory. */
#ifndef WEIR_FETCH_HUB_ANSWER_H
#define WEIR_FETCH_HUB_ANSWER_H

#include "fetch/hub.h"

enum {
    HUB_MAX_ANSWER_BYTES = 8 << 20, /* of one answer */
    HUB_MAX_PAGES = 2000,           /* of one listing */
    HUB_MAX_PATHS_BYTES = 32 << 20, /* all paths of a listing */
};

/* ENDPOINT/api/models/ORG/NAME/WHAT/REVISION and `query`.  WEIR_ERR_INVALID: it does not fit. */
WEIR_MUST_CHECK weir_err hub_api_url(const struct weir_hub_ref *ref, const char *endpoint,
                                     const char *what, const char *revision, const char *query,
                                     char *buf, size_t bytes);

/* The commit in the answer about a revision.  WEIR_ERR_NETWORK: there is none; WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err hub_commit_parse(const char *json, size_t n,
                                          char commit[WEIR_HUB_COMMIT_DIGITS + 1],
                                          struct weir_diag *diag);

struct hub_list {
    struct weir_hub_file *file; /* paths are its own; no URLs yet */
    size_t n, room;
    size_t path_bytes;
};

/* Adds the files on one page of a tree.  On error the list stays fit to be freed.
 *
 * WEIR_ERR_NETWORK      no listing at all
 * WEIR_ERR_CORRUPT      a path that leads elsewhere, a file without hash or size
 * WEIR_ERR_UNSUPPORTED  too many files; WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err hub_list_add(struct hub_list *list, const char *json, size_t n,
                                      struct weir_diag *diag);

/* All pages are there: sorts the list.  WEIR_ERR_CORRUPT: a path is there twice, or is a folder of
 * another. */
WEIR_MUST_CHECK weir_err hub_list_end(struct hub_list *list, struct weir_diag *diag);

void hub_list_free(struct hub_list *list); /* a zeroed one is fine; leaves it zeroed */

#endif
