/* tokenizer_files.h - files that the tests of tokenizers read: ours, and those of ../shared. */
#ifndef WEIR_TESTS_TOKENIZER_FILES_H
#define WEIR_TESTS_TOKENIZER_FILES_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "infer/tokenizer.h"

/* The whole file, a NUL behind it; NULL: there is none.  The caller frees it. */
static inline char *read_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    cr_assert_eq(fseek(f, 0, SEEK_END), 0);
    *n = (size_t)ftell(f);
    rewind(f);
    char *bytes = malloc(*n + 1);
    cr_assert_not_null(bytes);
    cr_assert_eq(fread(bytes, 1, *n, f), *n, "%s", path);
    bytes[*n] = '\0';
    fclose(f);
    return bytes;
}

/* The same of a file that is one zstd frame. */
static inline char *read_zst(const char *path, size_t *n)
{
    size_t n_packed;
    char *packed = read_file(path, &n_packed);
    if (!packed)
        return NULL;
    *n = (size_t)ZSTD_getFrameContentSize(packed, n_packed);
    cr_assert_lt(*n, 64 << 20);
    char *bytes = malloc(*n + 1);
    cr_assert_not_null(bytes);
    cr_assert_eq(ZSTD_decompress(bytes, *n, packed, n_packed), *n, "%s", path);
    bytes[*n] = '\0';
    free(packed);
    return bytes;
}

static inline struct weir_tokenizer *tokenizer_of(const char *json, size_t n)
{
    struct weir_tokenizer *t = NULL;
    struct weir_diag diag = {""};
    cr_assert_eq(weir_tokenizer_from_json(json, n, &t, &diag), WEIR_OK, "%s", diag.text);
    return t;
}

/* "encoder.json" and "vocab.bpe" as a tokenizer.json. */
static inline char *gpt2_json(size_t *n)
{
    size_t n_vocab, n_merges;
    char *vocab = read_zst(WEIR_SHARED "/tokenizers/gpt2/encoder.json.zst", &n_vocab);
    char *merges = read_zst(WEIR_SHARED "/tokenizers/gpt2/vocab.bpe.zst", &n_merges);
    if (!vocab || !merges) {
        free(vocab);
        free(merges);
        return NULL;
    }
    char *json = NULL;
    FILE *out = open_memstream(&json, n);
    cr_assert_not_null(out);
    fprintf(out, "{\"model\":{\"type\":\"BPE\",\"vocab\":%s,\"merges\":[", vocab);
    const char *comma = "";
    for (char *line = strtok(merges, "\n"); line; line = strtok(NULL, "\n")) {
        if (strncmp(line, "#version", strlen("#version")) == 0)
            continue;
        fprintf(out, "%s\"", comma);
        for (const char *c = line; *c; c++)
            fprintf(out, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
        fprintf(out, "\"");
        comma = ",";
    }
    fprintf(out, "]},\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},"
                 "\"decoder\":{\"type\":\"ByteLevel\"},\"added_tokens\":[{\"id\":50256,"
                 "\"content\":\"<|endoftext|>\",\"special\":true,\"normalized\":false}]}");
    fclose(out);
    free(vocab);
    free(merges);
    return json;
}

/* The tokenizer that tests/infer/tokenizers/golden/NAME.txt is about; NULL: it is not here. */
static inline struct weir_tokenizer *tokenizer_named(const char *name)
{
    char path[512];
    size_t n = 0;
    snprintf(path, sizeof(path), WEIR_TESTS "/infer/tokenizers/%s.json", name);
    char *json = read_file(path, &n);
    snprintf(path, sizeof(path), WEIR_SHARED "/tokenizers/%s.tokenizer.json.zst", name);
    if (!json)
        json = read_zst(path, &n);
    if (!json && strcmp(name, "gpt2") == 0)
        json = gpt2_json(&n);
    if (!json && strcmp(name, "story") == 0)
        json = read_file(WEIR_SHARED "/models/story/tokenizer.json", &n);
    if (!json)
        return NULL;
    struct weir_tokenizer *t = tokenizer_of(json, n);
    free(json);
    return t;
}

#endif
