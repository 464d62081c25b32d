/* hub.h - repositories of the Hugging Face Hub: how they are named, and what is in them.
 *
 * A reference is text such as hf:ORG/NAME@REVISION.  Opening one asks the Hub which commit the
 * revision is, and lists that commit's files with their sizes and hashes; all URLs are the commit's
 * from then on, so that what is fetched is one state of the repository.
 *
 * Knows nothing of where files go, and reads no environment.  Safe against hostile answers: memory,
 * pages and files are bounded, and every path is one that stays below where it is put.
 * References and listings never change: all threads may use them. */
#ifndef WEIR_FETCH_HUB_H
#define WEIR_FETCH_HUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"
#include "codec/store.h"
#include "fetch/http.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    WEIR_HUB_MAX_REPO = 96, /* the Hub's own limits */
    WEIR_HUB_MAX_REVISION = 255,
    WEIR_HUB_MAX_FILES = 100000,
    WEIR_HUB_COMMIT_DIGITS = 40,
    WEIR_HUB_SHA1_BYTES = 20,
    WEIR_HUB_MAX_URL = 16 << 10,
};

/* Bytes of a file: 64 TiB.  What a listing calls larger is refused. */
#define WEIR_HUB_MAX_SIZE (INT64_C(1) << 46)

enum weir_hub_kind { WEIR_HUB_MODEL, WEIR_HUB_DATASET, WEIR_HUB_SPACE };

struct weir_hub_ref {
    enum weir_hub_kind kind;
    char repo[WEIR_HUB_MAX_REPO + 1]; /* "ORG/NAME"; "NAME" of the oldest models */
    char revision[WEIR_HUB_MAX_REVISION +
                  1];                   /* a branch, a tag, a commit; "main" if none is named */
    char path[WEIR_MAX_PATH_BYTES + 1]; /* of one file; "": all of the repository */
};

/* Whether `text` is meant as a reference: it begins with "hf:". */
bool weir_hub_is_ref(const char *text);

/* hf:[//][models/|datasets/|spaces/]ORG/NAME[@REVISION][/PATH].  A '/' of a revision is written
 * %2F, but in refs/pr/N and refs/convert/NAME.  Any text is fine as input.  WEIR_ERR_INVALID: it is
 * none; *diag says why, *out is untouched. */
WEIR_MUST_CHECK weir_err weir_hub_ref_parse(const char *text, struct weir_hub_ref *out,
                                            struct weir_diag *diag);

/* The part of the repository's name behind the '/'. */
const char *weir_hub_ref_name(const struct weir_hub_ref *ref);

/* Where people look at it: ENDPOINT/[datasets/]ORG/NAME.  endpoint: as of weir_hub_open().  Cut to
 * fit.  Returns buf. */
char *weir_hub_page(const struct weir_hub_ref *ref, const char *endpoint, char *buf, size_t bytes);

/* Where the file `path` of it is at `revision`; WEIR_HUB_MAX_URL bytes are enough for a short
 * endpoint.  WEIR_ERR_INVALID: it does not fit. */
WEIR_MUST_CHECK weir_err weir_hub_url(const struct weir_hub_ref *ref, const char *endpoint,
                                      const char *revision, const char *path, char *buf,
                                      size_t bytes);

/* A file of a repository. */
struct weir_hub_file {
    const char *path; /* relative, by the rules of a store's (codec/path.h) */
    const char *url;  /* at the listing's commit; redirects lead on */
    uint64_t size;    /* bytes */
    bool has_lfs;
    uint8_t sha256[WEIR_DIGEST_BYTES]; /* of its bytes, if has_lfs */
    uint8_t sha1[WEIR_HUB_SHA1_BYTES]; /* else of "blob SIZE\0" and its bytes, as git does */
};

struct weir_hub; /* the listing of a commit */

/* Asks `endpoint` (such as https://huggingface.co, without a '/' at its end) for the files of
 * ref->revision.  ref->path is not looked at.  Nothing is held on to: `http` and the strings may
 * go.  On success *out is freed with weir_hub_free(); on error it is untouched.
 *
 * WEIR_ERR_NOT_FOUND    no such repository or revision, or none that we may know of
 * WEIR_ERR_NETWORK      the Hub is gone or refuses (*diag says what to do), or makes no sense
 * WEIR_ERR_CORRUPT      the listing has paths that lead elsewhere, or twice the same
 * WEIR_ERR_UNSUPPORTED  more files than WEIR_HUB_MAX_FILES
 * WEIR_ERR_INVALID      the endpoint is no http or https URL
 * WEIR_ERR_CANCELLED, WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err weir_hub_open(struct weir_http *http, const struct weir_hub_ref *ref,
                                       const char *endpoint, struct weir_hub **out,
                                       struct weir_diag *diag);
void weir_hub_free(struct weir_hub *hub); /* NULL is fine */

/* What it was opened by; lives as long as `hub`. */
const struct weir_hub_ref *weir_hub_named(const struct weir_hub *hub);

const char *weir_hub_commit(const struct weir_hub *hub); /* 40 hex digits, lower case */

/* Its files, ascending by path as strcmp() has it, *n of them; they live as long as `hub`. */
const struct weir_hub_file *weir_hub_files(const struct weir_hub *hub, size_t *n);

#ifdef __cplusplus
}
#endif

#endif
