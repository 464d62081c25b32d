/* Drawing one of the likeliest.  e^x by all threads, sums by one, in the order of infer/sample.c.
 */
#include "cuda/ops.h"

#include "gpu_private.h"

struct draw_shared {
    double weight[WEIR_GPU_MOST_TOP];
    uint32_t left;
};

/* How many of the n likeliest stay. */
static __device__ uint32_t cut_off(const struct weir_gpu_draw &o, uint32_t n, const double *weight)
{
    double sum = 0, so_far = 0;
    uint32_t left = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += weight[i];
    const double enough = __dmul_rn((double)o.top_p, sum);
    while (left < n && (left == 0 || (double)o.top_p >= 1 || so_far < enough))
        so_far += weight[left++];
    while (left > 1 && weight[left - 1] < (double)o.min_p)
        left--;
    return left;
}

static __device__ uint32_t choose(uint32_t n, double uniform, const double *weight)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += weight[i];
    double at = __dmul_rn(uniform, sum);
    for (uint32_t i = 0; i + 1 < n; i++) {
        at -= weight[i];
        if (at < 0)
            return i;
    }
    return n - 1;
}

static __global__ void __launch_bounds__(WEIR_GPU_MOST_TOP) draw_rows(const struct weir_gpu_draw o)
{
    __shared__ struct draw_shared s;
    const uint32_t i = threadIdx.x, *id = o.id + (size_t)blockIdx.x * o.k;
    const float *logit = o.logit + (size_t)blockIdx.x * o.k;
    gpu_let_next_begin();
    gpu_wait_for_previous();
    const uint32_t n = (uint32_t)__syncthreads_count(i < o.k && id[i] != UINT32_MAX);
    if (n == 0 || o.temperature == 0) {
        if (i == 0)
            o.chosen[blockIdx.x] = n == 0 ? UINT32_MAX : id[0];
        return;
    }
    const double below = i < n ? (double)logit[i] - (double)logit[0] : 0;
    s.weight[i] = exp(below);
    __syncthreads();
    if (i == 0)
        s.left = cut_off(o, n, s.weight);
    __syncthreads();
    s.weight[i] = exp(below / (double)o.temperature);
    __syncthreads();
    if (i == 0)
        o.chosen[blockIdx.x] = id[choose(s.left, o.uniform[blockIdx.x], s.weight)];
}

weir_err weir_gpu_op_draw(struct weir_gpu_stream *s, const struct weir_gpu_draw *o)
{
    if (o->n == 0 || o->k == 0 || o->k > WEIR_GPU_MOST_TOP || !(o->temperature >= 0) ||
        (o->temperature > 0 && !o->uniform))
        return WEIR_ERR_INVALID;
    return gpu_launch(s, gpu_grid{dim3(o->n), dim3(WEIR_GPU_MOST_TOP), 0, true}, draw_rows, *o);
}
