/* A GPU and its memory. */
#include "cuda/gpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "gpu_private.h"

enum {
    OLDEST_MAJOR = 8,
    HUGE_BYTES = 2 << 20,
    LEAST_HUGE_BYTES = 16 << 20,
};

struct gpu_block {
    struct gpu_block *next;
    void *at;
    uint64_t bytes;
};

/* ---- the device ---- */

static const char *why_none(cudaError_t e)
{
    switch (e) {
    case cudaSuccess:
        return "there are fewer; they count from 0";
    case cudaErrorInsufficientDriver: /* also where there is none */
        return "no NVIDIA driver is loaded, or one older than this program's CUDA; without one, "
               "--device cpu does it";
    case cudaErrorNoDevice:
        return "no GPU is visible; --device cpu needs none";
    default:
        return cudaGetErrorString(e);
    }
}

static weir_err check_device(int device, struct weir_diag *diag)
{
    int n = 0, major = 0;
    cudaError_t e = cudaGetDeviceCount(&n);
    if (e != cudaSuccess || device < 0 || device >= n) {
        (void)cudaGetLastError();
        weir_diag_set(diag, "no CUDA device %d: %s", device, why_none(e));
        return WEIR_ERR_NOT_FOUND;
    }
    e = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
    if (e == cudaSuccess && major < OLDEST_MAJOR) {
        weir_diag_set(diag, "CUDA device %d is older than compute capability %d.0", device,
                      OLDEST_MAJOR);
        return WEIR_ERR_UNSUPPORTED;
    }
    return gpu_err(e);
}

static cudaError_t fill_info(struct weir_gpu *gpu)
{
    cudaDeviceProp prop;
    cudaError_t e = cudaGetDeviceProperties(&prop, gpu->device);
    if (e != cudaSuccess)
        return e;
    (void)snprintf(gpu->info.name, sizeof(gpu->info.name), "%s", prop.name);
    gpu->info.memory_bytes = prop.totalGlobalMem;
    gpu->info.n_processors = (uint32_t)prop.multiProcessorCount;
    gpu->info.major = (uint32_t)prop.major;
    gpu->info.minor = (uint32_t)prop.minor;
    size_t free_bytes = 0, all = 0;
    e = cudaMemGetInfo(&free_bytes, &all);
    gpu->free_at_start = free_bytes;
    return e;
}

weir_err weir_gpu_open(int device, struct weir_gpu **out, struct weir_diag *diag)
{
    weir_err err = check_device(device, diag);
    if (err)
        return err;
    struct weir_gpu *gpu = (struct weir_gpu *)calloc(1, sizeof(*gpu));
    if (!gpu)
        return WEIR_ERR_NOMEM;
    gpu->device = device;
    gpu->limit = UINT64_MAX;
    cudaError_t e = cudaSetDevice(device);
    if (e == cudaSuccess)
        e = fill_info(gpu);
    if (e != cudaSuccess) {
        (void)cudaGetLastError();
        weir_diag_set(diag, "CUDA device %d: %s", device, cudaGetErrorString(e));
        free(gpu);
        return gpu_err(e);
    }
    *out = gpu;
    return WEIR_OK;
}

void weir_gpu_close(struct weir_gpu *gpu)
{
    if (!gpu)
        return;
    while (gpu->blocks)
        weir_gpu_free(gpu, gpu->blocks->at);
    free(gpu);
}

weir_err weir_gpu_use(struct weir_gpu *gpu)
{
    return gpu_err(cudaSetDevice(gpu->device));
}

void weir_gpu_info(const struct weir_gpu *gpu, struct weir_gpu_info *out)
{
    *out = gpu->info;
}

/* ---- memory ---- */

void weir_gpu_limit(struct weir_gpu *gpu, uint64_t bytes)
{
    gpu->limit = bytes;
}

static void count(struct weir_gpu *gpu, uint64_t bytes)
{
    gpu->taken += bytes;
    if (gpu->taken > gpu->peak)
        gpu->peak = gpu->taken;
}

void *weir_gpu_alloc(struct weir_gpu *gpu, size_t bytes)
{
    if (bytes > UINT64_MAX - WEIR_GPU_ALIGN)
        return NULL;
    const uint64_t whole = ((uint64_t)bytes + WEIR_GPU_ALIGN - 1) / WEIR_GPU_ALIGN * WEIR_GPU_ALIGN;
    if (whole > gpu->limit || gpu->taken > gpu->limit - whole)
        return NULL;
    struct gpu_block *b = (struct gpu_block *)calloc(1, sizeof(*b));
    if (!b)
        return NULL;
    if (cudaMalloc(&b->at, whole ? whole : 1) != cudaSuccess) {
        (void)cudaGetLastError(); /* reported by NULL; not to be found again by the next launch */
        free(b);
        return NULL;
    }
    b->bytes = whole;
    b->next = gpu->blocks;
    gpu->blocks = b;
    count(gpu, whole);
    return b->at;
}

void weir_gpu_free(struct weir_gpu *gpu, void *device)
{
    struct gpu_block **at = &gpu->blocks;
    while (*at && (*at)->at != device)
        at = &(*at)->next;
    if (!device || !*at)
        return;
    struct gpu_block *b = *at;
    *at = b->next;
    gpu->taken -= b->bytes;
    (void)cudaFree(device);
    free(b);
}

void weir_gpu_count_foreign(struct weir_gpu *gpu, int64_t bytes)
{
    if (bytes >= 0)
        count(gpu, (uint64_t)bytes);
    else
        gpu->taken -= (uint64_t)-bytes;
}

/* Pinning pages of 4 KiB takes a second a gigabyte; of 2 MiB, much less. */
static void *pin_huge(struct weir_gpu *gpu, size_t bytes)
{
    if (bytes > SIZE_MAX - HUGE_BYTES)
        return NULL;
    const size_t whole = (bytes + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES;
    struct gpu_block *b = (struct gpu_block *)calloc(1, sizeof(*b));
    if (!b)
        return NULL;
    b->at = aligned_alloc(HUGE_BYTES, whole);
    if (b->at) {
        (void)madvise(b->at, whole, MADV_HUGEPAGE);
        memset(b->at, 0, whole);
    }
    if (!b->at || cudaHostRegister(b->at, whole, cudaHostRegisterPortable) != cudaSuccess) {
        (void)cudaGetLastError();
        free(b->at);
        free(b);
        return NULL;
    }
    b->next = gpu->pinned;
    gpu->pinned = b;
    return b->at;
}

static bool free_huge(struct weir_gpu *gpu, void *pinned)
{
    struct gpu_block **at = &gpu->pinned;
    while (*at && (*at)->at != pinned)
        at = &(*at)->next;
    struct gpu_block *b = *at;
    if (!b)
        return false;
    *at = b->next;
    (void)cudaHostUnregister(pinned);
    free(pinned);
    free(b);
    return true;
}

void *weir_gpu_alloc_host(struct weir_gpu *gpu, size_t bytes)
{
    void *p = bytes >= LEAST_HUGE_BYTES ? pin_huge(gpu, bytes) : NULL;
    if (p)
        return p;
    if (cudaMallocHost(&p, bytes ? bytes : 1) == cudaSuccess)
        return p;
    (void)cudaGetLastError();
    return NULL;
}

void weir_gpu_free_host(struct weir_gpu *gpu, void *pinned)
{
    if (pinned && !free_huge(gpu, pinned))
        (void)cudaFreeHost(pinned);
}

weir_err weir_gpu_usage(struct weir_gpu *gpu, struct weir_gpu_usage *out)
{
    size_t free_bytes = 0, all = 0;
    cudaError_t e = cudaMemGetInfo(&free_bytes, &all);
    if (e != cudaSuccess)
        return gpu_err(e);
    *out = (struct weir_gpu_usage){
        gpu->taken, gpu->peak,
        gpu->free_at_start > free_bytes ? gpu->free_at_start - free_bytes : 0, free_bytes};
    return WEIR_OK;
}
