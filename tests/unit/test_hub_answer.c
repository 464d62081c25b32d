#include "hub_answer.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail_alloc.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#define SHA1   "0123456789abcdef0123456789abcdef01234567"
#define SHA256 "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

/* Recorded shapes. */
#define SMALL(path) "{\"type\":\"file\",\"oid\":\"" SHA1 "\",\"size\":570,\"path\":\"" path "\"}"
#define LARGE(path)                                                                                \
    "{\"type\":\"file\",\"oid\":\"" SHA1 "\",\"size\":440449768,\"lfs\":{\"oid\":\"" SHA256        \
    "\",\"size\":440449768,\"pointerSize\":134},\"xetHash\":\"ab\",\"path\":\"" path "\"}"
#define FOLDER(path)                                                                               \
    "{\"type\":\"directory\",\"oid\":\"" SHA1 "\",\"size\":0,\"path\":\"" path "\"}"

/* In a heap block of its exact size. */
static weir_err add(struct hub_list *list, const char *json)
{
    struct weir_diag diag = {""};
    size_t n = 0;
    while (json[n])
        n++;
    char *copy = malloc(n ? n : 1);
    cr_assert_not_null(copy);
    memcpy(copy, json, n);
    weir_err err = hub_list_add(list, copy, n, &diag);
    free(copy);
    cr_expect(!err || err == WEIR_ERR_NOMEM || diag.text[0], "%s", json);
    return err;
}

Test(hub_answer, lists_files_of_many_pages)
{
    struct hub_list list = {0};
    cr_assert_eq(add(&list, "[" FOLDER("sub") "," SMALL("sub/b.json") "," LARGE("z") "]"), WEIR_OK);
    cr_assert_eq(add(&list, "[" SMALL("a.json") ",{\"type\":\"new thing\"}]"), WEIR_OK);
    cr_assert_eq(add(&list, "[]"), WEIR_OK);
    cr_assert_eq(hub_list_end(&list, NULL), WEIR_OK);
    cr_assert_eq(list.n, 3);
    cr_expect_str_eq(list.file[0].path, "a.json");
    cr_expect_str_eq(list.file[1].path, "sub/b.json");
    cr_expect_str_eq(list.file[2].path, "z");
    cr_expect_eq(list.file[0].size, 570);
    cr_expect_not(list.file[0].has_lfs);
    cr_expect_eq(list.file[0].sha1[1], 0x23);
    cr_expect(list.file[2].has_lfs);
    cr_expect_eq(list.file[2].size, 440449768);
    cr_expect_eq(list.file[2].sha256[31], 0xff);
    hub_list_free(&list);
}

Test(hub_answer, refuses_what_is_no_listing)
{
    static const struct {
        const char *json;
        weir_err err;
    } rows[] = {
        {"", WEIR_ERR_NETWORK},
        {"{}", WEIR_ERR_NETWORK},
        {"<html>", WEIR_ERR_NETWORK},
        {"[", WEIR_ERR_NETWORK},
        {"[" SMALL("a") "]x", WEIR_ERR_NETWORK},
        {"[" SMALL("../a") "]", WEIR_ERR_CORRUPT},
        {"[" SMALL("/a") "]", WEIR_ERR_CORRUPT},
        {"[" SMALL("a/./b") "]", WEIR_ERR_CORRUPT},
        {"[" SMALL("a/../../b") "]", WEIR_ERR_CORRUPT},
        {"[" SMALL("a//b") "]", WEIR_ERR_CORRUPT},
        {"[" SMALL("a/") "]", WEIR_ERR_CORRUPT},
        {"[" SMALL("") "]", WEIR_ERR_CORRUPT},
        {"[{\"type\":\"file\",\"oid\":\"" SHA1 "\",\"size\":1}]", WEIR_ERR_CORRUPT},
        {"[{\"type\":\"file\",\"oid\":\"" SHA1 "\",\"size\":-1,\"path\":\"a\"}]", WEIR_ERR_CORRUPT},
        {"[{\"type\":\"file\",\"oid\":\"" SHA1 "\",\"size\":1.5,\"path\":\"a\"}]",
         WEIR_ERR_CORRUPT},
        {"[{\"type\":\"file\",\"oid\":\"" SHA1 "\",\"size\":9223372036854775807,\"path\":\"a\"}]",
         WEIR_ERR_CORRUPT},
        {"[{\"type\":\"file\",\"oid\":\"" SHA1 "0\",\"size\":1,\"path\":\"a\"}]", WEIR_ERR_CORRUPT},
        {"[{\"type\":\"file\",\"oid\":\"x\",\"size\":1,\"path\":\"a\"}]", WEIR_ERR_CORRUPT},
        {"[{\"type\":\"file\",\"size\":1,\"path\":\"a\"}]", WEIR_ERR_CORRUPT},
        {"[{\"type\":\"file\",\"oid\":\"" SHA1 "\",\"size\":1,\"path\":\"a\",\"lfs\":1}]",
         WEIR_ERR_CORRUPT},
        {"[{\"type\":\"file\",\"oid\":\"" SHA1 "\",\"size\":1,\"path\":\"a\",\"lfs\":{\"oid\":"
         "\"" SHA1 "\",\"size\":1}}]",
         WEIR_ERR_CORRUPT},
        {"[{\"type\":\"file\",\"oid\":\"" SHA1 "\",\"size\":1,\"path\":\"a\",\"lfs\":{\"oid\":"
         "\"" SHA256 "\",\"size\":2}}]",
         WEIR_ERR_CORRUPT},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct hub_list list = {0};
        cr_expect_eq(add(&list, rows[i].json), rows[i].err, "%s", rows[i].json);
        hub_list_free(&list);
    }
}

Test(hub_answer, refuses_paths_in_each_others_way)
{
    static const struct {
        const char *json;
        weir_err err;
    } rows[] = {
        {"[" SMALL("a") "," LARGE("a") "]", WEIR_ERR_CORRUPT},
        {"[" SMALL("a/b/c") "," SMALL("a") "]", WEIR_ERR_CORRUPT},
        /* sorted, there is something between the file and what is below it */
        {"[" SMALL("a") "," SMALL("a-b") "," SMALL("a/b") "]", WEIR_ERR_CORRUPT},
        {"[" SMALL("a-b") "," SMALL("a/b") "," SMALL("a.b") "]", WEIR_OK},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct hub_list list = {0};
        cr_expect_eq(add(&list, rows[i].json), WEIR_OK);
        cr_expect_eq(hub_list_end(&list, NULL), rows[i].err, "%s", rows[i].json);
        hub_list_free(&list);
    }
}

Test(hub_answer, has_a_ceiling)
{
    struct hub_list list = {0};
    char json[512];
    weir_err err = WEIR_OK;
    for (unsigned i = 0; !err && i <= WEIR_HUB_MAX_FILES; i++) {
        snprintf(json, sizeof(json),
                 "[{\"type\":\"file\",\"oid\":\"%s\",\"size\":1,\"path\":\"%u\"}]", SHA1, i);
        err = hub_list_add(&list, json, strlen(json), NULL);
        cr_assert(!err || i == WEIR_HUB_MAX_FILES);
    }
    cr_expect_eq(err, WEIR_ERR_UNSUPPORTED);
    hub_list_free(&list);
}

Test(hub_answer, survives_every_failed_allocation)
{
    weir_err err = WEIR_ERR_NOMEM;
    for (int n = 0; err == WEIR_ERR_NOMEM; n++) {
        struct hub_list list = {0};
        fail_alloc_at(n);
        err = hub_list_add(&list, "[" SMALL("a") "," SMALL("b") "]",
                           strlen("[" SMALL("a") "," SMALL("b") "]"), NULL);
        fail_alloc_at(-1);
        cr_assert(!err || err == WEIR_ERR_NOMEM);
        cr_assert(n < 20);
        hub_list_free(&list);
    }
}

Test(hub_answer, finds_the_commit)
{
    static const struct {
        const char *json;
        bool fine;
    } rows[] = {
        {"{\"id\":\"a/b\",\"sha\":\"" SHA1 "\",\"siblings\":[]}", true},
        {"{\"sha\":\"" SHA1 "0\"}", false},
        {"{\"sha\":\"0123456789ABCDEF0123456789ABCDEF01234567\"}", false},
        {"{\"sha\":\"../../../../../../../../../../../../../x\"}", false},
        {"{\"sha\":1}", false},
        {"{}", false},
        {"[]", false},
        {"", false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char commit[WEIR_HUB_COMMIT_DIGITS + 1] = "untouched";
        struct weir_diag diag = {""};
        weir_err err = hub_commit_parse(rows[i].json, strlen(rows[i].json), commit, &diag);
        cr_expect_eq(err, rows[i].fine ? WEIR_OK : WEIR_ERR_NETWORK, "%s", rows[i].json);
        cr_expect_str_eq(commit, rows[i].fine ? SHA1 : "untouched");
        cr_expect(rows[i].fine || diag.text[0]);
    }
}
