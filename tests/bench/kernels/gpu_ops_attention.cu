/* Attention: beside double precision, and each row's bits alone, among others and in other places.
 */
#include "gpu_ops.h"

#include <algorithm>

namespace
{

struct Row {
    uint32_t sequence, position;
};

struct Shape {
    uint32_t n_heads, kv_heads, dim, window;
    float cap;
    uint32_t context, n_sequences;
    weir_gpu_layout layout;
    const char *name;
};

struct AttentionData {
    Shape shape;
    std::vector<uint16_t> keys, values;
    float scale;
};

size_t kv_at(const Shape &s, uint32_t sequence, uint32_t head, uint32_t position)
{
    return (((size_t)sequence * s.kv_heads + head) * s.context + position) * s.dim;
}

/* Places that no row looks at are NaNs. */
void fill_kv(AttentionData &d, const std::vector<Row> &rows)
{
    const Shape &s = d.shape;
    const size_t all = kv_at(s, s.n_sequences, 0, 0);
    d.keys.assign(all, 0xffff);
    d.values.assign(all, 0xffff);
    std::vector<uint32_t> end(s.n_sequences);
    for (const Row &r : rows)
        end[r.sequence] = std::max(end[r.sequence], r.position + 1);
    for (uint32_t q = 0; q < s.n_sequences; q++)
        for (uint32_t h = 0; h < s.kv_heads; h++)
            for (size_t i = kv_at(s, q, h, 0); i < kv_at(s, q, h, 0) + (size_t)end[q] * s.dim;
                 i++) {
                d.keys[i] = to_bf16(random_float() * 2);
                d.values[i] = to_bf16(random_float());
            }
}

void attention_want(const AttentionData &d, const Row &r, uint32_t head, const float *q,
                    std::vector<double> &out)
{
    const Shape &s = d.shape;
    const uint32_t kv_head = head / (s.n_heads / s.kv_heads);
    const uint32_t low = s.window && r.position + 1 > s.window ? r.position + 1 - s.window : 0;
    std::vector<double> score;
    double most = -1e300, sum = 0;
    for (uint32_t p = low; p <= r.position; p++) {
        double dot = 0;
        const uint16_t *k = &d.keys[kv_at(s, r.sequence, kv_head, p)];
        for (uint32_t i = 0; i < s.dim; i++)
            dot += (double)q[i] * (double)from_bf16(k[i]);
        dot *= (double)d.scale;
        if (s.cap > 0)
            dot = (double)s.cap * tanh(dot / (double)s.cap);
        score.push_back(dot);
        most = fmax(most, dot);
    }
    out.assign(s.dim, 0);
    for (uint32_t p = low; p <= r.position; p++) {
        const double w = exp(score[p - low] - most);
        const uint16_t *v = &d.values[kv_at(s, r.sequence, kv_head, p)];
        sum += w;
        for (uint32_t i = 0; i < s.dim; i++)
            out[i] += w * (double)from_bf16(v[i]);
    }
    for (double &x : out)
        x /= sum;
}

/* One launch; the scratch is used again and again. */
class Attention
{
  public:
    Attention(Lab &l, const AttentionData &data, uint32_t most_rows)
        : lab(l), d(data), keys(l, data.keys), values(l, data.values),
          scratch(
              l, weir_gpu_attention_bytes(most_rows, d.shape.n_heads, d.shape.dim, d.shape.context))
    {
        must(weir_gpu_fill(lab.stream, scratch.at, 0, scratch_bytes(most_rows)), "fill");
    }
    bool run(const std::vector<Row> &rows, const std::vector<float> &q, uint32_t most_positions,
             weir_gpu_layout layout, std::vector<uint16_t> &out)
    {
        const Shape &s = d.shape;
        const uint32_t n = (uint32_t)rows.size(), width = s.n_heads * s.dim;
        std::vector<uint32_t> sequences, positions;
        for (const Row &r : rows) {
            sequences.push_back(r.sequence);
            positions.push_back(r.position);
        }
        Device<uint32_t> sequence(lab, sequences), position(lab, positions);
        Device<float> queries(lab, q);
        Vectors to(lab, layout, width, n);
        const weir_gpu_pass pass{n, sequence.at, position.at};
        const weir_gpu_kv kv{keys.at, values.at, s.kv_heads, s.dim, s.context};
        weir_gpu_attention o{};
        o.q = queries.at;
        o.stride = q.size() / n;
        o.n_heads = s.n_heads;
        o.scale = d.scale;
        o.cap = s.cap;
        o.window = s.window;
        o.most_positions = most_positions;
        o.scratch = (float *)scratch.at;
        o.out = to.at();
        o.layout = layout;
        must(weir_gpu_op_attention(lab.stream, &pass, &kv, &o), "attention");
        const bool fine = to.fetch();
        out.clear();
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t c = 0; c < width; c++)
                out.push_back(to.bits(c, i));
        bool guarded;
        (void)scratch.get(&guarded);
        return fine && guarded;
    }

  private:
    size_t scratch_bytes(uint32_t n) const
    {
        return weir_gpu_attention_bytes(n, d.shape.n_heads, d.shape.dim, d.shape.context);
    }
    Lab &lab;
    const AttentionData &d;
    Device<uint16_t> keys, values;
    Device<uint8_t> scratch;
};

template <class T> std::vector<T> part(const std::vector<T> &all, size_t row, size_t n_rows)
{
    const size_t width = all.size() / n_rows;
    return std::vector<T>(all.begin() + (ptrdiff_t)(row * width),
                          all.begin() + (ptrdiff_t)((row + 1) * width));
}

/* In the other order, with other positions allowed for: the same bits. */
bool same_backwards(Attention &a, const AttentionData &d, const std::vector<Row> &rows,
                    const std::vector<float> &q, const std::vector<uint16_t> &out)
{
    const size_t n = rows.size(), width = out.size() / n;
    std::vector<Row> other(rows.rbegin(), rows.rend());
    std::vector<float> other_q;
    std::vector<uint16_t> got;
    for (size_t i = n; i-- > 0;) {
        const std::vector<float> one = part(q, i, n);
        other_q.insert(other_q.end(), one.begin(), one.end());
    }
    bool same = a.run(other, other_q, d.shape.context, d.shape.layout, got);
    for (size_t i = 0; i < n; i++)
        same = same && !memcmp(&got[(n - 1 - i) * width], &out[i * width], 2 * width);
    return same;
}

void attention_case(Lab &lab, const Shape &s, const std::vector<Row> &rows)
{
    AttentionData d{s, {}, {}, 1 / sqrtf((float)s.dim)};
    fill_kv(d, rows);
    const size_t n = rows.size(), stride = (s.n_heads + 2 * s.kv_heads) * s.dim + 4;
    const std::vector<float> q = random_floats(n * stride, 2);
    uint32_t most = 0;
    for (const Row &r : rows)
        most = std::max(most, r.position + 1);
    Attention a(lab, d, (uint32_t)n);
    std::vector<uint16_t> out, got;
    const bool fine = a.run(rows, q, most, s.layout, out);
    double worst = 0;
    std::vector<double> want;
    for (size_t i = 0; i < n; i++)
        for (uint32_t h = 0; h < s.n_heads; h++) {
            if (n * s.n_heads > 64 && h != i % s.n_heads && h != s.n_heads - 1)
                continue; /* some of them */
            attention_want(d, rows[i], h, &q[i * stride + h * s.dim], want);
            for (uint32_t c = 0; c < s.dim; c++)
                worst =
                    fmax(worst, bf16_error(out[(i * s.n_heads + h) * s.dim + c], want[c], 1e-5));
        }
    bool alone = true;
    const size_t step = n > 40 ? n / 20 : 1;
    for (size_t i = 0; i < n; i += step) {
        alone = a.run({rows[i]}, part(q, i, n), rows[i].position + 1, WEIR_GPU_FRAGMENTS, got) &&
                alone && !memcmp(got.data(), &out[i * s.n_heads * s.dim], 2 * got.size());
    }
    const bool backwards = same_backwards(a, d, rows, q, out);
    verdict(lab, fine && worst <= 1 && alone && backwards, std::string("attention ") + s.name,
            "off by " + std::to_string(worst) + (fine ? "" : ", padding or guards") +
                (alone ? "" : ", other bits alone") + (backwards ? "" : ", other bits backwards"));
}

std::vector<Row> some_rows(uint32_t n, uint32_t n_sequences, uint32_t most)
{
    std::vector<Row> rows;
    for (uint32_t i = 0; i < n; i++)
        rows.push_back({random_below(n_sequences), random_below(most)});
    rows[0].position = most - 1;
    return rows;
}

/* Runs of positions, as when prompts are read. */
std::vector<Row> prompt_rows(uint32_t n, uint32_t n_sequences, uint32_t first)
{
    std::vector<Row> rows;
    for (uint32_t q = 0; q < n_sequences; q++)
        for (uint32_t i = q * n / n_sequences; i < (q + 1) * n / n_sequences; i++)
            rows.push_back({q, first * q + i - q * n / n_sequences});
    return rows;
}

} // namespace

void check_attention(Lab &lab, bool small)
{
    const weir_gpu_layout F = WEIR_GPU_FRAGMENTS, L = WEIR_GPU_LINES;
    attention_case(lab, {8, 1, 64, 0, 0, 300, 3, F, "8/1 of 64, 9 short"}, some_rows(9, 3, 300));
    attention_case(lab, {4, 4, 128, 0, 50, 140, 2, F, "4/4 of 128, capped, 2"},
                   some_rows(2, 2, 140));
    attention_case(lab, {8, 2, 80, 33, 0, 300, 2, L, "8/2 of 80, window 33, 7 lines"},
                   some_rows(7, 2, 290));
    attention_case(lab, {8, 2, 64, 0, 0, 200, 2, L, "8/2 of 64, prompts of 70"},
                   prompt_rows(70, 2, 11));
    attention_case(lab, {3, 3, 8, 0, 0, 400, 2, F, "3/3 of 8, 9"}, some_rows(9, 2, 400));
    if (small)
        return;
    attention_case(lab, {32, 4, 64, 0, 0, 5003, 1, F, "32/4 of 64, 1 long"}, {{0, 5000}});
    attention_case(lab, {32, 4, 64, 0, 0, 5003, 2, F, "32/4 of 64, 1 first"}, {{1, 0}});
    attention_case(lab, {32, 8, 128, 0, 0, 5003, 2, F, "32/8 of 128, 8 long"},
                   some_rows(8, 2, 5001));
    attention_case(lab, {32, 8, 128, 0, 0, 1000, 5, F, "32/8 of 128, 33"}, some_rows(33, 5, 1000));
    attention_case(lab, {32, 8, 128, 0, 0, 1000, 5, F, "32/8 of 128, 64"}, some_rows(64, 5, 1000));
    attention_case(lab, {32, 4, 64, 0, 0, 999, 7, F, "32/4 of 64, 16"}, some_rows(16, 7, 999));
    attention_case(lab, {32, 4, 64, 0, 0, 700, 3, L, "32/4 of 64, prompts of 200"},
                   prompt_rows(200, 3, 129));
    attention_case(lab, {32, 8, 128, 0, 0, 700, 3, L, "32/8 of 128, prompts of 200"},
                   prompt_rows(200, 3, 129));
    attention_case(lab, {16, 8, 256, 100, 30, 900, 3, L, "16/8 of 256, window 100, 200"},
                   prompt_rows(200, 3, 300));
    attention_case(lab, {16, 8, 256, 0, 0, 2500, 3, F, "16/8 of 256, 7 long"},
                   some_rows(7, 3, 2500));
    attention_case(lab, {8, 8, 96, 4096, 0, 5003, 2, F, "8/8 of 96, window 4096, 8"},
                   some_rows(8, 2, 5003));
    attention_case(lab, {14, 2, 64, 0, 0, 600, 2, L, "14/2 of 64, prompts of 100"},
                   prompt_rows(100, 2, 77));
    attention_case(lab, {8, 8, 128, 0, 0, 999, 3, L, "8/8 of 128, prompts of 130"},
                   prompt_rows(130, 3, 200));
    attention_case(lab, {7, 1, 120, 0, 0, 300, 2, L, "7/1 of 120, prompts of 70"},
                   prompt_rows(70, 2, 50));
    attention_case(lab, {40, 2, 64, 0, 0, 600, 2, F, "40/2 of 64, 5"}, some_rows(5, 2, 600));
    attention_case(lab, {40, 2, 64, 0, 0, 600, 2, L, "40/2 of 64, prompts of 70"},
                   prompt_rows(70, 2, 77));
    attention_case(lab, {4, 1, 64, 0, 0, 20011, 1, L, "4/1 of 64, long spans, alone"},
                   {{0, 20000}, {0, 8191}, {0, 8192}, {0, 16383}, {0, 16384}});
    std::vector<Row> across; /* where spans become longer, in one prompt */
    for (uint32_t i = 0; i < 80; i++)
        across.push_back({0, 8150 + i});
    attention_case(lab, {4, 1, 64, 0, 0, 8300, 1, L, "4/1 of 64, prompt across spans"}, across);
    attention_case(lab, {4, 1, 64, 700, 0, 8300, 1, L, "4/1 of 64, window 700, across"}, across);
}
