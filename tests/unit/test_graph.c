/* What a pass may be given, and that nothing is left behind by one that fails.  The numbers are
 * held against goldens in tests/infer. */
#include "model_kit.h"

#include <math.h>

#include "fail_alloc.h"

#define LLAMA KIT_FOLDER("llama")

enum { VOCAB = 61, MANY_NANS = 4096 };

static bool same_bits(const void *a, const void *b)
{
    return memcmp(a, b, VOCAB * sizeof(float)) == 0;
}

static struct weir_graph *new_graph(struct kit *k, const struct weir_graph_options *o)
{
    struct weir_graph *g;
    cr_assert_eq(weir_graph_new(k->model, o, &g, &k->diag), WEIR_OK, "%s", k->diag.text);
    return g;
}

static void open_llama(struct kit *k)
{
    kit_make(k, LLAMA, NULL, NULL);
    cr_assert_eq(kit_open(k), WEIR_OK, "%s", k->diag.text);
}

Test(graph, says_what_is_wrong_with_a_pass)
{
    struct kit k = {0};
    open_llama(&k);
    struct weir_graph *g = new_graph(
        &k, &(struct weir_graph_options){
                .n_threads = 2, .n_sequences = 2, .context = 5, .chunk = 4, .n_logits = 1});
    static const struct {
        struct weir_graph_token token[5];
        size_t n;
    } bad[] = {
        {{{0, 1, true}}, 0},
        {{{0, 1, true}, {0, 1, false}, {0, 1, false}, {0, 1, false}, {0, 1, false}}, 5},
        {{{0, VOCAB, true}}, 1},
        {{{0, UINT32_MAX, true}}, 1},
        {{{2, 1, true}}, 1},
        {{{0, 1, false}, {1, 1, true}, {2, 1, false}}, 3},
        {{{0, 1, true}, {1, 1, true}}, 2}, /* two logits */
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        k.diag.text[0] = 0;
        cr_expect_eq(weir_graph_run(g, bad[i].token, bad[i].n, &k.diag), WEIR_ERR_INVALID, "%zu",
                     i);
        cr_expect(k.diag.text[0] != 0);
        cr_expect(weir_graph_length(g, 0) == 0 && weir_graph_length(g, 1) == 0, "%zu", i);
    }
    const struct weir_graph_token three[] = {{0, 1, false}, {0, 2, false}, {0, 3, true}};
    cr_assert_eq(weir_graph_run(g, three, 3, &k.diag), WEIR_OK);
    cr_assert_eq(weir_graph_run(g, three, 3, &k.diag), WEIR_ERR_INVALID); /* the sixth */
    cr_assert_not_null(strstr(k.diag.text, "context"), "%s", k.diag.text);
    cr_assert_eq(weir_graph_length(g, 0), 3);
    cr_assert_eq(weir_graph_run(g, three, 2, &k.diag), WEIR_OK);
    weir_graph_begin(g, 0, 0);
    cr_assert_eq(weir_graph_length(g, 0), 0);
    weir_graph_free(g);
    kit_free(&k);
}

Test(graph, says_what_is_wrong_with_its_options)
{
    struct kit k = {0};
    struct weir_graph *g;
    open_llama(&k);
    const struct weir_graph_options bad[] = {
        {.context = 257}, {.chunk = UINT32_MAX}, {.n_sequences = UINT32_MAX}, {.kernels = "mmx"}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_expect_eq(weir_graph_new(k.model, &bad[i], &g, &k.diag), WEIR_ERR_INVALID, "%zu", i);
    const struct weir_graph_options small = {.n_threads = 1, .context = 16, .chunk = 1};
    const struct weir_graph_options large = {.n_threads = 1, .context = 256, .chunk = 1};
    const struct weir_graph_options half = {
        .n_threads = 1, .context = 256, .chunk = 1, .kv_bf16 = true};
    const uint64_t row = (uint64_t)2 * 2 * 32; /* keys and values, layers, heads */
    cr_assert_eq(weir_graph_bytes(k.model, &large) - weir_graph_bytes(k.model, &half),
                 256 * row * sizeof(float) / 2);
    cr_assert_gt(weir_graph_bytes(k.model, &large), weir_graph_bytes(k.model, &small));
    kit_free(&k);
}

/* After a read that failed the same pass gives what it would have given. */
Test(graph, every_read_may_fail)
{
    struct kit k = {0};
    open_llama(&k);
    struct weir_graph *g =
        new_graph(&k, &(struct weir_graph_options){.n_threads = 2, .context = 8});
    const struct weir_graph_token token[] = {{0, 5, false}, {0, 6, true}};
    float expected[VOCAB];
    cr_assert_eq(weir_graph_run(g, token, 2, &k.diag), WEIR_OK);
    memcpy(expected, weir_graph_logits(g, 0), sizeof(expected));
    for (long n = 0;; n++) {
        weir_graph_begin(g, 0, 0);
        atomic_store(&k.reads, 0);
        atomic_store(&k.fail_at, n);
        weir_err err = weir_graph_run(g, token, 2, &k.diag);
        atomic_store(&k.fail_at, -1);
        if (!err)
            break;
        cr_assert_eq(err, WEIR_ERR_IO);
        cr_assert_not_null(strstr(k.diag.text, "model.safetensors"), "%s", k.diag.text);
        cr_assert_eq(weir_graph_length(g, 0), 0);
        cr_assert_eq(weir_graph_run(g, token, 2, &k.diag), WEIR_OK);
        cr_assert(same_bits(expected, weir_graph_logits(g, 0)), "read %ld", n);
        cr_assert_lt(n, 1000);
    }
    weir_graph_free(g);
    kit_free(&k);
}

Test(graph, every_allocation_may_fail)
{
    struct kit k = {0};
    open_llama(&k);
    for (int n = 0;; n++) {
        struct weir_graph *g;
        const struct weir_graph_options o = {.n_threads = 2, .context = 8};
        fail_alloc_at(n);
        weir_err err = weir_graph_new(k.model, &o, &g, &k.diag);
        fail_alloc_at(-1);
        if (!err) {
            weir_graph_free(g);
            break;
        }
        cr_assert_eq(err, WEIR_ERR_NOMEM, "allocation %d", n);
        cr_assert_lt(n, 1000);
    }
    kit_free(&k);
}

/* Nothing hides them: a NaN in the weights is a NaN in the logits, and no error. */
Test(graph, nan_weights_give_nan_logits)
{
    struct kit k = {0};
    kit_make(&k, LLAMA, NULL, NULL);
    struct tiny_bytes *b = &k.file[1].bytes;
    memset(b->at + b->n - sizeof(float), 0xff, sizeof(float));
    cr_assert_eq(kit_open(&k), WEIR_OK, "%s", k.diag.text);
    struct weir_graph *g =
        new_graph(&k, &(struct weir_graph_options){.n_threads = 1, .context = 8});
    const struct weir_graph_token token = {0, 5, true};
    cr_assert_eq(weir_graph_run(g, &token, 1, &k.diag), WEIR_OK);
    size_t n = 0;
    for (size_t i = 0; i < VOCAB; i++)
        n += isnan(weir_graph_logits(g, 0)[i]) != 0;
    cr_assert_gt(n, 0);
    weir_graph_free(g);
    kit_free(&k);
}

/* ... and there is nothing to choose from: the pass was none, and its sampler is let go. */
Test(graph, nothing_is_chosen_from_nans)
{
    struct kit k = {0};
    kit_make(&k, LLAMA, NULL, NULL);
    struct tiny_bytes *b = &k.file[1].bytes;
    for (size_t i = 0; i < MANY_NANS; i++)
        memset(b->at + b->n - (i + 1) * sizeof(float), 0xff, sizeof(float));
    cr_assert_eq(kit_open(&k), WEIR_OK, "%s", k.diag.text);
    struct weir_graph *g =
        new_graph(&k, &(struct weir_graph_options){.n_threads = 1, .context = 8});
    const struct weir_graph_token token = {0, 5, true}, next = {0, WEIR_GRAPH_CHOSEN, true};
    struct weir_graph_choice choice;
    struct weir_sampler *s;
    cr_assert_eq(weir_sampler_new(VOCAB, &(struct weir_sampler_options){.temperature = 0}, &s),
                 WEIR_OK);
    for (int i = 0; i < 2; i++) {
        cr_assert(weir_graph_may_start(g));
        cr_assert_eq(weir_graph_start(g, &token, 1, &s, false, &k.diag), WEIR_OK);
        cr_assert(!weir_graph_may_start(g));
        cr_assert_eq(weir_graph_finish(g, &choice, &k.diag), WEIR_ERR_CORRUPT);
        cr_assert_not_null(strstr(k.diag.text, "not numbers"));
        cr_assert_eq(weir_graph_length(g, 0), 0);
        cr_assert_eq(weir_graph_start(g, &next, 1, &s, false, &k.diag), WEIR_ERR_INVALID);
    }
    weir_sampler_free(s);
    weir_graph_free(g);
    kit_free(&k);
}

/* What is cut off is as if it had never been, in F32 and in BF16; the other sequence stays. */
Test(graph, what_is_cut_off_was_never_there)
{
    struct kit k = {0};
    open_llama(&k);
    static const struct weir_graph_token other = {1, 9, true};
    static const struct weir_graph_token before[] = {{0, 5, false}, {0, 6, false}, {0, 7, false}};
    static const struct weir_graph_token wrong[] = {{0, 8, false}, {0, 9, false}, {1, 8, false}};
    static const struct weir_graph_token right[] = {{0, 10, false}, {0, 11, true}};
    for (int kv_bf16 = 0; kv_bf16 < 2; kv_bf16++) {
        float expected[2][VOCAB];
        const struct weir_graph_options o = {
            .n_threads = 2, .n_sequences = 2, .context = 8, .kv_bf16 = kv_bf16};
        struct weir_graph *g = new_graph(&k, &o), *fresh = new_graph(&k, &o);
        cr_assert_eq(weir_graph_run(fresh, before, 3, &k.diag), WEIR_OK);
        cr_assert_eq(weir_graph_run(fresh, right, 2, &k.diag), WEIR_OK);
        memcpy(expected[0], weir_graph_logits(fresh, 0), sizeof(expected[0]));
        cr_assert_eq(weir_graph_run(g, before, 3, &k.diag), WEIR_OK);
        cr_assert_eq(weir_graph_run(g, wrong, 3, &k.diag), WEIR_OK);
        weir_graph_cut(g, 0, 3);
        cr_assert(weir_graph_length(g, 0) == 3 && weir_graph_length(g, 1) == 1);
        cr_assert_eq(weir_graph_run(g, right, 2, &k.diag), WEIR_OK);
        cr_assert(same_bits(expected[0], weir_graph_logits(g, 0)));
        weir_graph_cut(g, 0, 5); /* all of it: nothing */
        cr_assert_eq(weir_graph_run(g, &other, 1, &k.diag), WEIR_OK);
        memcpy(expected[1], weir_graph_logits(g, 0), sizeof(expected[1]));
        weir_graph_cut(g, 1, 1);
        weir_graph_cut(g, 0, 0);
        cr_assert_eq(weir_graph_run(g, before, 3, &k.diag), WEIR_OK);
        cr_assert_eq(weir_graph_run(g, &other, 1, &k.diag), WEIR_OK);
        cr_assert(same_bits(expected[1], weir_graph_logits(g, 0)));
        weir_graph_free(g);
        weir_graph_free(fresh);
    }
    kit_free(&k);
}

/* Sequences do not hear of each other, and one that begins anew knows nothing of before. */
Test(graph, sequences_are_apart)
{
    struct kit k = {0};
    open_llama(&k);
    struct weir_graph *g =
        new_graph(&k, &(struct weir_graph_options){.n_threads = 2, .n_sequences = 2, .context = 8});
    const struct weir_graph_token alone[] = {{0, 7, false}, {0, 8, true}};
    const struct weir_graph_token both[] = {
        {1, 50, false}, {0, 7, false}, {1, 8, true}, {0, 8, true}, {1, 9, false}};
    float expected[VOCAB];
    cr_assert_eq(weir_graph_run(g, alone, 2, &k.diag), WEIR_OK);
    memcpy(expected, weir_graph_logits(g, 0), sizeof(expected));
    weir_graph_begin(g, 0, 0);
    cr_assert_eq(weir_graph_run(g, both, 5, &k.diag), WEIR_OK);
    cr_assert(same_bits(expected, weir_graph_logits(g, 1)));
    cr_assert(!same_bits(expected, weir_graph_logits(g, 0)));
    cr_assert(weir_graph_length(g, 0) == 2 && weir_graph_length(g, 1) == 3);
    weir_graph_free(g);
    kit_free(&k);
}
