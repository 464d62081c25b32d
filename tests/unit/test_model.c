/* A checkpoint's tensors in their roles: what is missing, bent or in excess is named. */
#include "model_kit.h"

#include "fail_alloc.h"

#define LLAMA KIT_FOLDER("llama")
#define Q     "model.layers.1.self_attn.q_proj.weight"

Test(model, is_opened)
{
    struct kit k = {0};
    kit_make(&k, LLAMA, NULL, NULL);
    cr_assert_eq(kit_open(&k), WEIR_OK, "%s", k.diag.text);
    cr_assert_eq(k.model->layer[1].q.n_rows, 32);
    cr_assert_eq(k.model->weight_bytes,
                 sizeof(float) * (2 * 61 * 32 + 32 + 2 * (4 * 32 * 32 + 3 * 50 * 32 + 2 * 32)));
    cr_assert_eq(k.model->row_bytes, 50 * sizeof(float));
    kit_free(&k);
}

Test(model, names_what_does_not_fit)
{
    static const struct {
        const char *folder, *config[2], *tensors[2];
        weir_err err;
        const char *named;
    } cases[] = {
        {LLAMA, {NULL}, {Q, "model.layers.1.self_attn.Q.weight"}, WEIR_ERR_NOT_FOUND, Q},
        {LLAMA, {NULL}, {Q " 1 matrix 32 32", Q " 1 matrix 16 64"}, WEIR_ERR_MISMATCH, Q},
        {LLAMA, {NULL}, {Q " 1 matrix 32 32", Q " 1 matrix 1024"}, WEIR_ERR_MISMATCH, Q},
        {LLAMA,
         {NULL},
         {"model.norm.weight 0 norm 32", "model.norm.weight 0 norm 31"},
         WEIR_ERR_MISMATCH,
         "model.norm.weight"},
        {LLAMA, {NULL}, {Q, "x 1 matrix 1 1\n" Q}, WEIR_ERR_UNSUPPORTED, " x "},
        {LLAMA,
         {NULL},
         {Q, "model.layers.1.self_attn.q_proj.bias 1 matrix 32\n" Q},
         WEIR_ERR_UNSUPPORTED,
         "q_proj.bias"},
        {LLAMA,
         {NULL},
         {Q, "model.layers.0.self_attn.rotary_emb.inv_freq 1 norm 4\n" Q},
         WEIR_OK,
         ""},
        {LLAMA,
         {"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3"},
         {NULL},
         WEIR_ERR_NOT_FOUND,
         "model.layers.2."},
        {LLAMA,
         {"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1"},
         {NULL},
         WEIR_ERR_UNSUPPORTED,
         "model.layers.1."},
        {LLAMA, {"\"hidden_size\": 32", "\"hidden_size\": 4096"}, {NULL}, WEIR_ERR_MISMATCH, ""},
        {LLAMA,
         {"\"vocab_size\": 61", "\"vocab_size\": 62"},
         {NULL},
         WEIR_ERR_MISMATCH,
         "model.embed_tokens.weight"},
        {LLAMA,
         {"\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true"},
         {NULL},
         WEIR_OK,
         ""},
        {LLAMA,
         {"\"model_type\": \"llama\"", "\"model_type\": \"bert\""},
         {NULL},
         WEIR_ERR_UNSUPPORTED,
         "bert"},
        {KIT_FOLDER("qwen2"),
         {NULL},
         {"layers.0.self_attn.k_proj.bias", "layers.0.self_attn.k_bias"},
         WEIR_ERR_NOT_FOUND,
         "layers.0.self_attn.k_proj.bias"},
        {KIT_FOLDER("phi3"),
         {NULL},
         {"mlp.gate_up_proj", "mlp.gate_proj"},
         WEIR_ERR_NOT_FOUND,
         "gate_up_proj"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct kit k = {0};
        const char *config[2] = {cases[i].config[0], cases[i].config[1]};
        const char *tensors[2] = {cases[i].tensors[0], cases[i].tensors[1]};
        kit_make(&k, cases[i].folder, config[0] ? config : NULL, tensors[0] ? tensors : NULL);
        weir_err err = kit_open(&k);
        cr_expect_eq(err, cases[i].err, "case %zu: %d, %s", i, (int)err, k.diag.text);
        cr_expect_not_null(strstr(k.diag.text, cases[i].named), "case %zu: %s", i, k.diag.text);
        kit_free(&k);
    }
}

Test(model, takes_floats_only)
{
    struct kit k = {0};
    kit_make(&k, LLAMA, NULL, NULL);
    kit_replace(&k.file[1].bytes, "\"F32\"", "\"I32\"");
    cr_assert_eq(kit_open(&k), WEIR_ERR_UNSUPPORTED);
    cr_assert_not_null(strstr(k.diag.text, "I32"), "%s", k.diag.text);
    kit_free(&k);
}

Test(model, wants_whole_files)
{
    struct kit k = {0};
    kit_make(&k, LLAMA, NULL, NULL);
    k.file[1].source.size--;
    cr_assert_eq(kit_open(&k), WEIR_ERR_CORRUPT);
    cr_assert_not_null(strstr(k.diag.text, "model.safetensors"), "%s", k.diag.text);
    kit_close(&k);
    k.n_files = 1; /* no weights at all */
    cr_assert_eq(kit_open(&k), WEIR_ERR_NOT_FOUND);
    kit_close(&k);
    k.n_files = 2;
    k.file[0].path = "config.yaml";
    k.file[1].source.size++;
    cr_assert_eq(kit_open(&k), WEIR_ERR_NOT_FOUND);
    cr_assert_not_null(strstr(k.diag.text, "config.json"), "%s", k.diag.text);
    kit_free(&k);
}

/* ---- several files ---- */

static struct tiny_bytes text(const char *from)
{
    struct tiny_bytes b = {strdup(from), strlen(from)};
    cr_assert_not_null(b.at);
    return b;
}

/* The tensors of the first layer in one file, the others in another. */
static void make_shards(struct kit *k, const char *index)
{
    struct tiny_bytes list = tiny_read(LLAMA, "tensors.txt"), first = text(""), other = text("");
    char *line = list.at, *end;
    first.at = realloc(first.at, list.n + 1);
    other.at = realloc(other.at, list.n + 1);
    for (; (end = strchr(line, '\n')); line = end + 1) {
        struct tiny_bytes *to = memmem(line, (size_t)(end - line), "layers.0", 8) ? &first : &other;
        memcpy(to->at + to->n, line, (size_t)(end - line) + 1);
        to->n += (size_t)(end - line) + 1;
        to->at[to->n] = 0;
    }
    kit_add(k, "config.json", tiny_read(LLAMA, "config.json"));
    kit_add(k, "a.safetensors", tiny_safetensors(&first, "F32", ""));
    kit_add(k, "b.safetensors", tiny_safetensors(&other, "BF16", ""));
    kit_add(k, "model.safetensors.index.json", text(index));
    free(first.at);
    free(other.at);
    free(list.at);
}

Test(model, lies_in_shards)
{
    static const struct {
        const char *index;
        weir_err err;
    } cases[] = {
        {"{\"weight_map\":{\"x\":\"a.safetensors\",\"y\":\"b.safetensors\"}}", WEIR_OK},
        {"{\"weight_map\":{\"x\":\"a.safetensors\"}}", WEIR_ERR_NOT_FOUND}, /* half of it */
        {"{\"weight_map\":{\"x\":\"a.safetensors\",\"y\":\"c.safetensors\"}}", WEIR_ERR_NOT_FOUND},
        {"{\"weight_map\":{\"x\":7}}", WEIR_ERR_CORRUPT},
        {"{\"weight_map\":{}}", WEIR_ERR_CORRUPT},
        {"{", WEIR_ERR_CORRUPT},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct kit k = {0};
        make_shards(&k, cases[i].index);
        weir_err err = kit_open(&k);
        cr_expect_eq(err, cases[i].err, "%s: %s", cases[i].index, k.diag.text);
        kit_free(&k);
    }
}

Test(model, is_one_of_several_files_only_if_named)
{
    struct kit k = {0};
    make_shards(&k, "{}");
    k.n_files = 3; /* no index */
    cr_assert_eq(kit_open(&k), WEIR_ERR_NOT_FOUND);
    cr_assert_not_null(strstr(k.diag.text, "b.safetensors"), "%s", k.diag.text);
    k.n_files = 4;
    kit_free(&k);
}

/* ---- what fails ---- */

Test(model, every_read_may_fail)
{
    struct kit k = {0};
    kit_make(&k, LLAMA, NULL, NULL);
    for (long n = 0;; n++) {
        atomic_store(&k.reads, 0);
        atomic_store(&k.fail_at, n);
        weir_err err = kit_open(&k);
        kit_close(&k);
        if (!err)
            break;
        cr_assert_eq(err, WEIR_ERR_IO, "read %ld", n);
        cr_assert_lt(n, 100);
    }
    kit_free(&k);
}

Test(model, every_allocation_may_fail)
{
    struct kit k = {0};
    kit_make(&k, LLAMA, NULL, NULL);
    for (int n = 0;; n++) {
        fail_alloc_at(n);
        weir_err err = kit_open(&k);
        fail_alloc_at(-1);
        kit_close(&k);
        if (!err)
            break;
        cr_assert_eq(err, WEIR_ERR_NOMEM, "allocation %d", n);
        cr_assert_lt(n, 1000);
    }
    kit_free(&k);
}
