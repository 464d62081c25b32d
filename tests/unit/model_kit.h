/* model_kit.h - a small model in memory, of a folder of tests/infer/golden: its files can be bent
 * before it is opened, and its source fails when it is told to. */
#ifndef WEIR_TESTS_MODEL_KIT_H
#define WEIR_TESTS_MODEL_KIT_H

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "../infer/tiny.h"
#include "infer/graph.h"

enum { KIT_FILES = 4 };

struct kit_file {
    const char *path;
    struct tiny_bytes bytes;
    struct weir_source source;
};

struct kit {
    struct kit_file file[KIT_FILES];
    size_t n_files;
    atomic_long reads, fail_at; /* number of the read that fails; -1: none */
    struct weir_checkpoint *ck;
    struct weir_model *model;
    struct weir_diag diag;
};

/* Knows its kit by the file that stands first in it. */
struct kit_source {
    struct kit *kit;
    struct kit_file *file;
};

static struct kit_source kit_sources[KIT_FILES];

static inline weir_err kit_read(void *self, uint64_t at, void *dst, size_t n)
{
    struct kit_source *s = self;
    if (atomic_fetch_add(&s->kit->reads, 1) == atomic_load(&s->kit->fail_at))
        return WEIR_ERR_IO;
    memcpy(dst, s->file->bytes.at + at, n);
    return WEIR_OK;
}

/* bytes: malloc'ed; the kit frees them. */
static inline void kit_add(struct kit *k, const char *path, struct tiny_bytes bytes)
{
    struct kit_file *f = &k->file[k->n_files];
    struct kit_source *s = &kit_sources[k->n_files++];
    *s = (struct kit_source){k, f};
    *f = (struct kit_file){path, bytes, {.self = s, .size = bytes.n, .read = kit_read}};
    atomic_store(&k->fail_at, -1);
}

/* `from` once in the text becomes `to`. */
static inline void kit_replace(struct tiny_bytes *b, const char *from, const char *to)
{
    char *at = memmem(b->at, b->n, from, strlen(from));
    cr_assert_not_null(at, "%s is not there", from);
    size_t before = (size_t)(at - b->at), n = b->n - strlen(from) + strlen(to);
    char *made = malloc(n + 1);
    cr_assert_not_null(made);
    memcpy(made, b->at, before);
    memcpy(made + before, to, strlen(to));
    memcpy(made + before + strlen(to), at + strlen(from), b->n - before - strlen(from));
    made[n] = 0;
    free(b->at);
    *b = (struct tiny_bytes){made, n};
}

#define KIT_FOLDER(name) WEIR_TESTS "/infer/golden/" name

/* config.json with `from` replaced (NULL: as it is), and the list of tensors alike. */
static inline void kit_make(struct kit *k, const char *folder, const char *config[2],
                            const char *tensors[2])
{
    struct tiny_bytes c = tiny_read(folder, "config.json"), t = tiny_read(folder, "tensors.txt");
    if (config)
        kit_replace(&c, config[0], config[1]);
    if (tensors)
        kit_replace(&t, tensors[0], tensors[1]);
    kit_add(k, "config.json", c);
    kit_add(k, "model.safetensors", tiny_safetensors(&t, "F32", ""));
    free(t.at);
}

static inline weir_err kit_open(struct kit *k)
{
    struct weir_checkpoint_file file[KIT_FILES];
    struct weir_model_config c;
    for (size_t i = 0; i < k->n_files; i++)
        file[i] = (struct weir_checkpoint_file){k->file[i].path, &k->file[i].source};
    weir_err err = weir_checkpoint_from_files(file, k->n_files, NULL, &k->ck, &k->diag);
    if (!err)
        err = weir_model_config_read(k->ck, &c, &k->diag);
    return err ? err : weir_model_open(k->ck, &c, &k->model, &k->diag);
}

static inline void kit_close(struct kit *k)
{
    weir_model_free(k->model);
    weir_checkpoint_free(k->ck);
    k->model = NULL;
    k->ck = NULL;
}

static inline void kit_free(struct kit *k)
{
    kit_close(k);
    for (size_t i = 0; i < k->n_files; i++)
        free(k->file[i].bytes.at);
    k->n_files = 0;
}

#endif
