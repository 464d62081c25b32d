/* Texts that end a text, cut in every way. */
#include "infer/stop.h"

#include <criterion/criterion.h>
#include <string.h>

#include "fail_alloc.h"

/* `text` in pieces of `step` bytes; returns how it came out, "!" behind it where it was stopped. */
static void run(const char *const *stop, size_t n_stops, const char *text, size_t step, char *out)
{
    struct weir_stops s = {.stop = stop, .n = n_stops};
    struct weir_text found = {0};
    bool stopped = false;
    size_t n = strlen(text);
    for (size_t at = 0; at < n && !stopped; at += step)
        cr_assert_eq(
            weir_stops_push(&s, text + at, n - at < step ? n - at : step, &found, &stopped),
            WEIR_OK);
    if (!stopped)
        cr_assert_eq(weir_stops_end(&s, &found), WEIR_OK);
    if (found.n)
        memcpy(out, found.bytes, found.n);
    strcpy(out + found.n, stopped ? "!" : "");
    weir_stops_free(&s);
    weir_text_free(&found);
}

Test(stop, is_found_wherever_pieces_end)
{
    static const struct {
        const char *stop[2];
        size_t n;
        const char *text, *out;
    } cases[] = {
        {{NULL}, 0, "all of it", "all of it"},
        {{"User:"}, 1, "yes\nUser: no", "yes\n!"},
        {{"User:"}, 1, "yes\nUser", "yes\nUser"},
        {{"User:"}, 1, "User:", "!"},
        {{"aab"}, 1, "aaaab", "aa!"},
        {{"aab"}, 1, "aaa", "aaa"},
        {{"abab", "b"}, 2, "aab", "aa!"},
        {{"\n\n", "###"}, 2, "a\n###\n\n", "a\n!"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t step = 1; step < 16; step++) {
            char out[64];
            run(cases[i].stop, cases[i].n, cases[i].text, step, out);
            cr_expect_str_eq(out, cases[i].out, "case %zu, by %zu: \"%s\"", i, step, out);
        }
    }
}

Test(stop, gives_at_once_what_is_certain)
{
    static const char *const stop[] = {"END"};
    struct weir_stops s = {.stop = stop, .n = 1};
    struct weir_text out = {0};
    bool stopped;
    cr_assert_eq(weir_stops_push(&s, "text EN", 7, &out, &stopped), WEIR_OK);
    cr_assert(!stopped && out.n == 5);
    cr_assert_eq(weir_stops_push(&s, "C", 1, &out, &stopped), WEIR_OK);
    cr_assert(!stopped && out.n == 8 && memcmp(out.bytes, "text ENC", 8) == 0);
    weir_stops_free(&s);
    weir_text_free(&out);
}

Test(stop, survives_no_memory)
{
    static const char *const stop[] = {"END"};
    for (int n = 0; n < 2; n++) {
        struct weir_stops s = {.stop = stop, .n = 1};
        struct weir_text out = {0};
        bool stopped;
        fail_alloc_at(n);
        weir_err err = weir_stops_push(&s, "text", 4, &out, &stopped);
        fail_alloc_at(-1);
        cr_assert_eq(err, WEIR_ERR_NOMEM, "%d", n);
        weir_stops_free(&s);
        weir_text_free(&out);
    }
}
