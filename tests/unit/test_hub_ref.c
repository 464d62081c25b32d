#include "fetch/hub.h"

#include <criterion/criterion.h>
#include <string.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#define TEN   "abcdefghij"
#define FIFTY TEN TEN TEN TEN TEN

Test(hub_ref, takes_references_apart)
{
    static const struct {
        const char *text;
        enum weir_hub_kind kind;
        const char *repo, *revision, *path;
    } rows[] = {
        {"hf:org/name", WEIR_HUB_MODEL, "org/name", "main", ""},
        {"hf://org/name", WEIR_HUB_MODEL, "org/name", "main", ""},
        {"hf:gpt2", WEIR_HUB_MODEL, "gpt2", "main", ""},
        {"hf:gpt2@v1", WEIR_HUB_MODEL, "gpt2", "v1", ""},
        {"hf:org/na.me_1-b@v1.0", WEIR_HUB_MODEL, "org/na.me_1-b", "v1.0", ""},
        {"hf:models/org/name", WEIR_HUB_MODEL, "org/name", "main", ""},
        {"hf://datasets/org/name@dev", WEIR_HUB_DATASET, "org/name", "dev", ""},
        {"hf://spaces/org/name", WEIR_HUB_SPACE, "org/name", "main", ""},
        {"hf:datasets/name", WEIR_HUB_MODEL, "datasets/name", "main", ""},
        {"hf:org/name@refs/pr/1", WEIR_HUB_MODEL, "org/name", "refs/pr/1", ""},
        {"hf:org/name@refs/pr/1/a/b.weir", WEIR_HUB_MODEL, "org/name", "refs/pr/1", "a/b.weir"},
        {"hf:org/name@refs/convert/parquet", WEIR_HUB_MODEL, "org/name", "refs/convert/parquet",
         ""},
        {"hf:org/name@a%2Fb%2fc", WEIR_HUB_MODEL, "org/name", "a/b/c", ""},
        {"hf:org/name@%2", WEIR_HUB_MODEL, "org/name", "%2", ""},
        {"hf:org/name@a/b", WEIR_HUB_MODEL, "org/name", "a", "b"},
        {"hf:org/name/model.weir", WEIR_HUB_MODEL, "org/name", "main", "model.weir"},
        {"hf:org/name/a/b@c.weir", WEIR_HUB_MODEL, "org/name", "main", "a/b@c.weir"},
        {"hf:" FIFTY "/" TEN TEN TEN TEN "abcde", WEIR_HUB_MODEL, FIFTY "/" TEN TEN TEN TEN "abcde",
         "main", ""},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_hub_ref got;
        struct weir_diag diag = {""};
        cr_assert_eq(weir_hub_ref_parse(rows[i].text, &got, &diag), WEIR_OK, "%s: %s", rows[i].text,
                     diag.text);
        cr_expect_eq(got.kind, rows[i].kind, "%s", rows[i].text);
        cr_expect_str_eq(got.repo, rows[i].repo);
        cr_expect_str_eq(got.revision, rows[i].revision);
        cr_expect_str_eq(got.path, rows[i].path);
    }
}

Test(hub_ref, refuses_what_is_none)
{
    static const char *const bad[] = {
        "",
        "org/name",
        "HF:org/name",
        "hf:",
        "hf://",
        "hf:/",
        "hf:org/",
        "hf:/name",
        "hf:org//name",
        "hf:../name",
        "hf:org/..",
        "hf:org/.",
        "hf:.org/name",
        "hf:org/name-",
        "hf:org/na--me",
        "hf:org/na..me",
        "hf:org/na me",
        "hf:org/na%6de",
        "hf:org/n\xc3\xa9",
        "hf:org/name?a",
        "hf:org/name@",
        "hf:org/name@..",
        "hf:org/name@a%2F..%2Fb",
        "hf:org/name@%2Fa",
        "hf:org/name@a b",
        "hf:org/name@a\nb",
        "hf:org/name@\xc3\xa9",
        "hf:org/name@refs/pr/",
        "hf:org/name/",
        "hf:org/name/..",
        "hf:org/name/a/../b.weir",
        "hf:org/name//b.weir",
        "hf:" FIFTY "/" TEN TEN TEN TEN "abcdef",
        "hf:org/name@" FIFTY FIFTY FIFTY FIFTY FIFTY "abcdef",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct weir_hub_ref got = {.repo = "untouched"};
        struct weir_diag diag = {""};
        cr_expect_eq(weir_hub_ref_parse(bad[i], &got, &diag), WEIR_ERR_INVALID, "%s", bad[i]);
        cr_expect_str_eq(got.repo, "untouched", "%s", bad[i]);
        cr_expect(diag.text[0]);
    }
}

Test(hub_ref, names_pages_and_files)
{
    struct weir_hub_ref ref;
    char url[WEIR_HUB_MAX_URL];
    cr_assert_eq(weir_hub_ref_parse("hf:datasets/org/name@refs/pr/1", &ref, NULL), WEIR_OK);
    cr_expect_str_eq(weir_hub_ref_name(&ref), "name");
    cr_expect_str_eq(weir_hub_page(&ref, "https://h", url, sizeof(url)),
                     "https://h/datasets/org/name");
    cr_assert_eq(
        weir_hub_url(&ref, "https://h", ref.revision, "a b/c#d?\xc3\xa9%.bin", url, sizeof(url)),
        WEIR_OK);
    cr_expect_str_eq(
        url, "https://h/datasets/org/name/resolve/refs%2Fpr%2F1/a%20b/c%23d%3F%C3%A9%25.bin");
    size_t n = strlen(url) + 1;
    cr_expect_eq(weir_hub_url(&ref, "https://h", ref.revision, "a b/c#d?\xc3\xa9%.bin", url, n),
                 WEIR_OK);
    cr_expect_eq(weir_hub_url(&ref, "https://h", ref.revision, "a b/c#d?\xc3\xa9%.bin", url, n - 1),
                 WEIR_ERR_INVALID);
    cr_assert_eq(weir_hub_ref_parse("hf:gpt2", &ref, NULL), WEIR_OK);
    cr_expect_str_eq(weir_hub_ref_name(&ref), "gpt2");
    cr_assert_eq(weir_hub_url(&ref, "http://h:1", "abc", "x", url, sizeof(url)), WEIR_OK);
    cr_expect_str_eq(url, "http://h:1/gpt2/resolve/abc/x");
}
