#include "codec/err.h"

#include <criterion/criterion.h>
#include <string.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

Test(err, has_a_text_of_its_own_for_each_value)
{
    for (int i = WEIR_OK; i <= WEIR_ERR_ABSENT; i++) {
        const char *text = weir_err_text((weir_err)i);
        cr_assert_not_null(text, "%d", i);
        cr_expect_gt(strlen(text), 0, "%d", i);
        cr_expect_str_neq(text, weir_err_text((weir_err)99), "%d: %s", i, text);
        for (int k = WEIR_OK; k < i; k++)
            cr_expect_str_neq(text, weir_err_text((weir_err)k), "%d and %d: %s", k, i, text);
    }
}

Test(err, has_a_text_for_unknown_values)
{
    static const int unknown[] = {WEIR_ERR_ABSENT + 1, 99, 1 << 30, -1};
    for (size_t i = 0; i < COUNT_OF(unknown); i++) {
        const char *text = weir_err_text((weir_err)unknown[i]);
        cr_assert_not_null(text, "%d", unknown[i]);
        cr_expect_str_eq(text, "unknown error", "%d", unknown[i]);
    }
}

/* A text of n_wanted bytes, between bytes that nobody may touch. */
static void expect_cut(size_t n_wanted)
{
    struct {
        char before[16];
        struct weir_diag diag;
        char after[16];
    } box;
    char wanted[1200], untouched[16];
    memset(&box, '#', sizeof(box));
    memset(untouched, '#', sizeof(untouched));
    for (size_t i = 0; i < n_wanted; i++)
        wanted[i] = (char)('a' + i % 26);
    wanted[n_wanted] = '\0';
    weir_diag_set(&box.diag, "%s", wanted);
    size_t most = sizeof(box.diag.text) - 1, n = n_wanted < most ? n_wanted : most;
    cr_assert_eq(strnlen(box.diag.text, sizeof(box.diag.text)), n, "%zu bytes", n_wanted);
    cr_expect_arr_eq(box.diag.text, wanted, n, "%zu bytes", n_wanted);
    cr_expect_arr_eq(box.before, untouched, sizeof(untouched), "%zu bytes", n_wanted);
    cr_expect_arr_eq(box.after, untouched, sizeof(untouched), "%zu bytes", n_wanted);
}

Test(err, cuts_a_text_that_does_not_fit)
{
    static const size_t sizes[] = {0, 1, 510, 511, 512, 513, 1199};
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        expect_cut(sizes[i]);
}

Test(err, formats_or_does_nothing_without_a_diag)
{
    struct weir_diag diag = {"old"};
    weir_diag_set(&diag, "%s: extent %d", "a.weir", 3);
    cr_expect_str_eq(diag.text, "a.weir: extent 3");
    weir_diag_set(NULL, "%s", "nobody reads this");
}
