#define PCRE2_CODE_UNIT_WIDTH 8
#include "pattern.h"

#include <pcre2.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_PATTERN = 1024,     /* bytes, with \s written out */
    MATCH_LIMIT = 50000000, /* steps; a run of a million spaces takes two million */
    HEAP_LIMIT = 64 << 10,  /* KiB, where there is no JIT */
};

struct pattern {
    pcre2_code *code;
};

struct matcher {
    pcre2_match_data *data;
    pcre2_match_context *context;
};

/* clang-format off */
#define WORDS_EN   "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define UPPER      "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER      "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define NO_LETTER  "[^\\r\\n\\p{L}\\p{N}]?"
#define SPACES     "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static const struct {
    const char *name, *text;
} known[] = {
    {"gpt2", "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"},
    {"llama3", WORDS_EN "|" NO_LETTER "\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*" SPACES},
    {"qwen2", WORDS_EN "|" NO_LETTER "\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*" SPACES},
    {"qwen35", WORDS_EN "|" NO_LETTER "[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*"
               SPACES},
    {"gpt4", "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}{1,3}|"
             " ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"},
    {"gpt4o", NO_LETTER UPPER "*" LOWER "+" WORDS_EN "?|" NO_LETTER UPPER "+" LOWER "*" WORDS_EN
              "?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" SPACES},
    {"tekken", NO_LETTER UPPER "*" LOWER "+|" NO_LETTER UPPER "+" LOWER
               "*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" SPACES},
    {"digit", "\\p{N}"},
    {"digits", "\\p{N}+"},
};
/* clang-format on */

static bool is_known(const char *text)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strcmp(known[i].text, text) == 0)
            return true;
    return false;
}

const char *pattern_text(const char *name)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strcmp(known[i].name, name) == 0)
            return known[i].text;
    return NULL;
}

/* \s and \S as classes of White_Space: PCRE2's own have U+180E besides.  Returns the length. */
static size_t write_out_spaces(const char *text, char *to)
{
    static const char space[] = "\\t-\\r\\x{85}\\p{Z}";
    size_t n = 0;
    bool in_class = false;
    for (; *text; text++) {
        bool escaped = *text == '\\';
        if (escaped && (text[1] == 's' || text[1] == 'S')) {
            const char *open = in_class ? "" : text[1] == 's' ? "[" : "[^";
            n += (size_t)(stpcpy(stpcpy(stpcpy(to + n, open), space), in_class ? "" : "]") -
                          (to + n));
            text++;
            continue;
        }
        in_class = *text == '[' || (in_class && *text != ']');
        to[n++] = *text;
        if (escaped)
            to[n++] = *++text;
    }
    return n;
}

weir_err pattern_new(const char *text, struct pattern **out)
{
    char ours[MAX_PATTERN];
    int error;
    PCRE2_SIZE where;
    if (!is_known(text))
        return WEIR_ERR_UNSUPPORTED;
    struct pattern *p = calloc(1, sizeof(*p));
    if (!p)
        return WEIR_ERR_NOMEM;
    size_t n = write_out_spaces(text, ours);
    p->code = pcre2_compile((PCRE2_SPTR)ours, n, PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C,
                            &error, &where, NULL);
    if (!p->code) {
        free(p);
        return WEIR_ERR_NOMEM; /* the texts are ours: nothing else fails */
    }
    (void)pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE); /* without: slower, and no different */
    *out = p;
    return WEIR_OK;
}

void pattern_free(struct pattern *p)
{
    if (!p)
        return;
    pcre2_code_free(p->code);
    free(p);
}

struct matcher *matcher_new(void)
{
    struct matcher *m = calloc(1, sizeof(*m));
    if (!m)
        return NULL;
    m->data = pcre2_match_data_create(1, NULL);
    m->context = pcre2_match_context_create(NULL);
    if (!m->data || !m->context) {
        matcher_free(m);
        return NULL;
    }
    pcre2_set_match_limit(m->context, MATCH_LIMIT);
    pcre2_set_heap_limit(m->context, HEAP_LIMIT);
    return m;
}

void matcher_free(struct matcher *m)
{
    if (!m)
        return;
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->context);
    free(m);
}

weir_err pattern_next(const struct pattern *p, struct matcher *m, const char *text, size_t n,
                      size_t from, struct pattern_match *out)
{
    PCRE2_SPTR subject = (PCRE2_SPTR)text;
    int rc = pcre2_match(p->code, subject, n, from, PCRE2_NO_UTF_CHECK, m->data, m->context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) /* a long run; the other way has the heap */
        rc = pcre2_match(p->code, subject, n, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, m->data,
                         m->context);
    if (rc == PCRE2_ERROR_NOMEMORY)
        return WEIR_ERR_NOMEM;
    if (rc < 0 && rc != PCRE2_ERROR_NOMATCH)
        return WEIR_ERR_UNSUPPORTED;
    const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(m->data);
    *out = (struct pattern_match){0};
    if (rc != PCRE2_ERROR_NOMATCH && ends[1] > ends[0])
        *out = (struct pattern_match){ends[0], ends[1], true};
    return WEIR_OK;
}
