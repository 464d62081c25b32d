/* multiply_batch.cuh - the kinds of a multiplication: by the number of vectors, and by what is done
 * besides. */
#ifndef WEIR_CUDA_MULTIPLY_BATCH_CUH
#define WEIR_CUDA_MULTIPLY_BATCH_CUH

#include "multiply_steps.cuh"

enum { PARTS = 16, WARPS = PARTS };

/* What else a launch does. */
enum multiply_way { PLAIN, NORMED, NORMED_AND_GATED };

/* What it is told about that. */
struct multiply_nothing {
};
template <int WAY> struct way_around {
    using type = struct multiply_around;
};
template <> struct way_around<PLAIN> {
    using type = struct multiply_nothing;
};

/* How many vectors there may be, in eights (0: one vector), and what is good for so many.  Only of
 * one may there be more to do. */
template <int GROUPS, int WAY> struct batch {
    static constexpr bool IS_NORMED = WAY != PLAIN, IS_GATED = WAY == NORMED_AND_GATED;
    using around = typename way_around<WAY>::type;
    static constexpr int NB = GROUPS ? GROUPS : 1;
    static constexpr bool ONE = GROUPS == 0;
    static constexpr int TILES = 4;
    /* That a processor has registers for: other kernels' threads come up beside. */
    static constexpr int BLOCKS = GROUPS <= 1 ? 2 : 1;
    static constexpr bool KEEP_X = GROUPS == 2; /* in registers, for all tiles of a step */
    static constexpr int X_SLOTS = GROUPS == 4 ? 1 : 2;
    static constexpr int OUTS = ONE ? TILE_ROWS : 128 * NB;         /* numbers of a tile */
    static constexpr int ROUND = ONE ? TILES : GROUPS == 1 ? 2 : 1; /* tiles added up at a time */
    static constexpr uint32_t X_BYTES = ONE ? 2 * STEP_COLUMNS : 1024 * NB; /* of a step */
    static constexpr uint32_t SUM_BYTES = WARPS * ROUND * OUTS * 4;
    static constexpr uint32_t ALL_X_BYTES =
        IS_NORMED ? 2 * MULTIPLY_MOST_NORMED : WARPS * X_SLOTS * X_BYTES;
    static constexpr uint32_t FIXED_BYTES = SUM_BYTES + ALL_X_BYTES;
};

/* The sums of a warp: for each tile and group of vectors, c of mma. */
template <class B> using sums = float[B::TILES][B::NB][4];

/* The i-th tile of those that are dealt out: gates and their ups take turns. */
template <class B>
static __device__ __forceinline__ uint32_t tile_at(const struct multiply_job &j, uint32_t i)
{
    return B::IS_GATED ? i / 2 + (i % 2 ? j.n_tiles / 2 : 0) : i;
}

#endif
