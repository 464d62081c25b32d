#include <stdio.h>
#include <stdlib.h>

#include "fake.h"

enum { NAN_BYTE = 0xff };

struct block {
    struct block *next;
    uint64_t bytes;
    char *at;
};

struct weir_gpu {
    uint64_t limit, taken, peak;
    struct block *blocks, *pinned;
};

struct job {
    fake_work work;
    _Alignas(max_align_t) char what[FAKE_MOST_BYTES];
};

struct weir_gpu_graph {
    struct job *job;
    size_t n;
};

enum { MOST_STREAMS = 1 << 14 };

struct weir_gpu_stream {
    struct weir_gpu *gpu;
    size_t id;
    struct job *job;                 /* queued and not done */
    size_t n, room;                  /* of these */
    size_t n_before;                 /* that were done and are no longer in the list */
    size_t at;                       /* of the list, that are done */
    struct weir_gpu_graph *recorded; /* NULL: none */
};

struct weir_gpu_event {
    size_t stream, number; /* after so many jobs of it; stream 0: never recorded */
};

static struct weir_gpu_stream *streams[MOST_STREAMS]; /* by id, none of which comes twice */
static size_t n_streams = 1;
static long calls, failing_call, recordings, failing_recording;

void fake_gpu_fail(long n)
{
    failing_call = n ? calls + n : 0;
}

void fake_gpu_fail_recording(long n)
{
    failing_recording = n ? recordings + n : 0;
}

long fake_gpu_calls(void)
{
    return calls;
}

/* ---- work, done late ---- */

static weir_err append(struct weir_gpu_stream *s, fake_work work, const void *what, size_t size)
{
    if (s->n == s->room) {
        const size_t room = s->room ? 2 * s->room : 64;
        struct job *more = realloc(s->job, room * sizeof(*more));
        if (!more)
            return WEIR_ERR_NOMEM;
        s->job = more;
        s->room = room;
    }
    s->job[s->n].work = work;
    memcpy(s->job[s->n++].what, what, size);
    return WEIR_OK;
}

/* Jobs of a stream, until so many were ever done; a job may be waiting for another stream. */
static void do_until(struct weir_gpu_stream *s, size_t number)
{
    while (s->n_before + s->at < number) {
        const struct job job = s->job[s->at++];
        job.work(job.what);
    }
    if (s->at == s->n) {
        s->n_before += s->n;
        s->at = s->n = 0;
    }
}

static void do_all(struct weir_gpu_stream *s)
{
    do_until(s, s->n_before + s->n);
}

static void do_everything(void)
{
    for (size_t i = 1; i < n_streams; i++)
        if (streams[i])
            do_all(streams[i]);
}

static void do_event(const void *what)
{
    const struct weir_gpu_event *e = what;
    struct weir_gpu_stream *s = streams[e->stream];
    if (s)
        do_until(s, e->number);
}

weir_err fake_queue(struct weir_gpu_stream *s, fake_work work, const void *what, size_t size)
{
    if (++calls == failing_call)
        return WEIR_ERR_IO;
    struct weir_gpu_graph *g = s->recorded;
    if (!g)
        return append(s, work, what, size);
    struct job *more = realloc(g->job, (g->n + 1) * sizeof(*more));
    if (!more)
        return WEIR_ERR_NOMEM;
    g->job = more;
    g->job[g->n].work = work;
    memcpy(g->job[g->n++].what, what, size);
    return WEIR_OK;
}

/* ---- the device ---- */

weir_err weir_gpu_open(int device, struct weir_gpu **out, struct weir_diag *diag)
{
    if (device != 0) {
        weir_diag_set(diag, "no CUDA device %d: this is a fake one", device);
        return WEIR_ERR_NOT_FOUND;
    }
    struct weir_gpu *gpu = calloc(1, sizeof(*gpu));
    if (!gpu)
        return WEIR_ERR_NOMEM;
    gpu->limit = UINT64_MAX;
    *out = gpu;
    return WEIR_OK;
}

void weir_gpu_close(struct weir_gpu *gpu)
{
    if (gpu && (gpu->blocks || gpu->pinned))
        printf("FAILED: memory of the device is left\n");
    free(gpu);
}

void weir_gpu_info(const struct weir_gpu *gpu, struct weir_gpu_info *out)
{
    (void)gpu;
    *out = (struct weir_gpu_info){"fake", (uint64_t)1 << 33, 1, 9, 0};
}

void weir_gpu_limit(struct weir_gpu *gpu, uint64_t bytes)
{
    gpu->limit = bytes;
}

void *weir_gpu_alloc(struct weir_gpu *gpu, size_t bytes)
{
    const size_t whole = (bytes + WEIR_GPU_ALIGN - 1) / WEIR_GPU_ALIGN * WEIR_GPU_ALIGN;
    if (gpu->taken > gpu->limit || whole > gpu->limit - gpu->taken)
        return NULL;
    struct block *b = calloc(1, sizeof(*b));
    if (!b)
        return NULL;
    b->at = aligned_alloc(WEIR_GPU_ALIGN, whole ? whole : WEIR_GPU_ALIGN);
    if (!b->at) {
        free(b);
        return NULL;
    }
    memset(b->at, NAN_BYTE, whole);
    b->bytes = whole;
    b->next = gpu->blocks;
    gpu->blocks = b;
    gpu->taken += whole;
    gpu->peak = gpu->taken > gpu->peak ? gpu->taken : gpu->peak;
    return b->at;
}

/* Frees it; its bytes. */
static uint64_t take_out(struct block **at, const void *memory)
{
    while (*at && (*at)->at != memory)
        at = &(*at)->next;
    if (!memory || !*at)
        return 0;
    struct block *b = *at;
    const uint64_t bytes = b->bytes;
    *at = b->next;
    free(b->at);
    free(b);
    return bytes;
}

void weir_gpu_free(struct weir_gpu *gpu, void *device)
{
    do_everything();
    gpu->taken -= take_out(&gpu->blocks, device);
}

void weir_gpu_count_foreign(struct weir_gpu *gpu, int64_t bytes)
{
    gpu->taken += (uint64_t)bytes;
}

void *weir_gpu_alloc_host(struct weir_gpu *gpu, size_t bytes)
{
    struct block *b = calloc(1, sizeof(*b));
    if (!b)
        return NULL;
    b->at = malloc(bytes ? bytes : 1);
    if (!b->at) {
        free(b);
        return NULL;
    }
    memset(b->at, NAN_BYTE, bytes);
    b->bytes = bytes;
    b->next = gpu->pinned;
    gpu->pinned = b;
    return b->at;
}

void weir_gpu_free_host(struct weir_gpu *gpu, void *pinned)
{
    (void)take_out(&gpu->pinned, pinned);
}

weir_err weir_gpu_usage(struct weir_gpu *gpu, struct weir_gpu_usage *out)
{
    const uint64_t all = (uint64_t)1 << 33;
    *out = (struct weir_gpu_usage){gpu->taken, gpu->peak, gpu->taken, all - gpu->taken};
    return WEIR_OK;
}

/* ---- streams ---- */

weir_err weir_gpu_stream_new(struct weir_gpu *gpu, struct weir_gpu_stream **out)
{
    struct weir_gpu_stream *s = calloc(1, sizeof(*s));
    if (!s || n_streams == MOST_STREAMS) {
        free(s);
        return WEIR_ERR_NOMEM;
    }
    s->gpu = gpu;
    s->id = n_streams++;
    streams[s->id] = s;
    *out = s;
    return WEIR_OK;
}

void weir_gpu_stream_free(struct weir_gpu_stream *s)
{
    if (!s)
        return;
    do_all(s);
    streams[s->id] = NULL;
    free(s->job);
    free(s);
}

weir_err weir_gpu_stream_wait(struct weir_gpu_stream *s)
{
    do_all(s);
    return WEIR_OK;
}

struct copying {
    void *to;
    const void *from;
    size_t bytes;
};

static void do_copy(const void *what)
{
    const struct copying *c = what;
    memcpy(c->to, c->from, c->bytes);
}

static bool is_pinned(const struct weir_gpu *gpu, const char *host)
{
    const struct block *b = gpu->pinned;
    while (b && (host < b->at || host >= b->at + b->bytes))
        b = b->next;
    return b != NULL;
}

/* Of a host's memory that is not pinned the call waits. */
static weir_err copy(struct weir_gpu_stream *s, const struct copying *c, const void *host)
{
    weir_err err = fake_queue(s, do_copy, c, sizeof(*c));
    if (!err && !s->recorded && !is_pinned(s->gpu, host))
        do_all(s);
    return err;
}

weir_err weir_gpu_to_device(struct weir_gpu_stream *s, void *device, const void *host, size_t bytes)
{
    return copy(s, &(struct copying){device, host, bytes}, host);
}

weir_err weir_gpu_to_host(struct weir_gpu_stream *s, void *host, const void *device, size_t bytes)
{
    return copy(s, &(struct copying){host, device, bytes}, host);
}

weir_err weir_gpu_copy(struct weir_gpu_stream *s, void *to, const void *from, size_t bytes)
{
    return fake_queue(s, do_copy, &(struct copying){to, from, bytes}, sizeof(struct copying));
}

struct filling {
    void *to;
    uint8_t byte;
    size_t bytes;
};

static void do_fill(const void *what)
{
    const struct filling *f = what;
    memset(f->to, f->byte, f->bytes);
}

weir_err weir_gpu_fill(struct weir_gpu_stream *s, void *device, uint8_t byte, size_t bytes)
{
    return fake_queue(s, do_fill, &(struct filling){device, byte, bytes}, sizeof(struct filling));
}

static void do_nothing(const void *what)
{
    (void)what;
}

weir_err weir_gpu_delay(struct weir_gpu_stream *s, uint32_t microseconds)
{
    return fake_queue(s, do_nothing, &microseconds, sizeof(microseconds));
}

/* ---- events ---- */

weir_err weir_gpu_event_new(struct weir_gpu *gpu, bool timed, struct weir_gpu_event **out)
{
    (void)gpu;
    (void)timed;
    struct weir_gpu_event *e = calloc(1, sizeof(*e));
    if (e)
        *out = e;
    return e ? WEIR_OK : WEIR_ERR_NOMEM;
}

void weir_gpu_event_free(struct weir_gpu_event *e)
{
    free(e);
}

weir_err weir_gpu_event_record(struct weir_gpu_event *e, struct weir_gpu_stream *s)
{
    *e = (struct weir_gpu_event){s->id, s->n_before + s->n};
    return WEIR_OK;
}

weir_err weir_gpu_event_before(struct weir_gpu_event *e, struct weir_gpu_stream *s)
{
    return e->stream ? append(s, do_event, e, sizeof(*e)) : WEIR_OK;
}

/* Streams have speeds of their own: some other may be far ahead, or this one, or none. */
weir_err weir_gpu_event_wait(struct weir_gpu_event *e)
{
    static uint64_t random = 1;
    random = random * 6364136223846793005U + 1442695040888963407U;
    struct weir_gpu_stream *other = streams[(random >> 40) % n_streams], *own = streams[e->stream];
    if (other && (random >> 62) == 0)
        do_all(other);
    do_event(e);
    if (own && (random >> 61) % 2 == 0)
        do_all(own);
    return WEIR_OK;
}

weir_err weir_gpu_event_done(struct weir_gpu_event *e, bool *done)
{
    do_event(e);
    *done = true;
    return WEIR_OK;
}

weir_err weir_gpu_event_ms(struct weir_gpu_event *from, struct weir_gpu_event *to, float *ms)
{
    (void)from;
    (void)to;
    *ms = 0;
    return WEIR_OK;
}

/* ---- recorded work ---- */

weir_err weir_gpu_record_begin(struct weir_gpu_stream *s)
{
    if (++recordings == failing_recording)
        return WEIR_ERR_IO;
    s->recorded = calloc(1, sizeof(*s->recorded));
    return s->recorded ? WEIR_OK : WEIR_ERR_NOMEM;
}

weir_err weir_gpu_record_end(struct weir_gpu_stream *s, struct weir_gpu_graph **out)
{
    struct weir_gpu_graph *g = s->recorded;
    s->recorded = NULL;
    if (++recordings == failing_recording) {
        weir_gpu_graph_free(g);
        return WEIR_ERR_NOMEM;
    }
    *out = g;
    return WEIR_OK;
}

static void do_graph(const void *what)
{
    struct weir_gpu_graph *const *graph = what;
    const struct weir_gpu_graph *g = *graph;
    for (size_t i = 0; i < g->n; i++)
        g->job[i].work(g->job[i].what);
}

weir_err weir_gpu_graph_launch(struct weir_gpu_graph *g, struct weir_gpu_stream *s)
{
    return fake_queue(s, do_graph, &g, sizeof(struct weir_gpu_graph *));
}

void weir_gpu_graph_free(struct weir_gpu_graph *g)
{
    if (g)
        free(g->job);
    free(g);
}
