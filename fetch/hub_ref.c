/* hub_ref.c - how repositories are named, and their URLs. */
#include <stdio.h>
#include <string.h>

#include "codec/path.h"
#include "fetch/hub.h"
#include "hub_answer.h"

static const char scheme[] = "hf:";
static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
static const char digits[] = "0123456789";

/* What the kinds are called: in a reference, in API URLs, in the others. */
static const struct {
    const char *plural, *prefix;
} kinds[] = {
    [WEIR_HUB_MODEL] = {"models", ""},
    [WEIR_HUB_DATASET] = {"datasets", "datasets/"},
    [WEIR_HUB_SPACE] = {"spaces", "spaces/"},
};

bool weir_hub_is_ref(const char *text)
{
    return strncmp(text, scheme, sizeof(scheme) - 1) == 0;
}

/* ---- text to reference ---- */

static const char *take_kind(const char *text, enum weir_hub_kind *kind)
{
    *kind = WEIR_HUB_MODEL;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        size_t n = strlen(kinds[i].plural);
        /* With only one name behind it, it is itself the first of two. */
        if (strncmp(text, kinds[i].plural, n) != 0 || text[n] != '/' || !strchr(text + n + 1, '/'))
            continue;
        *kind = (enum weir_hub_kind)i;
        return text + n + 1;
    }
    return text;
}

/* The Hub's rule for a name: letters, digits, '-', '_', '.'; neither "--" nor ".."; '-' and '.' not
 * at its ends. */
static bool is_name(const char *text, size_t n)
{
    if (n == 0 || strchr("-.", text[0]) || strchr("-.", text[n - 1]))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == 0 ||
            (!strchr(letters, text[i]) && !strchr(digits, text[i]) && !strchr("-_.", text[i])))
            return false;
        if (i && text[i] == text[i - 1] && strchr("-.", text[i]))
            return false;
    }
    return true;
}

/* Copies n bytes with "%2F" made '/'. */
static bool copy_revision(const char *text, size_t n, char *to, size_t room)
{
    size_t length = 0;
    for (size_t i = 0; i < n; i++) {
        bool escaped =
            n - i >= 3 && (strncmp(text + i, "%2F", 3) == 0 || strncmp(text + i, "%2f", 3) == 0);
        if (length + 1 >= room)
            return false;
        to[length++] = text[i];
        if (!escaped)
            continue;
        to[length - 1] = '/';
        i += 2;
    }
    to[length] = 0;
    return true;
}

/* Bytes of the revision that `text` begins with: up to the next '/', the third one of those that
 * are known to have two. */
static size_t revision_bytes(const char *text)
{
    static const char *const with_slashes[] = {"refs/pr/", "refs/convert/"};
    for (size_t i = 0; i < sizeof(with_slashes) / sizeof(with_slashes[0]); i++) {
        size_t n = strlen(with_slashes[i]);
        if (strncmp(text, with_slashes[i], n) == 0)
            return n + strcspn(text + n, "/");
    }
    return strcspn(text, "/");
}

static weir_err refuse(struct weir_diag *diag, const char *why)
{
    weir_diag_set(diag, "%s; it is written hf:ORG/NAME or hf:ORG/NAME@REVISION", why);
    return WEIR_ERR_INVALID;
}

static weir_err take_revision(const char **text, struct weir_hub_ref *ref, struct weir_diag *diag)
{
    if (**text != '@') {
        snprintf(ref->revision, sizeof(ref->revision), "main");
        return WEIR_OK;
    }
    size_t n = revision_bytes(++*text);
    /* Git's own rules are stricter; these keep it a path, and printable. */
    if (!copy_revision(*text, n, ref->revision, sizeof(ref->revision)) ||
        !weir_path_is_valid(ref->revision))
        return refuse(diag, "what stands behind the @ is no revision");
    for (const char *c = ref->revision; *c; c++)
        if (*c <= ' ' || *c > '~')
            return refuse(diag, "what stands behind the @ is no revision");
    *text += n;
    return WEIR_OK;
}

weir_err weir_hub_ref_parse(const char *text, struct weir_hub_ref *out, struct weir_diag *diag)
{
    struct weir_hub_ref ref = {.path = ""};
    if (!weir_hub_is_ref(text))
        return refuse(diag, "this names no repository of the Hub");
    text += sizeof(scheme) - 1;
    text += strncmp(text, "//", 2) == 0 ? 2 : 0;
    text = take_kind(text, &ref.kind);
    size_t first = strcspn(text, "/@");
    size_t second = text[first] == '/' ? strcspn(text + first + 1, "/@") : 0;
    size_t n = first + (second ? 1 + second : 0);
    if (!is_name(text, first) || (text[first] == '/' && !is_name(text + first + 1, second)) ||
        n > WEIR_HUB_MAX_REPO)
        return refuse(diag, "this names no repository of the Hub");
    memcpy(ref.repo, text, n);
    text += n;
    weir_err err = take_revision(&text, &ref, diag);
    if (err)
        return err;
    if (*text && (*text != '/' || !weir_path_is_valid(text + 1)))
        return refuse(diag, "what stands behind the repository is no file's path");
    if (*text)
        memcpy(ref.path, text + 1, strlen(text + 1));
    *out = ref;
    return WEIR_OK;
}

const char *weir_hub_ref_name(const struct weir_hub_ref *ref)
{
    const char *slash = strchr(ref->repo, '/');
    return slash ? slash + 1 : ref->repo;
}

/* ---- reference to URL ---- */

/* Text that grows in a buffer; `fits` tells whether all of it did. */
struct text {
    char *to;
    size_t n, room;
    bool fits;
};

static void add(struct text *t, char c)
{
    t->fits = t->fits && t->n + 1 < t->room;
    if (!t->fits)
        return;
    t->to[t->n++] = c;
    t->to[t->n] = 0;
}

static void add_text(struct text *t, const char *text)
{
    for (; *text; text++)
        add(t, *text);
}

/* Percent-encoded, all but letters, digits and `also`. */
static void add_escaped(struct text *t, const char *text, const char *also)
{
    static const char hex[] = "0123456789ABCDEF";
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (strchr(letters, *text) || strchr(digits, *text) || strchr(also, *text)) {
            add(t, *text);
            continue;
        }
        add(t, '%');
        add(t, hex[c >> 4]);
        add(t, hex[c & 15]);
    }
}

static struct text begin(char *buf, size_t bytes, const char *endpoint)
{
    struct text t = {.to = buf, .room = bytes, .fits = true};
    add_text(&t, endpoint);
    add(&t, '/');
    return t;
}

static weir_err end(const struct text *t)
{
    return t->fits ? WEIR_OK : WEIR_ERR_INVALID;
}

char *weir_hub_page(const struct weir_hub_ref *ref, const char *endpoint, char *buf, size_t bytes)
{
    struct text t = begin(buf, bytes, endpoint);
    add_text(&t, kinds[ref->kind].prefix);
    add_text(&t, ref->repo);
    return buf;
}

weir_err weir_hub_url(const struct weir_hub_ref *ref, const char *endpoint, const char *revision,
                      const char *path, char *buf, size_t bytes)
{
    struct text t = begin(buf, bytes, endpoint);
    add_text(&t, kinds[ref->kind].prefix);
    add_text(&t, ref->repo);
    add_text(&t, "/resolve/");
    add_escaped(&t, revision, "-._~");
    add(&t, '/');
    add_escaped(&t, path, "-._~/");
    return end(&t);
}

weir_err hub_api_url(const struct weir_hub_ref *ref, const char *endpoint, const char *what,
                     const char *revision, const char *query, char *buf, size_t bytes)
{
    struct text t = begin(buf, bytes, endpoint);
    add_text(&t, "api/");
    add_text(&t, kinds[ref->kind].plural);
    add(&t, '/');
    add_text(&t, ref->repo);
    add(&t, '/');
    add_text(&t, what);
    add(&t, '/');
    add_escaped(&t, revision, "-._~");
    add_text(&t, query);
    return end(&t);
}
