#include "cuda/decode.h"

#include <cuda_runtime.h>
#include <stdlib.h>
#include <string.h>

#include "decode_kernel.cuh"

static const uint32_t NONE_BAD = UINT32_MAX;

struct weir_gpu {
    int device;
    cudaStream_t stream;
};

struct weir_gpu_coding {
    uint32_t *table; /* device */
    uint8_t raw_bits, drop_bits;
    bool sign_first, has_zero;
    uint16_t base;
};

/* Fast kernels exist for floats with these many raw bits; kind 0 and 1 are the slow kernel's. */
enum { FAST_LOW = 5, FAST_HIGH = 11, N_KINDS = 2 * (FAST_HIGH - FAST_LOW + 2) };

/* Blocks of one kernel, consecutive in weir_gpu_batch.blocks. */
struct launch {
    uint32_t first_block, n_blocks;
};

struct weir_gpu_batch {
    struct device_tile *tiles;   /* device */
    struct device_block *blocks; /* device */
    uint32_t *bad;               /* device: the first bad tile in `tiles`, or NONE_BAD */
    uint32_t *order;             /* host: the caller's number of each tile in `tiles` */
    struct launch launch[N_KINDS];
};

static weir_err from_cuda(cudaError_t e)
{
    if (e == cudaSuccess)
        return WEIR_OK;
    return e == cudaErrorMemoryAllocation ? WEIR_ERR_NOMEM : WEIR_ERR_IO;
}

/* ---- device and memory ---- */

weir_err weir_gpu_open(int device, struct weir_gpu **out, struct weir_diag *diag)
{
    int n = 0, major = 0;
    cudaError_t e = cudaGetDeviceCount(&n);
    if (e != cudaSuccess || device < 0 || device >= n) {
        weir_diag_set(diag, "no CUDA device %d: %s", device,
                      e != cudaSuccess ? cudaGetErrorString(e) : "there are fewer");
        return WEIR_ERR_NOT_FOUND;
    }
    e = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
    if (e == cudaSuccess && major < 8) {
        weir_diag_set(diag, "CUDA device %d is older than compute capability 8.0", device);
        return WEIR_ERR_UNSUPPORTED;
    }
    struct weir_gpu *gpu = (struct weir_gpu *)calloc(1, sizeof(*gpu));
    if (!gpu)
        return WEIR_ERR_NOMEM;
    gpu->device = device;
    if (e == cudaSuccess)
        e = cudaSetDevice(device);
    if (e == cudaSuccess)
        e = cudaStreamCreateWithFlags(&gpu->stream, cudaStreamNonBlocking);
    if (e != cudaSuccess) {
        weir_diag_set(diag, "CUDA device %d: %s", device, cudaGetErrorString(e));
        free(gpu);
        return from_cuda(e);
    }
    *out = gpu;
    return WEIR_OK;
}

void weir_gpu_close(struct weir_gpu *gpu)
{
    if (!gpu)
        return;
    (void)cudaStreamSynchronize(gpu->stream);
    (void)cudaStreamDestroy(gpu->stream);
    free(gpu);
}

void *weir_gpu_alloc(struct weir_gpu *gpu, size_t bytes)
{
    void *p = NULL;
    (void)gpu;
    if (cudaMalloc(&p, bytes ? bytes : 1) == cudaSuccess)
        return p;
    (void)cudaGetLastError(); /* reported by NULL; not to be found again by the next launch */
    return NULL;
}

void weir_gpu_free(struct weir_gpu *gpu, void *device)
{
    (void)cudaStreamSynchronize(gpu->stream);
    (void)cudaFree(device);
}

weir_err weir_gpu_upload(struct weir_gpu *gpu, void *device, const void *host, size_t bytes)
{
    return from_cuda(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, gpu->stream));
}

weir_err weir_gpu_wait(struct weir_gpu *gpu)
{
    return from_cuda(cudaStreamSynchronize(gpu->stream));
}

weir_err weir_gpu_download_wait(struct weir_gpu *gpu, void *host, const void *device, size_t bytes)
{
    cudaError_t e = cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, gpu->stream);
    return e == cudaSuccess ? weir_gpu_wait(gpu) : from_cuda(e);
}

/* Copies to new device memory and waits; NULL on any error. */
static void *place(struct weir_gpu *gpu, const void *host, size_t bytes)
{
    void *p = weir_gpu_alloc(gpu, bytes);
    if (p && (weir_gpu_upload(gpu, p, host, bytes) || weir_gpu_wait(gpu))) {
        weir_gpu_free(gpu, p);
        return NULL;
    }
    return p;
}

/* ---- codings ---- */

weir_err weir_gpu_coding_new(struct weir_gpu *gpu, const struct weir_coding *coding,
                             struct weir_gpu_coding **out)
{
    const struct weir_part *part = &coding->part[0];
    if (coding->n_parts != 1 || part->count != 1 || part->item_bytes != 2)
        return WEIR_ERR_UNSUPPORTED;
    if (weir_coding_check(coding))
        return WEIR_ERR_CORRUPT;
    uint32_t entry[N_SLOTS], slot = 0;
    for (uint32_t j = 0; j < 256; j++)
        for (uint32_t i = 0; i < part->freq[j]; i++)
            entry[slot++] = j << 24 | (uint32_t)part->freq[j] << 12 | i;
    struct weir_gpu_coding *c = (struct weir_gpu_coding *)calloc(1, sizeof(*c));
    if (!c)
        return WEIR_ERR_NOMEM;
    c->table = (uint32_t *)place(gpu, entry, sizeof(entry));
    if (!c->table) {
        free(c);
        return WEIR_ERR_NOMEM;
    }
    c->raw_bits = (uint8_t)(16 - part->drop_bits - part->symbol_bits);
    c->drop_bits = part->drop_bits;
    c->sign_first = part->sign_first;
    c->has_zero = part->freq[0] > 0;
    c->base = part->base;
    *out = c;
    return WEIR_OK;
}

void weir_gpu_coding_free(struct weir_gpu *gpu, struct weir_gpu_coding *coding)
{
    if (!coding)
        return;
    weir_gpu_free(gpu, coding->table);
    free(coding);
}

/* ---- batches ---- */

void weir_gpu_batch_free(struct weir_gpu *gpu, struct weir_gpu_batch *batch)
{
    if (!batch)
        return;
    weir_gpu_free(gpu, batch->tiles);
    weir_gpu_free(gpu, batch->blocks);
    weir_gpu_free(gpu, batch->bad);
    free(batch->order);
    free(batch);
}

/* Which kernel decodes `c`: 2 * (raw bits - FAST_LOW + 1) + has_zero, or 0 + has_zero. */
static uint32_t kind_of(const struct weir_gpu_coding *c)
{
    bool fast =
        c->sign_first && c->drop_bits == 0 && c->raw_bits >= FAST_LOW && c->raw_bits <= FAST_HIGH;
    return (fast ? 2 * (uint32_t)(c->raw_bits - FAST_LOW + 1) : 0) + c->has_zero;
}

static bool tile_is_fine(const struct weir_gpu_tile *t)
{
    return t->coding && t->payload && t->out && (uintptr_t)t->payload % 16 == 0 &&
           (uintptr_t)t->out % 4 == 0 && t->plain_bytes && t->plain_bytes % 2 == 0 &&
           t->plain_bytes <= WEIR_TILE_BYTES && t->payload_bytes <= WEIR_TILE_BYTES;
}

/* Tiles and blocks as they will lie on the device, in host memory. */
struct draft {
    struct device_tile *tile; /* room for all tiles */
    struct device_block *block;
    uint32_t n_tiles, n_blocks;
};

static void add_tile(struct draft *d, const struct weir_gpu_tile *t, bool new_block)
{
    if (new_block) {
        const struct weir_gpu_coding *c = t->coding;
        d->block[d->n_blocks++] = {
            {c->table, c->base, c->raw_bits, c->drop_bits, c->sign_first, c->has_zero},
            d->n_tiles,
            0};
    }
    d->tile[d->n_tiles++] = {(const uint8_t *)t->payload, (uint8_t *)t->out, t->payload_bytes,
                             t->plain_bytes / 2};
    d->block[d->n_blocks - 1].n_tiles++;
}

/* Deals the tiles to kernels, and each kernel's to blocks, in the caller's order. */
static void arrange(struct weir_gpu_batch *b, struct draft *d, const struct weir_gpu_tile *tiles,
                    size_t n_tiles)
{
    for (uint32_t kind = 0; kind < N_KINDS; kind++) {
        const struct weir_gpu_coding *last = NULL;
        b->launch[kind].first_block = d->n_blocks;
        for (size_t i = 0; i < n_tiles; i++) {
            if (kind_of(tiles[i].coding) != kind)
                continue;
            b->order[d->n_tiles] = (uint32_t)i;
            add_tile(d, &tiles[i],
                     tiles[i].coding != last ||
                         d->block[d->n_blocks - 1].n_tiles == TILES_PER_BLOCK);
            last = tiles[i].coding;
        }
        b->launch[kind].n_blocks = d->n_blocks - b->launch[kind].first_block;
    }
}

weir_err weir_gpu_batch_new(struct weir_gpu *gpu, const struct weir_gpu_tile *tiles, size_t n_tiles,
                            struct weir_gpu_batch **out)
{
    if (n_tiles >= NONE_BAD)
        return WEIR_ERR_INVALID;
    for (size_t i = 0; i < n_tiles; i++)
        if (!tile_is_fine(&tiles[i]))
            return WEIR_ERR_INVALID;
    struct weir_gpu_batch *b = (struct weir_gpu_batch *)calloc(1, sizeof(*b));
    struct draft d = {(struct device_tile *)malloc((n_tiles + 1) * sizeof(*d.tile)),
                      (struct device_block *)malloc((n_tiles + 1) * sizeof(*d.block)), 0, 0};
    if (b)
        b->order = (uint32_t *)malloc((n_tiles + 1) * sizeof(*b->order));
    bool ok = b && b->order && d.tile && d.block;
    if (ok) {
        arrange(b, &d, tiles, n_tiles);
        b->tiles = (struct device_tile *)place(gpu, d.tile, d.n_tiles * sizeof(*d.tile));
        b->blocks = (struct device_block *)place(gpu, d.block, d.n_blocks * sizeof(*d.block));
        b->bad = (uint32_t *)place(gpu, &NONE_BAD, sizeof(NONE_BAD));
        ok = b->tiles && b->blocks && b->bad;
    }
    free(d.tile);
    free(d.block);
    if (!ok) {
        weir_gpu_batch_free(gpu, b);
        return WEIR_ERR_NOMEM;
    }
    *out = b;
    return WEIR_OK;
}

/* ---- launches ---- */

template <int R, bool ZERO>
static void launch_kind(const struct weir_gpu *gpu, const struct weir_gpu_batch *b,
                        const struct launch *l)
{
    decode_tiles<R, ZERO><<<l->n_blocks, 32 * TILES_PER_BLOCK, 0, gpu->stream>>>(
        b->blocks + l->first_block, b->tiles, b->bad);
}

typedef void launcher(const struct weir_gpu *, const struct weir_gpu_batch *,
                      const struct launch *);

static launcher *const launchers[N_KINDS] = {
    launch_kind<0, false>,  launch_kind<0, true>,  launch_kind<5, false>,  launch_kind<5, true>,
    launch_kind<6, false>,  launch_kind<6, true>,  launch_kind<7, false>,  launch_kind<7, true>,
    launch_kind<8, false>,  launch_kind<8, true>,  launch_kind<9, false>,  launch_kind<9, true>,
    launch_kind<10, false>, launch_kind<10, true>, launch_kind<11, false>, launch_kind<11, true>,
};

weir_err weir_gpu_decode(struct weir_gpu *gpu, struct weir_gpu_batch *batch)
{
    cudaError_t e = cudaMemsetAsync(batch->bad, 0xff, sizeof(*batch->bad), gpu->stream);
    for (int kind = 0; kind < N_KINDS && e == cudaSuccess; kind++) {
        if (batch->launch[kind].n_blocks == 0)
            continue; /* an empty grid is a launch error */
        launchers[kind](gpu, batch, &batch->launch[kind]);
        e = cudaGetLastError();
    }
    return from_cuda(e);
}

weir_err weir_gpu_decode_wait(struct weir_gpu *gpu, struct weir_gpu_batch *batch, size_t *bad_tile)
{
    uint32_t bad = 0;
    weir_err err = weir_gpu_download_wait(gpu, &bad, batch->bad, sizeof(bad));
    if (err || bad == NONE_BAD)
        return err;
    *bad_tile = batch->order[bad];
    return WEIR_ERR_CORRUPT;
}

weir_err weir_gpu_decode_time_wait(struct weir_gpu *gpu, struct weir_gpu_batch *batch,
                                   size_t n_repeat, float *ms)
{
    cudaEvent_t start = NULL, stop = NULL;
    cudaError_t e = cudaEventCreate(&start);
    if (e == cudaSuccess)
        e = cudaEventCreate(&stop);
    weir_err err = from_cuda(e);
    for (size_t i = 0; i < n_repeat && !err; i++) {
        e = cudaEventRecord(start, gpu->stream);
        err = e == cudaSuccess ? weir_gpu_decode(gpu, batch) : from_cuda(e);
        if (!err)
            err = from_cuda(cudaEventRecord(stop, gpu->stream));
        if (!err)
            err = from_cuda(cudaEventSynchronize(stop));
        if (!err)
            err = from_cuda(cudaEventElapsedTime(&ms[i], start, stop));
    }
    if (start)
        (void)cudaEventDestroy(start);
    if (stop)
        (void)cudaEventDestroy(stop);
    return err;
}
