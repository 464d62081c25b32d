#include "codec/path.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

Test(path, follows_the_rules)
{
    static const struct {
        const char *path;
        bool valid;
    } cases[] = {
        {"a", true},        {"a/b", true},     {"a/b/c.safetensors", true},
        {"...", true},      {".hidden", true}, {"a/..b", true},
        {"\xff\x01", true}, {"a b\n", true},   {"", false},
        {".", false},       {"..", false},     {"/", false},
        {"/a", false},      {"a/", false},     {"a//b", false},
        {"a/./b", false},   {"a/../b", false}, {"./a", false},
        {"../a", false},    {"a/..", false},   {"a/.", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        cr_expect_eq(weir_path_is_valid(cases[i].path), cases[i].valid, "\"%s\"", cases[i].path);
}

/* `n` bytes: components of `component` bytes each, joined by '/'. */
static char *long_path(size_t n, size_t component)
{
    char *path = malloc(n + 1);
    cr_assert_not_null(path);
    for (size_t i = 0; i < n; i++)
        path[i] = i % (component + 1) == component ? '/' : 'x';
    path[n] = '\0';
    return path;
}

Test(path, has_limits)
{
    static const struct {
        size_t n, component;
        bool valid;
    } cases[] = {
        {255, 255, true}, {256, 256, false}, {4095, 255, true}, {4096, 200, false}, {4095, 1, true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *path = long_path(cases[i].n, cases[i].component);
        cr_expect_eq(weir_path_is_valid(path), cases[i].valid, "%zu bytes in components of %zu",
                     cases[i].n, cases[i].component);
        free(path);
    }
}

Test(path, targets_stay_inside)
{
    static const struct {
        const char *path, *target;
        bool inside;
    } cases[] = {
        {"l", "a", true},
        {"l", "a/b/../../c", false},
        {"d/e/l", ".././../c/d", true},
        {"l", ".", true},
        {"l", "./a//b/", true},
        {"d/l", "..", true},
        {"d/l", "../a", true},
        {"d/e/l", "../../a/b", true},
        {"d/l", "x/../../a", false},
        {"d/l", "x/..", false},
        {"d/l", "...", true},
        {"l", "", false},
        {"l", "/a", false},
        {"l", "..", false},
        {"l", "../a", false},
        {"l", "a/../..", false},
        {"l", "a/../../a", false},
        {"d/l", "../..", false},
        {"d/l", "../../d/a", false},
        {"d/l", "./.././/..", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        cr_expect_eq(weir_path_target_stays_inside(cases[i].path, cases[i].target), cases[i].inside,
                     "%s -> %s", cases[i].path, cases[i].target);
}

Test(path, targets_have_a_limit)
{
    char *longest = long_path(4095, 255);
    char *longer = long_path(4096, 255);
    cr_expect(weir_path_target_stays_inside("l", longest));
    cr_expect_not(weir_path_target_stays_inside("l", longer));
    free(longest);
    free(longer);
}
