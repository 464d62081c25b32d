/* Vocabularies of GGUF files in ../shared. */
#include "gguf_vocab.h"
#include "tokenizer_files.h"

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
