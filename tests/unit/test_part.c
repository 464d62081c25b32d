#include "codec/part.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "codec/extract.h"
#include "fail_alloc.h"
#include "store_bytes.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

/* ---- names ---- */

Test(part, knows_the_layer_of_a_tensor)
{
    static const struct {
        const char *name;
        int64_t layer;
    } rows[] = {
        /* Llama, Mistral, Qwen, Phi, OpenLLaMA */
        {"model.layers.0.self_attn.q_proj.weight", 0},
        {"model.layers.31.mlp.down_proj.weight", 31},
        {"model.layers.7.mlp.experts.12.w1.weight", 7},
        {"model.embed_tokens.weight", -1},
        {"model.norm.weight", -1},
        {"lm_head.weight", -1},
        /* Pythia, BLOOM, GPT-2, BERT, T5, MPT */
        {"gpt_neox.layers.11.attention.dense.bias", 11},
        {"h.3.self_attention.query_key_value.weight", 3},
        {"transformer.h.23.mlp.c_fc.weight", 23},
        {"h.0.ln_1.weight", 0},
        {"wte.weight", -1},
        {"encoder.layer.5.output.dense.weight", 5},
        {"encoder.block.6.layer.0.SelfAttention.q.weight", 6},
        {"transformer.blocks.9.ffn.up_proj.weight", 9},
        /* a vision tower */
        {"visual.blocks.4.attn.qkv.weight", 4},
        /* GGUF */
        {"blk.17.ffn_up.weight", 17},
        {"blk.0.attn_norm.weight", 0},
        {"token_embd.weight", -1},
        {"output_norm.weight", -1},
        /* what is no number, no component of its own, or not behind one */
        {"", -1},
        {"layers", -1},
        {"layers.", -1},
        {"layers.x.0", -1},
        {"layers.-1.weight", -1},
        {"layers.1a.weight", -1},
        {"layers. 1.weight", -1},
        {"my_layers.1.weight", -1},
        {"layers1.weight", -1},
        {"1.layers", -1},
        {"experts.3.weight", -1},
        {"layers.layers.2", 2},
        {"layers.x.h.4", 4},
        {"..layers.5", 5},
        {"layers.007.weight", 7},
        {"layers.4294967295.weight", 4294967295},
        {"layers.4294967296.weight", -1},
        {"layers.99999999999999999999999999.weight", -1},
    };
    for (size_t i = 0; i < N(rows); i++)
        cr_expect_eq(weir_tensor_layer(rows[i].name), rows[i].layer, "%s: %lld", rows[i].name,
                     (long long)weir_tensor_layer(rows[i].name));
}

/* ---- a tiny part: 32 tiles in extent 0, and one in extent 1 ---- */

struct tiny {
    struct bytes whole; /* the store */
    uint8_t *part;      /* with its appendix, in a block of exactly its bytes */
    size_t n;
};

static struct weir_store *open_bytes(const uint8_t *bytes, size_t n, weir_err want)
{
    struct weir_source src;
    struct weir_store *store = NULL;
    struct weir_diag diag = {""};
    weir_source_from_memory(bytes, n, &src);
    weir_err err = weir_store_open(&src, &store, &diag);
    cr_expect_eq(err, want, "%d: %s", (int)err, diag.text);
    cr_expect(err == WEIR_OK || diag.text[0]);
    return store;
}

static struct tiny tiny_part(uint8_t map)
{
    static const struct patch nothing = {0};
    struct tiny t = {.whole = tiny_store(raw_frame, &nothing)};
    struct weir_store *store = open_bytes(t.whole.at, t.whole.n, WEIR_OK);
    cr_assert_not_null(store);
    cr_assert_eq(weir_part_bytes(store), 1 + 64);
    t.n = t.whole.n + weir_part_bytes(store);
    t.part = malloc(t.n);
    cr_assert_not_null(t.part);
    memcpy(t.part, t.whole.at, t.whole.n);
    weir_part_write(store, &map, t.part + t.whole.n);
    cr_expect(weir_part_fits(store, t.part + t.whole.n, t.n - t.whole.n));
    for (uint32_t i = 0; i < 2; i++) {
        struct weir_extent e = weir_store_extent(store, i);
        if (!(map >> i & 1))
            memset(t.part + e.at, 0, e.bytes);
    }
    weir_store_free(store);
    return t;
}

static void tiny_free(struct tiny *t)
{
    bytes_free(&t->whole);
    free(t->part);
}

Test(part, is_what_the_document_says)
{
    struct tiny t = tiny_part(2);
    const uint8_t *end = t.part + t.n - 64;
    uint8_t want[64] = {0};
    for (size_t i = 0; i < 8; i++)
        want[i] = (uint8_t)((uint64_t)t.whole.n >> 8 * i);
    want[8] = 2;
    memcpy(want + 16, t.whole.at + t.whole.n - 64 + 16, 32); /* the trailer's digest */
    want[48] = 1;
    memcpy(want + 56, "weirpart", 8);
    cr_expect_eq(end[-1], 2);
    cr_expect_arr_eq(end, want, sizeof(want));
    tiny_free(&t);
}

Test(part, has_what_is_there_and_says_what_is_not)
{
    static uint8_t scratch[WEIR_MAX_EXTENT_BYTES + WEIR_ALIGN];
    for (uint8_t map = 0; map < 4; map++) {
        struct tiny t = tiny_part(map);
        struct weir_store *store = open_bytes(t.part, t.n, WEIR_OK);
        cr_assert_not_null(store);
        const struct weir_store_info *info = weir_store_info(store);
        cr_expect(weir_store_is_part(store));
        cr_expect_eq(info->stored_bytes, t.whole.n);
        cr_expect_eq(info->n_present, (map & 1U) + (map >> 1));
        struct weir_store_cursor *cur = NULL;
        cr_assert_eq(weir_store_cursor_new(store, weir_kernels_best(), &cur), WEIR_OK);
        for (uint32_t object = 0; object < TINY_TILES; object++) {
            uint8_t out[TINY_CONST_BYTES];
            struct weir_diag diag = {""};
            bool there = map >> object / 32 & 1;
            cr_expect_eq(weir_store_read_tile(cur, object, 0, out, &diag),
                         there ? WEIR_OK : WEIR_ERR_ABSENT, "map %u, object %u", map, object);
            cr_expect_eq(diag.text[0] == 0, there);
            cr_expect(!there || out[1] == tiny_byte(object, 1));
        }
        for (uint32_t i = 0; i < 2; i++) {
            struct weir_extent e = weir_store_extent(store, i);
            weir_err want = map >> i & 1 ? WEIR_OK : WEIR_ERR_ABSENT;
            cr_expect_eq(weir_store_has_extent(store, i), want == WEIR_OK);
            cr_expect_eq(weir_store_check_extent(store, i, scratch, NULL), want);
            cr_expect_eq(weir_store_read_stored(cur, e.at + 1, scratch, 1, NULL), want);
            cr_expect_eq(weir_store_read_stored(cur, e.at - 1, scratch, 1, NULL), WEIR_OK);
            cr_expect_eq(weir_store_read_stored(cur, e.at - 1, scratch, 2, NULL), want);
        }
        struct weir_diag diag = {""};
        cr_expect_eq(weir_store_read_stored(cur, t.whole.n - 64, scratch, 64, NULL), WEIR_OK);
        cr_expect_eq(weir_store_read_stored(cur, t.whole.n, scratch, 1, &diag), WEIR_ERR_IO);
        const struct weir_extract_options how = {.n_threads = 1};
        cr_expect_eq(weir_check_extents(store, &how, &diag), WEIR_OK, "%s", diag.text);
        if (!(map & 1)) /* the first file's; the files of the tiny store have no right SHA-256 */
            cr_expect_eq(weir_extract(store, NULL, &how, &diag), WEIR_ERR_ABSENT);
        weir_store_cursor_free(cur);
        weir_store_free(store);
        tiny_free(&t);
    }
}

/* A bit that lies is damage. */
Test(part, never_shows_what_a_lie_says)
{
    struct tiny t = tiny_part(1);
    t.part[t.whole.n] = 3;
    struct weir_store *store = open_bytes(t.part, t.n, WEIR_OK);
    const struct weir_extract_options how = {.n_threads = 1};
    cr_expect_eq(weir_check_extents(store, &how, NULL), WEIR_ERR_CORRUPT);
    cr_expect_eq(weir_extract(store, NULL, &how, NULL), WEIR_ERR_CORRUPT);
    weir_store_free(store);
    tiny_free(&t);
}

Test(part, refuses_every_flip_and_every_cut)
{
    struct tiny t = tiny_part(1);
    struct weir_store *whole = open_bytes(t.whole.at, t.whole.n, WEIR_OK);
    uint8_t *appendix = t.part + t.whole.n;
    size_t n = t.n - t.whole.n;
    for (size_t bit = 0; bit < 8 * n; bit++) {
        appendix[bit / 8] ^= (uint8_t)(1U << bit % 8);
        bool of_extent = bit < 2;
        cr_expect_eq(weir_part_fits(whole, appendix, n), of_extent, "bit %zu", bit);
        /* A version of 2 or 3, 5, 9, ... is for others. */
        bool newer = bit / 8 == 1 + 48 || bit / 8 == 1 + 49;
        weir_err want = of_extent                        ? WEIR_OK
                        : newer && bit != (size_t)8 * 49 ? WEIR_ERR_UNSUPPORTED
                                                         : WEIR_ERR_CORRUPT;
        weir_store_free(open_bytes(t.part, t.n, want));
        appendix[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    for (size_t cut = 0; cut < n; cut++) {
        uint8_t *some = malloc(t.whole.n + cut);
        cr_assert_not_null(some);
        memcpy(some, t.part, t.whole.n + cut);
        weir_store_free(open_bytes(some, t.whole.n + cut, cut ? WEIR_ERR_CORRUPT : WEIR_OK));
        cr_expect_not(weir_part_fits(whole, appendix, cut));
        free(some);
    }
    uint8_t *longer = malloc(t.n + n);
    cr_assert_not_null(longer);
    memcpy(longer, t.part, t.n);
    longer[t.n] = 0;
    weir_store_free(open_bytes(longer, t.n + 1, WEIR_ERR_CORRUPT));
    memcpy(longer + t.n, appendix, n); /* once more */
    weir_store_free(open_bytes(longer, t.n + n, WEIR_ERR_CORRUPT));
    free(longer);
    weir_store_free(whole);
    tiny_free(&t);
}

Test(part, survives_failing_allocations)
{
    struct tiny t = tiny_part(1);
    struct weir_source src;
    weir_source_from_memory(t.part, t.n, &src);
    weir_err err = WEIR_ERR_NOMEM;
    int n = 0;
    for (; err == WEIR_ERR_NOMEM && n < 100; n++) {
        struct weir_store *store = NULL;
        fail_alloc_at(n);
        err = weir_store_open(&src, &store, NULL);
        fail_alloc_at(-1);
        weir_store_free(store);
    }
    cr_expect_eq(err, WEIR_OK);
    cr_expect_gt(n, 4);
    tiny_free(&t);
}

/* ---- what is wanted ---- */

Test(part, wants_a_tensor_at_least)
{
    struct tiny t = tiny_part(3);
    struct weir_store *store = open_bytes(t.part, t.n, WEIR_OK);
    uint8_t map[2] = {0};
    struct weir_diag diag = {""};
    const struct weir_part_wish all = {.has_layers = true, .last_layer = UINT32_MAX};
    cr_expect_eq(weir_part_select(store, &all, map, &diag), WEIR_ERR_NOT_FOUND);
    cr_expect(diag.text[0]);
    weir_store_free(store);
    tiny_free(&t);
}

Test(part, wants_layers_names_and_what_is_no_tensor)
{
    struct weir_source src = {0};
    struct weir_store *store = NULL;
    cr_assert_eq(weir_source_open_file(WEIR_TESTS "/golden/small.weir", &src, NULL), WEIR_OK);
    cr_assert_eq(weir_store_open(&src, &store, NULL), WEIR_OK);
    static const struct {
        const char *glob;
        weir_err want;
    } rows[] = {{"w", WEIR_OK},           {"*", WEIR_OK},
                {"[wz]", WEIR_OK},        {"W", WEIR_ERR_NOT_FOUND},
                {"", WEIR_ERR_NOT_FOUND}, {"w?", WEIR_ERR_NOT_FOUND}};
    for (size_t i = 0; i < N(rows); i++) {
        const struct weir_part_wish wish = {.glob = &rows[i].glob, .n_globs = 1};
        uint8_t map[1] = {0xff};
        cr_expect_eq(weir_part_select(store, &wish, map, NULL), rows[i].want, "%s", rows[i].glob);
        cr_expect(rows[i].want || map[0] == 1, "one extent, and no other bit");
    }
    weir_store_free(store);
    weir_source_close(&src);
}
