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
    struct block *blocks;
};

struct job {
    fake_work work;
    char what[FAKE_MOST_BYTES];
};

struct weir_gpu_graph {
    struct job *job;
    size_t n;
};

struct weir_gpu_stream {
    struct weir_gpu_graph *recorded; /* NULL: work is done at once */
};

struct weir_gpu_event {
    int unused;
};

static long calls, failing_call;

void fake_gpu_fail(long n)
{
    failing_call = n ? calls + n : 0;
}

long fake_gpu_calls(void)
{
    return calls;
}

weir_err fake_queue(struct weir_gpu_stream *s, fake_work work, const void *what, size_t size)
{
    if (++calls == failing_call)
        return WEIR_ERR_IO;
    if (!s->recorded) {
        work(what);
        return WEIR_OK;
    }
    struct weir_gpu_graph *g = s->recorded;
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
    if (gpu && gpu->blocks)
        fprintf(stderr, "FAILED: device memory is left\n");
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

void weir_gpu_free(struct weir_gpu *gpu, void *device)
{
    struct block **at = &gpu->blocks;
    while (*at && (*at)->at != device)
        at = &(*at)->next;
    if (!device || !*at)
        return;
    struct block *b = *at;
    *at = b->next;
    gpu->taken -= b->bytes;
    free(b->at);
    free(b);
}

void weir_gpu_count_foreign(struct weir_gpu *gpu, int64_t bytes)
{
    gpu->taken += (uint64_t)bytes;
}

void *weir_gpu_alloc_host(struct weir_gpu *gpu, size_t bytes)
{
    (void)gpu;
    void *p = malloc(bytes ? bytes : 1);
    if (p)
        memset(p, NAN_BYTE, bytes);
    return p;
}

void weir_gpu_free_host(struct weir_gpu *gpu, void *pinned)
{
    (void)gpu;
    free(pinned);
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
    (void)gpu;
    struct weir_gpu_stream *s = calloc(1, sizeof(*s));
    if (s)
        *out = s;
    return s ? WEIR_OK : WEIR_ERR_NOMEM;
}

void weir_gpu_stream_free(struct weir_gpu_stream *s)
{
    free(s);
}

weir_err weir_gpu_stream_wait(struct weir_gpu_stream *s)
{
    (void)s;
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

weir_err weir_gpu_to_device(struct weir_gpu_stream *s, void *device, const void *host, size_t bytes)
{
    return fake_queue(s, do_copy, &(struct copying){device, host, bytes}, sizeof(struct copying));
}

weir_err weir_gpu_to_host(struct weir_gpu_stream *s, void *host, const void *device, size_t bytes)
{
    return fake_queue(s, do_copy, &(struct copying){host, device, bytes}, sizeof(struct copying));
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
    (void)e;
    (void)s;
    return WEIR_OK;
}

weir_err weir_gpu_event_before(struct weir_gpu_event *e, struct weir_gpu_stream *s)
{
    (void)e;
    (void)s;
    return WEIR_OK;
}

weir_err weir_gpu_event_wait(struct weir_gpu_event *e)
{
    (void)e;
    return WEIR_OK;
}

weir_err weir_gpu_event_done(struct weir_gpu_event *e, bool *done)
{
    (void)e;
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
    s->recorded = calloc(1, sizeof(*s->recorded));
    return s->recorded ? WEIR_OK : WEIR_ERR_NOMEM;
}

weir_err weir_gpu_record_end(struct weir_gpu_stream *s, struct weir_gpu_graph **out)
{
    *out = s->recorded;
    s->recorded = NULL;
    return WEIR_OK;
}

weir_err weir_gpu_graph_launch(struct weir_gpu_graph *g, struct weir_gpu_stream *s)
{
    (void)s;
    if (++calls == failing_call)
        return WEIR_ERR_IO;
    for (size_t i = 0; i < g->n; i++)
        g->job[i].work(g->job[i].what);
    return WEIR_OK;
}

void weir_gpu_graph_free(struct weir_gpu_graph *g)
{
    if (g)
        free(g->job);
    free(g);
}
