/* fragment.cuh - where an element of a BF16 vector lies in WEIR_GPU_FRAGMENTS, for those who write
 * vectors and those who multiply with them.
 *
 * The tensor cores' B operand of mma.m16n8k16, 64 columns (a step of the weights) after the other:
 * [step][group of 8 vectors][half of 32 columns][lane][4 words of 2 columns].  Word r of lane l in
 * half h holds columns 64 step + 32 h + 8 (l % 4) + 2 r and the next one, of vector
 * 8 group + l / 4: a lane's 16 bytes are 8 columns in a row, so that weights are read 16 bytes at
 * a time too, and the products are the same, in another order of columns.  Groups are 1, 2, 4 or
 * 8.  A single vector has no groups: it lies column by column.  Columns are filled up with zeros to
 * a multiple of FRAGMENT_COLUMNS, vectors to whole groups. */
#ifndef WEIR_CUDA_FRAGMENT_CUH
#define WEIR_CUDA_FRAGMENT_CUH

#include <stddef.h>
#include <stdint.h>

enum { FRAGMENT_STEP = 64, FRAGMENT_COLUMNS = 128 };

static inline __host__ __device__ uint32_t fragment_groups(uint32_t n)
{
    return n <= 8 ? 1 : n <= 16 ? 2 : n <= 32 ? 4 : 8;
}

/* Vectors that there is room for. */
static inline __host__ __device__ uint32_t fragment_vectors(uint32_t n)
{
    return n == 1 ? 1 : 8 * fragment_groups(n);
}

static inline __host__ __device__ uint32_t fragment_columns(uint32_t n_columns)
{
    return (n_columns + FRAGMENT_COLUMNS - 1) / FRAGMENT_COLUMNS * FRAGMENT_COLUMNS;
}

/* In 16-bit elements: of column `column` of vector `vector` among n.  Columns 2i and 2i + 1 are
 * neighbours. */
static inline __host__ __device__ size_t fragment_at(uint32_t column, uint32_t vector, uint32_t n)
{
    if (n == 1)
        return column;
    const uint32_t step = column / 64, half = column / 32 % 2,
                   lane = vector % 8 * 4 + column / 8 % 4;
    const size_t group = (size_t)step * fragment_groups(n) + vector / 8;
    return ((group * 2 + half) * 32 + lane) * 8 + column % 8;
}

#endif
