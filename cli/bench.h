/* bench.h - the codec's speed, memory to memory, beside memcpy's and zstd's on the same bytes. */
#ifndef WEIR_CLI_BENCH_H
#define WEIR_CLI_BENCH_H

#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"
#include "codec/quantise.h"
#include "codec/tile.h"

/* Elements of one tensor: they share a coding. */
struct bench_run {
    size_t at, bytes; /* in bench_data.plain; whole elements */
    struct weir_elements like;
    struct weir_coding *coding; /* chosen by the last encode; owned; NULL: opaque */
    /* Only with `near`: rows of which type and length; the rest is the last encode's. */
    const struct weir_near *near; /* NULL: lossless */
    struct weir_rows rows;
    struct weir_step step;
    float *rms;                    /* by row; owned */
    struct weir_nearness nearness; /* of what was decoded */
};

/* Bytes of one element type. */
struct bench_data {
    char dtype[32];
    uint8_t *plain;
    size_t bytes;
    uint64_t n_weights;
    size_t n_runs;
    struct bench_run *run;
};

/* One line of results.  GB of plain bytes a second; medians. */
struct bench_row {
    const char *variant; /* "scalar", "avx2", "avx512", "memcpy", "zstd-3" */
    const char *dtype;
    double bits_per_weight, encode_gbps, decode_gbps;
    unsigned threads;
    uint64_t plain_bytes, stored_bytes;
    double encode_seconds, decode_seconds;
};

/* `bytes` of a type by its name (below), normally distributed.  Free with bench_data_free().
 * WEIR_ERR_INVALID: no such type.  WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err bench_data_generate(struct bench_data *d, const char *dtype, size_t bytes);

/* NULL-terminated. */
extern const char *const bench_dtypes[];

/* The tensors of a safetensors or GGUF file, one bench_data for each of their types, at most
 * `bytes` of each.  *out is an array of *n to free one by one and then with free().
 * WEIR_ERR_UNSUPPORTED: no tensors in it that the codec would split. */
WEIR_MUST_CHECK weir_err bench_data_load(const char *file, size_t bytes, struct bench_data **out,
                                         size_t *n, struct weir_diag *diag);
void bench_data_free(struct bench_data *d);
/* What the last encode has left in a run. */
void bench_run_free(struct bench_run *run);

/* Memory that measurements share, so that the kernel need not hand out pages each time.  Begins
 * zeroed. */
struct bench_room {
    size_t stored_bytes, out_bytes;
    uint8_t *stored, *out;
};
void bench_room_free(struct bench_room *room);

/* What comes between plain bytes and stored bytes. */
enum bench_kind { BENCH_CODEC, BENCH_MEMCPY, BENCH_ZSTD };

struct bench_plan {
    enum bench_kind kind;
    const struct weir_kernels *kernels; /* BENCH_CODEC */
    unsigned threads, repeat;
    struct bench_room *room; /* NULL: its own */
};

/* Encodes and decodes d, plan->repeat times each, and checks that the same bytes came out, or
 * of a near run, weights within half a step.
 * WEIR_ERR_CORRUPT: they did not.  WEIR_ERR_CANCELLED, WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err bench_measure(struct bench_data *d, const struct bench_plan *plan,
                                       struct bench_row *row);

#endif
