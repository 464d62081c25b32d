/* GGUF vocabularies: by hand, and of files in ../shared. */
#include <math.h>

#include "fail_alloc.h"
#include "gguf_vocab.h"
#include "tokenizer_files.h"

static const struct weir_encoding all = {true, true};
static const struct weir_encoding plain = {false, false};

static struct weir_ids encode(const struct weir_tokenizer *t, const char *text,
                              struct weir_encoding how)
{
    struct weir_ids ids = {0};
    struct weir_diag diag = {""};
    cr_assert_eq(weir_tokenizer_encode(t, text, strlen(text), how, &ids, &diag), WEIR_OK, "%s",
                 diag.text);
    return ids;
}

/* The text comes back, whatever the ids: bytes have tokens of their own. */
static void expect_back(const struct weir_tokenizer *t, const char *text)
{
    struct weir_ids ids = {0};
    struct weir_text out = {0};
    struct weir_detok detok = {.tokenizer = t, .only_utf8 = true};
    cr_assert_eq(weir_tokenizer_encode(t, text, strlen(text), (struct weir_encoding){true, false},
                                       &ids, NULL),
                 WEIR_OK);
    for (size_t i = 0; i < ids.n; i++)
        cr_assert_eq(weir_detok_push(&detok, ids.id[i], &out), WEIR_OK);
    cr_assert_eq(weir_detok_end(&detok, &out), WEIR_OK);
    cr_expect(out.n == strlen(text) && memcmp(out.bytes, text, out.n) == 0, "%.*s", (int)out.n,
              out.bytes);
    weir_ids_free(&ids);
    weir_text_free(&out);
}

/* ---- by hand ---- */

#define S(text)                                                                                    \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }

/* Scores decide: "b c" has the higher one, so that "abc" is a and bc. */
static const struct weir_gguf_string spm_tokens[] = {
    S("<unk>"), S("<s>"), S("</s>"), S("<0x0A>"), S("\u2581"),  S("a"),
    S("b"),     S("c"),   S("ab"),   S("bc"),     S("\u2581a"), S("<tool>"),
};
static const float spm_scores[] = {0, 0, 0, 0, -1, -2, -3, -4, -6, -5, -7, 0};
static const int32_t spm_types[] = {2, 3, 3, 6, 1, 1, 1, 1, 1, 1, 1, 4};

static struct weir_gguf_vocab spm(void)
{
    return (struct weir_gguf_vocab){.model = "llama",
                                    .tokens = spm_tokens,
                                    .n_tokens = sizeof(spm_tokens) / sizeof(spm_tokens[0]),
                                    .scores = spm_scores,
                                    .types = spm_types,
                                    .bos = 1,
                                    .eos = 2,
                                    .unk = 0,
                                    .add_bos = true,
                                    .add_space_prefix = true};
}

static void expect_ids(const char *text, const struct weir_tokenizer *t, struct weir_encoding how,
                       const uint32_t *wanted, size_t n)
{
    struct weir_ids ids = encode(t, text, how);
    cr_expect(ids.n == n && memcmp(ids.id, wanted, n * sizeof(*wanted)) == 0, "\"%s\": %zu ids",
              text, ids.n);
    weir_ids_free(&ids);
}

#define EXPECT_IDS(text, t, how, ...)                                                              \
    expect_ids(text, t, how, (const uint32_t[]){__VA_ARGS__},                                      \
               sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

Test(tokenizer_gguf, joins_by_scores)
{
    struct weir_gguf_vocab vocab = spm();
    struct weir_tokenizer *t;
    cr_assert_eq(weir_tokenizer_from_gguf(&vocab, &t, NULL), WEIR_OK);
    EXPECT_IDS("abc", t, all, 1, 10, 9);
    EXPECT_IDS("abab", t, plain, 4, 8, 8);
    EXPECT_IDS("\n", t, plain, 4, 3);
    EXPECT_IDS("\u20ac", t, plain, 4, 0);
    EXPECT_IDS("</s>a", t, all, 1, 2, 10);
    EXPECT_IDS("a</s>", t, plain, 10, 0, 0, 0, 0);
    EXPECT_IDS("b<tool>b", t, plain, 4, 6, 11, 4, 6);
    expect_back(t, " a\nbc");
    weir_tokenizer_free(t);
}

static const struct weir_gguf_string bpe_tokens[] = {
    S("a"), S("b"), S("\u0120"), S("ab"), S("\u0120ab"), S("<|end|>"), S("1"), S("11"),
};
static const struct weir_gguf_string bpe_merges[] = {S("a b"), S("\u0120 ab"), S("1 1")};
static const int32_t bpe_types[] = {1, 1, 1, 1, 1, 3, 1, 1};

static struct weir_gguf_vocab bpe(void)
{
    return (struct weir_gguf_vocab){.model = "gpt2",
                                    .pre = "llama-bpe",
                                    .tokens = bpe_tokens,
                                    .n_tokens = sizeof(bpe_tokens) / sizeof(bpe_tokens[0]),
                                    .types = bpe_types,
                                    .merges = bpe_merges,
                                    .n_merges = sizeof(bpe_merges) / sizeof(bpe_merges[0]),
                                    .bos = -1,
                                    .eos = 5,
                                    .unk = -1,
                                    .add_eos = true};
}

Test(tokenizer_gguf, joins_by_merges_of_gguf)
{
    struct weir_gguf_vocab vocab = bpe();
    struct weir_tokenizer *t;
    cr_assert_eq(weir_tokenizer_from_gguf(&vocab, &t, NULL), WEIR_OK);
    EXPECT_IDS("ab ab<|end|>11", t, all, 3, 4, 5, 7, 5);
    EXPECT_IDS("ab11", t, plain, 3, 7);
    weir_tokenizer_free(t);
    vocab.pre = "smollm";
    cr_assert_eq(weir_tokenizer_from_gguf(&vocab, &t, NULL), WEIR_OK);
    EXPECT_IDS("ab11", t, plain, 3, 6, 6);
    weir_tokenizer_free(t);
}

Test(tokenizer_gguf, refuses_gguf_vocabularies)
{
    struct weir_gguf_vocab cases[] = {spm(), spm(), spm(), spm(), spm(),
                                      bpe(), bpe(), bpe(), bpe()};
    static const weir_err wanted[] = {
        WEIR_ERR_UNSUPPORTED, WEIR_ERR_CORRUPT, WEIR_ERR_CORRUPT,
        WEIR_ERR_CORRUPT,     WEIR_ERR_CORRUPT, WEIR_ERR_UNSUPPORTED,
        WEIR_ERR_UNSUPPORTED, WEIR_ERR_CORRUPT, WEIR_ERR_CORRUPT,
    };
    static const float scores[12] = {0, NAN};
    static const struct weir_gguf_string merges[] = {S("a\u0120"), S("a c")};
    cases[0].model = "bert";
    cases[1].scores = NULL;
    cases[2].scores = scores;
    cases[3].bos = 12;
    cases[4].n_tokens = 0;
    cases[5].pre = "default";
    cases[6].pre = NULL;
    cases[7].merges = merges;
    cases[7].n_merges = 2;
    cases[8].merges = merges + 1;
    cases[8].n_merges = 1;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_tokenizer *t;
        struct weir_diag diag = {""};
        cr_expect_eq(weir_tokenizer_from_gguf(&cases[i], &t, &diag), wanted[i], "case %zu: %s", i,
                     diag.text);
        cr_expect_gt(strlen(diag.text), 0);
    }
}

Test(tokenizer_gguf, survives_refused_memory)
{
    struct weir_gguf_vocab vocabs[] = {spm(), bpe()};
    for (size_t k = 0; k < 2; k++) {
        weir_err err = WEIR_ERR_NOMEM;
        for (int fail = 0; err == WEIR_ERR_NOMEM; fail++) {
            struct weir_tokenizer *t = NULL;
            fail_alloc_at(fail);
            err = weir_tokenizer_from_gguf(&vocabs[k], &t, NULL);
            fail_alloc_at(-1);
            weir_tokenizer_free(t);
        }
        cr_expect_eq(err, WEIR_OK);
    }
}

/* ---- files ---- */

/* NULL: the file is not there, or its vocabulary was refused with `err`. */
static struct weir_tokenizer *tokenizer_in(const char *path, weir_err err)
{
    size_t n;
    struct gguf g;
    struct weir_tokenizer *t = NULL;
    struct weir_diag diag = {""};
    char *bytes = read_file(path, &n);
    if (!bytes)
        cr_skip_test("no ../shared/models");
    gguf_vocab_read(bytes, n, &g);
    cr_expect_eq(weir_tokenizer_from_gguf(&g.vocab, &t, &diag), err, "%s: %s", path, diag.text);
    gguf_vocab_free(&g);
    free(bytes);
    return t;
}

Test(tokenizer_gguf, takes_a_story)
{
    struct weir_tokenizer *t =
        tokenizer_in(WEIR_SHARED "/models/stories260K/stories260K.gguf", WEIR_OK);
    struct weir_ids ids = {0};
    cr_assert_not_null(t);
    cr_assert_eq(weir_tokenizer_encode(t, "Once upon a time", strlen("Once upon a time"),
                                       (struct weir_encoding){true, false}, &ids, NULL),
                 WEIR_OK);
    cr_assert_eq(ids.n, 5);
    cr_expect_arr_eq(ids.id, ((uint32_t[]){1, 403, 407, 261, 378}), 5 * sizeof(uint32_t));
    expect_back(t, "Once upon a time, there was a caf\u00e9.\n\n  \u65e5");
    weir_ids_free(&ids);
    weir_tokenizer_free(t);
}

Test(tokenizer_gguf, knows_pre_tokenizers_by_name)
{
    static const struct {
        const char *file;
        weir_err err;
    } cases[] = {
        {"gpt4o", WEIR_OK},  {"llama3", WEIR_OK}, {"qwen2", WEIR_OK},
        {"qwen35", WEIR_OK}, {"smollm", WEIR_OK}, {"spm-gemma4", WEIR_ERR_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char path[512];
        snprintf(path, sizeof(path), WEIR_SHARED "/models/gguf-fuzz-corpus/vocab-bpe-%s.gguf",
                 cases[i].file);
        weir_tokenizer_free(tokenizer_in(path, cases[i].err));
    }
}
