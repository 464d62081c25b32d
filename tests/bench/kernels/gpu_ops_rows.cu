/* Norms, gates and heads. */
#include "gpu_ops.h"

namespace
{

const weir_gpu_layout LAYOUTS[] = {WEIR_GPU_FRAGMENTS, WEIR_GPU_LINES};
const uint32_t COUNTS[] = {1, 2, 7, 8, 9, 16, 33, 64, 200};

std::string case_name(const char *op, std::initializer_list<uint32_t> numbers)
{
    std::string s = op;
    for (uint32_t n : numbers)
        s += " " + std::to_string(n);
    return s;
}

double root_mean(const std::vector<double> &v, double eps)
{
    double sum = 0;
    for (double x : v)
        sum += x * x;
    return 1 / sqrt(sum / (double)v.size() + eps);
}

/* ---- norms ---- */

enum { WITH_SUM = 1, WITH_BIAS = 2, WITH_SUM_NORM = 4, WITH_ROWS = 8, NO_OUT = 16 };

struct NormData {
    uint32_t hidden, n;
    size_t pitch;
    float eps = 1e-5F;
    std::vector<float> x, sum, bias, sum_weight, weight;
    std::vector<uint32_t> row;
};

/* Row r of x as it should be, and what is normed of it. */
void norm_want(const NormData &d, int flags, uint32_t r, std::vector<double> &x,
               std::vector<double> &out)
{
    std::vector<double> sum(d.hidden);
    x.resize(d.hidden);
    out.resize(d.hidden);
    for (uint32_t c = 0; c < d.hidden; c++) {
        x[c] = d.x[r * d.pitch + c];
        sum[c] = (double)d.sum[r * d.pitch + c] + (flags & WITH_BIAS ? (double)d.bias[c] : 0);
    }
    const double by = flags & WITH_SUM_NORM ? root_mean(sum, (double)d.eps) : 1;
    for (uint32_t c = 0; c < d.hidden && flags & WITH_SUM; c++)
        x[c] += sum[c] * by * (flags & WITH_SUM_NORM ? (double)d.sum_weight[c] : 1);
    const double scale = root_mean(x, (double)d.eps);
    for (uint32_t c = 0; c < d.hidden; c++)
        out[c] = x[c] * scale * (double)d.weight[c];
}

void norm_case(Lab &lab, uint32_t hidden, uint32_t n, int flags, weir_gpu_layout layout)
{
    NormData d{hidden, n, hidden + 4u};
    const uint32_t n_rows = flags & WITH_ROWS ? n + 5 : n;
    d.x = random_floats(n_rows * d.pitch, 3);
    d.sum = random_floats(n_rows * d.pitch, 2);
    d.bias = random_floats(hidden);
    d.sum_weight = random_floats(hidden, 0.3F, 1);
    d.weight = random_floats(hidden, 0.5F, 1);
    for (uint32_t i = 0; i < n; i++)
        d.row.push_back(flags & WITH_ROWS ? n_rows - 1 - i : i);
    Device<float> x(lab, d.x), sum(lab, d.sum), bias(lab, d.bias), sum_weight(lab, d.sum_weight),
        weight(lab, d.weight);
    Device<uint32_t> row(lab, d.row);
    Vectors out(lab, layout, hidden, n), alone(lab, layout, hidden, 1);
    weir_gpu_norm o{};
    o.hidden = hidden;
    o.eps = d.eps;
    o.x = x.at;
    o.x_stride = o.sum_stride = d.pitch;
    o.sum = flags & WITH_SUM ? sum.at : nullptr;
    o.sum_bias = flags & WITH_BIAS ? bias.at : nullptr;
    o.sum_weight = flags & WITH_SUM_NORM ? sum_weight.at : nullptr;
    o.weight = flags & NO_OUT ? nullptr : weight.at;
    o.out = out.at();
    o.layout = layout;
    o.row = flags & WITH_ROWS ? row.at : nullptr;
    must(weir_gpu_op_norm(lab.stream, n, &o), "norm");
    const std::vector<float> x_got = x.get();
    bool fine = true;
    if (!(flags & NO_OUT))
        fine = out.fetch();
    double worst_x = 0, worst = 0;
    std::vector<double> x_want, want;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t r = d.row[i];
        norm_want(d, flags, r, x_want, want);
        for (uint32_t c = 0; c < hidden; c++) {
            worst_x = fmax(worst_x, fabs((double)x_got[r * d.pitch + c] - x_want[c]) / 4e-6);
            if (!(flags & NO_OUT))
                worst = fmax(worst, bf16_error(out.bits(c, i), want[c], 4e-6));
        }
    }
    const uint32_t seen = d.row[n / 2]; /* once more, alone */
    x.set(d.x);
    row.set(std::vector<uint32_t>(n, seen));
    o.row = row.at;
    o.out = alone.at();
    must(weir_gpu_op_norm(lab.stream, 1, &o), "norm");
    const std::vector<float> x_alone = x.get();
    if (!(flags & NO_OUT))
        fine = fine && alone.fetch();
    for (uint32_t c = 0; c < hidden; c++) {
        const size_t at = seen * d.pitch + c;
        fine = fine && !memcmp(&x_alone[at], &x_got[at], 4) &&
               (flags & NO_OUT || alone.bits(c, 0) == out.bits(c, n / 2));
    }
    for (uint32_t c = hidden; c < d.pitch; c++) /* what is not asked for stays */
        fine = fine && x_got[seen * d.pitch + c] == d.x[seen * d.pitch + c];
    verdict(lab, fine && worst <= 1 && worst_x <= 1,
            case_name("norm", {hidden, n, (uint32_t)flags, (uint32_t)layout}),
            "x off by " + std::to_string(worst_x) + ", out by " + std::to_string(worst) +
                (fine ? "" : ", padding, bits or guards"));
}

/* ---- gates ---- */

void gate_case(Lab &lab, uint32_t width, uint32_t n, bool gelu, bool with_bias,
               weir_gpu_layout layout)
{
    const size_t stride = 2 * width + 6;
    const std::vector<float> in = random_floats(n * stride, 3), more = random_floats(2 * width);
    Device<float> gate_up(lab, in), bias(lab, more);
    Vectors out(lab, layout, width, n), alone(lab, layout, width, 1);
    weir_gpu_gate o{};
    o.gate_up = gate_up.at;
    o.stride = stride;
    o.width = width;
    o.bias = with_bias ? bias.at : nullptr;
    o.gelu_tanh = gelu;
    o.out = out.at();
    o.layout = layout;
    must(weir_gpu_op_gate(lab.stream, n, &o), "gate");
    bool fine = out.fetch();
    const uint32_t seen = n - 1;
    o.gate_up = gate_up.at + seen * stride;
    o.out = alone.at();
    must(weir_gpu_op_gate(lab.stream, 1, &o), "gate");
    fine = alone.fetch() && fine;
    double worst = 0;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t c = 0; c < width; c++) {
            const double g = (double)(in[i * stride + c] + (with_bias ? more[c] : 0));
            const double u =
                (double)(in[i * stride + width + c] + (with_bias ? more[width + c] : 0));
            const double z = 0.79788456080286535588 * (g + 0.044715 * g * g * g);
            const double want = (gelu ? g * (1 + tanh(z)) / 2 : g / (1 + exp(-g))) * u;
            worst = fmax(worst, bf16_error(out.bits(c, i), want, 4e-6));
            fine = fine && (i != seen || alone.bits(c, 0) == out.bits(c, i));
        }
    verdict(lab, fine && worst <= 1,
            case_name("gate", {width, n, gelu, with_bias, (uint32_t)layout}),
            "off by " + std::to_string(worst) + (fine ? "" : ", padding, bits or guards"));
}

void cap_case(Lab &lab, uint32_t width, uint32_t n)
{
    const std::vector<float> in = random_floats(n * (width + 3), 40);
    Device<float> logits(lab, in);
    must(weir_gpu_op_cap(lab.stream, logits.at, width + 3, n, width, 30), "cap");
    bool fine;
    const std::vector<float> got = logits.get(&fine);
    double worst = 0;
    for (size_t i = 0; i < in.size(); i++) {
        const bool inside = i % (width + 3) < width;
        const double want = inside ? 30 * tanh((double)in[i] / 30) : (double)in[i];
        worst = fmax(worst, fabs((double)got[i] - want) / (inside ? 8e-6 : 1e-30));
    }
    verdict(lab, fine && worst <= 1, case_name("cap", {width, n}),
            "off by " + std::to_string(worst));
}

/* ---- heads ---- */

struct HeadsCase {
    uint32_t n_heads, kv_heads, dim, n_pairs, n;
    bool pairs, bias, norms, is_long;
};

struct HeadsData {
    HeadsCase c;
    uint32_t context = 77, n_sequences = 3;
    size_t stride;
    std::vector<float> qkv, bias, q_norm, k_norm, turn, long_turn;
    std::vector<uint8_t> is_long{0, 1, 1};
    std::vector<uint32_t> sequence, position;
};

/* Head `head` of q, k, v of a row. */
std::vector<double> head_want(const HeadsData &d, uint32_t row, uint32_t head)
{
    const HeadsCase &c = d.c;
    std::vector<double> v(c.dim);
    for (uint32_t i = 0; i < c.dim; i++)
        v[i] = (double)(d.qkv[row * d.stride + head * c.dim + i] +
                        (c.bias ? d.bias[head * c.dim + i] : 0));
    if (head >= c.n_heads + c.kv_heads)
        return v;
    if (c.norms) {
        const double scale = root_mean(v, 1e-6);
        for (uint32_t i = 0; i < c.dim; i++)
            v[i] *= scale * (double)(head < c.n_heads ? d.q_norm : d.k_norm)[i];
    }
    const std::vector<float> &turn = c.is_long && d.is_long[d.sequence[row]] ? d.long_turn : d.turn;
    for (uint32_t i = 0; i < c.n_pairs; i++) {
        const uint32_t a = c.pairs ? 2 * i : i, b = c.pairs ? 2 * i + 1 : i + c.n_pairs;
        const size_t at = 2 * ((size_t)d.position[row] * c.n_pairs + i);
        const double x = v[a], y = v[b], co = turn[at], si = turn[at + 1];
        v[a] = x * co - y * si;
        v[b] = y * co + x * si;
    }
    return v;
}

void heads_case(Lab &lab, const HeadsCase &c)
{
    HeadsData d;
    d.c = c;
    const uint32_t all = c.n_heads + 2 * c.kv_heads;
    d.stride = all * c.dim + 4;
    d.qkv = random_floats(c.n * d.stride, 2);
    d.bias = random_floats(all * c.dim);
    d.q_norm = random_floats(c.dim, 0.5F, 1);
    d.k_norm = random_floats(c.dim, 0.5F, 1);
    for (uint32_t i = 0; i < d.context * c.n_pairs; i++) {
        const float angle = random_float() * 3;
        d.turn.insert(d.turn.end(), {cosf(angle), sinf(angle)});
        d.long_turn.insert(d.long_turn.end(), {2 * sinf(angle), 2 * cosf(angle)});
    }
    for (uint32_t i = 0; i < c.n; i++) { /* no two rows at one place */
        d.sequence.push_back(i % d.n_sequences);
        d.position.push_back(i / d.n_sequences);
    }
    Device<float> qkv(lab, d.qkv), bias(lab, d.bias), q_norm(lab, d.q_norm), k_norm(lab, d.k_norm),
        turn(lab, d.turn), long_turn(lab, d.long_turn);
    Device<uint8_t> is_long(lab, d.is_long);
    Device<uint32_t> sequence(lab, d.sequence), position(lab, d.position);
    const size_t room = (size_t)d.n_sequences * c.kv_heads * d.context * c.dim;
    Device<uint16_t> keys(lab, room), values(lab, room);
    const weir_gpu_pass pass{c.n, sequence.at, position.at};
    const weir_gpu_kv kv{keys.at, values.at, c.kv_heads, c.dim, d.context};
    weir_gpu_heads o{};
    o.qkv = qkv.at;
    o.stride = d.stride;
    o.n_heads = c.n_heads;
    o.bias = c.bias ? bias.at : nullptr;
    o.q_norm = c.norms ? q_norm.at : nullptr;
    o.k_norm = c.norms ? k_norm.at : nullptr;
    o.norm_eps = 1e-6F;
    o.turn = turn.at;
    o.long_turn = c.is_long ? long_turn.at : nullptr;
    o.is_long = c.is_long ? is_long.at : nullptr;
    o.n_pairs = c.n_pairs;
    o.pairs = c.pairs;
    must(weir_gpu_op_heads(lab.stream, &pass, &kv, &o), "heads");
    bool fine, fine_keys, fine_values;
    const std::vector<float> got = qkv.get(&fine);
    const std::vector<uint16_t> k = keys.get(&fine_keys), v = values.get(&fine_values);
    fine = fine && fine_keys && fine_values;
    double worst = 0;
    size_t n_kept = 0;
    for (uint32_t row = 0; row < c.n; row++)
        for (uint32_t head = 0; head < all; head++) {
            const std::vector<double> want = head_want(d, row, head);
            const bool is_q = head < c.n_heads, is_v = head >= c.n_heads + c.kv_heads;
            const uint32_t kv_head = head - c.n_heads - (is_v ? c.kv_heads : 0);
            const size_t at = is_q ? row * d.stride + head * c.dim
                                   : (((size_t)d.sequence[row] * c.kv_heads + kv_head) * d.context +
                                      d.position[row]) *
                                         c.dim;
            for (uint32_t i = 0; i < c.dim; i++)
                worst = fmax(worst, is_q ? fabs((double)got[at + i] - want[i]) / 4e-6
                                         : bf16_error((is_v ? v : k)[at + i], want[i], 4e-6));
        }
    for (size_t i = 0; i < room; i++)
        n_kept += (k[i] != 0xffff) + (v[i] != 0xffff);
    fine = fine && n_kept == (size_t)2 * c.n * c.kv_heads * c.dim; /* and nothing else */
    verdict(lab, fine && worst <= 1,
            case_name("heads", {c.n_heads, c.kv_heads, c.dim, c.n_pairs, c.n, c.pairs, c.bias,
                                c.norms, c.is_long}),
            "off by " + std::to_string(worst) + (fine ? "" : ", places or guards"));
}

} // namespace

void check_norm(Lab &lab, bool small)
{
    for (uint32_t hidden : {64u, 100u, 896u, 2048u, 4096u, 5120u, 8192u, 12288u, 18432u})
        for (uint32_t n : COUNTS)
            for (weir_gpu_layout layout : LAYOUTS) {
                if ((n > WEIR_GPU_MOST_VECTORS && layout == WEIR_GPU_FRAGMENTS) ||
                    (small && (n > 9 || n == 7 || hidden > 2048 || hidden == 896)) ||
                    (n == 200 && hidden > 4096))
                    continue;
                const int flags[] = {0, WITH_SUM, WITH_SUM | WITH_BIAS | WITH_SUM_NORM,
                                     WITH_SUM | WITH_ROWS, WITH_SUM | NO_OUT};
                for (int f : flags)
                    norm_case(lab, hidden, n, f, layout);
            }
}

void check_gate(Lab &lab, bool small)
{
    for (uint32_t width : {32u, 130u, 5632u, 14336u})
        for (uint32_t n : COUNTS)
            for (weir_gpu_layout layout : LAYOUTS) {
                if ((n > WEIR_GPU_MOST_VECTORS && layout == WEIR_GPU_FRAGMENTS) ||
                    (n > 9 && width > 5632) || (small && (n > 9 || width > 130)))
                    continue;
                gate_case(lab, width, n, n % 2, n % 3 == 0, layout);
            }
    for (uint32_t width : {1u, 31u, 32000u})
        cap_case(lab, width, small ? 1 : 5);
}

void check_heads(Lab &lab, bool small)
{
    const HeadsCase cases[] = {
        {32, 4, 64, 32, 1, false, false, false, false},
        {32, 8, 128, 64, 9, false, false, false, false},
        {14, 2, 64, 32, 7, false, true, false, false},
        {4, 4, 96, 48, 16, false, false, false, true},
        {6, 2, 80, 16, 33, false, true, false, false},
        {6, 2, 80, 16, 33, true, true, true, false},
        {8, 4, 256, 128, 64, false, false, true, false},
        {8, 1, 128, 64, 200, true, false, true, true},
        {2, 1, 8, 4, 2, false, false, false, false},
    };
    for (const HeadsCase &c : cases)
        if (!small || c.n <= 16)
            heads_case(lab, c);
}
