/* Hand-made GGUF files and the parts they must come apart into. */
#include "codec/layout.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "layout_kit.h"

static void check_gguf(const struct gguf_case *cases, size_t n)
{
    struct bytes *b = new_bytes();
    for (size_t i = 0; i < n; i++) {
        char wanted[512];
        size_t n_header = make_gguf(b, &cases[i]);
        if (cases[i].parts)
            snprintf(wanted, sizeof(wanted), "gguf: %zu%s", n_header, cases[i].parts);
        else
            snprintf(wanted, sizeof(wanted), "opaque: %zu", b->n);
        expect(b, "whatever its name", wanted, cases[i].label);
    }
    free(b);
}

Test(gguf, cuts_gguf_into_tensors_and_the_rest)
{
    static const struct gguf_case cases[] = {
        {"no tensors", 3, 0, {{0}}, 0, 0, ""},
        {"version 2", 2, 0, {{"a", {8}, 1, F32, 0}}, 1, 32, " | a F32 [8] 32"},
        {"outermost first",
         3,
         0,
         {{"a", {32, 2, 3}, 3, Q8_0, 0}},
         1,
         204,
         " | a Q8_0 [3,2,32] 204"},
        {"no dimensions", 3, 0, {{"a", {0}, 0, F32, 0}}, 1, 4, " | a F32 [] 4"},
        {"out of order, padded, trailing bytes",
         3,
         0,
         {{"b", {2}, 1, F32, 32}, {"a", {3}, 1, BF16, 0}},
         2,
         45,
         " | a BF16 [3] 6 | 26 | b F32 [2] 8 | 5"},
        {"alignment 64",
         3,
         64,
         {{"a", {1}, 1, F32, 0}, {"b", {1}, 1, F32, 64}},
         2,
         68,
         " | a F32 [1] 4 | 60 | b F32 [1] 4"},
        {"alignment 4",
         3,
         4,
         {{"a", {1}, 1, F32, 0}, {"b", {1}, 1, F32, 4}},
         2,
         8,
         " | a F32 [1] 4 | b F32 [1] 4"},
        {"alignment 24",
         3,
         24,
         {{"a", {1}, 1, F32, 0}, {"b", {1}, 1, F32, 24}},
         2,
         28,
         " | a F32 [1] 4 | 20 | b F32 [1] 4"},
        {"no elements", 3, 0, {{"a", {0, 5}, 2, Q4_0, 0}}, 1, 0, " | a Q4_0 [5,0] 0"},
    };
    check_gguf(cases, sizeof(cases) / sizeof(cases[0]));
}

Test(gguf, takes_an_odd_gguf_file_for_opaque_bytes)
{
    static const struct gguf_case cases[] = {
        {"version 1", 1, 0, {{"a", {8}, 1, F32, 0}}, 1, 32, NULL},
        {"version 4", 4, 0, {{"a", {8}, 1, F32, 0}}, 1, 32, NULL},
        {"big-endian", 3u << 24, 0, {{"a", {8}, 1, F32, 0}}, 1, 32, NULL},
        {"past the end", 3, 0, {{"a", {8}, 1, F32, 0}}, 1, 31, NULL},
        {"empty past the end", 3, 0, {{"a", {0}, 1, F32, 64}}, 1, 32, NULL},
        {"offset wraps", 3, 0, {{"a", {8}, 1, F32, UINT64_MAX - 31}}, 1, 32, NULL},
        {"overlap", 3, 0, {{"a", {9}, 1, F32, 0}, {"b", {8}, 1, F32, 32}}, 2, 64, NULL},
        {"offset not aligned", 3, 0, {{"a", {1}, 1, F32, 4}}, 1, 32, NULL},
        {"alignment 12", 3, 12, {{"a", {8}, 1, F32, 0}}, 1, 32, NULL},
        {"unknown type", 3, 0, {{"a", {8}, 1, 4, 0}}, 1, 32, NULL},
        {"unknown type, empty", 3, 0, {{"a", {0}, 1, 1000, 0}}, 1, 32, NULL},
        {"five dimensions", 3, 0, {{"a", {1, 1, 1, 1, 1}, 5, F32, 0}}, 1, 32, NULL},
        {"rows not whole blocks", 3, 0, {{"a", {16, 2}, 2, Q8_0, 0}}, 1, 34, NULL},
        {"size wraps", 3, 0, {{"a", {1ull << 33, 1ull << 31}, 2, F32, 0}}, 1, 32, NULL},
        {"size wraps as bytes", 3, 0, {{"a", {1ull << 62}, 1, F32, 0}}, 1, 32, NULL},
        {"two of a name", 3, 0, {{"a", {8}, 1, F32, 0}, {"a", {8}, 1, F32, 32}}, 2, 64, NULL},
    };
    check_gguf(cases, sizeof(cases) / sizeof(cases[0]));
}

/* Sizes and fields from GGML's block structures; two blocks of each. */
Test(gguf, knows_the_blocks_of_gguf_types)
{
    static const struct {
        uint32_t type;
        const char *dtype;
        size_t items, bytes;
        const char *elements;
    } cases[] = {
        {0, "F32", 1, 4, "1x4e8"},
        {1, "F16", 1, 2, "1x2e5"},
        {2, "Q4_0", 32, 18, "1x2e5 16x1"},
        {3, "Q4_1", 32, 20, "1x2e5 1x2e5 16x1"},
        {6, "Q5_0", 32, 22, "1x2e5 20x1"},
        {7, "Q5_1", 32, 24, "1x2e5 1x2e5 20x1"},
        {8, "Q8_0", 32, 34, "1x2e5 32x1"},
        {9, "Q8_1", 32, 36, "1x2e5 1x2e5 32x1"},
        {10, "Q2_K", 256, 84, "16x1 64x1 2x2e5"},
        {11, "Q3_K", 256, 110, "32x1 64x1 8x1 4x1 1x2e5"},
        {12, "Q4_K", 256, 144, "2x2e5 8x1 4x1 128x1"},
        {13, "Q5_K", 256, 176, "2x2e5 8x1 4x1 160x1"},
        {14, "Q6_K", 256, 210, "128x1 64x1 16x1 1x2e5"},
        {15, "Q8_K", 256, 292, "1x4e8 256x1 32x1"},
        {16, "IQ2_XXS", 256, 66, NULL},
        {17, "IQ2_XS", 256, 74, NULL},
        {18, "IQ3_XXS", 256, 98, NULL},
        {19, "IQ1_S", 256, 50, NULL},
        {20, "IQ4_NL", 32, 18, "1x2e5 16x1"},
        {21, "IQ3_S", 256, 110, NULL},
        {22, "IQ2_S", 256, 82, NULL},
        {23, "IQ4_XS", 256, 136, NULL},
        {24, "I8", 1, 1, "1x1"},
        {25, "I16", 1, 2, "1x1 1x1"},
        {26, "I32", 1, 4, "1x1 1x1 1x1 1x1"},
        {27, "I64", 1, 8, "1x1 1x1 1x1 1x1 1x1 1x1 1x1 1x1"},
        {28, "F64", 1, 8, "1x8e11"},
        {29, "IQ1_M", 256, 56, NULL},
        {30, "BF16", 1, 2, "1x2e8"},
        {31, "Q4_0_4_4", 32, 18, "1x1"},
        {32, "Q4_0_4_8", 32, 18, "1x1"},
        {33, "Q4_0_8_8", 32, 18, "1x1"},
        {34, "TQ1_0", 256, 54, NULL},
        {35, "TQ2_0", 256, 66, NULL},
        {39, "MXFP4", 32, 17, "1x1 16x1"},
        {40, "NVFP4", 64, 36, "4x1 32x1"},
        {41, "Q1_0", 128, 18, "1x2e5 16x1"},
        {42, "Q2_0", 64, 18, "1x2e5 16x1"},
    };
    struct bytes *b = new_bytes();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct gguf_tensor tensor = {"a", {2 * cases[i].items}, 1, cases[i].type, 0};
        const struct gguf_case file = {
            .version = 3, .tensor = {tensor}, .n_tensors = 1, .n_data = 2 * cases[i].bytes};
        char text[128];
        make_gguf(b, &file);
        struct weir_layout *layout = find(b->at, b->n, "x.gguf");
        cr_assert_eq(layout->n_parts, 2, "%s", cases[i].dtype);
        const struct weir_layout_part *part = &layout->part[1];
        cr_expect_str_eq(part->tensor.dtype, cases[i].dtype);
        cr_expect_eq(part->bytes, file.n_data, "%s", cases[i].dtype);
        describe_elements(&part->elements, text, sizeof(text));
        if (cases[i].elements)
            cr_expect_str_eq(text, cases[i].elements, "%s: %s", cases[i].dtype, text);
        else
            cr_expect_eq(part->elements.elem_bytes, cases[i].bytes, "%s: %s", cases[i].dtype, text);
        weir_layout_free(layout);
    }
    free(b);
}

Test(gguf, passes_over_pairs_of_every_kind)
{
    struct bytes *b = new_bytes();
    for (unsigned depth = 1; depth <= 5; depth++) {
        char wanted[64];
        make_gguf_with_pairs(b, depth);
        if (depth <= 4)
            snprintf(wanted, sizeof(wanted), "gguf: %zu | a F32 [8] 32", b->n - 32);
        else
            snprintf(wanted, sizeof(wanted), "opaque: %zu", b->n);
        expect(b, "", wanted, "pairs");
    }
    free(b);
}

/* Files with a pair that is odd; a good tensor follows. */
Test(gguf, takes_odd_pairs_for_opaque_bytes)
{
    static const struct {
        const char *label;
        const char *key;
        uint32_t n_words;
        uint32_t word[8]; /* type and value */
        bool fine;
    } cases[] = {
        {"all is well", "k", 2, {4, 7}, true},
        {"unknown type", "k", 2, {13, 0}, false},
        {"array of unknown type", "k", 4, {9, 13, 0, 0}, false},
        {"array that is too long", "k", 4, {9, 0, 1000, 0}, false},
        {"array whose size wraps", "k", 6, {9, 10, 1, 0x20000000, 0, 0}, false},
        {"endless array of strings", "k", 4, {9, 8, 0xffffffff, 0xffffffff}, false},
        {"endless array of arrays", "k", 4, {9, 9, 0xffffffff, 0xffffffff}, false},
        {"endless string", "k", 3, {8, 0xffffffff, 0xffffffff}, false},
        {"alignment of the wrong type", "general.alignment", 2, {5, 32}, false},
        {"alignment 0", "general.alignment", 2, {4, 0}, false},
    };
    struct bytes *b = new_bytes();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char wanted[64];
        put_gguf_start(b, 3, 1, 1);
        put_string(b, cases[i].key);
        for (uint32_t w = 0; w < cases[i].n_words; w++)
            put_uint(b, cases[i].word[w], 4);
        put_tensor(b, &(struct gguf_tensor){"a", {8}, 1, F32, 0});
        while (b->n % 32)
            put_uint(b, 0, 1);
        put_zeros(b, 32);
        if (cases[i].fine)
            snprintf(wanted, sizeof(wanted), "gguf: %zu | a F32 [8] 32", b->n - 32);
        else
            snprintf(wanted, sizeof(wanted), "opaque: %zu", b->n);
        expect(b, "x.gguf", wanted, cases[i].label);
    }
    free(b);
}

Test(gguf, refuses_two_alignments_huge_counts_and_nul_in_names)
{
    struct bytes *b = new_bytes();
    char wanted[64];
    put_gguf_start(b, 3, 0, 2);
    for (int i = 0; i < 2; i++) {
        put_string(b, "general.alignment");
        put_uint(b, 4, 4);
        put_uint(b, 32, 4);
    }
    snprintf(wanted, sizeof(wanted), "opaque: %zu", b->n);
    expect(b, "x.gguf", wanted, "two alignments");

    static const uint64_t counts[] = {2, 1 << 18, (1 << 18) + 1, UINT64_MAX};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        const struct gguf_case good = {"", 3, 0, {{"a", {8}, 1, F32, 0}}, 1, 32, ""};
        make_gguf(b, &good);
        for (size_t k = 0; k < 8; k++)
            b->at[8 + k] = (uint8_t)(counts[i] >> 8 * k); /* tensors */
        snprintf(wanted, sizeof(wanted), "opaque: %zu", b->n);
        expect(b, "x.gguf", wanted, "tensors");
        b->at[8] = 1;
        memset(b->at + 9, 0, 7);
        for (size_t k = 0; k < 8; k++)
            b->at[16 + k] = (uint8_t)(counts[i] >> 8 * k); /* pairs */
        expect(b, "x.gguf", wanted, "pairs");
    }

    const struct gguf_case named = {"", 3, 0, {{"abc", {8}, 1, F32, 0}}, 1, 32, ""};
    make_gguf(b, &named);
    b->at[24 + 8 + 1] = 0;
    snprintf(wanted, sizeof(wanted), "opaque: %zu", b->n);
    expect(b, "x.gguf", wanted, "a name with NUL");
    free(b);
}
