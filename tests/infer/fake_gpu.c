/* fake_gpu.c - cuda/'s headers without a GPU, for tests of who uses them: what is queued is done as
 * late as it may be, or at random earlier, stream by stream, so that an event that is missing shows
 * as wrong bytes.  Device memory is the heap's: sanitizers watch it.
 *
 * Of matrix.h what moves matrices; a packed one has its rows kept aside.  FAKE_GPU_SEED chooses
 * what is done early; 0: nothing. */
#include "fake_gpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_STREAMS = 24, MOST_ROUNDS = 8 };

struct block {
    struct block *next;
    uint8_t *at;
    size_t bytes;
};

struct weir_gpu {
    uint64_t limit, taken, peak;
};

pthread_mutex_t fake_lock = PTHREAD_MUTEX_INITIALIZER;
static struct weir_gpu_stream *stream[MOST_STREAMS];
static struct block *blocks;
static uint64_t random_state;
static bool at_once;

void fake_fail(const char *why)
{
    fprintf(stderr, "fake GPU: %s\n", why);
    abort();
}

void *fake_must(void *p)
{
    if (!p)
        fake_fail("no memory");
    return p;
}

/* ---- when ---- */

static void run_for(const struct weir_gpu_event *e, uint64_t version);

static void do_first(struct weir_gpu_stream *s)
{
    struct fake_op *op = s->first;
    if (op->what == WAIT)
        run_for(op->event, op->version);
    if (op->what == COPY)
        memcpy(op->to, op->from, op->bytes);
    if (op->what == FILL)
        memset(op->to, op->byte, op->bytes);
    if (op->what == RECORD)
        op->event->done = op->version;
    if (op->what == DECODE || op->what == PACK || op->what == UNPACK)
        fake_do(op);
    s->first = op->behind;
    free(op);
}

/* Until the event has been recorded so often. */
static void run_for(const struct weir_gpu_event *e, uint64_t version)
{
    while (e->done < version) {
        struct weir_gpu_stream *holder = NULL;
        for (size_t i = 0; i < MOST_STREAMS; i++)
            for (const struct fake_op *op = stream[i] ? stream[i]->first : NULL; op;
                 op = op->behind)
                if (op->what == RECORD && op->event == e && op->version <= version)
                    holder = stream[i];
        if (!holder)
            fake_fail("an event that nobody records");
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

void fake_run(struct weir_gpu_stream *s)
{
    while (s->first)
        do_first(s);
}

static void queue(struct weir_gpu_stream *s, const struct fake_op *op)
{
    struct fake_op *mine = fake_must(malloc(sizeof(*mine)));
    *mine = *op;
    mine->behind = NULL;
    if (s->first)
        s->last->behind = mine;
    else
        s->first = mine;
    s->last = mine;
    if (at_once)
        fake_run(s);
}

void fake_at_once(bool on)
{
    pthread_mutex_lock(&fake_lock);
    at_once = on;
    pthread_mutex_unlock(&fake_lock);
}

void fake_queue(struct weir_gpu_stream *s, const struct fake_op *op)
{
    pthread_mutex_lock(&fake_lock);
    queue(s, op);
    go_on();
    pthread_mutex_unlock(&fake_lock);
}

/* ---- gpu.h ---- */

weir_err weir_gpu_open(int device, struct weir_gpu **out, struct weir_diag *diag)
{
    const char *seed = getenv("FAKE_GPU_SEED");
    (void)device, (void)diag;
    random_state = seed ? strtoull(seed, NULL, 10) : 1;
    *out = fake_must(calloc(1, sizeof(**out)));
    (*out)->limit = UINT64_MAX;
    return WEIR_OK;
}

void weir_gpu_close(struct weir_gpu *gpu)
{
    if (gpu && (gpu->taken || blocks))
        fake_fail("memory is still out");
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

static void *add_block(size_t bytes)
{
    struct block *b = fake_must(malloc(sizeof(*b)));
    *b = (struct block){blocks, fake_must(aligned_alloc(256, (bytes + 255) / 256 * 256 + 256)),
                        bytes};
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
        fake_fail("memory that is not out");
    struct block *gone = *b;
    const size_t bytes = gone->bytes;
    *b = gone->next;
    free(gone->at);
    free(gone);
    return bytes;
}

static size_t whole(size_t bytes)
{
    return (bytes + WEIR_GPU_ALIGN - 1) / WEIR_GPU_ALIGN * WEIR_GPU_ALIGN;
}

void *weir_gpu_alloc(struct weir_gpu *gpu, size_t bytes)
{
    if (whole(bytes) > gpu->limit || gpu->taken > gpu->limit - whole(bytes))
        return NULL;
    pthread_mutex_lock(&fake_lock);
    gpu->taken += whole(bytes);
    gpu->peak = gpu->taken > gpu->peak ? gpu->taken : gpu->peak;
    void *p = add_block(bytes);
    pthread_mutex_unlock(&fake_lock);
    return p;
}

void weir_gpu_free(struct weir_gpu *gpu, void *device)
{
    if (!device)
        return;
    pthread_mutex_lock(&fake_lock);
    for (size_t i = 0; i < MOST_STREAMS; i++)
        if (stream[i])
            fake_run(stream[i]);
    const uint8_t *from = device;
    const size_t bytes = drop_block(device);
    fake_drop_asides(from, from + bytes);
    gpu->taken -= whole(bytes);
    pthread_mutex_unlock(&fake_lock);
}

void *weir_gpu_alloc_host(struct weir_gpu *gpu, size_t bytes)
{
    (void)gpu;
    pthread_mutex_lock(&fake_lock);
    void *p = add_block(bytes);
    pthread_mutex_unlock(&fake_lock);
    return p;
}

void weir_gpu_free_host(struct weir_gpu *gpu, void *pinned)
{
    (void)gpu;
    if (!pinned)
        return;
    pthread_mutex_lock(&fake_lock);
    drop_block(pinned);
    pthread_mutex_unlock(&fake_lock);
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
            *out = stream[i] = fake_must(calloc(1, sizeof(*stream[i])));
            return WEIR_OK;
        }
    }
    return WEIR_ERR_NOMEM;
}

void weir_gpu_stream_free(struct weir_gpu_stream *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&fake_lock);
    fake_run(s);
    for (size_t i = 0; i < MOST_STREAMS; i++)
        if (stream[i] == s)
            stream[i] = NULL;
    pthread_mutex_unlock(&fake_lock);
    free(s);
}

weir_err weir_gpu_stream_wait(struct weir_gpu_stream *s)
{
    pthread_mutex_lock(&fake_lock);
    fake_run(s);
    pthread_mutex_unlock(&fake_lock);
    return WEIR_OK;
}

static weir_err queue_copy(struct weir_gpu_stream *s, void *to, const void *from, size_t bytes)
{
    fake_queue(s, &(struct fake_op){.what = COPY, .to = to, .from = from, .bytes = bytes});
    return WEIR_OK;
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
    fake_queue(s, &(struct fake_op){.what = FILL, .to = device, .byte = byte, .bytes = bytes});
    return WEIR_OK;
}

weir_err weir_gpu_delay(struct weir_gpu_stream *s, uint32_t microseconds)
{
    (void)s, (void)microseconds;
    return WEIR_OK;
}

weir_err weir_gpu_event_new(struct weir_gpu *gpu, bool timed, struct weir_gpu_event **out)
{
    (void)gpu, (void)timed;
    *out = fake_must(calloc(1, sizeof(**out)));
    return WEIR_OK;
}

void weir_gpu_event_free(struct weir_gpu_event *e)
{
    free(e);
}

weir_err weir_gpu_event_record(struct weir_gpu_event *e, struct weir_gpu_stream *s)
{
    pthread_mutex_lock(&fake_lock);
    queue(s, &(struct fake_op){.what = RECORD, .event = e, .version = ++e->recorded});
    go_on();
    pthread_mutex_unlock(&fake_lock);
    return WEIR_OK;
}

weir_err weir_gpu_event_before(struct weir_gpu_event *e, struct weir_gpu_stream *s)
{
    pthread_mutex_lock(&fake_lock);
    queue(s, &(struct fake_op){.what = WAIT, .event = e, .version = e->recorded});
    pthread_mutex_unlock(&fake_lock);
    return WEIR_OK;
}

weir_err weir_gpu_event_wait(struct weir_gpu_event *e)
{
    pthread_mutex_lock(&fake_lock);
    run_for(e, e->recorded);
    pthread_mutex_unlock(&fake_lock);
    return WEIR_OK;
}

weir_err weir_gpu_event_done(struct weir_gpu_event *e, bool *done)
{
    pthread_mutex_lock(&fake_lock);
    go_on();
    *done = e->done == e->recorded;
    pthread_mutex_unlock(&fake_lock);
    return WEIR_OK;
}
