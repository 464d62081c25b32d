/* Microseconds of each op: recorded many times over, the graph's time divided. */
#include "gpu_ops.h"

#include <algorithm>
#include <functional>

namespace
{

enum { LAUNCHES = 50, REPEATS = 7 };

struct Model {
    const char *name;
    uint32_t hidden, n_heads, kv_heads, dim, width, vocab;
};

const Model MODELS[] = {{"tinyllama-1.1b", 2048, 32, 4, 64, 5632, 32000},
                        {"llama-3.1-8b", 4096, 32, 8, 128, 14336, 128256}};

class Bench
{
  public:
    Bench(Lab &l, const char *csv, const char *id) : lab(l), commit(id)
    {
        f = csv ? fopen(csv, "w") : nullptr;
        if (f)
            fprintf(f, "commit,model,op,rows,positions,us\n");
        must(weir_gpu_event_new(lab.gpu, true, &from), "event");
        must(weir_gpu_event_new(lab.gpu, true, &to), "event");
    }
    ~Bench()
    {
        weir_gpu_event_free(from);
        weir_gpu_event_free(to);
        if (f)
            fclose(f);
    }
    void time(const Model &m, const char *op, uint32_t n, uint32_t positions,
              const std::function<weir_err(int)> &queue)
    {
        const double us = median(queue);
        printf("%-15s %-15s n %3u positions %4u: %8.2f us\n", m.name, op, n, positions, us);
        if (f)
            fprintf(f, "%s,%s,%s,%u,%u,%.3f\n", commit, m.name, op, n, positions, us);
    }

  private:
    double median(const std::function<weir_err(int)> &queue)
    {
        weir_gpu_graph *graph;
        must(weir_gpu_record_begin(lab.stream), "record");
        for (int i = 0; i < LAUNCHES; i++)
            must(queue(i), "queue");
        must(weir_gpu_record_end(lab.stream, &graph), "record");
        std::vector<float> ms(REPEATS);
        must(weir_gpu_graph_launch(graph, lab.stream), "launch");
        for (float &t : ms) {
            must(weir_gpu_event_record(from, lab.stream), "event");
            must(weir_gpu_graph_launch(graph, lab.stream), "launch");
            must(weir_gpu_event_record(to, lab.stream), "event");
            must(weir_gpu_event_wait(to), "wait");
            must(weir_gpu_event_ms(from, to, &t), "time");
        }
        weir_gpu_graph_free(graph);
        std::sort(ms.begin(), ms.end());
        return 1e3 * (double)ms[REPEATS / 2] / LAUNCHES;
    }
    Lab &lab;
    const char *commit;
    FILE *f;
    weir_gpu_event *from, *to;
};

/* Arrays of a pass of n rows; every row is its own sequence up to 64, else all are one prompt. */
struct Pass {
    Pass(Lab &l, const Model &model, uint32_t rows, uint32_t most)
        : lab(l), m(model), n(rows), positions(most), context(most + 8),
          n_sequences(rows <= WEIR_GPU_MOST_VECTORS ? rows : 1),
          layout(rows <= WEIR_GPU_MOST_VECTORS ? WEIR_GPU_FRAGMENTS : WEIR_GPU_LINES),
          qkv_width((m.n_heads + 2 * m.kv_heads) * m.dim),
          x(l, random_floats((size_t)n * m.hidden)), weight(l, random_floats(m.hidden)),
          qkv(l, random_floats((size_t)n * qkv_width)),
          gate_up(l, random_floats((size_t)n * 2 * m.width)),
          turn(l, random_floats((size_t)context * m.dim)),
          keys(l, std::vector<uint16_t>(LAYERS * kv_size(), 0x3f12)),
          values(l, std::vector<uint16_t>(LAYERS * kv_size(), 0x3e34)), sequence(l, sequences()),
          position(l, places()), out(l, layout, m.width, n),
          scratch(l,
                  std::vector<uint8_t>(weir_gpu_attention_bytes(n, m.n_heads, m.dim, context), 0))
    {
    }
    enum { LAYERS = 2 };
    size_t kv_size() const { return (size_t)n_sequences * m.kv_heads * context * m.dim; }
    std::vector<uint32_t> sequences() const
    {
        std::vector<uint32_t> v(n);
        for (uint32_t i = 0; i < n; i++)
            v[i] = n_sequences == 1 ? 0 : i;
        return v;
    }
    std::vector<uint32_t> places() const
    {
        std::vector<uint32_t> v(n, positions - 1);
        for (uint32_t i = 0; i < n && n_sequences == 1 && n > 1; i++)
            v[i] = positions - n + i;
        return v;
    }
    weir_err norm()
    {
        weir_gpu_norm o{};
        o.hidden = m.hidden;
        o.eps = 1e-5F;
        o.x = x.at;
        o.x_stride = m.hidden;
        o.sum = qkv.at;
        o.sum_stride = qkv_width;
        o.weight = weight.at;
        o.out = out.at();
        o.layout = layout;
        return weir_gpu_op_norm(lab.stream, n, &o);
    }
    weir_err gate()
    {
        weir_gpu_gate o{};
        o.gate_up = gate_up.at;
        o.stride = 2 * m.width;
        o.width = m.width;
        o.out = out.at();
        o.layout = layout;
        return weir_gpu_op_gate(lab.stream, n, &o);
    }
    weir_gpu_kv kv(int layer)
    {
        return {keys.at + layer % LAYERS * kv_size(), values.at + layer % LAYERS * kv_size(),
                m.kv_heads, m.dim, context};
    }
    weir_gpu_heads heads_args()
    {
        weir_gpu_heads o{};
        o.qkv = qkv.at;
        o.stride = qkv_width;
        o.n_heads = m.n_heads;
        o.turn = turn.at;
        o.n_pairs = m.dim / 2;
        return o;
    }
    weir_gpu_attention attention_args(uint32_t most)
    {
        weir_gpu_attention o{};
        o.q = qkv.at;
        o.stride = qkv_width;
        o.n_heads = m.n_heads;
        o.scale = 1 / sqrtf((float)m.dim);
        o.most_positions = most;
        o.scratch = (float *)scratch.at;
        o.out = out.at();
        o.layout = layout;
        return o;
    }
    weir_gpu_pass pass() { return {n, sequence.at, position.at}; }
    weir_err heads(int layer)
    {
        const weir_gpu_pass rows = pass();
        const weir_gpu_kv to = kv(layer);
        const weir_gpu_heads o = heads_args();
        return weir_gpu_op_heads(lab.stream, &rows, &to, &o);
    }
    weir_err attention(int layer, uint32_t most)
    {
        const weir_gpu_pass rows = pass();
        const weir_gpu_kv of = kv(layer);
        const weir_gpu_attention o = attention_args(most);
        return weir_gpu_op_attention(lab.stream, &rows, &of, &o);
    }
    Lab &lab;
    const Model &m;
    uint32_t n, positions, context, n_sequences;
    weir_gpu_layout layout;
    size_t qkv_width;
    Device<float> x, weight, qkv, gate_up, turn;
    Device<uint16_t> keys, values;
    Device<uint32_t> sequence, position;
    Vectors out;
    Device<uint8_t> scratch;
};

void bench_top(Lab &lab, Bench &bench, const Model &m, uint32_t n)
{
    for (uint32_t k : {1u, 40u, 256u}) {
        Device<float> logits(lab, random_floats((size_t)n * m.vocab, 8)), logit(lab, (size_t)n * k);
        Device<uint32_t> id(lab, (size_t)n * k);
        Device<uint8_t> scratch(lab, weir_gpu_top_bytes(n, m.vocab, k));
        weir_gpu_top o{};
        o.logits = logits.at;
        o.stride = o.width = m.vocab;
        o.n = n;
        o.k = k;
        o.penalty = 1;
        o.id = id.at;
        o.logit = logit.at;
        o.scratch = scratch.at;
        bench.time(m, ("top " + std::to_string(k)).c_str(), n, 0,
                   [&](int) { return weir_gpu_op_top(lab.stream, &o); });
        const std::vector<double> numbers(n, 0.3);
        Device<double> uniform(lab, numbers);
        Device<uint32_t> chosen(lab, n);
        const weir_gpu_draw d{id.at, logit.at, n, k, 0.7F, 0.95F, 0, uniform.at, chosen.at};
        bench.time(m, ("draw " + std::to_string(k)).c_str(), n, 0,
                   [&](int) { return weir_gpu_op_draw(lab.stream, &d); });
    }
}

} // namespace

void bench_ops(Lab &lab, const char *csv, const char *commit)
{
    Bench bench(lab, csv, commit);
    for (const Model &m : MODELS)
        for (uint32_t n : {1u, 8u, 32u, 512u}) {
            for (uint32_t positions : {128u, 1024u, 8192u}) {
                if (n > positions && n > WEIR_GPU_MOST_VECTORS)
                    positions = n;
                Pass p(lab, m, n, positions);
                if (positions <= 512) {
                    bench.time(m, "norm", n, 0, [&](int) { return p.norm(); });
                    bench.time(m, "gate", n, 0, [&](int) { return p.gate(); });
                    bench.time(m, "heads", n, 0, [&](int i) { return p.heads(i); });
                }
                bench.time(m, "attention", n, positions,
                           [&](int i) { return p.attention(i, positions); });
                if (positions < 8192 && n == 1) { /* recorded for more than there is yet */
                    bench.time(m, "attention, room", n, positions,
                               [&](int i) { return p.attention(i, p.context); });
                }
            }
            if (n <= 32)
                bench_top(lab, bench, m, n);
        }
}
