/* gen_files.h - the files of a made-up checkpoint, as a Hub repository has them. */
#ifndef WEIR_TESTS_GEN_FILES_H
#define WEIR_TESTS_GEN_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GEN_NAME_BYTES = 96, GEN_MAX_TENSORS = 4096 };

/* A Llama's sizes. */
struct gen_shape {
    unsigned hidden, intermediate, layers, heads, kv_heads, vocabulary;
};

struct gen_tensor {
    char name[GEN_NAME_BYTES];
    uint64_t rows, columns; /* columns 0: one dimension */
    double mean, sigma;
    unsigned shard; /* from 0 */
};

struct gen_checkpoint {
    struct gen_shape shape;
    uint64_t seed;
    bool by_rows; /* matrices have rows that differ, and outliers */
    size_t n_tensors;
    struct gen_tensor tensor[GEN_MAX_TENSORS];
    unsigned n_shards;
};

uint64_t gen_tensor_elements(const struct gen_tensor *t);

/* Each returns false after having said on stderr what went wrong. */
bool gen_write_json_files(const char *dir, const struct gen_checkpoint *c);
bool gen_write_shard(const char *dir, const struct gen_checkpoint *c, unsigned shard);

#endif
