/* What checking and timing the multiplication share: made-up weights, and device memory that is
 * freed by itself.  C++, for tests/bench/kernels only. */
#ifndef WEIR_BENCH_MATMUL_KIT_H
#define WEIR_BENCH_MATMUL_KIT_H

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
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

enum { N_RUNS = 7, N_WARM = 2, LEAST_LAUNCHES = 20 };

/* Microseconds of a launch. */
inline double time_us(const Bench &b, int n, const std::function<void(int)> &launch)
{
    weir_gpu_graph *g = nullptr;
    weir_gpu_event *from = nullptr, *to = nullptr;
    for (int i = 0; i < 3; i++)
        launch(i);
    must(weir_gpu_stream_wait(b.s), "wait");
    must(weir_gpu_record_begin(b.s), "record");
    for (int i = 0; i < n; i++)
        launch(i);
    must(weir_gpu_record_end(b.s, &g), "record");
    must(weir_gpu_event_new(b.gpu, true, &from), "event");
    must(weir_gpu_event_new(b.gpu, true, &to), "event");
    std::vector<float> ms;
    for (int i = 0; i < N_WARM + N_RUNS; i++) {
        float t = 0;
        must(weir_gpu_event_record(from, b.s), "event");
        must(weir_gpu_graph_launch(g, b.s), "launch");
        must(weir_gpu_event_record(to, b.s), "event");
        must(weir_gpu_event_wait(to), "wait");
        must(weir_gpu_event_ms(from, to, &t), "time");
        if (i >= N_WARM)
            ms.push_back(t);
    }
    std::sort(ms.begin(), ms.end());
    weir_gpu_event_free(from);
    weir_gpu_event_free(to);
    weir_gpu_graph_free(g);
    return ms[ms.size() / 2] * 1000 / n;
}

inline double time_form(const Bench &b, const std::vector<weir_gpu_matrix> &m, const void *x,
                        uint32_t n, float *y)
{
    const int launches = std::max<int>(LEAST_LAUNCHES, (int)m.size());
    return time_us(b, launches, [&](int i) {
        const weir_gpu_matrix &a = m[(size_t)i % m.size()];
        const weir_gpu_product p{&a, x, n, y, a.n_rows, false};
        must(weir_gpu_multiply(b.s, &p), "multiply");
    });
}

inline std::vector<float> make_x(uint32_t n, uint32_t n_columns)
{
    Random random;
    std::vector<float> x((size_t)n * n_columns);
    for (auto &v : x)
        v = (float)random.normal();
    return x;
}

struct Product {
    std::vector<uint32_t> bits; /* [n][rows] */
    bool all_written;
};

/* Around the results lie bytes that must stay. */
inline Product multiply(const Bench &b, const weir_gpu_matrix &m, const void *x, size_t x_stride,
                        uint32_t n, bool fresh)
{
    const size_t stride = m.n_rows + 5, bytes = 4 * stride * n;
    const uint32_t poison = 0x7fabcdef;
    std::vector<uint32_t> fill(stride * n, poison);
    Room y = to_room(b, fill);
    Room vectors(b.gpu, weir_gpu_vectors_bytes(WEIR_GPU_FRAGMENTS, m.n_columns, n));
    must(weir_gpu_vectors_make(b.s, WEIR_GPU_FRAGMENTS, (const float *)x, x_stride, m.n_columns, n,
                               vectors.at),
         "vectors");
    const weir_gpu_product p{&m, vectors.at, n, y.floats(), stride, fresh};
    must(weir_gpu_multiply(b.s, &p), "multiply");
    auto all = from_device<uint32_t>(b, y.at, bytes / 4);
    Product out{{}, true};
    for (uint32_t i = 0; i < n; i++)
        for (size_t r = 0; r < stride; r++) {
            const uint32_t v = all[i * stride + r];
            if ((v == poison) != (r >= m.n_rows))
                out.all_written = false;
            if (r < m.n_rows)
                out.bits.push_back(v);
        }
    return out;
}

/* gpu_matmul_check.cu; how many checks failed.  brief: few shapes. */
int check_matmul(const Bench &b, bool brief);

#endif
