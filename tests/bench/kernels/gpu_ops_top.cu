/* The largest of a line: exactly those, in that order. */
#include "gpu_ops.h"

#include <algorithm>

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

} // namespace

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
