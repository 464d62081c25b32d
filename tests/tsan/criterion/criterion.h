/* criterion.h - as much of Criterion as our tests use, for ThreadSanitizer.
 *
 * Criterion forks every test and shares memory with it at fixed addresses that ThreadSanitizer
 * keeps for itself.  Here the tests run one after the other in one process, the first failure ends
 * it, and messages are not printed: what counts in this build is the sanitizer's report. */
#ifndef WEIR_TESTS_TSAN_CRITERION_H
#define WEIR_TESTS_TSAN_CRITERION_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct one_test {
    const char *name;
    void (*run)(void);
    void (*init)(void);
    void (*fini)(void);
    double timeout; /* not kept: ctest has one */
    bool disabled;
    struct one_test *next;
};

void add_test(struct one_test *test);
void check(bool good, const char *what, const char *file, int line);
_Noreturn void skip_test(void);

#define Test(suite, title, ...)                                                                    \
    static void suite##_##title(void);                                                             \
    __attribute__((constructor)) static void add_##suite##_##title(void)                           \
    {                                                                                              \
        static struct one_test test = {                                                            \
            .name = #suite "." #title, .run = suite##_##title, __VA_ARGS__};                       \
        add_test(&test);                                                                           \
    }                                                                                              \
    static void suite##_##title(void)

#define FIRST_OF(first, ...) (first)
#define CHECK(good)          check(good, #good, __FILE__, __LINE__)

#define cr_skip_test(...)            skip_test()
#define cr_assert_fail(...)          CHECK(false)
#define cr_assert(...)               CHECK(FIRST_OF(__VA_ARGS__, 0))
#define cr_assert_not(...)           CHECK(!FIRST_OF(__VA_ARGS__, 0))
#define cr_assert_null(...)          CHECK(FIRST_OF(__VA_ARGS__, 0) == NULL)
#define cr_assert_not_null(...)      CHECK(FIRST_OF(__VA_ARGS__, 0) != NULL)
#define cr_assert_eq(a, ...)         CHECK((a) == FIRST_OF(__VA_ARGS__, 0))
#define cr_assert_neq(a, ...)        CHECK((a) != FIRST_OF(__VA_ARGS__, 0))
#define cr_assert_lt(a, ...)         CHECK((a) < FIRST_OF(__VA_ARGS__, 0))
#define cr_assert_leq(a, ...)        CHECK((a) <= FIRST_OF(__VA_ARGS__, 0))
#define cr_assert_gt(a, ...)         CHECK((a) > FIRST_OF(__VA_ARGS__, 0))
#define cr_assert_geq(a, ...)        CHECK((a) >= FIRST_OF(__VA_ARGS__, 0))
#define cr_assert_str_eq(a, ...)     CHECK(strcmp((a), FIRST_OF(__VA_ARGS__, 0)) == 0)
#define cr_assert_str_empty(...)     CHECK(*FIRST_OF(__VA_ARGS__, 0) == '\0')
#define cr_assert_str_not_empty(...) CHECK(*FIRST_OF(__VA_ARGS__, 0) != '\0')
#define cr_assert_arr_eq(a, b, ...)  CHECK(memcmp((a), (b), FIRST_OF(__VA_ARGS__, 0)) == 0)

#define cr_expect               cr_assert
#define cr_expect_not           cr_assert_not
#define cr_expect_fail          cr_assert_fail
#define cr_expect_null          cr_assert_null
#define cr_expect_not_null      cr_assert_not_null
#define cr_expect_eq            cr_assert_eq
#define cr_expect_neq           cr_assert_neq
#define cr_expect_lt            cr_assert_lt
#define cr_expect_leq           cr_assert_leq
#define cr_expect_gt            cr_assert_gt
#define cr_expect_geq           cr_assert_geq
#define cr_expect_str_eq        cr_assert_str_eq
#define cr_expect_str_empty     cr_assert_str_empty
#define cr_expect_str_not_empty cr_assert_str_not_empty
#define cr_expect_arr_eq        cr_assert_arr_eq

#endif
