/* Heads and attention in one launch: the bits of the two after each other. */
#include "gpu_ops.h"

#include <algorithm>

namespace
{

struct FusedCase {
    uint32_t n_heads, kv_heads, dim, n_pairs, window, n, context;
    bool pairs, bias, norms, is_long;
};

/* Inputs on the device, and two sets of outputs. */
struct Fused {
    Fused(Lab &l, const FusedCase &shape)
        : lab(l), c(shape), all(c.n_heads + 2 * c.kv_heads), stride(all * c.dim + 4),
          at(positions()), host_qkv(random_floats(c.n * stride, 2)), host_kv(kv_before()),
          qkv(l, host_qkv), bias(l, random_floats(all * c.dim)),
          q_norm(l, random_floats(c.dim, 0.5F, 1)), k_norm(l, random_floats(c.dim, 0.5F, 1)),
          turn(l, random_floats((size_t)c.context * c.n_pairs * 2)),
          long_turn(l, random_floats((size_t)c.context * c.n_pairs * 2)), is_long(l, longs()),
          sequence(l, sequences()), position(l, at), keys(l, host_kv), values(l, host_kv),
          scratch(l, std::vector<uint8_t>(
                         weir_gpu_attention_bytes(c.n, c.n_heads, c.dim, c.context), 0)),
          out(l, WEIR_GPU_FRAGMENTS, c.n_heads * c.dim, c.n)
    {
    }
    std::vector<uint32_t> positions() const
    {
        std::vector<uint32_t> v(c.n, c.context - 1);
        for (uint32_t i = 1; i < c.n; i++)
            v[i] = i == 1 ? 0 : random_below(c.context);
        return v;
    }
    std::vector<uint32_t> sequences() const /* the last row is of the first one */
    {
        std::vector<uint32_t> v(c.n);
        for (uint32_t i = 0; i < c.n; i++)
            v[i] = c.n - 1 - i;
        return v;
    }
    std::vector<uint8_t> longs() const
    {
        std::vector<uint8_t> v(c.n);
        for (uint32_t i = 0; i < c.n; i++)
            v[i] = i % 2;
        return v;
    }
    /* Numbers before each row's position, NaNs from there on. */
    std::vector<uint16_t> kv_before() const
    {
        std::vector<uint16_t> v((size_t)c.n * c.kv_heads * c.context * c.dim, 0xffff);
        for (uint32_t i = 0; i < c.n; i++)
            for (uint32_t h = 0; h < c.kv_heads; h++) {
                const size_t first = ((size_t)(c.n - 1 - i) * c.kv_heads + h) * c.context * c.dim;
                for (size_t j = 0; j < (size_t)at[i] * c.dim; j++)
                    v[first + j] = to_bf16(random_float());
            }
        return v;
    }
    /* What comes of it: out, keys, values. */
    std::vector<uint16_t> run(bool at_once, bool *fine)
    {
        qkv.set(host_qkv);
        keys.set(host_kv);
        values.set(host_kv);
        out.poison();
        const weir_gpu_pass pass{c.n, sequence.at, position.at};
        const weir_gpu_kv kv{keys.at, values.at, c.kv_heads, c.dim, c.context};
        weir_gpu_heads heads{};
        heads.qkv = qkv.at;
        heads.stride = stride;
        heads.n_heads = c.n_heads;
        heads.bias = c.bias ? bias.at : nullptr;
        heads.q_norm = c.norms ? q_norm.at : nullptr;
        heads.k_norm = c.norms ? k_norm.at : nullptr;
        heads.norm_eps = 1e-6F;
        heads.turn = turn.at;
        heads.long_turn = c.is_long ? long_turn.at : nullptr;
        heads.is_long = c.is_long ? is_long.at : nullptr;
        heads.n_pairs = c.n_pairs;
        heads.pairs = c.pairs;
        weir_gpu_attention o{};
        o.q = at_once ? nullptr : qkv.at;
        o.stride = stride;
        o.n_heads = c.n_heads;
        o.scale = 1 / sqrtf((float)c.dim);
        o.window = c.window;
        o.most_positions = c.context;
        o.scratch = (float *)scratch.at;
        o.out = out.at();
        o.layout = WEIR_GPU_FRAGMENTS;
        if (at_once) {
            must(weir_gpu_op_heads_attention(lab.stream, &pass, &kv, &heads, &o), "at once");
        } else {
            must(weir_gpu_op_heads(lab.stream, &pass, &kv, &heads), "heads");
            must(weir_gpu_op_attention(lab.stream, &pass, &kv, &o), "attention");
        }
        bool guarded_keys, guarded_values;
        *fine = out.fetch();
        std::vector<uint16_t> got = keys.get(&guarded_keys), more = values.get(&guarded_values);
        *fine = *fine && guarded_keys && guarded_values;
        got.insert(got.end(), more.begin(), more.end());
        for (uint32_t i = 0; i < c.n; i++)
            for (uint32_t column = 0; column < c.n_heads * c.dim; column++) {
                got.push_back(out.bits(column, i));
                *fine = *fine && !std::isnan(from_bf16(got.back()));
            }
        return got;
    }

    Lab &lab;
    FusedCase c;
    uint32_t all;
    size_t stride;
    std::vector<uint32_t> at;
    std::vector<float> host_qkv;
    std::vector<uint16_t> host_kv;
    Device<float> qkv, bias, q_norm, k_norm, turn, long_turn;
    Device<uint8_t> is_long;
    Device<uint32_t> sequence, position;
    Device<uint16_t> keys, values;
    Device<uint8_t> scratch;
    Vectors out;
};

} // namespace

void check_fused(Lab &lab, bool small)
{
    const FusedCase cases[] = {
        {32, 4, 64, 32, 0, 1, 100, false, false, false, false},
        {6, 2, 80, 16, 0, 2, 150, true, true, false, false},
        {32, 4, 64, 32, 0, 9, 1000, false, true, false, true},
        {32, 8, 128, 64, 0, 1, 3000, false, false, false, false},
        {32, 8, 128, 64, 100, 33, 700, false, false, true, false},
        {8, 4, 256, 128, 0, 7, 400, false, false, true, false},
        {40, 2, 64, 32, 0, 3, 300, false, false, false, false},
        {4, 4, 8, 4, 0, 64, 129, false, false, false, false},
    };
    for (const FusedCase &c : cases) {
        if (small && c.context > 150)
            continue;
        Fused f(lab, c);
        bool fine_apart, fine;
        const std::vector<uint16_t> want = f.run(false, &fine_apart), got = f.run(true, &fine);
        verdict(lab, fine_apart && fine && want == got,
                "at once " + std::to_string(c.n_heads) + "/" + std::to_string(c.kv_heads) + " of " +
                    std::to_string(c.dim) + ", " + std::to_string(c.n),
                fine_apart && fine ? "other bits than one after the other"
                                   : "padding, guards or NaNs");
    }
}
