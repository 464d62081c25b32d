/* cuBLAS, found when the program runs.  Its types and numbers are written down here, so that
 * building needs no cuBLAS, and a program that never multiplies many vectors does not load it. */
#include "cuda/matrix.h"

#include <dlfcn.h>
#include <stdlib.h>

#include "gpu_private.h"

enum {
    OP_N = 0,
    OP_T = 1,
    COMPUTE_F32 = 68,
    ALGORITHM_DEFAULT = -1,
    MATH_NO_REDUCED_PRECISION = 16, /* parts of a sum are added in F32 */
    STATUS_NOT_INITIALIZED = 1,
    STATUS_ALLOC_FAILED = 3,
    MEBI_SHIFT = 20,
    WORKSPACE_BYTES = 32 << 20,
    HANDLE_BYTES = WEIR_GPU_BLAS_BYTES - WORKSPACE_BYTES, /* at most: 65 MiB on an H200 */
};

static const char *const NAMES[] = {"libcublas.so.13", "libcublas.so.12",
                                    "/usr/local/cuda/lib64/libcublas.so.13",
                                    "/usr/local/cuda/lib64/libcublas.so.12"};

struct functions {
    int (*create)(void **handle);
    int (*destroy)(void *handle);
    int (*set_stream)(void *handle, cudaStream_t stream);
    int (*set_workspace)(void *handle, void *device, size_t bytes);
    int (*set_math)(void *handle, int mode);
    int (*gemm)(void *handle, int op_a, int op_b, int m, int n, int k, const void *alpha,
                const void *a, cudaDataType type_a, int lda, const void *b, cudaDataType type_b,
                int ldb, const void *beta, void *c, cudaDataType type_c, int ldc, int compute,
                int algorithm);
};

struct weir_gpu_blas {
    struct weir_gpu *gpu;
    void *library, *handle, *workspace;
    bool counted; /* HANDLE_BYTES */
    struct functions f;
};

static weir_err blas_err(int status)
{
    if (status == 0)
        return WEIR_OK;
    return status == STATUS_NOT_INITIALIZED || status == STATUS_ALLOC_FAILED ? WEIR_ERR_NOMEM
                                                                             : WEIR_ERR_IO;
}

/* POSIX lets a function's address be an object's. */
template <class F> static bool find(void *library, const char *name, F *out)
{
    *out = (F)dlsym(library, name);
    return *out != NULL;
}

static bool find_functions(void *library, struct functions *f)
{
    return find(library, "cublasCreate_v2", &f->create) &&
           find(library, "cublasDestroy_v2", &f->destroy) &&
           find(library, "cublasSetStream_v2", &f->set_stream) &&
           find(library, "cublasSetWorkspace_v2", &f->set_workspace) &&
           find(library, "cublasSetMathMode", &f->set_math) &&
           find(library, "cublasGemmEx", &f->gemm);
}

/* Its workspace, and whether the limit leaves room for its handle. */
static weir_err reserve(struct weir_gpu_blas *blas, struct weir_diag *diag)
{
    const struct weir_gpu *gpu = blas->gpu;
    if (!blas->workspace)
        blas->workspace = weir_gpu_alloc(blas->gpu, WORKSPACE_BYTES);
    if (blas->workspace && gpu->taken <= gpu->limit && HANDLE_BYTES <= gpu->limit - gpu->taken)
        return WEIR_OK;
    weir_diag_set(diag, "cuBLAS needs %d MiB of GPU memory, and that is more than is left",
                  WEIR_GPU_BLAS_BYTES >> MEBI_SHIFT);
    return WEIR_ERR_NOMEM;
}

static weir_err create(struct weir_gpu_blas *blas)
{
    const int status = blas->f.create(&blas->handle);
    if (status) { /* made for another driver, perhaps; the next library may do */
        blas->handle = NULL;
        return status == STATUS_NOT_INITIALIZED ? WEIR_ERR_NOT_FOUND : blas_err(status);
    }
    weir_gpu_count_foreign(blas->gpu, HANDLE_BYTES);
    blas->counted = true;
    return blas_err(blas->f.set_math(blas->handle, MATH_NO_REDUCED_PRECISION));
}

static weir_err load(struct weir_gpu_blas *blas, struct weir_diag *diag)
{
    weir_diag_set(diag, "cuBLAS is missing: %s", NAMES[0]);
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(*NAMES); i++) {
        blas->library = dlopen(NAMES[i], RTLD_NOW | RTLD_LOCAL);
        if (!blas->library)
            continue;
        weir_diag_set(diag, "%s lacks a function that is needed, or does not start", NAMES[i]);
        weir_err err =
            find_functions(blas->library, &blas->f) ? reserve(blas, diag) : WEIR_ERR_NOT_FOUND;
        if (!err)
            err = create(blas);
        if (err != WEIR_ERR_NOT_FOUND)
            return err;
        (void)dlclose(blas->library);
        blas->library = NULL;
    }
    return WEIR_ERR_NOT_FOUND;
}

weir_err weir_gpu_blas_new(struct weir_gpu *gpu, struct weir_gpu_blas **out, struct weir_diag *diag)
{
    struct weir_gpu_blas *blas = (struct weir_gpu_blas *)calloc(1, sizeof(*blas));
    if (!blas)
        return WEIR_ERR_NOMEM;
    blas->gpu = gpu;
    weir_err err = load(blas, diag);
    if (err)
        weir_gpu_blas_free(blas);
    else
        *out = blas;
    return err;
}

void weir_gpu_blas_free(struct weir_gpu_blas *blas)
{
    if (!blas)
        return;
    if (blas->handle)
        (void)blas->f.destroy(blas->handle);
    if (blas->workspace)
        weir_gpu_free(blas->gpu, blas->workspace);
    if (blas->counted)
        weir_gpu_count_foreign(blas->gpu, -HANDLE_BYTES);
    if (blas->library)
        (void)dlclose(blas->library);
    free(blas);
}

/* The library counts by columns: its matrix is ours turned over. */
weir_err weir_gpu_multiply_many(struct weir_gpu_blas *blas, struct weir_gpu_stream *s,
                                const struct weir_gpu_product *product)
{
    const struct weir_gpu_matrix *m = product->matrix;
    if (m->form != WEIR_GPU_ROWS || !product->n || m->n_rows > INT32_MAX ||
        m->n_columns > INT32_MAX || product->n > INT32_MAX || product->to_stride > INT32_MAX)
        return WEIR_ERR_INVALID;
    const float one = 1, zero = 0;
    const int n_columns = (int)m->n_columns;
    int status = blas->f.set_stream(blas->handle, s->cuda);
    if (!status) /* setting the stream takes the workspace away */
        status = blas->f.set_workspace(blas->handle, blas->workspace, WORKSPACE_BYTES);
    if (!status)
        status = blas->f.gemm(blas->handle, OP_T, OP_N, (int)m->n_rows, (int)product->n, n_columns,
                              &one, m->at, CUDA_R_16BF, n_columns, product->vectors, CUDA_R_16BF,
                              n_columns, &zero, product->to, CUDA_R_32F, (int)product->to_stride,
                              COMPUTE_F32, ALGORITHM_DEFAULT);
    return blas_err(status);
}
