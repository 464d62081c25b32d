/* gpu_decode_lab.h - what one tile or many are decoded with on both sides, and compared.
 *
 * Around payload and output lie bytes that must not change. */
#ifndef WEIR_TESTS_GPU_DECODE_LAB_H
#define WEIR_TESTS_GPU_DECODE_LAB_H

#include <stdbool.h>
#include <stdio.h>

#include "cuda/decode.h"
#include "tile_data.h"

enum {
    GUARD = 256, /* bytes on both sides of what a tile may write */
    POISON = 0xa5,
    MOST_REPORTS = 20,
    MANY = 96, /* tiles that the lab's batch has room for */
};

struct lab {
    struct weir_gpu *gpu;
    struct weir_gpu_stream *stream;
    struct weir_gpu_batch *batch;
    struct weir_tile_encoder *enc;
    struct weir_tile_decoder *dec;
    uint8_t *payload, *out; /* device */
    uint8_t *back;          /* pinned: GUARD, a tile, GUARD */
    uint8_t *padded;        /* pinned */
    uint8_t *cpu;
    uint64_t random;
    unsigned n_good, n_bad, n_wrong, n_made, every, turn;
};

/* A tile as it may have come from anywhere. */
struct sample {
    const char *what;
    struct weir_coding *coding;
    struct weir_gpu_coding *on_gpu;
    uint8_t *plain, *payload; /* payload: room for plain_bytes */
    size_t plain_bytes;
    struct weir_tile_head head;
};

static inline void must(weir_err err, const char *what)
{
    if (!err)
        return;
    fprintf(stderr, "%s: %s\n", what, weir_err_text(err));
    exit(2);
}

static inline void *must_have(void *p)
{
    if (!p)
        must(WEIR_ERR_NOMEM, "memory");
    return p;
}

static inline void wrong(struct lab *lab, const struct sample *s, const char *how)
{
    if (lab->n_wrong++ < MOST_REPORTS)
        fprintf(stderr, "%s, %zu bytes, mode %d, payload %u: %s\n", s->what, s->plain_bytes,
                s->head.mode, s->head.payload_bytes, how);
}

/* Whether this case is among the few. */
static inline bool is_due(struct lab *lab)
{
    return lab->turn++ % lab->every == 0;
}

static inline bool all_poison(const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (bytes[i] != POISON)
            return false;
    return true;
}

/* ---- one tile ---- */

/* Decodes on the GPU into lab->back + GUARD. */
static inline weir_err decode_on_gpu(struct lab *lab, const struct sample *s)
{
    const size_t n = s->head.payload_bytes, room = WEIR_TILE_BYTES + 2 * GUARD;
    const struct weir_gpu_tile tile = {s->on_gpu, lab->payload, lab->out + GUARD, s->head,
                                       (uint32_t)s->plain_bytes};
    memset(lab->padded, POISON, n + 16);
    memcpy(lab->padded, s->payload, n);
    must(weir_gpu_to_device(lab->stream, lab->payload, lab->padded, n + 16), "upload");
    must(weir_gpu_fill(lab->stream, lab->out, POISON, room), "poison");
    weir_err err = weir_gpu_batch_set(lab->batch, &tile, 1);
    if (err)
        return err;
    must(weir_gpu_decode(lab->stream, lab->batch), "decode");
    must(weir_gpu_to_host(lab->stream, lab->back, lab->out, room), "download");
    must(weir_gpu_stream_wait(lab->stream), "wait");
    size_t bad_tile = 99;
    err = weir_gpu_batch_result(lab->batch, &bad_tile);
    if (err && bad_tile != 0)
        wrong(lab, s, "the bad tile has another number");
    return err;
}

/* Both decode it.  Returns the verdict. */
static inline weir_err compare(struct lab *lab, const struct sample *s)
{
    /* Of exactly its size: what reads past it on the CPU is not the truth. */
    uint8_t *exact = must_alloc(s->head.payload_bytes);
    memcpy(exact, s->payload, s->head.payload_bytes);
    weir_err want =
        weir_tile_decode(lab->dec, s->coding, &s->head, exact, lab->cpu, s->plain_bytes);
    free(exact);
    weir_err err = decode_on_gpu(lab, s);
    if (err != want)
        wrong(lab, s, err ? "only the GPU refuses it" : "only the CPU refuses it");
    else if (!err && memcmp(lab->back + GUARD, lab->cpu, s->plain_bytes) != 0)
        wrong(lab, s, "other bytes");
    if (!all_poison(lab->back, GUARD) ||
        !all_poison(lab->back + GUARD + s->plain_bytes, WEIR_TILE_BYTES + GUARD - s->plain_bytes))
        wrong(lab, s, "wrote outside");
    if (want)
        lab->n_bad++;
    else
        lab->n_good++;
    return want;
}

static inline void compare_good(struct lab *lab, const struct sample *s)
{
    if (s->head.mode != WEIR_TILE_ZSTD && compare(lab, s))
        wrong(lab, s, "a good tile is refused by both");
}

/* ---- samples ---- */

static inline struct weir_coding *choose_for(const struct weir_elements *like, enum data_kind kind,
                                             uint64_t *random)
{
    const size_t n = 65536 / like->elem_bytes;
    uint8_t *plain = make_elements(like, kind, n, random);
    struct weir_coding *coding = NULL;
    double bits;
    must(weir_coding_choose(like, plain, n * like->elem_bytes, &coding, &bits), "choose");
    free(plain);
    return coding;
}

static inline void encode(struct lab *lab, struct sample *s)
{
    s->payload = must_alloc(s->plain_bytes);
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): where this fails the process ends */
    must(weir_tile_encode(lab->enc, s->coding, s->plain, s->plain_bytes, s->payload, &s->head),
         "encode");
}

static inline struct sample make_sample(struct lab *lab, size_t type, enum data_kind kind, size_t n,
                                        struct weir_coding *coding, struct weir_gpu_coding *on_gpu)
{
    const struct weir_elements *like = &element_types[type].like;
    struct sample s = {.what = element_types[type].name,
                       .coding = coding,
                       .on_gpu = on_gpu,
                       .plain = make_elements(like, kind, n, &lab->random),
                       .plain_bytes = n * like->elem_bytes};
    encode(lab, &s);
    return s;
}

static inline void free_sample(struct sample *s)
{
    free(s->plain);
    free(s->payload);
}

static inline struct weir_gpu_coding *upload(struct lab *lab, const struct weir_coding *coding)
{
    struct weir_gpu_coding *on_gpu = NULL;
    if (coding)
        must(weir_gpu_coding_new(lab->gpu, coding, &on_gpu), "coding");
    return on_gpu;
}

/* Batches of several codings, replays: gpu_decode_batches.c. */
void check_batches(struct lab *lab);

/* Tiles made of items and scales: gpu_decode_made.c. */
void check_made(struct lab *lab);

#endif
