/* Attention: blocks of up to 16 query heads that share a head of keys and values (16 is what the
 * tensor cores take), of one row, or in long passes of a few rows of one sequence.
 *
 * A block's four warps take 32 positions each; their sums meet in shared memory in the order of
 * positions, which makes a step.  Steps make spans, spans the whole, in order.  How long a span is
 * hangs on the row's position alone, so that no row needs more than MOST_SPANS partial sums.  In
 * short passes spans go to different blocks, and the last one to end puts them together; in long
 * ones a block takes all of its rows' spans.  Both give the same bits: the largest score is rounded
 * up to a whole power of two, so that scaling is exact whenever it is done.
 *
 * Queries are cut in three BF16, which is all of an F32, weights in two (2^-17 is lost); keys and
 * values are BF16.  Products are exact, sums F32.  Lanes load keys and values as they lie, 16 bytes
 * each, and number dimensions so that these are what a tensor core wants of them (no shared memory,
 * no transposition): see load_keys() and load_values().
 *
 * Moved: each key and value once a row, or once for a block of rows. */
#include "cuda/ops.h"

#include "attention.cuh"
#include "gpu_private.h"

/* Blocks that fill the device without more to share. */
enum { ENOUGH_BLOCKS = 528 };

template <class KIND, bool WHOLE>
static __global__ void __launch_bounds__(ATTN_THREADS, KIND::DIM > 64 ? 2 : 3)
    attend(const __grid_constant__ attn_job job)
{
    extern __shared__ uint4 room[];
    struct attn_shared<KIND> &shared = *(struct attn_shared<KIND> *)room;
    const uint32_t head_dim = WHOLE ? KIND::DIM : job.kv.head_dim;
    const uint32_t first = blockIdx.z * job.n_tokens;
    gpu_let_next_begin();
    attn_touch(job);
    gpu_wait_for_previous();
    if (first >= job.pass.n) {
        attn_pad_vectors(job);
        return;
    }
    const uint32_t end = min(first + job.n_tokens, job.pass.n);
#pragma unroll 1
    for (uint32_t from = first, to; from < end; from = to) {
        for (to = from + 1; to < end && attn_go_together(job, from, to); to++)
            ;
        attn_rows<KIND>(job, head_dim, shared, from, to);
    }
}

size_t weir_gpu_attention_bytes(uint32_t n, uint32_t n_heads, uint32_t head_dim,
                                uint32_t most_positions)
{
    const uint32_t most_rows =
        n_heads && n_heads <= ATTN_SPLIT_HEADS ? ATTN_SPLIT_HEADS / n_heads : 1;
    const size_t rows = n < most_rows ? n : most_rows;
    return ATTN_COUNTER_BYTES +
           rows * n_heads * attn_slots(most_positions) * (head_dim + 2) * sizeof(float);
}

template <class KIND>
static weir_err launch(struct weir_gpu_stream *s, const dim3 &blocks, const struct attn_job &job)
{
    const size_t bytes = sizeof(struct attn_shared<KIND>);
    void (*const kernel)(attn_job) =
        job.kv.head_dim == KIND::DIM ? attend<KIND, true> : attend<KIND, false>;
    const weir_err err = gpu_err(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes));
    return err ? err
               : gpu_launch(s, gpu_grid{blocks, dim3(ATTN_THREADS), bytes, true}, kernel, job);
}

/* How the work is dealt to blocks: x spans, y heads, z rows of the pass. */
template <class KIND> static dim3 deal(struct attn_job *job)
{
    const uint32_t n = job->pass.n;
    job->n_parts = (job->group + KIND::ROWS - 1) / KIND::ROWS;
    job->n_tokens =
        n > WEIR_GPU_MOST_VECTORS && job->group <= KIND::ROWS ? KIND::ROWS / job->group : 1;
    const uint32_t tiles = (n + job->n_tokens - 1) / job->n_tokens;
    const uint32_t heads = job->kv.n_heads * job->n_parts;
    uint32_t split = 1;
    if (KIND::HALF && job->n_tokens == 1 && (uint64_t)n * job->o.n_heads <= ATTN_SPLIT_HEADS)
        split = ENOUGH_BLOCKS / (tiles * heads);
    split = split < 1 ? 1 : split < job->n_slots ? split : job->n_slots;
    return dim3(split, heads, tiles + (op_out_vectors(&job->out) > n));
}

template <class KIND>
static weir_err deal_and_launch(struct weir_gpu_stream *s, struct attn_job *job)
{
    const dim3 blocks = deal<KIND>(job);
    return launch<KIND>(s, blocks, *job);
}

static weir_err check(const struct weir_gpu_pass *pass, const struct weir_gpu_kv *kv,
                      const struct weir_gpu_attention *o)
{
    if (pass->n == 0 || kv->n_heads == 0 || o->n_heads == 0 || o->n_heads % kv->n_heads ||
        kv->head_dim == 0 || o->most_positions == 0 || o->most_positions > kv->context ||
        (o->layout == WEIR_GPU_FRAGMENTS && pass->n > WEIR_GPU_MOST_VECTORS) || o->stride % 4)
        return WEIR_ERR_INVALID;
    return kv->head_dim % 8 || kv->head_dim > ATTN_MOST_DIM ? WEIR_ERR_UNSUPPORTED : WEIR_OK;
}

weir_err weir_gpu_op_attention(struct weir_gpu_stream *s, const struct weir_gpu_pass *pass,
                               const struct weir_gpu_kv *kv, const struct weir_gpu_attention *o)
{
    const weir_err err = check(pass, kv, o);
    if (err)
        return err;
    const bool many = pass->n > WEIR_GPU_MOST_VECTORS;
    struct attn_job job = {*pass, *kv, *o,
                           op_out_of(o->out, o->layout, o->n_heads * kv->head_dim, pass->n)};
    job.group = o->n_heads / kv->n_heads;
    job.n_slots = attn_slots(o->most_positions);
    if (kv->head_dim > 128)
        return deal_and_launch<attn_few_256>(s, &job);
    if (kv->head_dim > 64)
        return many ? deal_and_launch<attn_many_128>(s, &job)
                    : deal_and_launch<attn_few_128>(s, &job);
    return many ? deal_and_launch<attn_many_64>(s, &job) : deal_and_launch<attn_few_64>(s, &job);
}
