/* What checking and timing the multiplication share: made-up weights, and device memory that is
 * freed by itself.  C++, for tests/bench/kernels only. */
#ifndef WEIR_BENCH_MATMUL_KIT_H
#define WEIR_BENCH_MATMUL_KIT_H

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "cuda/form.h"
#include "cuda/matrix.h"

inline void must(weir_err err, const char *what)
{
    if (err) {
        fprintf(stderr, "%s: %s\n", what, weir_err_text(err));
        exit(2);
    }
}

struct Random {
    uint64_t state = 88172645463325252ull;
    uint64_t bits()
    {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return state;
    }
    double uniform() { return (double)((bits() >> 11) + 1) * 0x1p-53; }
    double normal()
    {
        return std::sqrt(-2 * std::log(uniform())) * std::cos(6.283185307179586 * uniform());
    }
};

inline uint16_t to_bf16(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

inline float from_bf16(uint16_t b)
{
    const uint32_t u = (uint32_t)b << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}

/* Device memory. */
struct Room {
    weir_gpu *gpu;
    void *at;
    Room(weir_gpu *g, size_t bytes) : gpu(g), at(weir_gpu_alloc(g, bytes))
    {
        if (!at) {
            fprintf(stderr, "no %zu bytes on the device\n", bytes);
            exit(2);
        }
    }
    Room(const Room &) = delete;
    Room(Room &&other) : gpu(other.gpu), at(other.at) { other.at = nullptr; }
    ~Room() { weir_gpu_free(gpu, at); }
    float *floats() const { return (float *)at; }
};

struct Bench {
    weir_gpu *gpu = nullptr;
    weir_gpu_stream *s = nullptr;
};

template <class T> Room to_room(const Bench &b, const std::vector<T> &v)
{
    Room r(b.gpu, v.size() * sizeof(T));
    must(weir_gpu_to_device(b.s, r.at, v.data(), v.size() * sizeof(T)), "upload");
    return r;
}

template <class T> std::vector<T> from_device(const Bench &b, const void *at, size_t n)
{
    std::vector<T> v(n);
    must(weir_gpu_to_host(b.s, v.data(), at, n * sizeof(T)), "download");
    must(weir_gpu_stream_wait(b.s), "wait");
    return v;
}

/* The table for these weights; how many are left out. */
inline uint64_t choose_high(const std::vector<uint16_t> &w, uint8_t high[8])
{
    uint64_t count[128] = {};
    for (uint16_t v : w)
        count[v >> 8 & 127]++;
    return weir_form_choose(count, high);
}

inline weir_gpu_matrix rows_matrix(const Room &rows, uint32_t n_rows, uint32_t n_columns)
{
    weir_gpu_matrix m{};
    m.form = WEIR_GPU_ROWS;
    m.n_rows = n_rows;
    m.n_columns = n_columns;
    m.at = rows.at;
    return m;
}

/* gpu_matmul_check.cu; how many checks failed.  brief: few shapes. */
int check_matmul(const Bench &b, bool brief);

#endif
