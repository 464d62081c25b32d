/* The ids and the text that PyPI's `tokenizers` and llama.cpp give, for texts that are easily
 * taken wrong (tests/infer/). */
#include <dirent.h>

#include "tokenizer_files.h"

enum {
    MAX_TEXTS = 256,
    FNV_START = 0x811c9dc5,
    FNV_PRIME = 0x01000193,
};

struct text {
    char *bytes;
    size_t n;
};

static uint32_t fnv(uint32_t h, const void *data, size_t n)
{
    for (const unsigned char *b = data; n > 0; n--, b++)
        h = (h ^ *b) * FNV_PRIME;
    return h;
}

/* ---- corpus.txt ---- */

/* Adds TIMES*HEX. */
static void add_part(struct weir_text *text, const char *part)
{
    char *star = strchr(part, '*');
    size_t times = star ? strtoul(part, NULL, 10) : 1;
    const char *hex = star ? star + 1 : part;
    char bytes[4096];
    size_t n = strlen(hex) / 2;
    cr_assert_leq(n, sizeof(bytes));
    for (size_t i = 0; i < n; i++) {
        unsigned byte;
        cr_assert_eq(sscanf(hex + 2 * i, "%2x", &byte), 1);
        bytes[i] = (char)byte;
    }
    while (times-- > 0)
        cr_assert_eq(weir_text_add(text, bytes, n), WEIR_OK);
}

static size_t read_corpus(struct text *texts)
{
    size_t n = 0, n_file;
    char *file = read_file(WEIR_TESTS "/infer/corpus.txt", &n_file);
    cr_assert_not_null(file);
    char *rest = file;
    for (char *line; (line = strsep(&rest, "\n"));) {
        struct weir_text text = {0};
        if (!*line || *line == '#')
            continue;
        for (char *part = strtok(line, " "); part; part = strtok(NULL, " "))
            add_part(&text, part);
        cr_assert_lt(n, MAX_TEXTS);
        texts[n++] = (struct text){text.bytes, text.n};
    }
    free(file);
    return n;
}

/* ---- goldens ---- */

struct expected {
    size_t n, n_plain;
    uint32_t ids, decoded;
    bool has_decoded;
    char *list; /* of ids; empty: too many */
};

static struct expected parse_line(char *line)
{
    struct expected e = {0};
    char *at = line;
    e.n = strtoul(at, &at, 10);
    e.n_plain = strtoul(at, &at, 10);
    e.ids = (uint32_t)strtoul(at, &at, 16);
    e.has_decoded = at[1] != '-';
    if (e.has_decoded)
        e.decoded = (uint32_t)strtoul(at, &at, 16);
    else
        at += 2;
    e.list = at;
    return e;
}

static struct weir_ids encode(const struct weir_tokenizer *t, struct text text, bool special)
{
    struct weir_ids ids = {0};
    struct weir_diag diag = {""};
    struct weir_encoding how = {special, special};
    cr_assert_eq(weir_tokenizer_encode(t, text.bytes, text.n, how, &ids, &diag), WEIR_OK, "%s",
                 diag.text);
    return ids;
}

/* As they come; what is there after each id is UTF-8 that stays. */
static struct weir_text decode(const struct weir_tokenizer *t, const struct weir_ids *ids)
{
    struct weir_detok detok = {.tokenizer = t, .only_utf8 = true};
    struct weir_text text = {0};
    for (size_t i = 0; i < ids->n; i++)
        cr_assert_eq(weir_detok_push(&detok, ids->id[i], &text), WEIR_OK);
    cr_assert_eq(weir_detok_end(&detok, &text), WEIR_OK);
    return text;
}

static void check_text(const char *name, size_t number, const struct weir_tokenizer *t,
                       struct text text, const struct expected *e)
{
    struct weir_ids ids = encode(t, text, true), plain = encode(t, text, false);
    struct weir_text decoded = decode(t, &ids);
    uint32_t h = fnv(FNV_START, ids.id, ids.n * sizeof(*ids.id));
    h = fnv(h, plain.id, plain.n * sizeof(*plain.id));
    char *at = e->list;
    for (size_t i = 0; *at && i < ids.n; i++)
        cr_expect_eq(ids.id[i], strtoul(at, &at, 10), "%s, text %zu, id %zu", name, number, i);
    cr_expect_eq(ids.n, e->n, "%s, text %zu: %zu ids", name, number, ids.n);
    cr_expect_eq(plain.n, e->n_plain, "%s, text %zu: %zu ids", name, number, plain.n);
    cr_expect_eq(h, e->ids, "%s, text %zu: other ids", name, number);
    h = fnv(FNV_START, decoded.bytes, decoded.n);
    if (e->has_decoded)
        cr_expect_eq(h, e->decoded, "%s, text %zu: other text", name, number);
    weir_ids_free(&ids);
    weir_ids_free(&plain);
    weir_text_free(&decoded);
}

static void check_golden(const char *name, const struct text *texts, size_t n_texts)
{
    char path[512];
    size_t n = 0, number = 0;
    struct weir_tokenizer *t = tokenizer_named(name);
    if (!t)
        return;
    snprintf(path, sizeof(path), WEIR_TESTS "/infer/tokenizers/golden/%s.txt", name);
    char *golden = read_file(path, &n);
    cr_assert_not_null(golden);
    char *rest = golden;
    for (char *line; (line = strsep(&rest, "\n")) && *line; number++) {
        struct expected e = parse_line(line);
        cr_assert_lt(number, n_texts);
        check_text(name, number, t, texts[number], &e);
    }
    cr_expect_eq(number, n_texts, "%s", name);
    weir_tokenizer_free(t);
    free(golden);
}

/* Half of the goldens each, so that both run at once. */
static void check_goldens(int half)
{
    static struct text texts[MAX_TEXTS];
    size_t n = read_corpus(texts);
    struct dirent **names;
    int n_names = scandir(WEIR_TESTS "/infer/tokenizers/golden", &names, NULL, alphasort);
    cr_assert_gt(n_names, 2);
    for (int i = 0; i < n_names; i++) {
        char *ending = strstr(names[i]->d_name, ".txt");
        if (ending && i % 2 == half) {
            *ending = '\0';
            check_golden(names[i]->d_name, texts, n);
        }
        free(names[i]);
    }
    free(names);
    for (size_t i = 0; i < n; i++)
        free(texts[i].bytes);
}

Test(tokenizer_golden, is_what_tokenizers_gives)
{
    check_goldens(0);
}

Test(tokenizer_golden, is_what_tokenizers_gives_for_the_others)
{
    check_goldens(1);
}

/* ---- ../shared/tokenizers/vectors ---- */

static void check_vectors(const char *vectors, const char *tokenizer)
{
    static const char mark[] = "\n__ggml_vocab_test__\n";
    char path[512];
    size_t n_in, n_out, number = 0;
    snprintf(path, sizeof(path), WEIR_SHARED "/tokenizers/vectors/ggml-vocab-%s.gguf.inp", vectors);
    char *in = read_file(path, &n_in);
    snprintf(path, sizeof(path), WEIR_SHARED "/tokenizers/vectors/ggml-vocab-%s.gguf.out", vectors);
    char *out = read_file(path, &n_out);
    struct weir_tokenizer *t = tokenizer_named(tokenizer);
    if (!in || !out || !t)
        cr_skip_test("no ../shared/tokenizers");
    const char *text = in;
    char *rest = out;
    for (char *line; (line = strsep(&rest, "\n")) && text; number++) {
        const char *end = strstr(text, mark);
        struct text piece = {(char *)text, end ? (size_t)(end - text) : strlen(text)};
        struct weir_ids ids = encode(t, piece, false);
        char *at = line;
        size_t i = 0;
        for (; strspn(at, " ") < strlen(at); i++) {
            unsigned long id = strtoul(at, &at, 10);
            cr_expect(i < ids.n && ids.id[i] == id, "%s, text %zu, id %zu", vectors, number, i);
        }
        cr_expect_eq(i, ids.n, "%s, text %zu: %zu ids", vectors, number, ids.n);
        weir_ids_free(&ids);
        text = end ? end + strlen(mark) : NULL;
    }
    cr_expect_gt(number, 40);
    weir_tokenizer_free(t);
    free(in);
    free(out);
}

Test(tokenizer_golden, gives_the_ids_of_vectors)
{
    check_vectors("llama-bpe", "llama3_1");
    check_vectors("llama-spm", "tinyllama");
    check_vectors("gpt-2", "gpt2");
    check_vectors("qwen2", "qwen3");
}

/* ---- ../shared/README.md ---- */

Test(tokenizer_golden, knows_the_story)
{
    static const uint32_t wanted[] = {1, 80, 147, 201, 282, 57};
    static const char beginning[] = "Once upon a time";
    struct weir_tokenizer *t = tokenizer_named("story");
    if (!t)
        cr_skip_test("no ../shared/models/story");
    struct weir_ids ids = encode(t, (struct text){(char *)beginning, strlen(beginning)}, true);
    cr_assert_eq(ids.n, sizeof(wanted) / sizeof(wanted[0]));
    cr_expect_arr_eq(ids.id, wanted, sizeof(wanted));
    struct weir_text text = decode(t, &ids);
    cr_expect_eq(text.n, strlen(beginning));
    cr_expect_arr_eq(text.bytes, beginning, strlen(beginning));
    weir_text_free(&text);
    weir_ids_free(&ids);
    weir_tokenizer_free(t);
}
