/* What a checkpoint says of conversations: beside safetensors, in a GGUF header, or nowhere. */
#include "infer/chat_read.h"

#include <criterion/criterion.h>

#include "bytes.h"
#include "fail_alloc.h"
#include "model_kit.h"

static struct tiny_bytes copy_of(const char *text)
{
    struct tiny_bytes b = {strdup(text), strlen(text)};
    cr_assert_not_null(b.at);
    return b;
}

/* A model and the two files; NULL: it is not there. */
static void make(struct kit *k, const char *config, const char *jinja)
{
    kit_make(k, KIT_FOLDER("llama"), NULL, NULL);
    if (config)
        kit_add(k, "tokenizer_config.json", copy_of(config));
    if (jinja)
        kit_add(k, "chat_template.jinja", copy_of(jinja));
    cr_assert_eq(kit_open(k), WEIR_OK, "%s", k->diag.text);
}

static void expect_text(const struct weir_text *t, const char *wanted, const char *label)
{
    cr_expect(t->n == strlen(wanted) && (t->n == 0 || strcmp(t->bytes, wanted) == 0),
              "%s: \"%.*s\", not \"%s\"", label, (int)t->n, t->n ? t->bytes : "", wanted);
}

Test(chat_read, files_beside_the_weights)
{
    static const struct {
        const char *config, *jinja, *wanted, *bos, *eos;
    } rows[] = {
        {NULL, NULL, "", "", ""},
        {"{}", NULL, "", "", ""},
        {"{\"chat_template\": \"in json\", \"bos_token\": \"<s>\"}", NULL, "in json", "<s>", ""},
        {"{\"eos_token\": {\"content\": \"</s>\"}}", "in a file", "in a file", "", "</s>"},
        {"{\"chat_template\": \"in json\"}", "in a file", "in a file", "", ""},
        {NULL, "alone", "alone", "", ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kit k = {0};
        struct weir_chat_config c;
        make(&k, rows[i].config, rows[i].jinja);
        cr_assert_eq(weir_chat_read(k.ck, &c, &k.diag), WEIR_OK, "%zu: %s", i, k.diag.text);
        expect_text(&c.chat_template, rows[i].wanted, "template");
        expect_text(&c.bos, rows[i].bos, "bos");
        expect_text(&c.eos, rows[i].eos, "eos");
        weir_chat_config_free(&c);
        kit_free(&k);
    }
}

Test(chat_read, what_cannot_be_read_is_an_error)
{
    struct kit k = {0};
    struct weir_chat_config c;
    make(&k, "{\"chat_template\": \"in json\"", NULL);
    cr_assert_eq(weir_chat_read(k.ck, &c, &k.diag), WEIR_ERR_CORRUPT);
    cr_assert(c.chat_template.n == 0 && !c.chat_template.bytes);
    kit_free(&k);
    k = (struct kit){0};
    make(&k, "{\"chat_template\": \"in json\"}", "in a file");
    for (long n = 0;; n++) { /* of the reads each fails once */
        atomic_store(&k.reads, 0);
        atomic_store(&k.fail_at, n);
        weir_err err = weir_chat_read(k.ck, &c, &k.diag);
        if (!err)
            break;
        cr_assert_eq(err, WEIR_ERR_IO);
        cr_assert_lt(n, 10);
    }
    weir_chat_config_free(&c);
    atomic_store(&k.fail_at, -1);
    for (int n = 0;; n++) {
        fail_alloc_at(n);
        weir_err err = weir_chat_read(k.ck, &c, &k.diag);
        fail_alloc_at(-1);
        if (!err)
            break;
        cr_assert_eq(err, WEIR_ERR_NOMEM, "allocation %d", n);
        cr_assert_lt(n, 100);
    }
    weir_chat_config_free(&c);
    kit_free(&k);
}

/* ---- GGUF ---- */

enum { STRING = 8, ARRAY = 9, UINT32 = 4, F32 = 0, ALIGNMENT = 32 };

static void put_key(struct bytes *b, const char *key, uint32_t type)
{
    bytes_text(b, key, 8);
    bytes_number(b, type, 4);
}

/* Three tokens, a template if there is one, ids of bos and eos, and a tensor, as there must be. */
static struct tiny_bytes make_gguf(const char *chat_template, uint32_t bos, uint32_t eos)
{
    static const char *const tokens[] = {"<unk>", "<s>", "</s>"};
    struct bytes b = {0};
    bytes_put(&b, "GGUF", 4);
    bytes_number(&b, 3, 4);
    bytes_number(&b, 1, 8);
    bytes_number(&b, chat_template ? 4 : 3, 8);
    put_key(&b, "tokenizer.ggml.tokens", ARRAY);
    bytes_number(&b, STRING, 4);
    bytes_number(&b, sizeof(tokens) / sizeof(tokens[0]), 8);
    for (size_t i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++)
        bytes_text(&b, tokens[i], 8);
    put_key(&b, "tokenizer.ggml.bos_token_id", UINT32);
    bytes_number(&b, bos, 4);
    put_key(&b, "tokenizer.ggml.eos_token_id", UINT32);
    bytes_number(&b, eos, 4);
    if (chat_template) {
        put_key(&b, "tokenizer.chat_template", STRING);
        bytes_text(&b, chat_template, 8);
    }
    bytes_text(&b, "t", 8);
    bytes_number(&b, 1, 4);
    bytes_number(&b, 8, 8);
    bytes_number(&b, F32, 4);
    bytes_number(&b, 0, 8);
    bytes_zeros(&b, (ALIGNMENT - b.n % ALIGNMENT) % ALIGNMENT + 8 * sizeof(float));
    return (struct tiny_bytes){(char *)b.at, b.n};
}

Test(chat_read, keys_of_a_gguf_header)
{
    static const struct {
        const char *chat_template;
        uint32_t bos, eos;
        const char *wanted_bos, *wanted_eos;
    } rows[] = {
        {"{{ messages }}", 1, 2, "<s>", "</s>"},
        {NULL, 0, 1, "<unk>", "<s>"},
        {"", 3, UINT32_MAX, "", ""}, /* ids that there are not */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kit k = {0};
        struct weir_chat_config c;
        kit_add(&k, "model.gguf", make_gguf(rows[i].chat_template, rows[i].bos, rows[i].eos));
        const struct weir_checkpoint_file file = {"model.gguf", &k.file[0].source};
        cr_assert_eq(weir_checkpoint_from_files(&file, 1, NULL, &k.ck, &k.diag), WEIR_OK, "%s",
                     k.diag.text);
        cr_assert_eq(weir_chat_read(k.ck, &c, &k.diag), WEIR_OK, "%s", k.diag.text);
        expect_text(&c.chat_template, rows[i].chat_template ? rows[i].chat_template : "",
                    "template");
        expect_text(&c.bos, rows[i].wanted_bos, "bos");
        expect_text(&c.eos, rows[i].wanted_eos, "eos");
        weir_chat_config_free(&c);
        kit_free(&k);
    }
}
