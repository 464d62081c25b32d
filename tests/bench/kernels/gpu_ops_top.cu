/* The largest of a line: exactly those, in that order; and one of them, the one that the sampler of
 * the CPU draws. */
#include "gpu_ops.h"

#include <algorithm>

#include "infer/sample.h"

namespace
{

enum Kind { NORMAL, TIES, MOSTLY_NONE, ALL_NONE, ZEROS };

float some_logit(Kind kind)
{
    switch (kind) {
    case TIES:
        return (float)((int)random_below(9) - 4);
    case MOSTLY_NONE:
        return random_below(1000) ? (random_below(2) ? NAN : -INFINITY) : random_float();
    case ALL_NONE:
        return random_below(2) ? -NAN : -INFINITY;
    case ZEROS:
        return random_below(2) ? -0.0F : 0.0F;
    default:
        return random_below(500) ? random_float() * 10 : INFINITY * (random_below(2) ? 1.F : -1.F);
    }
}

struct Candidate {
    float logit;
    uint32_t id;
};

std::vector<Candidate> top_want(std::vector<float> line, uint32_t k, float penalty,
                                const uint32_t *recent, uint32_t n_recent)
{
    std::vector<bool> seen(line.size());
    std::vector<Candidate> all;
    for (uint32_t i = 0; i < n_recent; i++) {
        if (recent[i] >= line.size() || seen[recent[i]])
            continue;
        seen[recent[i]] = true;
        float &l = line[recent[i]];
        l = l > 0 ? l / penalty : l * penalty;
    }
    for (uint32_t i = 0; i < line.size(); i++)
        if (!std::isnan(line[i]) && line[i] > -INFINITY)
            all.push_back({line[i], i});
    std::sort(all.begin(), all.end(), [](const Candidate &a, const Candidate &b) {
        return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
    });
    all.resize(std::min<size_t>(all.size(), k));
    while (all.size() < k)
        all.push_back({-INFINITY, UINT32_MAX});
    return all;
}

void top_case(Lab &lab, uint32_t width, uint32_t n, uint32_t k, Kind kind, bool penalised)
{
    const size_t stride = width + 5, recent_stride = 70;
    std::vector<float> logits(n * stride);
    for (float &l : logits)
        l = some_logit(kind);
    std::vector<uint32_t> recent(n * recent_stride), n_recent(n);
    for (uint32_t &id : recent)
        id = random_below(3) ? random_below(width) : random_below(width < 40 ? 100 : 40);
    for (uint32_t i = 0; i < n; i++)
        n_recent[i] = i % 3 == 1 ? 0 : 64 + i % 6;
    Device<float> line(lab, logits), logit(lab, (size_t)n * k);
    Device<uint32_t> recent_ids(lab, recent), counts(lab, n_recent), id(lab, (size_t)n * k);
    Device<uint8_t> scratch(lab, weir_gpu_top_bytes(n, width, k));
    weir_gpu_top o{};
    o.logits = line.at;
    o.stride = stride;
    o.n = n;
    o.width = width;
    o.k = k;
    o.penalty = penalised ? 1.3F : 1;
    o.recent = recent_ids.at;
    o.n_recent = penalised ? counts.at : nullptr;
    o.recent_stride = recent_stride;
    o.id = id.at;
    o.logit = logit.at;
    o.scratch = scratch.at;
    must(weir_gpu_op_top(lab.stream, &o), "top");
    bool fine, fine_id, fine_scratch;
    const std::vector<float> got = logit.get(&fine);
    const std::vector<uint32_t> got_id = id.get(&fine_id);
    const std::vector<float> after = line.get();
    (void)scratch.get(&fine_scratch);
    fine =
        fine && fine_id && fine_scratch && !memcmp(after.data(), logits.data(), 4 * after.size());
    size_t wrong = 0;
    for (uint32_t i = 0; i < n; i++) {
        const std::vector<float> one(&logits[i * stride], &logits[i * stride] + width);
        const std::vector<Candidate> want =
            top_want(one, k, o.penalty, &recent[i * recent_stride], penalised ? n_recent[i] : 0);
        for (uint32_t j = 0; j < k; j++)
            wrong += want[j].id != got_id[i * k + j] || !(want[j].logit == got[i * k + j]);
    }
    verdict(lab, fine && !wrong,
            "top " + std::to_string(k) + " of " + std::to_string(width) + ", kind " +
                std::to_string(kind) + (penalised ? ", penalised" : ""),
            std::to_string(wrong) + " wrong" + (fine ? "" : ", guards or the line itself"));
}

/* What a sampler with this seed draws next: 53 bits of splitmix64. */
double next_uniform(uint64_t *seed)
{
    *seed += 0x9e3779b97f4a7c15;
    uint64_t z = *seed;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1p-53;
}

void draw_case(Lab &lab, uint32_t width, uint32_t k, weir_sampler_options options)
{
    const uint32_t n = 40;
    std::vector<float> logits((size_t)n * width);
    std::vector<double> uniform(n);
    std::vector<uint32_t> want(n);
    for (float &l : logits)
        l = random_float() * 4;
    for (uint32_t i = 0; i < n; i++) {
        options.seed = random_bits();
        options.top_k = k;
        uint64_t seed = options.seed;
        uniform[i] = next_uniform(&seed);
        weir_sampler *sampler;
        must(weir_sampler_new(width, &options, &sampler), "sampler");
        must(weir_sampler_next(sampler, &logits[(size_t)i * width], &want[i]), "sample");
        weir_sampler_free(sampler);
    }
    Device<float> line(lab, logits), logit(lab, (size_t)n * k);
    Device<uint32_t> id(lab, (size_t)n * k), chosen(lab, n);
    Device<double> numbers(lab, uniform);
    Device<uint8_t> scratch(lab, weir_gpu_top_bytes(n, width, k));
    const weir_gpu_top top{line.at, width,   n, width, k,        1,
                           nullptr, nullptr, 0, id.at, logit.at, scratch.at};
    weir_gpu_draw o{};
    o.id = id.at;
    o.logit = logit.at;
    o.n = n;
    o.k = k;
    o.temperature = options.temperature;
    o.top_p = options.top_p;
    o.min_p = options.min_p;
    o.uniform = numbers.at;
    o.chosen = chosen.at;
    must(weir_gpu_op_top(lab.stream, &top), "top");
    must(weir_gpu_op_draw(lab.stream, &o), "draw");
    bool fine;
    const std::vector<uint32_t> got = chosen.get(&fine);
    verdict(lab, fine && got == want,
            "draw of " + std::to_string(k) + " at " + std::to_string(options.temperature),
            "another one than the sampler");
}

/* Nothing to draw from. */
void draw_none_case(Lab &lab)
{
    Device<uint32_t> id(lab, std::vector<uint32_t>(6, UINT32_MAX)), chosen(lab, 2);
    Device<float> logit(lab, std::vector<float>(6, -INFINITY));
    Device<double> numbers(lab, std::vector<double>(2, 0.5));
    const weir_gpu_draw o{id.at, logit.at, 2, 3, 1, 1, 0, numbers.at, chosen.at};
    must(weir_gpu_fill(lab.stream, chosen.at, 0, 8), "fill");
    must(weir_gpu_op_draw(lab.stream, &o), "draw");
    verdict(lab, chosen.get() == std::vector<uint32_t>(2, UINT32_MAX), "draw of none", "one drawn");
}

} // namespace

void check_draw(Lab &lab, bool small)
{
    draw_none_case(lab);
    for (uint32_t k : {1u, 40u, 256u})
        for (float heat : {0.F, 0.3F, 1.F, 3.F})
            for (int cut = 0; cut < 4 && !(small && heat > 0.5F); cut++) {
                weir_sampler_options options{};
                options.temperature = heat;
                options.top_p = cut & 1 ? 0.8F : 1;
                options.min_p = cut & 2 ? 0.05F : 0;
                draw_case(lab, small ? 100 : 3000, k, options);
            }
}

void check_top(Lab &lab, bool small)
{
    for (uint32_t width : {1u, 31u, 4096u, 4097u, 32000u, 128256u, 151936u, 262144u})
        for (uint32_t k : {1u, 2u, 40u, 256u})
            for (Kind kind : {NORMAL, TIES, MOSTLY_NONE, ALL_NONE, ZEROS}) {
                if (width > 4097 && (small || (kind != NORMAL && width != 128256)))
                    continue;
                if (small && (kind > TIES || k == 2))
                    continue;
                top_case(lab, width, width > 4097 ? 2 : 5, k, kind, true);
                if (kind == NORMAL)
                    top_case(lab, width, width > 4097 ? 1 : 9, k, kind, false);
            }
}
