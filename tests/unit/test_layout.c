/* What weir_layout_find() does whatever the format: odd files, odd sources, real files. */
#include "codec/layout.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail_alloc.h"
#include "layout_kit.h"

Test(layout, goes_by_the_ending_or_the_magic)
{
    static const struct {
        const char *path, *text, *wanted;
    } cases[] = {
        {"x.safetensors", "", "opaque:"},
        {"x.gguf", "", "opaque:"},
        {"", "", "opaque:"},
        {"x.safetensors", "\2\0\0\0\0\0\0\0{}", "safetensors: 10"},
        {".safetensors", "\2\0\0\0\0\0\0\0{}", "safetensors: 10"},
        {"x.safetensors.zst", "\2\0\0\0\0\0\0\0{}", "opaque: 10"},
        {"safetensors", "\2\0\0\0\0\0\0\0{}", "opaque: 10"},
        {"x.gguf", "\2\0\0\0\0\0\0\0{}", "opaque: 10"},
        {"x.safetensors", "GGUF......", "opaque: 10"},
        {"x.gguf", "GGU.......", "opaque: 10"},
    };
    struct bytes *b = new_bytes();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        b->n = 0;
        if (strcmp(cases[i].wanted, "opaque:") != 0)
            put(b, cases[i].text, 10);
        expect(b, cases[i].path, cases[i].wanted, cases[i].path);
    }
    weir_layout_free(NULL);
    free(b);
}

/* Two good files, whose last tensor ends with the file. */
static void make_good(struct bytes *b, bool gguf)
{
    if (gguf)
        make_gguf_with_pairs(b, 3);
    else
        make_safetensors(b,
                         "{'__metadata__':{'n':[1.5,true,null,'\\u00e9']},<a BF16 2,2 0 8>,"
                         "<b I32 3 12 24>,<c F32 0 8 8>}",
                         24);
}

Test(layout, takes_every_truncation_for_opaque_bytes)
{
    struct bytes *b = new_bytes();
    for (int gguf = 0; gguf <= 1; gguf++) {
        make_good(b, gguf);
        for (size_t n = 0; n <= b->n; n++) {
            struct weir_layout *layout = find(b->at, n, gguf ? "x.gguf" : "x.safetensors");
            bool opaque = strcmp(layout->format, "opaque") == 0;
            cr_expect_eq(opaque, n < b->n, "%s cut to %zu bytes", gguf ? "gguf" : "st", n);
            weir_layout_free(layout);
        }
    }
    free(b);
}

Test(layout, covers_a_file_with_any_bit_flipped)
{
    struct bytes *b = new_bytes();
    for (int gguf = 0; gguf <= 1; gguf++) {
        make_good(b, gguf);
        for (size_t bit = 0; bit < 8 * b->n; bit++) {
            b->at[bit / 8] ^= (uint8_t)(1u << bit % 8);
            weir_layout_free(find(b->at, b->n, gguf ? "x.gguf" : "x.safetensors"));
            b->at[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
    free(b);
}

/* ---- sources that fail, lie or are huge ---- */

struct trick {
    const struct bytes *first; /* what is read at first */
    const struct bytes *then;  /* what is read from read number `n_first` on; NULL: an error */
    unsigned n_first, n_reads;
    weir_err err;
    uint64_t highest; /* where the furthest read ended */
};

static weir_err trick_read(void *self, uint64_t at, void *dst, size_t n)
{
    struct trick *t = self;
    const struct bytes *b = t->n_reads++ < t->n_first ? t->first : t->then;
    if (!b)
        return t->err;
    if (at + n > t->highest)
        t->highest = at + n;
    memset(dst, 0, n);
    if (at < b->n)
        memcpy(dst, b->at + at, n < b->n - at ? n : b->n - (size_t)at);
    return WEIR_OK;
}

Test(layout, hands_on_what_a_read_returns)
{
    static const weir_err errs[] = {WEIR_ERR_IO, WEIR_ERR_CORRUPT, WEIR_ERR_NETWORK};
    struct bytes *b = new_bytes();
    for (size_t i = 0; i < 2 * sizeof(errs) / sizeof(errs[0]); i++) {
        bool gguf = i % 2;
        unsigned n_failed = 0;
        make_good(b, gguf);
        for (; n_failed < 8; n_failed++) {
            struct trick trick = {.first = b, .n_first = n_failed, .err = errs[i / 2]};
            struct weir_source src = {.self = &trick, .size = b->n, .read = trick_read};
            struct weir_layout *layout = NULL;
            weir_err err = weir_layout_find(&src, gguf ? "" : "x.safetensors", &layout);
            weir_layout_free(layout);
            if (!err)
                break;
            cr_assert_eq(err, errs[i / 2]);
            cr_assert_null(layout);
        }
        /* The magic, then a window; or the magic, the header's length, the header. */
        cr_expect_eq(n_failed, gguf ? 2 : 3);
    }
    free(b);
}

/* Names longer on the second walk than when they were measured: the file is written to meanwhile.
 * They lie beyond the first window, so that they are read again. */
Test(layout, survives_a_file_that_changes)
{
    struct bytes *b[2] = {new_bytes(), new_bytes()};
    static char name[60001];
    for (int i = 0; i < 2; i++) {
        size_t n_name = i ? 60000 : 30000;
        put_gguf_start(b[i], 3, 3, 0);
        for (int k = 0; k < 3; k++) {
            memset(name, 'a' + k, n_name);
            name[n_name] = 0;
            put_tensor(b[i], &(struct gguf_tensor){name, {8}, 1, F32, (uint64_t)k * 32});
        }
        put_zeros(b[i], 128);
    }
    for (unsigned n = 0; n < 8; n++) {
        struct trick trick = {.first = b[0], .then = b[1], .n_first = n};
        struct weir_source src = {.self = &trick, .size = b[1]->n, .read = trick_read};
        struct weir_layout *layout;
        cr_assert_eq(weir_layout_find(&src, "", &layout), WEIR_OK);
        cr_expect_null(layout_broken_rule(layout, src.size));
        weir_layout_free(layout);
    }
    free(b[0]);
    free(b[1]);
}

Test(layout, reads_the_header_only_of_files_beyond_32_bits)
{
    struct bytes *b = new_bytes();
    struct trick trick = {.first = b, .n_first = UINT32_MAX};
    struct weir_source src = {.self = &trick, .read = trick_read};
    struct weir_layout *layout;
    char text[256];
    char wanted[256];

    size_t n = make_safetensors(
        b, "{<a F32 4294967296 0 17179869184>,<b U8 6 17179869184 17179869190>}", 0);
    src.size = n + 17179869190;
    cr_assert_eq(weir_layout_find(&src, "x.safetensors", &layout), WEIR_OK);
    describe(layout, text, sizeof(text));
    snprintf(wanted, sizeof(wanted),
             "safetensors: %zu | a F32 [4294967296] 17179869184 | b U8 [6] 6", n);
    cr_expect_str_eq(text, wanted);
    cr_expect_leq(trick.highest, n);
    weir_layout_free(layout);

    const struct gguf_case big = {
        "", 3, 0, {{"a", {65536, 65536}, 2, Q8_0, 0}, {"b", {1}, 1, F32, 4563402752}}, 2, 0, ""};
    n = make_gguf(b, &big);
    src.size = n + 4563402756;
    trick.highest = 0;
    cr_assert_eq(weir_layout_find(&src, "x.gguf", &layout), WEIR_OK);
    describe(layout, text, sizeof(text));
    snprintf(wanted, sizeof(wanted), "gguf: %zu | a Q8_0 [65536,65536] 4563402752 | b F32 [1] 4",
             n);
    cr_expect_str_eq(text, wanted);
    cr_expect_leq(trick.highest, 65536);
    weir_layout_free(layout);
    free(b);
}

Test(layout, says_so_when_memory_is_refused)
{
    struct bytes *b = new_bytes();
    for (int kind = 0; kind < 3; kind++) {
        make_good(b, kind == 1);
        const char *path = kind == 2 ? "x.txt" : "x.safetensors";
        struct weir_source src;
        weir_source_from_memory(b->at, b->n, &src);
        weir_err err = WEIR_ERR_NOMEM;
        int n = 0;
        for (; err && n < 20; n++) {
            struct weir_layout *layout = NULL;
            fail_alloc_at(n);
            err = weir_layout_find(&src, path, &layout);
            fail_alloc_at(-1);
            cr_assert_eq(err != WEIR_OK, layout == NULL);
            cr_assert(err == WEIR_OK || err == WEIR_ERR_NOMEM);
            if (!err)
                cr_expect_str_eq(layout->format, kind == 0   ? "safetensors"
                                                 : kind == 1 ? "gguf"
                                                             : "opaque");
            weir_layout_free(layout);
        }
        cr_expect_eq(err, WEIR_OK);
        cr_expect_gt(n, kind == 2 ? 2 : 4, "allocations were not made to fail");
    }
    free(b);
}

/* ---- real files ---- */

static size_t n_real[3]; /* opaque, safetensors, gguf */

static int check_real_file(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    const char *const as[] = {path, "x.safetensors", "x.gguf"};
    if (kind != FTW_F)
        return 0;
    for (size_t i = 0; i < 3; i++) {
        struct weir_source src;
        struct weir_layout *layout;
        cr_assert_eq(weir_source_open_file(path, &src, NULL), WEIR_OK, "%s", path);
        cr_assert_eq(weir_layout_find(&src, as[i], &layout), WEIR_OK, "%s", path);
        const char *broken = layout_broken_rule(layout, src.size);
        cr_expect_null(broken, "%s as %s: %s", path, as[i], broken ? broken : "");
        if (i == 0)
            n_real[layout->format[0] == 's' ? 1 : layout->format[0] == 'g' ? 2 : 0]++;
        weir_layout_free(layout);
        weir_source_close(&src);
    }
    return 0;
}

Test(layout, covers_every_real_file)
{
    struct stat st;
    if (stat(WEIR_SHARED "/models", &st) != 0)
        cr_skip_test("no real models beside the repository");
    cr_assert_eq(nftw(WEIR_SHARED "/.", check_real_file, 16, FTW_PHYS), 0);
    cr_expect_geq(n_real[1], 9, "safetensors: %zu", n_real[1]);
    cr_expect_geq(n_real[2], 2, "gguf: %zu", n_real[2]);
}
