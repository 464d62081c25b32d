/* Work of a GPU: streams, events, recorded work. */
#include <stdlib.h>

#include "gpu_private.h"

struct weir_gpu_graph {
    cudaGraphExec_t cuda;
};

/* ---- streams ---- */

weir_err weir_gpu_stream_new(struct weir_gpu *gpu, struct weir_gpu_stream **out)
{
    struct weir_gpu_stream *s = (struct weir_gpu_stream *)calloc(1, sizeof(*s));
    if (!s)
        return WEIR_ERR_NOMEM;
    s->gpu = gpu;
    cudaError_t e = cudaStreamCreateWithFlags(&s->cuda, cudaStreamNonBlocking);
    if (e != cudaSuccess)
        free(s);
    else
        *out = s;
    return gpu_err(e);
}

void weir_gpu_stream_free(struct weir_gpu_stream *s)
{
    if (!s)
        return;
    (void)cudaStreamSynchronize(s->cuda);
    (void)cudaStreamDestroy(s->cuda);
    free(s);
}

weir_err weir_gpu_stream_wait(struct weir_gpu_stream *s)
{
    return gpu_err(cudaStreamSynchronize(s->cuda));
}

weir_err weir_gpu_to_device(struct weir_gpu_stream *s, void *device, const void *host, size_t bytes)
{
    return gpu_err(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, s->cuda));
}

weir_err weir_gpu_to_host(struct weir_gpu_stream *s, void *host, const void *device, size_t bytes)
{
    return gpu_err(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, s->cuda));
}

weir_err weir_gpu_copy(struct weir_gpu_stream *s, void *to, const void *from, size_t bytes)
{
    return gpu_err(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, s->cuda));
}

weir_err weir_gpu_fill(struct weir_gpu_stream *s, void *device, uint8_t byte, size_t bytes)
{
    return gpu_err(cudaMemsetAsync(device, byte, bytes, s->cuda));
}

static __global__ void spin(uint32_t microseconds)
{
    uint64_t begin, now;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(begin));
    do {
        asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
    } while (now - begin < 1000ull * microseconds);
}

weir_err weir_gpu_delay(struct weir_gpu_stream *s, uint32_t microseconds)
{
    return gpu_launch(s, gpu_grid{dim3(1), dim3(1), 0, false}, spin, microseconds);
}

/* ---- events ---- */

weir_err weir_gpu_event_new(struct weir_gpu *gpu, bool timed, struct weir_gpu_event **out)
{
    (void)gpu;
    struct weir_gpu_event *e = (struct weir_gpu_event *)calloc(1, sizeof(*e));
    if (!e)
        return WEIR_ERR_NOMEM;
    cudaError_t r =
        cudaEventCreateWithFlags(&e->cuda, timed ? cudaEventDefault : cudaEventDisableTiming);
    if (r != cudaSuccess)
        free(e);
    else
        *out = e;
    return gpu_err(r);
}

void weir_gpu_event_free(struct weir_gpu_event *e)
{
    if (!e)
        return;
    (void)cudaEventDestroy(e->cuda);
    free(e);
}

weir_err weir_gpu_event_record(struct weir_gpu_event *e, struct weir_gpu_stream *s)
{
    return gpu_err(cudaEventRecord(e->cuda, s->cuda));
}

weir_err weir_gpu_event_before(struct weir_gpu_event *e, struct weir_gpu_stream *s)
{
    return gpu_err(cudaStreamWaitEvent(s->cuda, e->cuda, 0));
}

weir_err weir_gpu_event_wait(struct weir_gpu_event *e)
{
    return gpu_err(cudaEventSynchronize(e->cuda));
}

weir_err weir_gpu_event_done(struct weir_gpu_event *e, bool *done)
{
    cudaError_t r = cudaEventQuery(e->cuda);
    *done = r == cudaSuccess;
    if (r != cudaErrorNotReady)
        return gpu_err(r);
    (void)cudaGetLastError(); /* no error: the next launch is not to find it */
    return WEIR_OK;
}

weir_err weir_gpu_event_ms(struct weir_gpu_event *from, struct weir_gpu_event *to, float *ms)
{
    return gpu_err(cudaEventElapsedTime(ms, from->cuda, to->cuda));
}

/* ---- recorded work ---- */

/* Who records can go on without: what failed here is not to be found by the next launch. */
static weir_err recording_err(cudaError_t e)
{
    if (e != cudaSuccess)
        (void)cudaGetLastError();
    return gpu_err(e);
}

weir_err weir_gpu_record_begin(struct weir_gpu_stream *s)
{
    return recording_err(cudaStreamBeginCapture(s->cuda, cudaStreamCaptureModeThreadLocal));
}

weir_err weir_gpu_record_end(struct weir_gpu_stream *s, struct weir_gpu_graph **out)
{
    cudaGraph_t recorded = NULL;
    cudaError_t e = cudaStreamEndCapture(s->cuda, &recorded);
    if (e != cudaSuccess)
        return recording_err(e);
    struct weir_gpu_graph *g = (struct weir_gpu_graph *)calloc(1, sizeof(*g));
    weir_err err = g ? recording_err(cudaGraphInstantiate(&g->cuda, recorded, 0)) : WEIR_ERR_NOMEM;
    (void)cudaGraphDestroy(recorded);
    if (err)
        free(g);
    else
        *out = g;
    return err;
}

weir_err weir_gpu_graph_launch(struct weir_gpu_graph *g, struct weir_gpu_stream *s)
{
    return gpu_err(cudaGraphLaunch(g->cuda, s->cuda));
}

void weir_gpu_graph_free(struct weir_gpu_graph *g)
{
    if (!g)
        return;
    (void)cudaGraphExecDestroy(g->cuda);
    free(g);
}
