/* gpu.h - a GPU seen from C: its memory, work queued on it, and when that is done.
 *
 * Nothing here is CUDA's own, so who includes it needs no CUDA.  The driver is loaded when a device
 * is first asked for.  A call whose name ends in _wait waits for the device; the others queue work
 * or do nothing on it.  Work of one stream is done in order; between streams only events order it.
 *
 * "Device memory" is what weir_gpu_alloc() returns, "pinned" what weir_gpu_alloc_host() returns.
 * A weir_gpu and all that belongs to it is for one thread at a time, but for this: while one thread
 * uses it, another that has called weir_gpu_use() may queue work on streams, record events and wait
 * for them, if nobody else uses those streams, or records those events, meanwhile.  Pinned memory
 * is anybody's.
 * A fault of queued work shows in a later call as WEIR_ERR_IO; the device is of no use then. */
#ifndef WEIR_CUDA_GPU_H
#define WEIR_CUDA_GPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/err.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_gpu;        /* opaque, as all of these */
struct weir_gpu_stream; /* a queue of work */
struct weir_gpu_event;  /* a place in a queue */
struct weir_gpu_graph;  /* work recorded once, queued as one */

enum { WEIR_GPU_ALIGN = 256 }; /* of device memory */

/* WEIR_ERR_NOT_FOUND without such a device or a driver; *diag says what is missing;
 * WEIR_ERR_UNSUPPORTED below compute capability 8.0; WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err weir_gpu_open(int device, struct weir_gpu **out, struct weir_diag *diag);
/* Everything of it has been freed before.  NULL is fine. */
void weir_gpu_close(struct weir_gpu *gpu);

/* Lets the calling thread use it, too. */
WEIR_MUST_CHECK weir_err weir_gpu_use(struct weir_gpu *gpu);

struct weir_gpu_info {
    char name[128];
    uint64_t memory_bytes; /* of the device */
    uint32_t n_processors; /* multiprocessors */
    uint32_t major, minor; /* compute capability */
};
void weir_gpu_info(const struct weir_gpu *gpu, struct weir_gpu_info *out);

/* ---- memory ---- */

/* Device memory may be taken up to `bytes` together; at the start UINT64_MAX. */
void weir_gpu_limit(struct weir_gpu *gpu, uint64_t bytes);

/* NULL when there is none, or it would pass the limit. */
void *weir_gpu_alloc(struct weir_gpu *gpu, size_t bytes);
void weir_gpu_free(struct weir_gpu *gpu, void *device); /* waits for the device; NULL is fine */

/* Counts memory that somebody else (a library) takes on the device for us; negative: gave back. */
void weir_gpu_count_foreign(struct weir_gpu *gpu, int64_t bytes);

void *weir_gpu_alloc_host(struct weir_gpu *gpu, size_t bytes); /* NULL when there is none */
void weir_gpu_free_host(struct weir_gpu *gpu, void *pinned);   /* NULL is fine */

struct weir_gpu_usage {
    uint64_t taken, peak; /* as counted, bytes */
    uint64_t measured;    /* by how much the device's free memory has become less since it was
                             opened: others that use it, and modules loaded, are in it */
    uint64_t free_bytes;  /* of the device, now */
};
WEIR_MUST_CHECK weir_err weir_gpu_usage(struct weir_gpu *gpu, struct weir_gpu_usage *out);

/* ---- streams ---- */

WEIR_MUST_CHECK weir_err weir_gpu_stream_new(struct weir_gpu *gpu, struct weir_gpu_stream **out);
void weir_gpu_stream_free(struct weir_gpu_stream *s); /* waits for its work; NULL is fine */
WEIR_MUST_CHECK weir_err weir_gpu_stream_wait(struct weir_gpu_stream *s);

/* Queued copies.  Host memory that is pinned must stay as it is until they are done; other host
 * memory makes the call wait for them. */
WEIR_MUST_CHECK weir_err weir_gpu_to_device(struct weir_gpu_stream *s, void *device,
                                            const void *host, size_t bytes);
WEIR_MUST_CHECK weir_err weir_gpu_to_host(struct weir_gpu_stream *s, void *host, const void *device,
                                          size_t bytes);
WEIR_MUST_CHECK weir_err weir_gpu_copy(struct weir_gpu_stream *s, void *to, const void *from,
                                       size_t bytes);
WEIR_MUST_CHECK weir_err weir_gpu_fill(struct weir_gpu_stream *s, void *device, uint8_t byte,
                                       size_t bytes);

/* Keeps the stream busy for so long: for tests that look for races. */
WEIR_MUST_CHECK weir_err weir_gpu_delay(struct weir_gpu_stream *s, uint32_t microseconds);

/* ---- events ---- */

/* timed: weir_gpu_event_ms() is wanted. */
WEIR_MUST_CHECK weir_err weir_gpu_event_new(struct weir_gpu *gpu, bool timed,
                                            struct weir_gpu_event **out);
void weir_gpu_event_free(struct weir_gpu_event *e); /* NULL is fine */

/* The event is where the stream's queue ends now. */
WEIR_MUST_CHECK weir_err weir_gpu_event_record(struct weir_gpu_event *e, struct weir_gpu_stream *s);
/* What is queued on `s` from now on begins after the event; one never recorded has happened. */
WEIR_MUST_CHECK weir_err weir_gpu_event_before(struct weir_gpu_event *e, struct weir_gpu_stream *s);
WEIR_MUST_CHECK weir_err weir_gpu_event_wait(struct weir_gpu_event *e); /* the caller waits */
/* WEIR_OK and *done. */
WEIR_MUST_CHECK weir_err weir_gpu_event_done(struct weir_gpu_event *e, bool *done);
/* Device time between two timed events that have happened, milliseconds. */
WEIR_MUST_CHECK weir_err weir_gpu_event_ms(struct weir_gpu_event *from, struct weir_gpu_event *to,
                                           float *ms);

/* ---- recorded work ---- */

/* What is queued on `s` until _end is recorded and not done.  Only queueing calls in between. After
 * an error of any of them _end is called all the same (*out stays untouched then). */
WEIR_MUST_CHECK weir_err weir_gpu_record_begin(struct weir_gpu_stream *s);
WEIR_MUST_CHECK weir_err weir_gpu_record_end(struct weir_gpu_stream *s,
                                             struct weir_gpu_graph **out);
WEIR_MUST_CHECK weir_err weir_gpu_graph_launch(struct weir_gpu_graph *g, struct weir_gpu_stream *s);
void weir_gpu_graph_free(struct weir_gpu_graph *g); /* not in use any more; NULL is fine */

#ifdef __cplusplus
}
#endif

#endif
