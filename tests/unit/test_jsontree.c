/* What jansson takes for JSON when weir_jsontree_read() calls it, and with how much memory. */
#include "codec/jsontree.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "fail_alloc.h"

enum {
    LONG_TEXT = 4 << 20,
    STRING_TEXT = 8 << 20, /* bytes that fit if they are one string */
    FITS_TEXT = 512 << 10, /* bytes that always fit */
};

/* The text lies in a heap block of its exact size, gone before the tree is looked at. */
static weir_err read_text(const char *text, size_t n, struct weir_jsontree *tree)
{
    char *copy = malloc(n ? n : 1);
    cr_assert_not_null(copy);
    memcpy(copy, text, n);
    weir_err err = weir_jsontree_read_any(copy, n, WEIR_JSONTREE_USUAL, tree);
    free(copy);
    return err;
}

Test(jsontree, takes_json_and_nothing_else)
{
    static const struct {
        const char *text;
        size_t n; /* 0: up to the NUL */
        bool fine;
    } cases[] = {
        {"{}", 0, true},
        {" \t\r\n{ } \t\r\n", 0, true},
        {"{\"a\":{\"a\":[1,-2,3.5e-3,true,false,null,\"\\u00e9\",[],{}]}}", 0, true},
        {"{\"\":9223372036854775807}", 0, true},
        {"{\"\":-9223372036854775808}", 0, true},
        {"", 0, false},
        {"[]", 0, true},
        {"[{},[1]]", 0, true},
        {"[}", 0, false},
        {"1", 0, false},
        {"{}{}", 0, false},
        {"{},", 0, false},
        {"\xef\xbb\xbf{}", 0, false},
        {"{\"\":9223372036854775808}", 0, false},
        {"{\"\":-9223372036854775809}", 0, false},
        {"{\"\":1e999}", 0, false},
        {"{\"\":NaN}", 0, false},
        {"{\"a\":1,\"a\":1}", 0, false},
        {"{\"a\":{\"b\":1,\"\\u0062\":1}}", 0, false},
        {"{\"\\u0000\":1}", 0, false},
        {"{\"a\":\"b\\u0000\"}", 0, false},
        /* a NUL at every kind of place; jansson alone passes over the last three */
        {"{}\0", 3, false},
        {"\0{}", 3, false},
        {"{\0}", 3, false},
        {"{\"a\0\":1}", 8, false},
        {"{\"a\":\"\0\"}", 9, false},
        {"{\"a\":1\0}", 8, false},
        {"{\"a\":true\0}", 11, false},
        {"{\"a\":[1.5\0,2]}", 14, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_jsontree tree = {0};
        size_t n = cases[i].n ? cases[i].n : strlen(cases[i].text);
        weir_err err = read_text(cases[i].text, n, &tree);
        cr_expect_eq(err, cases[i].fine ? WEIR_OK : WEIR_ERR_CORRUPT, "%zu: %s", i, cases[i].text);
        cr_expect_eq(json_is_object(tree.root) || json_is_array(tree.root), cases[i].fine);
        bool object = json_is_object(tree.root);
        weir_jsontree_free(&tree);
        cr_expect_null(tree.root);
        err = weir_jsontree_read(cases[i].text, n, WEIR_JSONTREE_USUAL, &tree);
        cr_expect_eq(err, object ? WEIR_OK : WEIR_ERR_CORRUPT, "%zu: %s", i, cases[i].text);
        if (!err)
            weir_jsontree_free(&tree);
    }
}

/* Integers of any size, if they may be reals. */
Test(jsontree, takes_long_integers_as_reals)
{
    static const char text[] = "{\"a\":1000000000000000019884624838656,\"b\":7}";
    struct weir_jsontree tree = {0};
    cr_expect_eq(weir_jsontree_read(text, strlen(text), WEIR_JSONTREE_USUAL, &tree),
                 WEIR_ERR_CORRUPT);
    cr_assert_eq(weir_jsontree_read_reals(text, strlen(text), WEIR_JSONTREE_USUAL, &tree), WEIR_OK);
    cr_expect_gt(json_real_value(json_object_get(tree.root, "a")), 9.99e29);
    cr_expect_eq(json_real_value(json_object_get(tree.root, "b")), 7);
    weir_jsontree_free(&tree);
}

/* ---- memory ---- */

/* Without its NUL; returns the end. */
static char *put(char *to, const char *text)
{
    while (*text)
        *to++ = *text++;
    return to;
}

/* `unit` again and again between head and tail, a comma behind each; spaces up to n. */
static void repeat(char *text, size_t n, const char *head, const char *unit, const char *tail)
{
    memset(text, ' ', n);
    char *at = put(text, head);
    char *end = text + n - strlen(unit) - strlen(tail);
    while (at < end) {
        at = put(at, unit);
        *at++ = ',';
    }
    put(at - 1, tail); /* over the last comma */
}

/* What takes the most memory for its text fits if the text is short.  If it is long, it is refused
 * before it takes more than the block. */
Test(jsontree, bounds_the_tree)
{
    static const struct {
        const char *unit;
        bool fits; /* LONG_TEXT bytes of it */
    } cases[] = {
        {"{}", false},
        {"[]", false},
        {"1", false},
        {"\"\"", false},
        {"null", true},
        {"{\"\":{}}", false},
        {"[[[[[[[[{\"\":[]}]]]]]]]]", false},
        {"{\"a\":[],\"b\":{},\"c\":0,\"d\":\"\"}", false},
    };
    static const size_t sizes[] = {64, 4096, 1 << 17, FITS_TEXT, LONG_TEXT};
    char *text = malloc(LONG_TEXT);
    cr_assert_not_null(text);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
            size_t n = sizes[k];
            struct weir_jsontree tree = {0};
            repeat(text, n, "{\"\":[", cases[i].unit, "]}");
            weir_err err = weir_jsontree_read(text, n, WEIR_JSONTREE_USUAL, &tree);
            bool fits = n < LONG_TEXT || cases[i].fits;
            cr_expect_eq(err, fits ? WEIR_OK : WEIR_ERR_CORRUPT, "%zu bytes of %s", n,
                         cases[i].unit);
            weir_jsontree_free(&tree);
        }
    }
    free(text);
}

/* One string or one key: the parser's buffer doubles while it grows. */
Test(jsontree, bounds_long_strings)
{
    char *text = malloc(STRING_TEXT);
    cr_assert_not_null(text);
    for (int key = 0; key <= 1; key++) {
        struct weir_jsontree tree = {0};
        repeat(text, STRING_TEXT, key ? "{\"" : "{\"\":\"", "text", key ? "\":1}" : "\"}");
        cr_expect_eq(weir_jsontree_read(text, STRING_TEXT, WEIR_JSONTREE_USUAL, &tree), WEIR_OK);
        cr_expect_eq(json_object_size(tree.root), 1);
        weir_jsontree_free(&tree);
    }
    free(text);
}

/* As deep as may be, and one deeper. */
Test(jsontree, bounds_the_depth)
{
    char text[2 * 2049 + 8];
    for (size_t depth = 2048; depth <= 2049; depth++) {
        struct weir_jsontree tree = {0};
        size_t n = depth - 1;
        char *at = put(text, "{\"\":");
        memset(at, '[', n);
        memset(at + n, ']', n);
        put(at + 2 * n, "}");
        cr_expect_eq(read_text(text, 5 + 2 * n, &tree), depth == 2048 ? WEIR_OK : WEIR_ERR_CORRUPT);
        weir_jsontree_free(&tree);
    }
}

/* ---- memory that is refused, and others who use jansson ---- */

static const char sample[] =
    "{\"model.layers.0.self_attn.q_proj.weight\":{\"dtype\":\"BF16\",\"shape\":[2,123456789012],"
    "\"data_offsets\":[0,12]},\"b\":\"a string that is longer than any buffer begins with\"}";

/* One allocation for a short text's tree, and none whose failure jansson could take for something
 * else.  Those of others go the usual way. */
Test(jsontree, allocates_once)
{
    struct weir_jsontree tree = {0};
    fail_alloc_at(0);
    cr_expect_eq(weir_jsontree_read(sample, strlen(sample), WEIR_JSONTREE_USUAL, &tree),
                 WEIR_ERR_NOMEM);
    fail_alloc_at(1);
    cr_assert_eq(weir_jsontree_read(sample, strlen(sample), WEIR_JSONTREE_USUAL, &tree), WEIR_OK);
    cr_expect_null(json_object());
    fail_alloc_at(-1);
    cr_expect_eq(json_object_size(tree.root), 2);
    cr_expect_str_eq(json_string_value(json_object_get(tree.root, "b")),
                     "a string that is longer than any buffer begins with");
    weir_jsontree_free(&tree);
    fail_alloc_at(1);
    cr_expect_eq(weir_jsontree_read("{\"", 2, WEIR_JSONTREE_USUAL, &tree), WEIR_ERR_CORRUPT);
    fail_alloc_at(-1);
}

/* A longer one takes several, and each may be the one that is refused. */
Test(jsontree, says_that_memory_was_refused)
{
    struct weir_jsontree tree = {0};
    char *text = malloc(LONG_TEXT);
    cr_assert_not_null(text);
    repeat(text, LONG_TEXT, "{\"\":[", "\"some words\"", "]}");
    weir_err err = WEIR_ERR_NOMEM;
    int refused = -1;
    while (err == WEIR_ERR_NOMEM) {
        fail_alloc_at(++refused);
        err = weir_jsontree_read(text, LONG_TEXT, WEIR_JSONTREE_USUAL, &tree);
        fail_alloc_at(-1);
    }
    cr_expect_eq(err, WEIR_OK);
    cr_expect_gt(refused, 8);
    weir_jsontree_free(&tree);
    free(text);
}

/* The caller's ceiling holds for the sum. */
Test(jsontree, keeps_to_the_ceiling)
{
    struct weir_jsontree tree = {0};
    char *text = malloc(LONG_TEXT);
    cr_assert_not_null(text);
    repeat(text, LONG_TEXT, "{\"\":[", "\"some words\"", "]}");
    for (size_t most = 0; most <= 16 << 20; most = most ? most * 4 : 1)
        cr_expect_eq(weir_jsontree_read(text, LONG_TEXT, most, &tree), WEIR_ERR_CORRUPT);
    cr_expect_eq(weir_jsontree_read(text, LONG_TEXT, 36 << 20, &tree), WEIR_OK);
    weir_jsontree_free(&tree);
    free(text);
}

static void *read_often(void *self)
{
    (void)self;
    for (int i = 0; i < 500; i++) {
        struct weir_jsontree tree = {0};
        cr_assert_eq(weir_jsontree_read(sample, strlen(sample), WEIR_JSONTREE_USUAL, &tree),
                     WEIR_OK);
        cr_assert_eq(json_object_size(tree.root), 2);
        weir_jsontree_free(&tree);
    }
    return NULL;
}

/* Values made before the first tree, while trees are read on other threads, and after. */
Test(jsontree, leaves_other_values_alone)
{
    pthread_t thread[2];
    json_t *values = json_array();
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&thread[i], NULL, read_often, NULL), 0);
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(json_array_append_new(values, json_string(sample)), 0);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_join(thread[i], NULL), 0);
    cr_expect_eq(json_array_size(values), 1000);
    cr_expect_str_eq(json_string_value(json_array_get(values, 999)), sample);
    json_decref(values);
}
