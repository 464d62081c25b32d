/* What config.json and a GGUF header may say, and what is refused, by name. */
#include "infer/config.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail_alloc.h"

#define LLAMA                                                                                      \
    "\"model_type\":\"llama\",\"hidden_size\":64,\"intermediate_size\":100,"                       \
    "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"vocab_size\":50"
#define OF(type)                                                                                   \
    "\"model_type\":\"" type "\",\"hidden_size\":64,\"intermediate_size\":100,"                    \
    "\"num_hidden_layers\":4,\"num_attention_heads\":4,\"vocab_size\":50,"                         \
    "\"num_key_value_heads\":2"

static struct weir_diag diag;

/* n bytes in a heap block of their exact size. */
static char *exactly(const char *text, size_t n)
{
    char *copy = malloc(n ? n : 1);
    cr_assert_not_null(copy);
    for (size_t i = 0; i < n; i++)
        copy[i] = text[i];
    return copy;
}

static weir_err read_config(const char *text, const char *generation, struct weir_model_config *c)
{
    const size_t n = strlen(text), n_generation = generation ? strlen(generation) : 0;
    char *copy = exactly(text, n), *more = generation ? exactly(generation, n_generation) : NULL;
    diag.text[0] = 0;
    weir_err err = weir_model_config_from_json(copy, n, more, n_generation, c, &diag);
    free(copy);
    free(more);
    return err;
}

static struct weir_model_config fine(const char *text)
{
    struct weir_model_config c;
    weir_err err = read_config(text, NULL, &c);
    cr_assert_eq(err, WEIR_OK, "%s: %s", text, diag.text);
    return c;
}

Test(model_config, takes_what_transformers_takes_where_nothing_is_said)
{
    struct weir_model_config c = fine("{" LLAMA "}");
    cr_assert(c.n_kv_heads == 4 && c.head_dim == 16 && c.context == 2048 && !c.tied);
    cr_assert(c.rope.theta == 10000 && c.rope.n_dims == 16 && c.window == 0 && c.n_eos == 0);
    cr_assert_float_eq(c.norm_eps, 1e-6, 1e-12);
    cr_assert_float_eq(c.attention_scale, 0.25, 1e-9);
    c = fine("{" OF("mistral") "}");
    cr_assert(c.window == 4096 && c.windowed[0] && c.windowed[3]);
    c = fine("{" OF("qwen2") "}");
    cr_assert(c.bias_q && c.bias_k && c.bias_v && !c.bias_o && c.window == 0);
    c = fine("{" OF("qwen3") "}");
    cr_assert(c.qk_norm && c.head_dim == 128);
    c = fine("{" OF("gemma2") "}");
    cr_assert(c.tied && c.norm_plus_one && c.norm_after && c.embedding_scale == 8 &&
              c.attention_cap == 50 && c.logit_cap == 30 && c.activation == WEIR_GELU_TANH);
    cr_assert(c.windowed[0] && !c.windowed[1] && c.windowed[2]);
    c = fine("{" OF("gemma3_text") "}");
    cr_assert(c.rope.theta == 1e6F && c.local_rope.theta == 1e4F && c.qk_norm);
    cr_assert(c.windowed[0] && c.windowed[3] && c.attention_cap == 0);
    c = fine("{\"model_type\":\"gemma3\",\"text_config\":{\"model_type\":\"gemma3_text\"},"
             "\"vision_config\":{}}");
    cr_assert(c.n_layers == 26 && c.vocab == 262208 && c.windowed[4] && !c.windowed[5]);
    c = fine("{" OF("phi3") "}");
    cr_assert(c.fused_qkv && c.fused_gate_up && c.window == 0);
}

Test(model_config, reads_both_spellings)
{
    struct weir_model_config four =
        fine("{" LLAMA ",\"rope_theta\":5e5,\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8.0,"
             "\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
             "\"original_max_position_embeddings\":8192},\"torch_dtype\":\"bfloat16\"}");
    struct weir_model_config five =
        fine("{" LLAMA ",\"rope_parameters\":{\"rope_theta\":500000.0,\"rope_type\":\"llama3\","
             "\"factor\":8,\"low_freq_factor\":1,\"high_freq_factor\":4,"
             "\"original_max_position_embeddings\":8192},\"dtype\":\"bfloat16\"}");
    const struct weir_rope *a = &four.rope, *b = &five.rope;
    cr_assert(a->type == WEIR_ROPE_LLAMA3 && b->type == WEIR_ROPE_LLAMA3);
    cr_assert(a->theta == 5e5F && a->factor == 8 && a->low_freq_factor == 1 &&
              a->high_freq_factor == 4 && a->original_context == 8192);
    cr_assert(b->theta == 5e5F && b->factor == 8 && b->low_freq_factor == 1 &&
              b->high_freq_factor == 4 && b->original_context == 8192);
}

Test(model_config, knows_what_ends_a_text)
{
    struct weir_model_config c;
    cr_assert_eq(read_config("{" LLAMA ",\"eos_token_id\":7}", "{}", &c), WEIR_OK);
    cr_assert(c.n_eos == 1 && c.eos[0] == 7);
    cr_assert_eq(read_config("{" LLAMA ",\"eos_token_id\":7}", "{\"eos_token_id\":[3,4,5]}", &c),
                 WEIR_OK);
    cr_assert(c.n_eos == 3 && c.eos[0] == 3 && c.eos[2] == 5);
    cr_assert_eq(read_config("{" LLAMA "}", "{\"eos_token_id\":50}", &c), WEIR_ERR_CORRUPT);
    cr_assert_eq(read_config("{" LLAMA "}", "{\"eos_token_id\":-1}", &c), WEIR_ERR_CORRUPT);
    cr_assert_eq(read_config("{" LLAMA "}", "[]", &c), WEIR_ERR_CORRUPT);
}

/* Unknown: named.  Nonsense: not guessed at. */
Test(model_config, refuses)
{
    static const struct {
        const char *text;
        weir_err err;
        const char *named; /* in the message */
    } cases[] = {
        {"", WEIR_ERR_CORRUPT, "config.json"},
        {"[]", WEIR_ERR_CORRUPT, "config.json"},
        {"{}", WEIR_ERR_UNSUPPORTED, "model_type"},
        {"{\"model_type\":7}", WEIR_ERR_UNSUPPORTED, "model_type"},
        {"{\"model_type\":\"mixtral\"}", WEIR_ERR_UNSUPPORTED, "mixtral"},
        {"{\"model_type\":\"gemma3\"}", WEIR_ERR_UNSUPPORTED, "text_config"},
        {"{\"model_type\":\"gemma3\",\"text_config\":{\"model_type\":\"gemma3_text\"},\"x\":1}",
         WEIR_ERR_UNSUPPORTED, "x"},
        {"{" LLAMA ",\"architectures\":[\"LlamaForSequenceClassification\"]}", WEIR_ERR_UNSUPPORTED,
         "LlamaForSequenceClassification"},
        {"{" LLAMA ",\"num_local_experts\":8}", WEIR_ERR_UNSUPPORTED, "num_local_experts"},
        {"{" LLAMA ",\"quantization_config\":{}}", WEIR_ERR_UNSUPPORTED, "quantization_config"},
        {"{" LLAMA ",\"sliding_window\":4}", WEIR_ERR_UNSUPPORTED, "sliding_window"},
        {"{" LLAMA ",\"hidden_act\":\"relu\"}", WEIR_ERR_UNSUPPORTED, "relu"},
        {"{" LLAMA ",\"hidden_act\":1}", WEIR_ERR_UNSUPPORTED, "hidden_act"},
        {"{" LLAMA ",\"rope_scaling\":{\"type\":\"yarn\"}}", WEIR_ERR_UNSUPPORTED, "yarn"},
        {"{" LLAMA ",\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":2,\"beta\":1}}",
         WEIR_ERR_UNSUPPORTED, "beta"},
        {"{" LLAMA ",\"rope_scaling\":[]}", WEIR_ERR_CORRUPT, "rope_scaling"},
        {"{" LLAMA ",\"rope_scaling\":{\"type\":\"linear\"}}", WEIR_ERR_CORRUPT, "factor"},
        {"{" LLAMA ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":0}}", WEIR_ERR_CORRUPT,
         "factor"},
        {"{" LLAMA ",\"num_key_value_heads\":3}", WEIR_ERR_CORRUPT, "heads"},
        {"{" LLAMA ",\"num_key_value_heads\":8}", WEIR_ERR_CORRUPT, "heads"},
        {"{" LLAMA ",\"head_dim\":15}", WEIR_ERR_CORRUPT, "head"},
        {"{" LLAMA ",\"head_dim\":0}", WEIR_ERR_CORRUPT, "head_dim"},
        {"{" LLAMA ",\"head_dim\":4096}", WEIR_ERR_CORRUPT, "head_dim"},
        {"{" LLAMA ",\"head_dim\":-2}", WEIR_ERR_CORRUPT, "head_dim"},
        {"{" LLAMA ",\"head_dim\":16.5}", WEIR_ERR_CORRUPT, "head_dim"},
        {"{" LLAMA ",\"rms_norm_eps\":-1e-6}", WEIR_ERR_CORRUPT, "rms_norm_eps"},
        {"{" LLAMA ",\"rms_norm_eps\":\"1e-6\"}", WEIR_ERR_CORRUPT, "rms_norm_eps"},
        {"{" LLAMA ",\"rope_theta\":0}", WEIR_ERR_CORRUPT, "rope_theta"},
        {"{" LLAMA ",\"tie_word_embeddings\":1}", WEIR_ERR_CORRUPT, "tie_word_embeddings"},
        {"{" LLAMA ",\"max_position_embeddings\":99999999999}", WEIR_ERR_CORRUPT,
         "max_position_embeddings"},
        {"{" LLAMA ",\"bos_token_id\":50}", WEIR_ERR_CORRUPT, "bos"},
        {"{\"model_type\":\"llama\",\"vocab_size\":5}", WEIR_ERR_CORRUPT, "num_hidden_layers"},
        {"{" OF("qwen3") ",\"layer_types\":[\"full_attention\"]}", WEIR_ERR_CORRUPT, "layer_types"},
        {"{" OF("qwen3") ",\"layer_types\":[\"full_attention\",\"full_attention\",\"linear\",1]}",
         WEIR_ERR_UNSUPPORTED, "linear"},
        {"{" OF("gemma2") ",\"query_pre_attn_scalar\":0}", WEIR_ERR_CORRUPT,
         "query_pre_attn_scalar"},
        {"{" OF("gemma3_text") ",\"use_bidirectional_attention\":true}", WEIR_ERR_UNSUPPORTED,
         "use_bidirectional_attention"},
        {"{" OF("phi3") ",\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1],"
                        "\"long_factor\":[1]}}",
         WEIR_ERR_CORRUPT, "short_factor"},
        {"{" OF("phi3") ",\"partial_rotary_factor\":0.01}", WEIR_ERR_CORRUPT, "turns"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_model_config c;
        weir_err err = read_config(cases[i].text, NULL, &c);
        cr_expect_eq(err, cases[i].err, "%s: %d, %s", cases[i].text, (int)err, diag.text);
        cr_expect_not_null(strstr(diag.text, cases[i].named), "%s: %s", cases[i].text, diag.text);
    }
}

Test(model_config, takes_what_is_off_or_means_nothing)
{
    (void)fine("{" LLAMA ",\"sliding_window\":null,\"some_feature\":false,\"_private\":[1],"
               "\"use_cache\":true,\"pretraining_tp\":1,\"auto_map\":{},\"rope_scaling\":null}");
}

Test(model_config, survives_every_truncation_and_failed_allocation)
{
    static const char text[] = "{" LLAMA ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":2.0}}";
    char cut[sizeof(text)];
    struct weir_model_config c;
    for (size_t n = 0; n + 1 < sizeof(text); n++) {
        memcpy(cut, text, n);
        cut[n] = 0;
        cr_assert_eq(read_config(cut, NULL, &c), WEIR_ERR_CORRUPT, "%zu bytes", n);
    }
    for (int n = 0;; n++) {
        fail_alloc_at(n);
        weir_err err = weir_model_config_from_json(text, sizeof(text) - 1, "{}", 2, &c, &diag);
        fail_alloc_at(-1);
        if (!err)
            break;
        cr_assert_eq(err, WEIR_ERR_NOMEM, "allocation %d", n);
        cr_assert_lt(n, 100);
    }
}

/* The configs of ../shared: what popular models say. */
Test(model_config, reads_real_ones)
{
    static const struct {
        const char *name;
        weir_err err;
    } cases[] = {
        {"llama3-8b", WEIR_OK},
        {"mistral-7b-lily", WEIR_OK},
        {"openllama-3b", WEIR_OK},
        {"phi-4", WEIR_OK},
        {"qwen2-7b-seallm3", WEIR_OK},
        {"qwen3-4b.text_encoder", WEIR_OK},
        {"bloom", WEIR_ERR_UNSUPPORTED},
        {"pythia-410m", WEIR_ERR_UNSUPPORTED},
        {"qwen-7b", WEIR_ERR_UNSUPPORTED},
        {"cosmos-reason-qwen-vl", WEIR_ERR_UNSUPPORTED},
        {"llama-3.2-1b-derived", WEIR_ERR_UNSUPPORTED}, /* quantised */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char path[1024], text[16384];
        struct weir_model_config c;
        (void)snprintf(path, sizeof(path), "%s/configs/%s.config.json", WEIR_SHARED, cases[i].name);
        FILE *f = fopen(path, "rb");
        if (!f)
            cr_skip_test("no ../shared");
        size_t n = fread(text, 1, sizeof(text) - 1, f);
        (void)fclose(f);
        text[n] = 0;
        weir_err err = read_config(text, NULL, &c);
        cr_expect_eq(err, cases[i].err, "%s: %s", path, diag.text);
    }
}

/* ---- GGUF ---- */

struct header {
    uint8_t at[4096];
    size_t n;
};

static void put(struct header *h, const void *from, size_t n)
{
    memcpy(h->at + h->n, from, n);
    h->n += n;
}

static void put_number(struct header *h, uint64_t v, size_t n)
{
    put(h, &v, n); /* tests run where numbers are little-endian */
}

static void put_text(struct header *h, const char *text)
{
    put_number(h, strlen(text), 8);
    put(h, text, strlen(text));
}

static void put_u32(struct header *h, const char *key, uint32_t v)
{
    put_text(h, key);
    put_number(h, 4, 4);
    put_number(h, v, 4);
}

/* Version 3, eight pairs and `more`, which the caller adds. */
static struct header llama_header(uint64_t more)
{
    struct header h = {.n = 0};
    put(&h, "GGUF", 4);
    put_number(&h, 3, 4);
    put_number(&h, 0, 8);
    put_number(&h, 8 + more, 8);
    put_text(&h, "general.architecture");
    put_number(&h, 8, 4);
    put_text(&h, "llama");
    put_u32(&h, "llama.block_count", 2);
    put_u32(&h, "llama.context_length", 128);
    put_u32(&h, "llama.embedding_length", 64);
    put_u32(&h, "llama.feed_forward_length", 100);
    put_u32(&h, "llama.attention.head_count", 4);
    put_u32(&h, "llama.vocab_size", 50);
    put_u32(&h, "tokenizer.ggml.eos_token_id", 2);
    return h;
}

static weir_err read_header(const struct header *h, size_t n, struct weir_model_config *c)
{
    uint8_t *copy = malloc(n ? n : 1);
    cr_assert_not_null(copy);
    memcpy(copy, h->at, n);
    weir_err err = weir_model_config_from_gguf(copy, n, c, &diag);
    free(copy);
    return err;
}

Test(model_config, reads_gguf)
{
    struct weir_model_config c;
    struct header h = llama_header(0);
    cr_assert_eq(read_header(&h, h.n, &c), WEIR_OK, "%s", diag.text);
    cr_assert(c.n_layers == 2 && c.head_dim == 16 && c.n_kv_heads == 4 && c.rope_pairs);
    cr_assert(c.naming == WEIR_NAMES_GGUF && c.n_eos == 1 && c.eos[0] == 2 && c.bos == -1);
    for (size_t n = 0; n < h.n; n++)
        cr_assert_eq(read_header(&h, n, &c), WEIR_ERR_CORRUPT, "%zu bytes", n);
}

Test(model_config, refuses_gguf)
{
    static const struct {
        const char *key;
        uint32_t value;
        weir_err err;
    } cases[] = {
        {"llama.attention.sliding_window", 4, WEIR_ERR_UNSUPPORTED},
        {"llama.expert_count", 8, WEIR_ERR_UNSUPPORTED},
        {"llama.rope.scaling.yarn_log_multiplier", 1, WEIR_ERR_UNSUPPORTED},
        {"llama.attention.value_length", 8, WEIR_ERR_CORRUPT},
        {"llama.rope.dimension_count", 15, WEIR_ERR_CORRUPT},
        {"llama.rope.dimension_count", 18, WEIR_ERR_CORRUPT},
        {"llama.block_count", 2, WEIR_ERR_CORRUPT}, /* twice */
        {"llama.attention.head_count_kv", 3, WEIR_ERR_CORRUPT},
        {"llama.expert_count", 0, WEIR_OK},
        {"general.something", 1, WEIR_OK},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_model_config c;
        struct header h = llama_header(1);
        put_u32(&h, cases[i].key, cases[i].value);
        cr_expect_eq(read_header(&h, h.n, &c), cases[i].err, "%s: %s", cases[i].key, diag.text);
    }
    struct weir_model_config c;
    struct header h = llama_header(1ULL << 60);
    cr_assert_eq(read_header(&h, h.n, &c), WEIR_ERR_UNSUPPORTED);
    h = llama_header(1); /* an array that says it has 2^60 strings */
    put_text(&h, "tokenizer.ggml.tokens");
    put_number(&h, 9, 4);
    put_number(&h, 8, 4);
    put_number(&h, 1ULL << 60, 8);
    cr_assert_eq(read_header(&h, h.n, &c), WEIR_ERR_CORRUPT);
}
