#include "codec/index.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "fail_alloc.h"
#include "index_sample.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))
#define NONE     UINT32_MAX

static weir_err parse(const void *bytes, size_t n, struct index **out, struct weir_diag *diag)
{
    uint8_t *exact = bytes_exact(bytes, n);
    weir_err err = index_parse(exact, n, 0, out, diag);
    free(exact);
    return err;
}

static void expect_objects(const struct index *ix)
{
    static const struct {
        uint64_t bytes, first_tile, n_tiles;
        uint32_t tile_bytes;
    } want[] = {{10, 0, 1, 131072}, {131070 * 32 + 1, 1, 33, 131070}, {7, 34, 1, 131072}};
    cr_assert_eq(ix->n_objects, N(want));
    for (size_t i = 0; i < N(want); i++) {
        const struct weir_object *o = &ix->object[i];
        cr_expect_eq(o->bytes, want[i].bytes, "object %zu", i);
        cr_expect_eq(o->first_tile, want[i].first_tile, "object %zu", i);
        cr_expect_eq(o->n_tiles, want[i].n_tiles, "object %zu", i);
        cr_expect_eq(o->tile_bytes, want[i].tile_bytes, "object %zu", i);
    }
    cr_expect_eq(ix->object[0].coding, ix->coding[0]);
    cr_expect_eq(ix->object[1].coding, ix->coding[1]);
    cr_expect_null(ix->object[2].coding);
    cr_expect_eq(ix->n_tiles, 35);
}

static void expect_codings(const struct index *ix)
{
    cr_assert_eq(ix->n_codings, 2);
    const struct weir_coding *c = ix->coding[0];
    cr_expect_eq(c->elem_bytes, 2);
    cr_expect_eq(c->n_parts, 1);
    cr_expect(c->part[0].sign_first);
    cr_expect_eq(c->part[0].symbol_bits, 7);
    cr_expect_eq(c->part[0].base, 100);
    cr_expect_eq(c->part[0].freq[0], 0);
    cr_expect_eq(c->part[0].freq[1], 4000);
    cr_expect_eq(c->part[0].freq[3], 96);
    cr_expect_eq(ix->coding[1]->part[1].offset, 4);
    cr_expect_not(ix->coding[1]->part[1].sign_first);
}

static void expect_full_file(const struct weir_entry *e)
{
    cr_expect_str_eq(e->path, "a/b");
    cr_expect_eq(e->kind, WEIR_ENTRY_FILE);
    cr_expect_eq(e->mode, 0644);
    cr_expect_eq(e->size, 20 + big);
    cr_expect_eq(e->sha256[31], 0xbf);
    cr_assert_eq(e->n_segments, 4);
    const struct weir_segment *s = e->segment;
    cr_expect_str_eq(s[0].tensor->name, "w");
    cr_expect_str_eq(s[0].tensor->dtype, "BF16");
    cr_expect_eq(s[0].tensor->n_dims, 2);
    cr_expect_eq(s[0].tensor->dim[0], 5);
    cr_expect_eq(s[0].tensor->dim[1], 1);
    cr_expect_str_eq(s[1].tensor->name, "");
    cr_expect_eq(s[1].object, WEIR_NO_OBJECT);
    cr_expect_null(s[2].tensor);
    cr_expect_eq(s[2].file_offset, 10);
    cr_expect_eq(s[3].file_offset, 10 + big);
    cr_expect_eq(s[3].object, 0);
}

Test(index, reads_what_is_there)
{
    struct sample s = make_sample();
    struct index *ix = NULL;
    struct weir_diag diag = {""};
    cr_assert_eq(parse(s.b.at, s.b.n, &ix, &diag), WEIR_OK, "%s", diag.text);
    cr_expect_str_empty(diag.text);
    expect_codings(ix);
    expect_objects(ix);
    cr_assert_eq(ix->n_extents, 2);
    cr_expect_eq(ix->extent[1].bytes, 4608);
    cr_expect_eq(ix->extent[1].sha256[31], 32);
    cr_assert_eq(ix->n_entries, 5);
    cr_expect_eq(ix->entry[0].kind, WEIR_ENTRY_DIR);
    cr_expect_eq(ix->entry[1].n_segments, 0);
    expect_full_file(&ix->entry[2]);
    cr_expect_str_eq(ix->entry[3].target, "../a-b");
    cr_expect_eq(ix->plain_bytes, 20 + big + 7);
    index_free(ix);
    bytes_free(&s.b);
}

Test(index, writes_what_it_read)
{
    struct sample s = make_sample();
    struct index *ix = NULL;
    cr_assert_eq(parse(s.b.at, s.b.n, &ix, NULL), WEIR_OK);
    uint8_t *written = NULL;
    size_t n = 0;
    cr_assert_eq(index_write(ix, &written, &n), WEIR_OK);
    cr_assert_eq(n, s.b.n);
    cr_assert_arr_eq(written, s.b.at, n);
    free(written);
    index_free(ix);
    bytes_free(&s.b);
}

Test(index, every_truncation_is_corrupt)
{
    struct sample s = make_sample();
    for (size_t n = 0; n < s.b.n; n++) {
        struct index *ix = NULL;
        struct weir_diag diag = {""};
        cr_expect_eq(parse(s.b.at, n, &ix, &diag), WEIR_ERR_CORRUPT, "at %zu bytes", n);
        cr_expect_null(ix);
        cr_expect_str_not_empty(diag.text);
    }
    bytes_free(&s.b);
}

Test(index, every_byte_changed_is_read_safely)
{
    struct sample s = make_sample();
    for (size_t i = 0; i < s.b.n; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            struct index *ix = NULL;
            s.b.at[i] ^= (uint8_t)(1 << bit);
            weir_err err = parse(s.b.at, s.b.n, &ix, NULL);
            s.b.at[i] ^= (uint8_t)(1 << bit);
            cr_expect(err == WEIR_OK || err == WEIR_ERR_CORRUPT, "bit %u of byte %zu", bit, i);
            index_free(ix);
        }
    }
    bytes_free(&s.b);
}

/* Overwrites n bytes at `at` behind a mark with `value`; `text` is part of the message wanted. */
struct breach {
    const char *why;
    enum mark mark;
    size_t at, n;
    uint64_t value;
    const char *text;
};

static void expect_corrupt(const struct breach *breaches, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct breach *b = &breaches[i];
        struct sample s = make_sample();
        bytes_set(s.b.at + s.mark[b->mark] + b->at, b->value, b->n);
        struct index *ix = NULL;
        struct weir_diag diag = {""};
        cr_expect_eq(parse(s.b.at, s.b.n, &ix, &diag), WEIR_ERR_CORRUPT, "%s", b->why);
        cr_expect_null(ix, "%s", b->why);
        cr_expect_not_null(strstr(diag.text, b->text), "%s: \"%s\"", b->why, diag.text);
        index_free(ix);
        bytes_free(&s.b);
    }
}

Test(index, refuses_counts)
{
    static const struct breach breaches[] = {
        {"codings without end", COUNTS, 0, 4, UINT32_MAX, "its counts"},
        {"objects without end", COUNTS, 4, 4, UINT32_MAX, "its counts"},
        {"extents without end", COUNTS, 8, 4, UINT32_MAX, "its counts"},
        {"entries without end", COUNTS, 12, 4, UINT32_MAX, "its counts"},
        {"a little too many entries", COUNTS, 12, 4, 70, "its counts"},
        {"one extent too few", COUNTS, 8, 4, 1, "number of extents"},
        {"one extent too many", COUNTS, 8, 4, 3, "number of extents"},
        {"one entry too few", COUNTS, 12, 4, 4, "no file shows"},
        {"one coding too few", COUNTS, 0, 4, 1, "object 0"},
    };
    expect_corrupt(breaches, N(breaches));
}

Test(index, refuses_codings)
{
    enum { PART = 4, FREQ = PART + 12 };
    static const struct breach breaches[] = {
        {"empty elements", CODING, 0, 2, 0, "coding 0"},
        {"elements of 4097 bytes", CODING, 0, 2, 4097, "coding 0"},
        {"parts that end early", CODING, 0, 2, 3, "coding 0"},
        {"no parts", CODING, 2, 1, 0, "number of parts"},
        {"nine parts", CODING, 2, 1, 9, "number of parts"},
        {"no such transform", CODING, 3, 1, 255, "unknown kind of transform"},
        {"first part not at 0", CODING, PART, 2, 1, "coding 0"},
        {"no items", CODING, PART + 2, 2, 0, "coding 0"},
        {"items past the element", CODING, PART + 2, 2, 2, "coding 0"},
        {"items of 3 bytes", CODING, PART + 4, 1, 3, "coding 0"},
        {"unknown flag", CODING, PART + 5, 1, 3, "flags"},
        {"drop past a signed item", CODING, PART + 6, 1, 9, "coding 0"},
        {"symbols of no bits", CODING, PART + 7, 1, 0, "coding 0"},
        {"symbols of 17 bits", CODING, PART + 7, 1, 17, "coding 0"},
        {"base past the symbols", CODING, PART + 8, 2, 125, "coding 0"},
        {"table turned round", CODING, PART + 10, 1, 4, "ends before it starts"},
        {"first frequency 0", CODING, FREQ, 2, 0, "frequency 0"},
        {"last frequency 0", CODING, FREQ + 4, 2, 0, "frequency 0"},
        {"frequencies of 4097", CODING, FREQ + 2, 2, 1, "coding 0"},
        {"a gap between parts", CODING_2, 4 + 2, 2, 1, "coding 1"},
        {"parts that overlap", CODING_2, 4 + 18, 2, 3, "coding 1"},
    };
    expect_corrupt(breaches, N(breaches));
}

Test(index, refuses_objects_and_extents)
{
    static const struct breach breaches[] = {
        {"object without bytes", OBJECT, 0, 8, 0, "object 0: has no bytes"},
        {"no such coding", OBJECT, 8, 4, 2, "object 0: there is no such coding"},
        {"tiles without end", OBJECT, 0, 8, UINT64_MAX, "object 0: more than 2^40"},
        {"2^40 tiles", OBJECT, 0, 8, UINT64_C(1) << 57, "object 0: more than 2^40"},
        {"tiles add up to 2^40", OBJECT_2, 0, 8, (UINT64_C(1) << 40) * 131070, "object 1: more"},
        {"tiles for another extent", OBJECT_2, 0, 8, UINT64_C(131070) * 64, "number of extents"},
        {"empty extent", EXTENT, 0, 4, 0, "extent 0"},
        {"extent too long", EXTENT, 36, 4, 4194817, "extent 1"},
    };
    expect_corrupt(breaches, N(breaches));
}

Test(index, refuses_entries)
{
    enum { PATH = 6, SIZE = PATH + 3, SEGMENTS = SIZE + 8 + 32 };
    static const struct breach breaches[] = {
        {"unknown kind", LAST, 0, 1, 3, "entry 4: unknown kind of entry (z)"},
        {"byte not zero", DIR, 1, 1, 1, "entry 0: a byte"},
        {"mode too large", DIR, 2, 2, 010000, "entry 0: mode"},
        {"empty path", DIR, 4, 2, 0, "entry 0"},
        {"path past the end", LAST, 4, 2, UINT16_MAX, "entry 4: the index ends"},
        {"NUL in a path", FILE_FULL, PATH + 1, 1, 0, "entry 2: text with a NUL"},
        {"path is a dot", DIR, PATH, 1, '.', "entry 0: path breaks"},
        {"path not above", LAST, PATH, 1, 'A', "entry 4: path is not above"},
        {"parent missing", FILE_FULL, PATH, 1, 'b',
         "entry 2: the directory it is in is missing, or not a directory (b/b)"},
        {"file too long for its segments", FILE_FULL, SIZE, 8, 1 << 30, "entry 2: its segments"},
        {"file too short for its segments", LAST, PATH + 1, 8, 6,
         "entry 4, segment 0: passes the end of its file (z)"},
        {"2^62 bytes", LAST, PATH + 1, 8, UINT64_C(1) << 62, "entry 4: the files add up"},
        {"2^62 bytes alone", FILE_EMPTY, SIZE, 8, UINT64_C(1) << 62, "entry 1: the files add up"},
        {"2^64 bytes", LAST, PATH + 1, 8, UINT64_MAX, "entry 4: the files add up"},
        {"segments without end", FILE_FULL, SEGMENTS, 4, UINT32_MAX, "entry 2: more segments"},
        {"empty file with a segment", FILE_EMPTY, SEGMENTS, 4, 1, "entry 1, segment 0"},
        {"absolute target", LINK, PATH + 3 + 2, 1, '/', "entry 3: a link"},
        {"target outside", LINK, PATH + 3 + 2 + 2, 4, 0x2f2e2e2f, "entry 3: a link"},
        {"NUL in a target", LINK, PATH + 3 + 2, 1, 0, "entry 3: text with a NUL"},
        {"empty target", LINK, PATH + 3, 2, 0, "entry 3: a link"},
    };
    expect_corrupt(breaches, N(breaches));
}

Test(index, refuses_segments)
{
    enum { OBJECT_AT = 8, KIND = 12, NAME = 13, DTYPE = NAME + 3, DIMS = DTYPE + 5 };
    static const struct breach breaches[] = {
        {"more bytes than its object", SEGMENT, 0, 8, 11, "segment 0: has not as many"},
        {"bytes that wrap", SEGMENT_RAW, 0, 8, UINT64_MAX, "segment 2: has not as many"},
        {"no such object", SEGMENT, OBJECT_AT, 4, 3, "segment 0: there is no such object"},
        {"objects out of order", SEGMENT, OBJECT_AT, 4, 1, "segment 0: objects are not"},
        {"bytes without object", SEGMENT, OBJECT_AT, 4, NONE, "segment 0: has bytes but"},
        {"object without bytes", SEGMENT_NONE, OBJECT_AT, 4, 0, "segment 1: has bytes but"},
        {"unknown kind", SEGMENT, KIND, 1, 2, "segment 0: unknown kind"},
        {"opaque without bytes", SEGMENT_NONE, KIND, 1, 0, "segment 1: opaque"},
        {"NUL in a name", SEGMENT, NAME + 2, 1, 0, "segment 0: text with a NUL"},
        {"no dtype", SEGMENT, DTYPE, 1, 0, "segment 0: bytes of the dtype"},
        {"dtype too long", SEGMENT, DTYPE, 1, 32, "segment 0: bytes of the dtype"},
        {"nine dimensions", SEGMENT, DIMS, 1, 9, "segment 0: more than 8"},
    };
    expect_corrupt(breaches, N(breaches));
}

Test(index, refuses_a_byte_left_over)
{
    struct sample s = make_sample();
    bytes_number(&s.b, 0, 1);
    struct index *ix = NULL;
    struct weir_diag diag = {""};
    cr_expect_eq(parse(s.b.at, s.b.n, &ix, &diag), WEIR_ERR_CORRUPT);
    cr_expect_not_null(strstr(diag.text, "left over"), "%s", diag.text);
    bytes_free(&s.b);
}

/* A name ending in '/' is a directory, one with '>' a link, any other an empty file. */
static void put_tree_entry(struct bytes *b, const char *what)
{
    char name[32];
    snprintf(name, sizeof(name), "%s", what);
    char *end = name + strlen(name) - 1;
    char *link = strchr(name, '>');
    if (link) {
        *link = '\0';
        put_entry(b, 2, 0777, name);
        bytes_text(b, link + 1, 2);
    } else if (*end == '/') {
        *end = '\0';
        put_entry(b, 1, 0755, name);
    } else {
        put_file(b, name, 0, 0);
    }
}

Test(index, checks_trees)
{
    static const struct {
        const char *name[5];
        weir_err want;
    } cases[] = {
        {{NULL}, WEIR_OK},
        {{"a"}, WEIR_OK},
        {{"a", "b"}, WEIR_OK},
        {{"a/", "a-", "a.", "a/b"}, WEIR_OK}, /* a directory and its entries need not be together */
        {{"a/", "a/b/", "a/b/c", "ab"}, WEIR_OK},
        {{"\x7f", "\x80"}, WEIR_OK}, /* unsigned bytes */
        {{"a/", "a/l>../b"}, WEIR_OK},
        {{"a/", "a/l>../../b"}, WEIR_ERR_CORRUPT},
        {{"l>."}, WEIR_OK},
        {{"\x80", "\x7f"}, WEIR_ERR_CORRUPT},
        {{"a", "a"}, WEIR_ERR_CORRUPT},
        {{"b", "a"}, WEIR_ERR_CORRUPT},
        {{"a/b"}, WEIR_ERR_CORRUPT},
        {{"a", "a/b"}, WEIR_ERR_CORRUPT},   /* parent is a file */
        {{"a>b", "a/b"}, WEIR_ERR_CORRUPT}, /* parent is a link */
        {{"ab/", "ab/c", "b/c"}, WEIR_ERR_CORRUPT},
        {{"a/", "a/b/c"}, WEIR_ERR_CORRUPT},
        {{"a/", "ab/", "ac/d"}, WEIR_ERR_CORRUPT},
    };
    for (size_t i = 0; i < N(cases); i++) {
        struct bytes b = {0};
        uint32_t n = 0;
        while (n < N(cases[i].name) && cases[i].name[n])
            n++;
        put_counts(&b, 0, 0, 0, n);
        for (uint32_t j = 0; j < n; j++)
            put_tree_entry(&b, cases[i].name[j]);
        struct index *ix = NULL;
        struct weir_diag diag = {""};
        cr_expect_eq(parse(b.at, b.n, &ix, &diag), cases[i].want, "case %zu: %s", i, diag.text);
        index_free(ix);
        bytes_free(&b);
    }
}

/* 60,000 tables of two frequencies: 522 bytes each in memory for 20 in the index. */
Test(index, keeps_memory_below_its_ceiling)
{
    enum { CODINGS = 60000 };
    struct bytes b = {0};
    put_counts(&b, CODINGS, 0, 0, 0);
    for (unsigned i = 0; i < CODINGS; i++) {
        static const uint8_t coding[] = {1, 0, 1, 0, 0, 0, 1, 0, 1, 0,
                                         0, 8, 0, 0, 0, 1, 0, 8, 0, 8}; /* 2048 + 2048 */
        bytes_put(&b, coding, sizeof(coding));
    }
    struct index *ix = NULL;
    struct weir_diag diag = {""};
    cr_expect_eq(parse(b.at, b.n, &ix, &diag), WEIR_ERR_CORRUPT);
    cr_expect_not_null(strstr(diag.text, "more memory"), "%s", diag.text);
    bytes_set(b.at, CODINGS / 10, 4);
    b.n = 16 + CODINGS / 10 * 20;
    cr_expect_eq(parse(b.at, b.n, &ix, &diag), WEIR_OK, "%s", diag.text);
    index_free(ix);
    bytes_free(&b);
}

/* 200,000 entries in one deep directory and as many objects: anything quadratic takes minutes. */
Test(index, takes_many_entries, .timeout = 60)
{
    enum { FILES = 200000, EXTENTS = FILES / 32 };
    struct bytes b = {0};
    put_counts(&b, 1, FILES, EXTENTS, FILES + 1);
    put_coding(&b, 2, 1);
    put_part(&b, 0, 1, 2, 1);
    for (unsigned i = 0; i < FILES; i++) {
        bytes_number(&b, 100, 8);
        bytes_number(&b, i % 2 ? 0 : NONE, 4);
    }
    for (unsigned i = 0; i < EXTENTS; i++) {
        bytes_number(&b, 4096, 4);
        bytes_zeros(&b, 32);
    }
    put_entry(&b, 1, 0755, "directory");
    for (unsigned i = 0; i < FILES; i++) {
        char path[64];
        snprintf(path, sizeof(path), "directory/%08u", i);
        put_file(&b, path, 100, 1);
        put_segment(&b, 100, i, path);
    }
    struct index *ix = NULL;
    struct weir_diag diag = {""};
    cr_assert_eq(index_parse(b.at, b.n, 0, &ix, &diag), WEIR_OK, "%s", diag.text);
    cr_expect_str_eq(ix->entry[FILES].path, "directory/00199999");
    uint8_t *written = NULL;
    size_t n = 0;
    cr_assert_eq(index_write(ix, &written, &n), WEIR_OK);
    cr_assert_eq(n, b.n);
    cr_expect_eq(memcmp(written, b.at, n), 0);
    free(written);
    index_free(ix);
    bytes_free(&b);
}

Test(index, survives_each_allocation_failing)
{
    struct sample s = make_sample();
    weir_err err = WEIR_ERR_NOMEM;
    int n = 0;
    for (; err == WEIR_ERR_NOMEM; n++) {
        struct index *ix = NULL;
        uint8_t *written = NULL;
        size_t n_written = 0;
        fail_alloc_at(n);
        err = index_parse(s.b.at, s.b.n, 0, &ix, NULL);
        if (!err)
            err = index_write(ix, &written, &n_written);
        fail_alloc_at(-1);
        cr_assert((err == WEIR_OK) == (written != NULL));
        free(written);
        index_free(ix);
    }
    cr_assert_eq(err, WEIR_OK);
    cr_assert_gt(n, 5, "only %d allocations were seen", n - 1);
    bytes_free(&s.b);
}

Test(index, refuses_to_write_what_no_field_holds)
{
    struct weir_coding *coding = calloc(1, weir_coding_bytes(1));
    char *name = calloc(1, UINT16_MAX + 2);
    cr_assert(coding && name);
    memset(name, 'x', UINT16_MAX + 1);
    struct weir_entry entry = {.path = name, .kind = WEIR_ENTRY_DIR};
    struct index long_path = {.n_entries = 1, .entry = &entry};
    struct weir_object object = {.bytes = 1, .coding = coding};
    struct index strange_coding = {.n_objects = 1, .object = &object};
    uint8_t *out = NULL;
    size_t n = 0;
    cr_expect_eq(index_write(&long_path, &out, &n), WEIR_ERR_INVALID);
    cr_expect_eq(index_write(&strange_coding, &out, &n), WEIR_ERR_INVALID);
    cr_expect_null(out);
    free(name);
    free(coding);
}
