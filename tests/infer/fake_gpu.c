/* fake_gpu.c - cuda/'s headers without a GPU, for tests of who uses them: what is queued is done as
 * late as it may be, or at random earlier, stream by stream, so that an event that is missing shows
 * as wrong bytes.  Device memory is the heap's: sanitizers watch it.
 *
 * Of matrix.h what moves matrices; a packed one has its rows kept aside.  FAKE_GPU_SEED chooses
 * what is done early; 0: nothing. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/decode.h"
#include "cuda/form.h"
#include "cuda/gpu.h"
#include "cuda/matrix.h"

enum { MOST_STREAMS = 16, MOST_ROUNDS = 8 };

enum what { COPY, FILL, RECORD, WAIT, DECODE, PACK, UNPACK };

struct op {
    struct op *behind;
    enum what what;
    uint8_t *to;
    const uint8_t *from;
    size_t bytes;
    uint8_t byte;
    struct weir_gpu_event *event;
    uint64_t version;
    struct weir_gpu_batch *batch;
    struct weir_gpu_matrix matrix;
    uint32_t first_row, n_rows;
};

struct weir_gpu_stream {
    struct op *first, *last;
};

struct weir_gpu_event {
    uint64_t recorded, done;
};

struct block {
    struct block *next;
    uint8_t *at;
    size_t bytes;
    bool pinned;
};

/* The rows of a packed matrix. */
struct aside {
    struct aside *next;
    const void *at;
    uint16_t *rows;
    uint64_t most, odd;
};

struct weir_gpu {
    uint64_t limit, taken, peak;
};

struct weir_gpu_coding {
    struct weir_coding *coding;
};

struct weir_gpu_batch {
    size_t most, n;
    struct weir_gpu_tile *tile;
    size_t queued; /* times */
    bool done;
    size_t bad;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all of it */
static struct weir_gpu_stream *stream[MOST_STREAMS];
static struct block *blocks;
static struct aside *asides;
static uint64_t random_state;

static void fail(const char *why)
{
    fprintf(stderr, "fake GPU: %s\n", why);
    abort();
}

static void *must(void *p)
{
    if (!p)
        fail("no memory");
    return p;
}

/* ---- doing ---- */

static struct aside *aside_of(const void *at)
{
    struct aside *a = asides;
    while (a && a->at != at)
        a = a->next;
    return a;
}

static void decode(struct weir_gpu_batch *b)
{
    struct weir_tile_decoder *decoder;
    if (weir_tile_decoder_new(weir_kernels_best(), &decoder) != WEIR_OK)
        fail("no decoder");
    b->bad = b->n;
    for (size_t i = b->n; i-- > 0;) {
        const struct weir_gpu_tile *t = &b->tile[i];
        if (t->head.mode == WEIR_TILE_ZSTD)
            fail("a tile that only the host decodes");
        if (weir_tile_decode(decoder, t->coding ? t->coding->coding : NULL, &t->head, t->payload,
                             t->out, t->plain_bytes) != WEIR_OK)
            b->bad = i;
    }
    weir_tile_decoder_free(decoder);
    b->queued--;
    b->done = true;
}

static bool is_odd(uint16_t weight, const uint8_t high[8])
{
    for (int i = 0; i < 8; i++)
        if ((weight >> 8 & 127) == high[i])
            return false;
    return true;
}

static void pack(const struct op *op)
{
    struct aside *a = aside_of(op->matrix.at);
    const size_t first = (size_t)op->first_row * op->matrix.n_columns;
    const size_t n = (size_t)op->n_rows * op->matrix.n_columns;
    if (!a || op->first_row % WEIR_FORM_ROWS ||
        (op->n_rows % WEIR_FORM_ROWS && op->first_row + op->n_rows != op->matrix.n_rows))
        fail("packed against the rules");
    memcpy(a->rows + first, op->from, 2 * n);
    for (size_t i = 0; i < n; i++)
        a->odd += is_odd(a->rows[first + i], op->matrix.high);
}

static void unpack(const struct op *op)
{
    const struct weir_gpu_matrix *m = &op->matrix;
    const size_t first = (size_t)op->first_row * m->n_columns;
    const void *rows = (const uint16_t *)m->at + first;
    if (m->form == WEIR_GPU_PACKED)
        rows = aside_of(m->at)->rows + first;
    memcpy(op->to, rows, 2 * (size_t)op->n_rows * m->n_columns);
}

static void run_for(const struct weir_gpu_event *e, uint64_t version);

static void do_first(struct weir_gpu_stream *s)
{
    struct op *op = s->first;
    if (op->what == WAIT)
        run_for(op->event, op->version);
    if (op->what == COPY)
        memcpy(op->to, op->from, op->bytes);
    if (op->what == FILL)
        memset(op->to, op->byte, op->bytes);
    if (op->what == RECORD)
        op->event->done = op->version;
    if (op->what == DECODE)
        decode(op->batch);
    if (op->what == PACK)
        pack(op);
    if (op->what == UNPACK)
        unpack(op);
    s->first = op->behind;
    free(op);
}

/* Until the event has been recorded so often. */
static void run_for(const struct weir_gpu_event *e, uint64_t version)
{
    while (e->done < version) {
        struct weir_gpu_stream *holder = NULL;
        for (size_t i = 0; i < MOST_STREAMS; i++)
            for (const struct op *op = stream[i] ? stream[i]->first : NULL; op; op = op->behind)
                if (op->what == RECORD && op->event == e && op->version <= version)
                    holder = stream[i];
        if (!holder)
            fail("an event that nobody records");
        do_first(holder);
    }
}

static uint64_t next_random(void)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return random_state >> 33;
}

/* Some of what is queued, at random. */
static void go_on(void)
{
    for (uint64_t n = random_state ? next_random() % MOST_ROUNDS : 0; n; n--) {
        struct weir_gpu_stream *s = stream[next_random() % MOST_STREAMS];
        if (s && s->first)
            do_first(s);
    }
}

static void run_all(struct weir_gpu_stream *s)
{
    while (s->first)
        do_first(s);
}

static weir_err queue(struct weir_gpu_stream *s, const struct op *op)
{
    struct op *mine = must(malloc(sizeof(*mine)));
    *mine = *op;
    mine->behind = NULL;
    if (s->first)
        s->last->behind = mine;
    else
        s->first = mine;
    s->last = mine;
    return WEIR_OK;
}

static weir_err queue_locked(struct weir_gpu_stream *s, const struct op *op)
{
    pthread_mutex_lock(&lock);
    weir_err err = queue(s, op);
    go_on();
    pthread_mutex_unlock(&lock);
    return err;
}

/* ---- gpu.h ---- */

weir_err weir_gpu_open(int device, struct weir_gpu **out, struct weir_diag *diag)
{
    const char *seed = getenv("FAKE_GPU_SEED");
    (void)device, (void)diag;
    random_state = seed ? strtoull(seed, NULL, 10) : 1;
    *out = must(calloc(1, sizeof(**out)));
    (*out)->limit = UINT64_MAX;
    return WEIR_OK;
}

void weir_gpu_close(struct weir_gpu *gpu)
{
    if (gpu && (gpu->taken || blocks))
        fail("memory is still out");
    free(gpu);
}

weir_err weir_gpu_use(struct weir_gpu *gpu)
{
    (void)gpu;
    return WEIR_OK;
}

void weir_gpu_limit(struct weir_gpu *gpu, uint64_t bytes)
{
    gpu->limit = bytes;
}

static void *add_block(size_t bytes, bool pinned)
{
    struct block *b = must(malloc(sizeof(*b)));
    *b = (struct block){blocks, must(aligned_alloc(256, (bytes + 255) / 256 * 256 + 256)), bytes,
                        pinned};
    memset(b->at, 0xa5, bytes);
    blocks = b;
    return b->at;
}

static size_t drop_block(void *at)
{
    struct block **b = &blocks;
    while (*b && (*b)->at != at)
        b = &(*b)->next;
    if (!*b)
        fail("memory that is not out");
    struct block *gone = *b;
    const size_t bytes = gone->bytes;
    *b = gone->next;
    free(gone->at);
    free(gone);
    return bytes;
}

/* Of matrices that were there. */
static void drop_asides(const uint8_t *from, const uint8_t *end)
{
    for (struct aside **a = &asides; *a;) {
        struct aside *gone = *a;
        if ((const uint8_t *)gone->at < from || (const uint8_t *)gone->at >= end) {
            a = &gone->next;
            continue;
        }
        *a = gone->next;
        free(gone->rows);
        free(gone);
    }
}

static size_t whole(size_t bytes)
{
    return (bytes + WEIR_GPU_ALIGN - 1) / WEIR_GPU_ALIGN * WEIR_GPU_ALIGN;
}

void *weir_gpu_alloc(struct weir_gpu *gpu, size_t bytes)
{
    if (whole(bytes) > gpu->limit || gpu->taken > gpu->limit - whole(bytes))
        return NULL;
    pthread_mutex_lock(&lock);
    gpu->taken += whole(bytes);
    gpu->peak = gpu->taken > gpu->peak ? gpu->taken : gpu->peak;
    void *p = add_block(bytes, false);
    pthread_mutex_unlock(&lock);
    return p;
}

void weir_gpu_free(struct weir_gpu *gpu, void *device)
{
    if (!device)
        return;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < MOST_STREAMS; i++)
        if (stream[i])
            run_all(stream[i]);
    const uint8_t *from = device;
    const size_t bytes = drop_block(device);
    drop_asides(from, from + bytes);
    gpu->taken -= whole(bytes);
    pthread_mutex_unlock(&lock);
}

void *weir_gpu_alloc_host(struct weir_gpu *gpu, size_t bytes)
{
    (void)gpu;
    pthread_mutex_lock(&lock);
    void *p = add_block(bytes, true);
    pthread_mutex_unlock(&lock);
    return p;
}

void weir_gpu_free_host(struct weir_gpu *gpu, void *pinned)
{
    (void)gpu;
    if (!pinned)
        return;
    pthread_mutex_lock(&lock);
    drop_block(pinned);
    pthread_mutex_unlock(&lock);
}

weir_err weir_gpu_usage(struct weir_gpu *gpu, struct weir_gpu_usage *out)
{
    *out = (struct weir_gpu_usage){gpu->taken, gpu->peak, gpu->taken, UINT64_MAX};
    return WEIR_OK;
}

weir_err weir_gpu_stream_new(struct weir_gpu *gpu, struct weir_gpu_stream **out)
{
    (void)gpu;
    for (size_t i = 0; i < MOST_STREAMS; i++) {
        if (!stream[i]) {
            *out = stream[i] = must(calloc(1, sizeof(*stream[i])));
            return WEIR_OK;
        }
    }
    return WEIR_ERR_NOMEM;
}

void weir_gpu_stream_free(struct weir_gpu_stream *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&lock);
    run_all(s);
    for (size_t i = 0; i < MOST_STREAMS; i++)
        if (stream[i] == s)
            stream[i] = NULL;
    pthread_mutex_unlock(&lock);
    free(s);
}

weir_err weir_gpu_stream_wait(struct weir_gpu_stream *s)
{
    pthread_mutex_lock(&lock);
    run_all(s);
    pthread_mutex_unlock(&lock);
    return WEIR_OK;
}

static weir_err queue_copy(struct weir_gpu_stream *s, void *to, const void *from, size_t bytes)
{
    return queue_locked(s, &(struct op){.what = COPY, .to = to, .from = from, .bytes = bytes});
}

weir_err weir_gpu_to_device(struct weir_gpu_stream *s, void *device, const void *host, size_t bytes)
{
    return queue_copy(s, device, host, bytes);
}

weir_err weir_gpu_to_host(struct weir_gpu_stream *s, void *host, const void *device, size_t bytes)
{
    return queue_copy(s, host, device, bytes);
}

weir_err weir_gpu_copy(struct weir_gpu_stream *s, void *to, const void *from, size_t bytes)
{
    return queue_copy(s, to, from, bytes);
}

weir_err weir_gpu_fill(struct weir_gpu_stream *s, void *device, uint8_t byte, size_t bytes)
{
    return queue_locked(s, &(struct op){.what = FILL, .to = device, .byte = byte, .bytes = bytes});
}

weir_err weir_gpu_delay(struct weir_gpu_stream *s, uint32_t microseconds)
{
    (void)s, (void)microseconds;
    return WEIR_OK;
}

weir_err weir_gpu_event_new(struct weir_gpu *gpu, bool timed, struct weir_gpu_event **out)
{
    (void)gpu, (void)timed;
    *out = must(calloc(1, sizeof(**out)));
    return WEIR_OK;
}

void weir_gpu_event_free(struct weir_gpu_event *e)
{
    free(e);
}

weir_err weir_gpu_event_record(struct weir_gpu_event *e, struct weir_gpu_stream *s)
{
    pthread_mutex_lock(&lock);
    weir_err err = queue(s, &(struct op){.what = RECORD, .event = e, .version = ++e->recorded});
    go_on();
    pthread_mutex_unlock(&lock);
    return err;
}

weir_err weir_gpu_event_before(struct weir_gpu_event *e, struct weir_gpu_stream *s)
{
    pthread_mutex_lock(&lock);
    weir_err err = queue(s, &(struct op){.what = WAIT, .event = e, .version = e->recorded});
    pthread_mutex_unlock(&lock);
    return err;
}

weir_err weir_gpu_event_wait(struct weir_gpu_event *e)
{
    pthread_mutex_lock(&lock);
    run_for(e, e->recorded);
    pthread_mutex_unlock(&lock);
    return WEIR_OK;
}

weir_err weir_gpu_event_done(struct weir_gpu_event *e, bool *done)
{
    pthread_mutex_lock(&lock);
    go_on();
    *done = e->done == e->recorded;
    pthread_mutex_unlock(&lock);
    return WEIR_OK;
}

/* ---- decode.h ---- */

weir_err weir_gpu_coding_new(struct weir_gpu *gpu, const struct weir_coding *coding,
                             struct weir_gpu_coding **out)
{
    (void)gpu;
    *out = must(calloc(1, sizeof(**out)));
    (*out)->coding = must(malloc(weir_coding_bytes(coding->n_parts)));
    memcpy((*out)->coding, coding, weir_coding_bytes(coding->n_parts));
    return WEIR_OK;
}

void weir_gpu_coding_free(struct weir_gpu *gpu, struct weir_gpu_coding *coding)
{
    (void)gpu;
    if (coding)
        free(coding->coding);
    free(coding);
}

weir_err weir_gpu_batch_new(struct weir_gpu *gpu, size_t most, struct weir_gpu_batch **out)
{
    (void)gpu;
    *out = must(calloc(1, sizeof(**out)));
    (*out)->most = most;
    (*out)->tile = must(calloc(most, sizeof(struct weir_gpu_tile)));
    return WEIR_OK;
}

void weir_gpu_batch_free(struct weir_gpu *gpu, struct weir_gpu_batch *batch)
{
    (void)gpu;
    if (batch)
        free(batch->tile);
    free(batch);
}

weir_err weir_gpu_batch_set(struct weir_gpu_batch *batch, const struct weir_gpu_tile *tiles,
                            size_t n_tiles)
{
    pthread_mutex_lock(&lock);
    if (batch->queued)
        fail("a batch is set while it is queued");
    pthread_mutex_unlock(&lock);
    if (n_tiles > batch->most)
        return WEIR_ERR_INVALID;
    for (size_t i = 0; i < n_tiles; i++)
        if ((uintptr_t)tiles[i].payload % 16 || (uintptr_t)tiles[i].out % 16)
            return WEIR_ERR_INVALID;
    memcpy(batch->tile, tiles, n_tiles * sizeof(*tiles));
    batch->n = n_tiles;
    batch->done = false;
    return WEIR_OK;
}

weir_err weir_gpu_decode(struct weir_gpu_stream *s, struct weir_gpu_batch *batch)
{
    pthread_mutex_lock(&lock);
    batch->queued++;
    weir_err err = queue(s, &(struct op){.what = DECODE, .batch = batch});
    go_on();
    pthread_mutex_unlock(&lock);
    return err;
}

weir_err weir_gpu_batch_result(const struct weir_gpu_batch *batch, size_t *bad_tile)
{
    pthread_mutex_lock(&lock);
    if (!batch->done)
        fail("a batch is looked at before it is done");
    *bad_tile = batch->bad;
    weir_err err = batch->bad < batch->n ? WEIR_ERR_CORRUPT : WEIR_OK;
    pthread_mutex_unlock(&lock);
    return err;
}

/* ---- matrix.h ---- */

static uint64_t units_bytes(uint32_t n_rows, uint32_t n_columns)
{
    return weir_form_units(n_rows, n_columns) * WEIR_FORM_UNIT_BYTES;
}

uint64_t weir_gpu_matrix_bytes(enum weir_gpu_form form, uint32_t n_rows, uint32_t n_columns,
                               uint64_t exceptions)
{
    if (form == WEIR_GPU_ROWS)
        return (uint64_t)n_rows * n_columns * 2;
    return units_bytes(n_rows, n_columns) + exceptions * 8;
}

weir_err weir_gpu_matrix_begin(struct weir_gpu_stream *s, void *room, uint32_t n_rows,
                               uint32_t n_columns, uint64_t exceptions, const uint8_t high[8],
                               struct weir_gpu_matrix *out)
{
    *out = (struct weir_gpu_matrix){.form = WEIR_GPU_PACKED, .n_rows = n_rows,
                                    .n_columns = n_columns, .at = room};
    memcpy(out->high, high, 8);
    pthread_mutex_lock(&lock);
    struct aside *a = aside_of(room);
    if (a)
        fail("two matrices in one place");
    a = must(calloc(1, sizeof(*a)));
    *a = (struct aside){asides, room, must(calloc((size_t)n_rows * n_columns, 2)), exceptions, 0};
    asides = a;
    pthread_mutex_unlock(&lock);
    return weir_gpu_fill(s, room, 0, (size_t)weir_gpu_matrix_bytes(WEIR_GPU_PACKED, n_rows,
                                                                   n_columns, exceptions));
}

weir_err weir_gpu_matrix_pack(struct weir_gpu_stream *s, const struct weir_gpu_matrix *m,
                              uint32_t first_row, uint32_t n_rows, const void *rows)
{
    if ((uintptr_t)rows % 16)
        return WEIR_ERR_INVALID;
    return queue_locked(s, &(struct op){.what = PACK, .matrix = *m, .first_row = first_row,
                                        .n_rows = n_rows, .from = rows});
}

weir_err weir_gpu_matrix_check_wait(struct weir_gpu_stream *s, const struct weir_gpu_matrix *m,
                                    bool *fits, uint64_t *exceptions)
{
    pthread_mutex_lock(&lock);
    run_all(s);
    const struct aside *a = aside_of(m->at);
    *fits = a->odd <= a->most; /* the real one has some room more */
    *exceptions = a->odd;
    pthread_mutex_unlock(&lock);
    return WEIR_OK;
}

weir_err weir_gpu_matrix_unpack(struct weir_gpu_stream *s, const struct weir_gpu_matrix *m,
                                uint32_t first_row, uint32_t n_rows, void *rows)
{
    return queue_locked(s, &(struct op){.what = UNPACK, .matrix = *m, .first_row = first_row,
                                        .n_rows = n_rows, .to = rows});
}
