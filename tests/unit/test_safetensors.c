/* Hand-made safetensors files and the parts they must come apart into. */
#include "codec/layout.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "layout_kit.h"

struct safetensors_case {
    const char *json; /* shorthand, see put_json() */
    size_t n_data;
    const char *parts; /* after "safetensors: N", N the bytes of the header; NULL: opaque */
};

static void check_safetensors(const struct safetensors_case *cases, size_t n)
{
    struct bytes *b = new_bytes();
    for (size_t i = 0; i < n; i++) {
        char wanted[512];
        size_t n_header = make_safetensors(b, cases[i].json, cases[i].n_data);
        if (cases[i].parts)
            snprintf(wanted, sizeof(wanted), "safetensors: %zu%s", n_header, cases[i].parts);
        else
            snprintf(wanted, sizeof(wanted), "opaque: %zu", b->n);
        expect(b, "dir/x.safetensors", wanted, cases[i].json);
    }
    free(b);
}

Test(safetensors, cuts_safetensors_into_tensors_and_the_rest)
{
    static const struct safetensors_case cases[] = {
        {"{}", 0, ""},
        {" { } ", 0, ""},
        {"{<a BF16 2,3 0 12>}", 12, " | a BF16 [2,3] 12"},
        {"{<b F32 1 2 6>,<a F16 - 0 2>}   ", 6, " | a F16 [] 2 | b F32 [1] 4"},
        {"{<a U8 1,1,1,1,1,1,1,1 0 1>}", 1, " | a U8 [1,1,1,1,1,1,1,1] 1"},
        {"{< U8 1 0 1>}", 1, " |  U8 [1] 1"}, /* a name may be empty */
        /* gaps and trailing bytes */
        {"{<a U8 2 0 2>,<b U8 2 3 5>}", 9, " | a U8 [2] 2 | 1 | b U8 [2] 2 | 4"},
        /* metadata of any kind, unknown keys, any order of keys, white space, escapes, UTF-8 */
        {"{'__metadata__':{'format':'pt','x':[1,{'y':null}]},<a I8 1 0 1>}", 1, " | a I8 [1] 1"},
        {"{\n\t'a' : { 'data_offsets':[ 0 , 2 ], 'new':-1.5e+3,\r'shape': [ 2 ] , "
         "'dtype':'BOOL' } }",
         2, " | a BOOL [2] 2"},
        {"{'\\u0061\\/\\u00e9\\uD83D\\ude00\\n':{'d\\u0074ype':'U8','shape':[1],"
         "'data_offsets':[0,1]}}",
         1, " | a/\xc3\xa9\xf0\x9f\x98\x80\n U8 [1] 1"},
        {"{<\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 U8 1 0 1>}", 1,
         " | \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 U8 [1] 1"},
        /* tensors without elements: before, behind, inside another */
        {"{<a U8 2 0 2>,<z F32 0,4 2 2>,<y F32 0 0 0>}", 2,
         " | y F32 [0] 0 | a U8 [2] 2 | z F32 [0,4] 0"},
        {"{<a U8 4 0 4>,<z U8 0 2 2>,<b U8 1 4 5>}", 5, " | a U8 [4] 4 | z U8 [0] 0 | b U8 [1] 1"},
        {"{<z U8 9223372036854775807,9223372036854775807,0 0 0>}", 0,
         " | z U8 [9223372036854775807,9223372036854775807,0] 0"},
        /* types smaller than a byte, and types that are not known */
        {"{<a F4 2,3 0 3>,<b F6_E2M3 4 3 6>,<c F6_E3M2 8 6 12>}", 12,
         " | a F4 [2,3] 3 | b F6_E2M3 [4] 3 | c F6_E3M2 [8] 6"},
        {"{<a I3 5 0 7>,<b abcdefghijklmnopqrstuvwxyz01234 - 7 8>}", 8,
         " | a I3 [5] 7 | b abcdefghijklmnopqrstuvwxyz01234 [] 1"},
    };
    check_safetensors(cases, sizeof(cases) / sizeof(cases[0]));
}

Test(safetensors, takes_an_odd_safetensors_file_for_opaque_bytes)
{
    static const struct safetensors_case cases[] = {
        {"", 0, NULL},
        {"{", 0, NULL},
        {"[]", 0, NULL},
        {"{}}", 0, NULL},
        {"{}\x01", 0, NULL},
        {"{} {}", 0, NULL},
        /* places: past the end, overlapping, backwards, past 64 bits */
        {"{<a U8 2 0 2>}", 1, NULL},
        {"{<z U8 0 3 3>}", 2, NULL},
        {"{<a U8 2 0 2>,<b U8 2 1 3>}", 3, NULL},
        {"{<a U8 2 0 2>,<b U8 2 0 2>}", 2, NULL},
        {"{<a U8 2 2 0>}", 2, NULL},
        {"{<a U8 2 9223372036854775805 9223372036854775807>}", 2, NULL},
        {"{<a U8 2 18446744073709551613 18446744073709551615>}", 2, NULL},
        {"{<a XX 2 0 9223372036854775807>}", 2, NULL},
        {"{<a XX 2 0 18446744073709551615>}", 2, NULL},
        {"{<a U8 2 0 18446744073709551618>}", 2, NULL},
        /* sizes that do not fit the shape */
        {"{<a BF16 2 0 3>}", 3, NULL},
        {"{<a BF16 2 0 2>}", 2, NULL},
        {"{<a BF16 0 0 2>}", 2, NULL},
        {"{<a F4 3 0 2>}", 2, NULL},
        {"{<a F4 3 0 1>}", 1, NULL},
        {"{<a F6_E2M3 2 0 2>}", 2, NULL},
        {"{<a F64 4294967296,4294967296 0 0>}", 0, NULL},
        {"{<a F64 2305843009213693952 0 0>}", 0, NULL},
        {"{<z U8 9223372036854775808,0 0 0>}", 0, NULL},
        {"{<a U8 1,1,1,1,1,1,1,1,1 0 1>}", 1, NULL},
        {"{<a unknown 1,1,1,1,1,1,1,1,1 0 1>}", 1, NULL},
        /* twice the same */
        {"{<a U8 1 0 1>,<a U8 1 1 2>}", 2, NULL},
        {"{<a U8 1 0 1>,<\\u0061 U8 1 1 2>}", 2, NULL},
        {"{'a':{'dtype':'U8','dtype':'U8','shape':[1],'data_offsets':[0,1]}}", 1, NULL},
        {"{'a':{'dtype':'U8','shape':[1],'shape':[1],'data_offsets':[0,1]}}", 1, NULL},
        {"{'a':{'dtype':'U8','shape':[1],'data_offsets':[0,1],'data_offsets':[0,1]}}", 1, NULL},
        {"{'__metadata__':{},'__metadata__':{}}", 0, NULL},
        /* fields that are missing or of the wrong kind */
        {"{'a':{'shape':[1],'data_offsets':[0,1]}}", 1, NULL},
        {"{'a':{'dtype':'U8','data_offsets':[0,1]}}", 1, NULL},
        {"{'a':{'dtype':'U8','shape':[1]}}", 1, NULL},
        {"{'a':{'dtype':8,'shape':[1],'data_offsets':[0,1]}}", 1, NULL},
        {"{'a':{'dtype':'U8','shape':{},'data_offsets':[0,1]}}", 1, NULL},
        {"{'a':{'dtype':'U8','shape':1,'data_offsets':[0,1]}}", 1, NULL},
        {"{'a':{'dtype':'U8','shape':[1],'data_offsets':[0]}}", 1, NULL},
        {"{'a':{'dtype':'U8','shape':[1],'data_offsets':[0,1,1]}}", 1, NULL},
        {"{'a':[]}", 0, NULL},
        {"{<a U8 1.0 0 1>}", 1, NULL},
        {"{<a U8 1e0 0 1>}", 1, NULL},
        {"{<a U8 01 0 1>}", 1, NULL},
        {"{'a':{'dtype':'U8','shape':[-1],'data_offsets':[0,1]}}", 1, NULL},
        {"{'a':{'dtype':'XX','shape':[],'data_offsets':[-1,1]}}", 1, NULL},
        {"{'a':{'dtype':'XX','shape':[],'data_offsets':[-2,-1]}}", 1, NULL},
        {"{<a U8 1 0.0 1>}", 1, NULL},
        {"{<a U8 1 0 1.0>}", 1, NULL},
        {"{'a':{'dtype':'U8','shape':[1],'data_offsets':['0','1']}}", 1, NULL},
        {"{'a':{'dtype':'U8','shape':[null],'data_offsets':[0,1]}}", 1, NULL},
        {"{'a':{'dtype':'U8','shape':[1],'data_offsets':{'0':0,'1':1}}}", 1, NULL},
        {"{<a  1 0 1>}", 1, NULL},
        {"{<a abcdefghijklmnopqrstuvwxyz012345 1 0 1>}", 1, NULL},
        /* not JSON, not UTF-8, names with NUL */
        {"{<a U8 1 0 1>,}", 1, NULL},
        {"{,<a U8 1 0 1>}", 1, NULL},
        {"{<a U8 1, 0 1>}", 1, NULL},
        {"{<a U8 1 0 1> <b U8 1 1 2>}", 2, NULL},
        {"{'a'}", 0, NULL},
        {"{'__metadata__':}", 0, NULL},
        {"{'__metadata__':tru}", 0, NULL},
        {"{'__metadata__':truE}", 0, NULL},
        {"{'__metadata__':tru", 0, NULL},
        {"{'__metadata__':'\\", 0, NULL},
        {"{'__metadata__':'\\u123", 0, NULL},
        {"{'__metadata__':'\xf0\x9f", 0, NULL},
        {"{'__metadata__':-", 0, NULL},
        {"{'__metadata__':1.}", 0, NULL},
        {"{'__metadata__':.1}", 0, NULL},
        {"{'__metadata__':1e}", 0, NULL},
        {"{'__metadata__':00}", 0, NULL},
        {"{'__metadata__':+1}", 0, NULL},
        {"{'__metadata__':[1 2]}", 0, NULL},
        {"{'__metadata__':[}]}", 0, NULL},
        {"{'__metadata__':'\\x'}", 0, NULL},
        {"{'__metadata__':'\\u00g0'}", 0, NULL},
        {"{'__metadata__':'\n'}", 0, NULL},
        {"{'__metadata__':'}", 0, NULL},
        {"{<\\u0000 U8 1 0 1>}", 1, NULL},
        {"{<\\ud800 U8 1 0 1>}", 1, NULL},
        {"{<\\ud800\\u0041 U8 1 0 1>}", 1, NULL},
        {"{<\\udc00 U8 1 0 1>}", 1, NULL},
        {"{<\x80 U8 1 0 1>}", 1, NULL},
        {"{<\xc0\xaf U8 1 0 1>}", 1, NULL},
        {"{<\xc3 U8 1 0 1>}", 1, NULL},
        {"{<\xe0\x80\xaf U8 1 0 1>}", 1, NULL},
        {"{<\xed\xa0\x80 U8 1 0 1>}", 1, NULL},
        {"{<\xf0\x80\x80\xaf U8 1 0 1>}", 1, NULL},
        {"{<\xf4\x90\x80\x80 U8 1 0 1>}", 1, NULL},
        {"{<\xff U8 1 0 1>}", 1, NULL},
    };
    check_safetensors(cases, sizeof(cases) / sizeof(cases[0]));
}

Test(safetensors, bounds_the_length_of_a_safetensors_header)
{
    size_t n = WEIR_LAYOUT_MAX_HEADER + 9;
    uint8_t *file = malloc(n);
    cr_assert_not_null(file);
    for (size_t longer = 0; longer <= 1; longer++) {
        size_t n_json = WEIR_LAYOUT_MAX_HEADER + longer;
        memset(file, ' ', n);
        for (size_t i = 0; i < 8; i++)
            file[i] = (uint8_t)(n_json >> 8 * i);
        file[8] = '{';
        file[9] = '}';
        struct weir_layout *layout = find(file, n, "x.safetensors");
        cr_expect_str_eq(layout->format, longer ? "opaque" : "safetensors");
        weir_layout_free(layout);
    }
    free(file);
}

Test(safetensors, knows_the_elements_of_safetensors_types)
{
    static const struct {
        const char *dtype;
        unsigned bits;
        const char *elements;
    } cases[] = {
        {"BOOL", 8, "1x1"},
        {"U8", 8, "1x1"},
        {"I8", 8, "1x1"},
        {"U16", 16, "1x1 1x1"},
        {"I16", 16, "1x1 1x1"},
        {"U32", 32, "1x1 1x1 1x1 1x1"},
        {"I32", 32, "1x1 1x1 1x1 1x1"},
        {"U64", 64, "1x1 1x1 1x1 1x1 1x1 1x1 1x1 1x1"},
        {"I64", 64, "1x1 1x1 1x1 1x1 1x1 1x1 1x1 1x1"},
        {"F4", 4, "1x1"},
        {"F6_E2M3", 6, "1x1"},
        {"F6_E3M2", 6, "1x1"},
        {"F8_E4M3", 8, "1x1e4"},
        {"F8_E5M2", 8, "1x1e5"},
        {"F8_E4M3FNUZ", 8, "1x1e4"},
        {"F8_E5M2FNUZ", 8, "1x1e5"},
        {"F8_E8M0", 8, "1x1"},
        {"F16", 16, "1x2e5"},
        {"BF16", 16, "1x2e8"},
        {"F32", 32, "1x4e8"},
        {"C64", 64, "1x4e8"},
        {"F64", 64, "1x8e11"},
        {"F128", 128, "1x1"}, /* unknown */
    };
    struct bytes *b = new_bytes();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char json[128];
        char text[128];
        snprintf(json, sizeof(json), "{<a %s 8 0 %u>}", cases[i].dtype, cases[i].bits);
        make_safetensors(b, json, cases[i].bits);
        struct weir_layout *layout = find(b->at, b->n, "x.safetensors");
        cr_assert_eq(layout->n_parts, 2, "%s", json);
        describe_elements(&layout->part[1].elements, text, sizeof(text));
        cr_expect_str_eq(text, cases[i].elements, "%s: %s", json, text);
        cr_expect_eq(layout->part[1].bytes, cases[i].bits);
        weir_layout_free(layout);
    }
    free(b);
}

/* n tensors without bytes; the text ends with spaces where it is shorter than n_text. */
static size_t make_many(char *file, size_t room, size_t n_tensors, size_t n_text)
{
    size_t n = 8;
    for (size_t k = 0; k < n_tensors; k++)
        n += (size_t)snprintf(file + n, room - n,
                              "%c\"%zx\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}",
                              k ? ',' : '{', k);
    file[n++] = '}';
    while (n < 8 + n_text)
        file[n++] = ' ';
    for (size_t k = 0; k < 8; k++)
        file[k] = (char)((n - 8) >> 8 * k);
    return n;
}

Test(safetensors, bounds_the_number_of_tensors)
{
    static const size_t counts[] = {1, 1000, 65536, 65537};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        size_t room = 8 + 2 + counts[i] * 60;
        char *file = malloc(room);
        cr_assert_not_null(file);
        struct weir_layout *layout =
            find(file, make_many(file, room, counts[i], 0), "x.safetensors");
        if (counts[i] <= 65536)
            cr_expect_eq(layout->n_parts, counts[i] + 1);
        else
            cr_expect_str_eq(layout->format, "opaque");
        weir_layout_free(layout);
        free(file);
    }
}

/* The header that takes the most: as long and of as many tensors as may be. */
Test(safetensors, bounds_the_memory)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    cr_skip_test("a sanitizer's own memory would be counted");
#endif
    size_t n = 8 + WEIR_LAYOUT_MAX_HEADER;
    char *file = malloc(n);
    struct weir_source src;
    struct weir_layout *layout;
    struct rusage before;
    struct rusage after;
    cr_assert_not_null(file);
    cr_assert_eq(make_many(file, n, 65536, WEIR_LAYOUT_MAX_HEADER), n);
    weir_source_from_memory(file, n, &src);
    getrusage(RUSAGE_SELF, &before);
    cr_assert_eq(weir_layout_find(&src, "x.safetensors", &layout), WEIR_OK);
    getrusage(RUSAGE_SELF, &after);
    cr_expect_eq(layout->n_parts, 65537);
    long kib = after.ru_maxrss - before.ru_maxrss;
    cr_expect_leq(kib, 97 << 10, "%ld KiB", kib);
    cr_expect_geq(kib, 32 << 10, "%ld KiB: was anything measured?", kib);
    weir_layout_free(layout);
    free(file);
}
