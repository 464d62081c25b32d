/* Anything that the Hub, or whoever pretends to be it, may answer: a page of a listing, a revision,
 * a Link header; and anything that a user may call a repository.  The first byte says which. */
#include <stdlib.h>
#include <string.h>

#include "codec/path.h"
#include "hub_answer.h"
#include "reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void list(const char *text, size_t n)
{
    struct hub_list list = {0};
    weir_err err = WEIR_OK;
    /* Two pages, as a listing has more than one. */
    for (int page = 0; !err && page < 2; page++)
        err = hub_list_add(&list, text, page ? n : n / 2, NULL);
    if (err)
        err = hub_list_add(&list, text, n, NULL);
    if (!err && hub_list_end(&list, NULL) == WEIR_OK)
        for (size_t i = 0; i < list.n; i++)
            if (!weir_path_is_valid(list.file[i].path) || list.file[i].size > WEIR_HUB_MAX_SIZE ||
                (i && strcmp(list.file[i - 1].path, list.file[i].path) >= 0))
                abort();
    hub_list_free(&list);
}

static void revision(const char *text, size_t n)
{
    char commit[WEIR_HUB_COMMIT_DIGITS + 1];
    if (hub_commit_parse(text, n, commit, NULL) == WEIR_OK &&
        strspn(commit, "0123456789abcdef") != WEIR_HUB_COMMIT_DIGITS)
        abort();
}

static void link_header(const char *text)
{
    char next[64];
    if (link_next_parse(text, next, sizeof(next)) && (!next[0] || !strstr(text, next)))
        abort();
}

static void reference(const char *text)
{
    struct weir_hub_ref ref;
    char url[WEIR_HUB_MAX_URL];
    if (weir_hub_ref_parse(text, &ref, NULL) != WEIR_OK)
        return;
    if (!weir_path_is_valid(ref.repo) || !weir_path_is_valid(ref.revision) ||
        (ref.path[0] && !weir_path_is_valid(ref.path)) ||
        weir_hub_url(&ref, "https://h", ref.revision, ref.path, url, sizeof(url)) != WEIR_OK ||
        strpbrk(url, " ?#@\n") || strstr(url, "/../"))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char *text = n ? malloc(n) : NULL;
    if (!text)
        return 0;
    memcpy(text, data + 1, n - 1);
    text[n - 1] = 0;
    switch (data[0]) {
    case 'l':
        list(text, n - 1);
        break;
    case 'r':
        revision(text, n - 1);
        break;
    case 'h':
        link_header(text);
        break;
    default:
        reference(text);
        break;
    }
    free(text);
    return 0;
}
