/* gpu_ops.h - what the parts of gpu_ops share: device memory with a host side, random numbers,
 * comparing. */
#ifndef WEIR_TESTS_GPU_OPS_H
#define WEIR_TESTS_GPU_OPS_H

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "cuda/ops.h"

struct Lab {
    weir_gpu *gpu;
    weir_gpu_stream *stream;
    int n_cases, n_bad;
};

inline void must(weir_err err, const char *what)
{
    if (err) {
        fprintf(stderr, "%s: %s\n", what, weir_err_text(err));
        exit(2);
    }
}

/* One case's verdict; goes on. */
inline void verdict(Lab &lab, bool fine, const std::string &name, const std::string &detail)
{
    lab.n_cases++;
    if (fine)
        return;
    lab.n_bad++;
    printf("BAD %s: %s\n", name.c_str(), detail.c_str());
}

inline uint64_t random_bits()
{
    static uint64_t state = 88172645463325252ull;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

inline uint32_t random_below(uint32_t n)
{
    return (uint32_t)((random_bits() >> 20) % n);
}

inline float random_float() /* -1 .. 1, about normal */
{
    float sum = 0;
    for (int i = 0; i < 3; i++)
        sum += (float)(random_bits() >> 40) * 0x1p-23F - 1;
    return sum;
}

inline std::vector<float> random_floats(size_t n, float scale = 1, float shift = 0)
{
    std::vector<float> v(n);
    for (float &x : v)
        x = random_float() * scale + shift;
    return v;
}

inline uint16_t to_bf16(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

inline float from_bf16(uint16_t h)
{
    const uint32_t u = (uint32_t)h << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}

/* Device memory with a guard behind it, which must stay as it is. */
template <class T> class Device
{
  public:
    Device(Lab &l, const std::vector<T> &v) : lab(l), n(v.size())
    {
        make();
        if (n)
            must(weir_gpu_to_device(lab.stream, at, v.data(), n * sizeof(T)), "to device");
    }
    /* Poisoned: every byte 0xff. */
    Device(Lab &l, size_t count) : lab(l), n(count) { make(); }
    ~Device() { weir_gpu_free(lab.gpu, at); }
    Device(const Device &) = delete;
    Device &operator=(const Device &) = delete;

    std::vector<T> get(bool *guarded = nullptr)
    {
        std::vector<T> v(n);
        std::vector<uint8_t> guard(GUARD);
        if (n)
            must(weir_gpu_to_host(lab.stream, v.data(), at, n * sizeof(T)), "to host");
        must(weir_gpu_to_host(lab.stream, guard.data(), (uint8_t *)at + n * sizeof(T), GUARD),
             "to host");
        must(weir_gpu_stream_wait(lab.stream), "wait");
        bool fine = true;
        for (uint8_t b : guard)
            fine = fine && b == 0xff;
        if (guarded)
            *guarded = fine;
        return v;
    }
    void set(const std::vector<T> &v)
    {
        must(weir_gpu_to_device(lab.stream, at, v.data(), n * sizeof(T)), "to device");
    }
    void poison() { must(weir_gpu_fill(lab.stream, at, 0xff, n * sizeof(T)), "fill"); }

    T *at = nullptr;

  private:
    enum { GUARD = 256 };
    void make()
    {
        at = (T *)weir_gpu_alloc(lab.gpu, n * sizeof(T) + GUARD);
        if (!at)
            must(WEIR_ERR_NOMEM, "device memory");
        must(weir_gpu_fill(lab.stream, at, 0xff, n * sizeof(T) + GUARD), "fill");
    }
    Lab &lab;
    size_t n;
};

/* Vectors that an op wrote, in either layout. */
class Vectors
{
  public:
    Vectors(Lab &l, weir_gpu_layout layout, uint32_t n_columns, uint32_t n);
    void *at() { return room.at; }
    void poison() { room.poison(); }
    /* Fetches; false where the guard, or padding that should be zero, is not as it should. */
    bool fetch();
    uint16_t bits(uint32_t column, uint32_t vector) const;

  private:
    weir_gpu_layout layout;
    uint32_t n_columns, n;
    Device<uint16_t> room;
    std::vector<uint16_t> host;
};

/* |got - want| as so many of what is allowed: half a last place of BF16, 2e-6 of it, and `slack`.
 */
double bf16_error(uint16_t got, double want, double slack);

void check_layout(Lab &lab);
void check_norm(Lab &lab, bool small);
void check_gate(Lab &lab, bool small);
void check_heads(Lab &lab, bool small);
void check_attention(Lab &lab, bool small);
void check_top(Lab &lab, bool small);
void check_draw(Lab &lab, bool small);
void bench_ops(Lab &lab, const char *csv, const char *commit);

#endif
