/* What a tokenizer refuses, what it does with odd text, and with memory that is refused. */
#include <math.h>
#include <pthread.h>

#include "fail_alloc.h"
#include "tokenizer_files.h"

enum {
    MAX_JSON = 4096,
};

static const struct weir_encoding all = {true, true};
static const struct weir_encoding plain = {false, false};

static struct weir_ids encode(const struct weir_tokenizer *t, const char *text, size_t n,
                              struct weir_encoding how)
{
    struct weir_ids ids = {0};
    struct weir_diag diag = {""};
    cr_assert_eq(weir_tokenizer_encode(t, text, n, how, &ids, &diag), WEIR_OK, "%s", diag.text);
    return ids;
}

/* ---- files ---- */

/* A tokenizer of two letters over characters; each part may be exchanged. */
struct parts {
    const char *normalizer, *pre_tokenizer, *model, *added, *processor, *decoder;
};

static const char good_model[] = "{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"<u>\":3},"
                                 "\"merges\":[\"a b\"],\"unk_token\":\"<u>\"}";
static const char good_decoder[] =
    "{\"type\":\"Metaspace\",\"replacement\":\"\u2581\",\"prepend_scheme\":\"never\"}";

static size_t write_json(char *to, const struct parts *p)
{
    return (size_t)snprintf(to, MAX_JSON,
                            "{\"added_tokens\":%s,\"normalizer\":%s,\"pre_tokenizer\":%s,"
                            "\"model\":%s,\"post_processor\":%s,\"decoder\":%s}",
                            p->added ? p->added : "[]", p->normalizer ? p->normalizer : "null",
                            p->pre_tokenizer ? p->pre_tokenizer : "null",
                            p->model ? p->model : good_model, p->processor ? p->processor : "null",
                            p->decoder ? p->decoder : good_decoder);
}

#define MODEL(vocab, rest) "{\"type\":\"BPE\",\"vocab\":{" vocab "}," rest "}"
#define SPLIT(pattern)                                                                             \
    "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" pattern "\"},\"behavior\":\"Isolated\"}"
#define ADDED(id, content)                                                                         \
    "{\"id\":" id ",\"content\":\"" content "\",\"normalized\":false,\"special\":true}"
#define TEMPLATE(single, ids)                                                                      \
    "{\"type\":\"TemplateProcessing\",\"single\":[" single                                         \
    "],\"special_tokens\":{\"s\":{\"ids\":" ids "}}}"
#define THE_TEXT "{\"Sequence\":{\"id\":\"A\"}}"
#define A_TOKEN  "{\"SpecialToken\":{\"id\":\"s\"}}"

Test(tokenizer, refuses_what_it_does_not_do)
{
    static const struct {
        struct parts parts;
        weir_err err;
        const char *said; /* part of the message */
    } cases[] = {
        {{0}, WEIR_OK, ""},
        {{.normalizer = "{\"type\":\"Lowercase\"}"}, WEIR_ERR_UNSUPPORTED, "Lowercase"},
        {{.normalizer = "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},"
                        "{\"type\":\"NFKC\"}]}"},
         WEIR_ERR_UNSUPPORTED,
         "NFKC"},
        {{.normalizer = "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" +\"},\"content\":\"a\"}"},
         WEIR_ERR_UNSUPPORTED,
         "Replace"},
        {{.pre_tokenizer = "{\"type\":\"Whitespace\"}"}, WEIR_ERR_UNSUPPORTED, "Whitespace"},
        {{.pre_tokenizer = SPLIT("\\\\p{N}{1,4}")}, WEIR_ERR_UNSUPPORTED, "\\p{N}{1,4}"},
        {{.pre_tokenizer = SPLIT("\\\\p{N}")}, WEIR_OK, ""},
        {{.pre_tokenizer = "{\"type\":\"ByteLevel\"}"}, WEIR_ERR_UNSUPPORTED, "Metaspace"},
        {{.pre_tokenizer = "{\"type\":\"Sequence\",\"pretokenizers\":[" SPLIT(
              "\\\\p{N}") ",{\"type\":\"Metaspace\",\"replacement\":\"\u2581\"}]}"},
         WEIR_ERR_UNSUPPORTED,
         "changes text"},
        {{.pre_tokenizer = "{\"type\":\"Sequence\"}"}, WEIR_ERR_CORRUPT, "Sequence"},
        {{.decoder = "{\"type\":\"WordPiece\"}"}, WEIR_ERR_UNSUPPORTED, "WordPiece"},
        {{.decoder = "null"}, WEIR_ERR_UNSUPPORTED, "decoder"},
        {{.decoder = "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"}]}"},
         WEIR_ERR_UNSUPPORTED,
         "Fuse"},
        {{.processor = "{\"type\":\"BertProcessing\"}"}, WEIR_ERR_UNSUPPORTED, "BertProcessing"},
        {{.processor = TEMPLATE(A_TOKEN "," THE_TEXT, "[0]")}, WEIR_OK, ""},
        {{.processor = TEMPLATE(A_TOKEN "," THE_TEXT, "[4]")}, WEIR_ERR_CORRUPT, "an id"},
        {{.processor = TEMPLATE(A_TOKEN "," THE_TEXT, "[]")}, WEIR_ERR_CORRUPT, "no ids"},
        {{.processor = TEMPLATE(A_TOKEN, "[0]")}, WEIR_ERR_UNSUPPORTED, "without the text"},
        {{.model = "{\"type\":\"Unigram\",\"vocab\":[]}"}, WEIR_ERR_UNSUPPORTED, "Unigram"},
        {{.model = "{\"type\":\"WordPiece\",\"vocab\":{}}"}, WEIR_ERR_UNSUPPORTED, "WordPiece"},
        {{.model = "7"}, WEIR_ERR_CORRUPT, "model"},
        {{.model = MODEL("\"a\":0", "\"merges\":[],\"dropout\":0.1")},
         WEIR_ERR_UNSUPPORTED,
         "dropout"},
        {{.model = MODEL("\"a\":0", "\"merges\":[],\"end_of_word_suffix\":\"x\"")},
         WEIR_ERR_UNSUPPORTED,
         "end_of_word_suffix"},
        {{.model = MODEL("\"a\":0,\"b\":0", "\"merges\":[]")}, WEIR_ERR_CORRUPT, "one id"},
        {{.model = MODEL("\"a\":-1", "\"merges\":[]")}, WEIR_ERR_CORRUPT, "id"},
        {{.model = MODEL("\"a\":1048576", "\"merges\":[]")}, WEIR_ERR_CORRUPT, "id"},
        {{.model = MODEL("\"a\":1.5", "\"merges\":[]")}, WEIR_ERR_CORRUPT, "id"},
        {{.model = MODEL("\"a\":0", "\"merges\":7")}, WEIR_ERR_CORRUPT, "merges"},
        {{.model = MODEL("\"a\":0", "\"merges\":[\"a\"]")}, WEIR_ERR_CORRUPT, "pair"},
        {{.model = MODEL("\"a\":0", "\"merges\":[\"a a a\"]")}, WEIR_ERR_CORRUPT, "pair"},
        {{.model = MODEL("\"a\":0", "\"merges\":[[\"a\"]]")}, WEIR_ERR_CORRUPT, "pair"},
        {{.model = MODEL("\"a\":0", "\"merges\":[\"a a\"]")}, WEIR_ERR_CORRUPT, "not there"},
        {{.added = "[" ADDED("0", "x") "]"}, WEIR_ERR_CORRUPT, "id of another"},
        {{.added = "[" ADDED("7", "a") "]"}, WEIR_ERR_CORRUPT, "another id"},
        {{.added = "[" ADDED("7", "x") "," ADDED("8", "x") "]"}, WEIR_ERR_CORRUPT, "alike"},
        {{.added = "[{\"id\":9}]"}, WEIR_ERR_CORRUPT, "content"},
        {{.added = "[" ADDED("7", "x") "]"}, WEIR_OK, ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char json[MAX_JSON];
        struct weir_tokenizer *t = NULL;
        struct weir_diag diag = {""};
        size_t n = write_json(json, &cases[i].parts);
        weir_err err = weir_tokenizer_from_json(json, n, &t, &diag);
        cr_expect_eq(err, cases[i].err, "case %zu: %d %s", i, err, diag.text);
        cr_expect_not_null(strstr(diag.text, cases[i].said), "case %zu: %s", i, diag.text);
        cr_expect_eq(t == NULL, err != WEIR_OK);
        weir_tokenizer_free(t);
    }
}

/* Each cut of a file that is fine is refused. */
Test(tokenizer, refuses_a_file_cut_short)
{
    char json[MAX_JSON];
    size_t n = write_json(json, &(struct parts){.added = "[" ADDED("7", "x") "]"});
    for (size_t cut = 0; cut < n; cut++) {
        struct weir_tokenizer *t;
        char *copy = malloc(cut ? cut : 1);
        cr_assert_not_null(copy);
        memcpy(copy, json, cut);
        cr_expect_eq(weir_tokenizer_from_json(copy, cut, &t, NULL), WEIR_ERR_CORRUPT, "%zu", cut);
        free(copy);
    }
}

/* ---- looking tokens up ---- */

Test(tokenizer, finds_tokens)
{
    struct weir_tokenizer *t = tokenizer_named("llama");
    uint32_t id;
    size_t n;
    cr_expect_eq(weir_tokenizer_n_tokens(t), 527);
    cr_assert(weir_tokenizer_find(t, "<|im_end|>", strlen("<|im_end|>"), &id));
    cr_expect_eq(id, 526);
    cr_expect(weir_tokenizer_is_special(t, id));
    cr_expect(!weir_tokenizer_is_special(t, 525));
    cr_expect(!weir_tokenizer_is_special(t, 527));
    cr_assert(weir_tokenizer_find(t, "</s>", strlen("</s>"), &id));
    cr_expect_eq(id, 2);
    cr_expect_arr_eq(weir_tokenizer_spelling(t, 2, &n), "</s>", 4);
    cr_expect_eq(n, 4);
    cr_expect_null(weir_tokenizer_spelling(t, 527, &n));
    cr_expect(!weir_tokenizer_find(t, "<no such>", 9, &id));
    weir_tokenizer_free(t);
}

/* ---- odd text ---- */

static struct weir_text decode(const struct weir_tokenizer *t, const struct weir_ids *ids,
                               bool only_utf8)
{
    struct weir_detok detok = {.tokenizer = t, .only_utf8 = only_utf8};
    struct weir_text text = {0};
    for (size_t i = 0; i < ids->n; i++)
        cr_assert_eq(weir_detok_push(&detok, ids->id[i], &text), WEIR_OK);
    cr_assert_eq(weir_detok_end(&detok, &text), WEIR_OK);
    return text;
}

/* Bytes that are not UTF-8: the same come back from tokens of bytes. */
Test(tokenizer, brings_wrong_bytes_back)
{
    static const char *const names[] = {"gpt4o", "tekken", "smollm", "qwen35", "llama", "gemma"};
    static const struct {
        const char *bytes;
        size_t n;
        const char *as_utf8;
    } cases[] = {
        {"\xff", 1, "\ufffd"},
        {"a\x80z", 3, "a\ufffdz"},
        {"\xe2\x82", 2, "\ufffd"},
        {"\xe2\x82 \xe2\x82\xac", 6, "\ufffd \u20ac"},
        {"x \xc0\x80\xed\xa0\x80 y", 9, "x \ufffd\ufffd\ufffd\ufffd\ufffd y"},
        {"\xf4\x90\x80\x80\xf0\x9f\x91", 7, "\ufffd\ufffd\ufffd\ufffd\ufffd"},
        {"12\xfe\xfe\xfe"
         "34  \xf0\n",
         11, "12\ufffd\ufffd\ufffd34  \ufffd\n"},
    };
    for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
        struct weir_tokenizer *t = tokenizer_named(names[k]);
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            struct weir_ids ids = encode(t, cases[i].bytes, cases[i].n, plain);
            struct weir_text raw = decode(t, &ids, false), utf8 = decode(t, &ids, true);
            cr_expect(raw.n == cases[i].n && memcmp(raw.bytes, cases[i].bytes, raw.n) == 0,
                      "%s, case %zu", names[k], i);
            cr_expect(utf8.n == strlen(cases[i].as_utf8) &&
                          memcmp(utf8.bytes, cases[i].as_utf8, utf8.n) == 0,
                      "%s, case %zu: %.*s", names[k], i, (int)utf8.n, utf8.bytes);
            weir_ids_free(&ids);
            weir_text_free(&raw);
            weir_text_free(&utf8);
        }
        weir_tokenizer_free(t);
    }
}

/* Without tokens for bytes there is the unknown one; without that, an error that names the byte. */
Test(tokenizer, says_what_it_has_no_token_for)
{
    char json[MAX_JSON];
    struct weir_ids ids = {0};
    struct weir_diag diag = {""};
    struct weir_tokenizer *t = tokenizer_of(json, write_json(json, &(struct parts){0}));
    cr_assert_eq(weir_tokenizer_encode(t, "abxaby", 6, all, &ids, &diag), WEIR_OK);
    cr_expect_eq(ids.n, 4);
    cr_expect_arr_eq(ids.id, ((uint32_t[]){2, 3, 2, 3}), 4 * sizeof(uint32_t));
    weir_tokenizer_free(t);
    t = tokenizer_of(json,
                     write_json(json, &(struct parts){.model = MODEL("\"a\":0", "\"merges\":[]")}));
    cr_expect_eq(weir_tokenizer_encode(t, "axa", 3, all, &ids, &diag), WEIR_ERR_UNSUPPORTED);
    cr_expect_not_null(strstr(diag.text, "0x78"), "%s", diag.text);
    cr_expect_eq(ids.n, 4);
    weir_ids_free(&ids);
    weir_tokenizer_free(t);
}

Test(tokenizer, keeps_to_the_most_ids)
{
    struct weir_tokenizer *t = tokenizer_named("llama");
    struct weir_ids ids = {.most = 4};
    struct weir_diag diag = {""};
    cr_expect_eq(
        weir_tokenizer_encode(t, "<s><s>", 6, (struct weir_encoding){false, true}, &ids, &diag),
        WEIR_OK);
    cr_expect_eq(ids.n, 2);
    cr_expect_eq(
        weir_tokenizer_encode(t, "<s><s><s>", 9, (struct weir_encoding){false, true}, &ids, &diag),
        WEIR_ERR_INVALID);
    cr_expect_not_null(strstr(diag.text, "4 tokens"), "%s", diag.text);
    cr_expect_eq(ids.n, 2);
    weir_ids_free(&ids);
    weir_tokenizer_free(t);
}

/* Each space becomes 15, eight times over. */
Test(tokenizer, bounds_what_normalizers_make_of_a_text)
{
#define MANY "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"               \"}"
    char json[MAX_JSON];
    struct weir_ids ids = {0};
    struct weir_diag diag = {""};
    struct weir_tokenizer *t = tokenizer_of(
        json, write_json(json, &(struct parts){.normalizer =
                                                   "{\"type\":\"Sequence\",\"normalizers\":[" MANY
                                                   "," MANY "," MANY "," MANY "," MANY "," MANY
                                                   "," MANY "," MANY "]}"}));
    cr_expect_eq(weir_tokenizer_encode(t, "a a", 3, plain, &ids, &diag), WEIR_ERR_UNSUPPORTED);
    cr_expect_not_null(strstr(diag.text, "normalizer"), "%s", diag.text);
    cr_expect_eq(weir_tokenizer_encode(t, "aab", 3, plain, &ids, &diag), WEIR_OK);
    weir_ids_free(&ids);
    weir_tokenizer_free(t);
}

/* Text without a place to cut it has a ceiling; shorter, it does not take quadratic time. */
Test(tokenizer, bounds_what_it_cannot_cut, .timeout = 60)
{
    struct weir_tokenizer *t = tokenizer_named("llama");
    size_t n = WEIR_TOKENIZER_MAX_PIECE;
    char *text = malloc(n);
    struct weir_ids ids = {0};
    cr_assert_not_null(text);
    memset(text, 'a', n);
    cr_expect_eq(weir_tokenizer_encode(t, text, n, plain, &ids, NULL), WEIR_ERR_INVALID);
    cr_expect_eq(weir_tokenizer_encode(t, text, n / 8, plain, &ids, NULL), WEIR_OK);
    weir_ids_free(&ids);
    free(text);
    weir_tokenizer_free(t);
}

/* ---- ids to text ---- */

static void push_all(struct weir_detok *d, const uint32_t *ids, size_t n, struct weir_text *out)
{
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(weir_detok_push(d, ids[i], out), WEIR_OK);
}

static void expect_text(const char *what, struct weir_text *text, const char *wanted)
{
    cr_expect(text->n == strlen(wanted) && memcmp(text->bytes, wanted, text->n) == 0,
              "%s: \"%.*s\"", what, (int)text->n, text->bytes);
    text->n = 0;
}

/* The space in front goes once, and only at the beginning; <0x..> are held until a character. */
Test(tokenizer, decodes_as_ids_come)
{
    struct weir_tokenizer *t = tokenizer_named("llama");
    struct weir_text text = {0};
    struct weir_ids ids = encode(t, "a \xf0\x9f\x90\x9f", strlen("a \xf0\x9f\x90\x9f"), plain);
    struct weir_detok d = {.tokenizer = t}, again = {.tokenizer = t, .goes_on = true};
    cr_assert_gt(ids.n, 5);
    push_all(&d, ids.id, ids.n - 1, &text);
    expect_text("all but the last byte", &text, "a ");
    struct weir_detok cut = d;
    push_all(&d, &ids.id[ids.n - 1], 1, &text);
    expect_text("the last byte", &text, "\xf0\x9f\x90\x9f");
    cr_assert_eq(weir_detok_end(&cut, &text), WEIR_OK);
    expect_text("no last byte", &text, "\xf0\x9f\x90");
    push_all(&again, ids.id, ids.n, &text);
    expect_text("going on", &text, " a \xf0\x9f\x90\x9f");
    static const uint32_t special[] = {1, 526, 2};
    push_all(&d, special, 3, &text);
    expect_text("special tokens passed over", &text, "");
    d.with_special = true;
    push_all(&d, special, 3, &text);
    expect_text("special tokens", &text, "<s><|im_end|></s>");
    cr_expect_eq(weir_detok_push(&d, 527, &text), WEIR_ERR_INVALID);
    weir_ids_free(&ids);
    weir_text_free(&text);
    weir_tokenizer_free(t);
}

/* ---- threads ---- */

static void *encode_often(void *tokenizer)
{
    static const char text[] = "The dog's 12 caf\u00e9s\r\n  and <|im_end|> \u65e5\u672c";
    for (int i = 0; i < 200; i++) {
        struct weir_ids ids = encode(tokenizer, text, strlen(text), all);
        struct weir_text back = decode(tokenizer, &ids, true);
        cr_assert_gt(ids.n, 10);
        cr_assert_gt(back.n, 20);
        weir_ids_free(&ids);
        weir_text_free(&back);
    }
    return NULL;
}

Test(tokenizer, is_shared_by_threads)
{
    pthread_t thread[2];
    struct weir_tokenizer *t = tokenizer_named("qwen35");
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&thread[i], NULL, encode_often, t), 0);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_join(thread[i], NULL), 0);
    weir_tokenizer_free(t);
}

/* ---- memory that is refused ---- */

/* Everything that allocates, once; false: it was told that there is no memory. */
static bool use(const char *json, size_t n)
{
    static const char text[] = "e\u0301 the dog [A]<|im_end|> 12\xff <s>\u65e5";
    struct weir_tokenizer *t = NULL;
    struct weir_ids ids = {0};
    struct weir_text out = {0};
    weir_err err = weir_tokenizer_from_json(json, n, &t, NULL);
    if (!err)
        err = weir_tokenizer_encode(t, text, sizeof(text), all, &ids, NULL);
    cr_assert(err == WEIR_OK || ids.n == 0);
    struct weir_detok detok = {.tokenizer = t, .only_utf8 = true};
    for (size_t i = 0; !err && i < ids.n; i++)
        err = weir_detok_push(&detok, ids.id[i], &out);
    if (!err)
        err = weir_detok_end(&detok, &out);
    fail_alloc_at(-1);
    cr_assert(err == WEIR_OK || err == WEIR_ERR_NOMEM);
    weir_ids_free(&ids);
    weir_text_free(&out);
    weir_tokenizer_free(t);
    return err == WEIR_OK;
}

Test(tokenizer, survives_refused_memory)
{
    static const char *const names[] = {"qwen35", "llama", "metaspace-first"};
    for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
        char path[512];
        size_t n;
        snprintf(path, sizeof(path), WEIR_TESTS "/infer/tokenizers/%s.json", names[k]);
        char *json = read_file(path, &n);
        cr_assert_not_null(json);
        int fail = 0;
        do
            fail_alloc_at(fail++);
        while (!use(json, n));
        cr_expect_gt(fail, 15, "%s: %d", names[k], fail);
        free(json);
    }
}
