#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "bench.h"
#include "bench_near.h"
#include "interrupt.h"
#include "output.h"

enum {
    SAMPLE_BYTES = 1 << 20, /* what pack looks at, in pieces (codec/pack_choose.c) */
    PIECE_BYTES = 32 << 10,
    CHUNK_BYTES = 4 << 20,  /* for memcpy and zstd: past the window of level 3 */
    CHUNK_SLACK = 32 << 10, /* zstd's worst case on top */
    ZSTD_LEVEL = 3,
    BATCH = 8, /* slots that a thread takes at once */
    MAX_REPEAT = 101,
};

/* A tile or a chunk. */
struct slot {
    size_t at; /* in plain */
    size_t to; /* in stored */
    uint32_t bytes, stored_bytes;
    size_t run;
    struct weir_tile_head head;
};

struct bench {
    struct bench_data *data;
    const struct bench_plan *plan;
    size_t n_slots;
    struct slot *slot;
    uint8_t *stored, *out, *sample;
    struct bench_room own, *room;
};

/* One pass of all threads over the slots. */
struct pass {
    struct bench *b;
    bool decode;
    atomic_size_t next;
    atomic_int err; /* the first thread's that failed */
};

struct tools {
    struct weir_tile_encoder *enc;
    struct weir_tile_decoder *dec;
    ZSTD_CCtx *compress;
    ZSTD_DCtx *decompress;
    struct near_room *near;
};

static weir_err tools_new(struct tools *t, const struct pass *pass)
{
    const struct bench_plan *plan = pass->b->plan;
    memset(t, 0, sizeof(*t));
    if (plan->kind == BENCH_CODEC && pass->decode)
        return weir_tile_decoder_new(plan->kernels, &t->dec);
    if (plan->kind == BENCH_CODEC) {
        weir_err err = weir_tile_encoder_new(plan->kernels, &t->enc);
        t->near = err ? NULL : near_room_new();
        return err ? err : t->near ? WEIR_OK : WEIR_ERR_NOMEM;
    }
    if (plan->kind == BENCH_MEMCPY)
        return WEIR_OK;
    t->compress = ZSTD_createCCtx();
    t->decompress = ZSTD_createDCtx();
    return t->compress && t->decompress ? WEIR_OK : WEIR_ERR_NOMEM;
}

static void tools_free(struct tools *t)
{
    near_room_free(t->near);
    weir_tile_encoder_free(t->enc);
    weir_tile_decoder_free(t->dec);
    ZSTD_freeCCtx(t->compress);
    ZSTD_freeDCtx(t->decompress);
}

static weir_err encode(const struct bench *b, struct tools *t, struct slot *s)
{
    const uint8_t *plain = b->data->plain + s->at;
    uint8_t *stored = b->stored + s->to;
    size_t got = s->bytes;
    switch (b->plan->kind) {
    case BENCH_CODEC: {
        const struct bench_run *run = &b->data->run[s->run];
        const struct near_tile near = {b->plan->kernels, t->enc, t->near, s->at - run->at};
        weir_err err =
            run->rms ? near_encode(run, &near, plain, s->bytes, stored, &s->head)
                     : weir_tile_encode(t->enc, run->coding, plain, s->bytes, stored, &s->head);
        s->stored_bytes = WEIR_TILE_HEAD_BYTES + (s->head.payload_bytes + 15U) / 16 * 16;
        return err;
    }
    case BENCH_MEMCPY:
        memcpy(stored, plain, s->bytes);
        break;
    case BENCH_ZSTD:
        got = ZSTD_compressCCtx(t->compress, stored, s->bytes + (size_t)CHUNK_SLACK, plain,
                                s->bytes, ZSTD_LEVEL);
        if (ZSTD_isError(got))
            return WEIR_ERR_NOMEM; /* the room is enough for anything */
        break;
    }
    s->stored_bytes = (uint32_t)got;
    return WEIR_OK;
}

static weir_err decode(const struct bench *b, struct tools *t, const struct slot *s)
{
    const uint8_t *stored = b->stored + s->to;
    uint8_t *out = b->out + s->at;
    switch (b->plan->kind) {
    case BENCH_CODEC:
        return weir_tile_decode(t->dec, b->data->run[s->run].coding, &s->head, stored, out,
                                s->bytes);
    case BENCH_MEMCPY:
        memcpy(out, stored, s->bytes);
        return WEIR_OK;
    case BENCH_ZSTD:
        if (ZSTD_decompressDCtx(t->decompress, out, s->bytes, stored, s->stored_bytes) == s->bytes)
            return WEIR_OK;
        break;
    }
    return WEIR_ERR_CORRUPT;
}

static void *work(void *arg)
{
    struct pass *pass = arg;
    struct bench *b = pass->b;
    struct tools t;
    weir_err err = tools_new(&t, pass);
    while (!err) {
        size_t first = atomic_fetch_add(&pass->next, BATCH);
        if (first >= b->n_slots)
            break;
        for (size_t i = first; i < first + BATCH && i < b->n_slots && !err; i++)
            err = pass->decode ? decode(b, &t, &b->slot[i]) : encode(b, &t, &b->slot[i]);
        if (!err && interrupted())
            err = WEIR_ERR_CANCELLED;
    }
    int none = WEIR_OK;
    if (err)
        (void)atomic_compare_exchange_strong(&pass->err, &none, (int)err);
    tools_free(&t);
    return NULL;
}

static weir_err run_pass(struct bench *b, bool decoding)
{
    struct pass pass = {.b = b, .decode = decoding};
    unsigned extra = b->plan->threads - 1, started = 0;
    pthread_t *thread = calloc(extra + (size_t)1, sizeof(*thread));
    if (!thread)
        return WEIR_ERR_NOMEM;
    weir_err err = WEIR_OK;
    while (!err && started < extra) {
        err = pthread_create(&thread[started], NULL, work, &pass) ? WEIR_ERR_NOMEM : WEIR_OK;
        started += !err;
    }
    work(&pass);
    while (started)
        (void)pthread_join(thread[--started], NULL);
    free(thread);
    return err ? err : (weir_err)atomic_load(&pass.err);
}

/* What pack does before it encodes a tensor: pieces of whole elements, evenly spread. */
static weir_err choose_lossless(struct bench *b, struct bench_run *run)
{
    const uint8_t *from = b->data->plain + run->at;
    size_t piece = PIECE_BYTES - (size_t)PIECE_BYTES % run->like.elem_bytes;
    size_t n = SAMPLE_BYTES / piece, n_pieces = run->bytes / piece;
    const uint8_t *sample = from;
    size_t bytes = run->bytes;
    if (bytes > SAMPLE_BYTES) {
        for (size_t k = 0; k < n; k++)
            memcpy(b->sample + k * piece, from + n_pieces * k / n * piece, piece);
        sample = b->sample;
        bytes = n * piece;
    }
    double bits;
    return bytes ? weir_coding_choose(&run->like, sample, bytes, &run->coding, &bits) : WEIR_OK;
}

static weir_err choose(struct bench *b)
{
    weir_err err = WEIR_OK;
    for (size_t i = 0; !err && i < b->data->n_runs; i++) {
        struct bench_run *run = &b->data->run[i];
        bench_run_free(run);
        if (run->near)
            err = near_choose(b->plan->kernels, run, b->data->plain + run->at);
        if (!err && !run->coding)
            err = choose_lossless(b, run);
    }
    return err;
}

static void cut_runs(struct bench *b)
{
    for (size_t i = 0; i < b->data->n_runs; i++) {
        const struct bench_run *run = &b->data->run[i];
        size_t tile = WEIR_TILE_BYTES / run->like.elem_bytes * (size_t)run->like.elem_bytes;
        for (size_t at = 0; at < run->bytes; at += tile) {
            size_t n = run->bytes - at < tile ? run->bytes - at : tile;
            if (b->slot)
                b->slot[b->n_slots] = (struct slot){
                    .at = run->at + at, .to = run->at + at, .bytes = (uint32_t)n, .run = i};
            b->n_slots++;
        }
    }
}

static void cut_chunks(struct bench *b)
{
    for (size_t at = 0; at < b->data->bytes; at += CHUNK_BYTES) {
        size_t n = b->data->bytes - at < CHUNK_BYTES ? b->data->bytes - at : CHUNK_BYTES;
        if (b->slot)
            b->slot[b->n_slots] =
                (struct slot){.at = at, .to = at + b->n_slots * CHUNK_SLACK, .bytes = (uint32_t)n};
        b->n_slots++;
    }
}

/* Grows a buffer of the room.  The kernel's handing out of pages is not what is measured. */
static weir_err grow(uint8_t **buffer, size_t *has, size_t wanted)
{
    if (*has >= wanted)
        return WEIR_OK;
    free(*buffer);
    *has = 0;
    *buffer = malloc(wanted);
    if (!*buffer)
        return WEIR_ERR_NOMEM;
    memset(*buffer, 1, wanted);
    *has = wanted;
    return WEIR_OK;
}

void bench_room_free(struct bench_room *room)
{
    free(room->stored);
    free(room->out);
    memset(room, 0, sizeof(*room));
}

static weir_err prepare(struct bench *b)
{
    void (*cut)(struct bench *) = b->plan->kind == BENCH_CODEC ? cut_runs : cut_chunks;
    cut(b);
    size_t stored = b->data->bytes + (b->data->bytes / CHUNK_BYTES + 1) * CHUNK_SLACK;
    b->room = b->plan->room ? b->plan->room : &b->own;
    b->slot = calloc(b->n_slots + 1, sizeof(b->slot[0]));
    b->sample = malloc(SAMPLE_BYTES);
    if (!b->slot || !b->sample)
        return WEIR_ERR_NOMEM;
    weir_err err = grow(&b->room->stored, &b->room->stored_bytes, stored);
    if (!err)
        err = grow(&b->room->out, &b->room->out_bytes, b->data->bytes + 1);
    if (err)
        return err;
    b->stored = b->room->stored;
    b->out = b->room->out;
    b->n_slots = 0;
    cut(b);
    return WEIR_OK;
}

static weir_err encode_all(struct bench *b)
{
    weir_err err = b->plan->kind == BENCH_CODEC ? choose(b) : WEIR_OK;
    return err ? err : run_pass(b, false);
}

static weir_err decode_all(struct bench *b)
{
    return run_pass(b, true);
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static weir_err median(struct bench *b, weir_err (*pass)(struct bench *), double *seconds)
{
    double taken[MAX_REPEAT];
    unsigned n = b->plan->repeat < MAX_REPEAT ? b->plan->repeat : MAX_REPEAT;
    for (unsigned i = 0; i < n; i++) {
        double started = now_seconds();
        weir_err err = pass(b);
        if (err)
            return err;
        taken[i] = now_seconds() - started;
    }
    qsort(taken, n, sizeof(taken[0]), compare_doubles);
    *seconds = taken[n / 2];
    return WEIR_OK;
}

/* Between runs there may be tails that no tile holds. */
static bool same_bytes(const struct bench *b)
{
    for (size_t i = 0; i < b->n_slots; i++) {
        const struct slot *s = &b->slot[i];
        if (b->data->run[s->run].rms)
            continue;
        if (memcmp(b->data->plain + s->at, b->out + s->at, s->bytes) != 0)
            return false;
    }
    for (size_t i = 0; i < b->data->n_runs; i++) {
        struct bench_run *run = &b->data->run[i];
        if (run->rms &&
            !near_check(b->plan->kernels, run, b->data->plain + run->at, b->out + run->at))
            return false;
    }
    return true;
}

static weir_err measure(struct bench *b, struct bench_row *row)
{
    double encoding, decoding;
    weir_err err = prepare(b);
    if (!err)
        err = median(b, encode_all, &encoding);
    if (!err)
        err = median(b, decode_all, &decoding);
    if (!err && !same_bytes(b))
        err = WEIR_ERR_CORRUPT;
    if (err)
        return err;
    uint64_t stored = 0, plain = 0;
    for (size_t i = 0; i < b->n_slots; i++) {
        stored += b->slot[i].stored_bytes;
        plain += b->slot[i].bytes;
    }
    static const char *const name[] = {[BENCH_MEMCPY] = "memcpy", [BENCH_ZSTD] = "zstd-3"};
    bool codec = b->plan->kind == BENCH_CODEC;
    *row = (struct bench_row){
        .variant = codec ? weir_kernels_name(b->plan->kernels) : name[b->plan->kind],
        .dtype = b->data->dtype,
        .bits_per_weight = 8.0 * (double)stored / (double)b->data->n_weights,
        .encode_gbps = (double)plain / encoding / 1e9,
        .decode_gbps = (double)plain / decoding / 1e9,
        .threads = b->plan->threads,
        .plain_bytes = plain,
        .stored_bytes = stored,
        .encode_seconds = encoding,
        .decode_seconds = decoding,
    };
    return WEIR_OK;
}

weir_err bench_measure(struct bench_data *d, const struct bench_plan *plan, struct bench_row *row)
{
    struct bench b = {.data = d, .plan = plan};
    weir_err err = measure(&b, row);
    free(b.slot);
    bench_room_free(&b.own);
    free(b.sample);
    return err;
}
