/* Ids that were chosen, put where the next pass reads them: a few words. */
#include "cuda/ops.h"

#include "gpu_private.h"

enum { THREADS = 128 };

static __global__ void __launch_bounds__(THREADS) feed_words(const struct weir_gpu_feed o)
{
    const uint32_t i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= o.n)
        return;
    const uint32_t id = o.chosen[o.from[i]];
    o.words[o.to[i]] = id < o.n_ids ? id : 0;
}

weir_err weir_gpu_op_feed(struct weir_gpu_stream *s, const struct weir_gpu_feed *o)
{
    if (o->n == 0)
        return WEIR_ERR_INVALID;
    return gpu_launch(s, gpu_grid{dim3((o->n + THREADS - 1) / THREADS), dim3(THREADS), 0, false},
                      feed_words, *o);
}
