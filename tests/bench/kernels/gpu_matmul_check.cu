/* Packing and multiplying on the GPU: bits against bits of the CPU's packing, of the other form, of
 * one vector alone; and numbers against sums in double. */
#include <algorithm>

#include "cuda/ops.h"
#include "matmul_kit.h"

namespace
{

int n_bad = 0, n_checks = 0;

void expect(bool fine, const char *what, uint32_t rows, uint32_t columns, int kind, uint32_t n)
{
    n_checks++;
    if (!fine && n_bad++ < 40)
        printf("BAD %s: %u x %u, kind %d, n %u\n", what, rows, columns, kind, n);
}

enum kind { NORMAL, BIG_AND_SMALL, ANYTHING, ODD_UNITS, N_KINDS };

std::vector<uint16_t> make_weights(uint32_t rows, uint32_t columns, int kind, Random &random)
{
    std::vector<uint16_t> w((size_t)rows * columns);
    for (size_t i = 0; i < w.size(); i++) {
        w[i] = to_bf16((float)(0.02 * random.normal()));
        const size_t column = i % columns;
        if (kind == BIG_AND_SMALL) /* a sum of another order is another sum */
            w[i] = column == 0             ? to_bf16(0x1p25f)
                   : column == columns - 1 ? to_bf16(-0x1p25f)
                                           : to_bf16(1.0f);
        if (kind == ANYTHING && random.bits() % 20 == 0)
            w[i] = (uint16_t)random.bits(); /* NaN, Inf, -0, denormals */
        if (kind == ODD_UNITS && i / columns / 16 % 2 == 0 && column / 128 % 2 == 0)
            w[i] = (uint16_t)(0x0100 + random.bits() % 0x1000);
    }
    return w;
}

struct Case {
    uint32_t rows, columns;
    int kind;
    std::vector<uint16_t> w;
};

/* The device's units are the CPU's; only which lines lists lie in is another. */
void check_units(const Bench &b, const Case &c, const weir_gpu_matrix &m)
{
    const uint64_t n_units = weir_form_units(c.rows, c.columns);
    std::vector<uint8_t> mine(n_units * WEIR_FORM_UNIT_BYTES);
    std::vector<uint32_t> lines((size_t)(m.most_lines + 1) * WEIR_FORM_LINE);
    weir_form f{};
    f.units = mine.data();
    f.lines = lines.data();
    f.most_lines = m.most_lines;
    memcpy(f.high, m.high, 8);
    must(weir_form_pack(c.w.data(), c.rows, c.columns, &f), "pack on the CPU");
    auto theirs = from_device<uint8_t>(b, m.at, mine.size());
    auto counts = from_device<uint32_t>(b, m.counts, 2);
    auto their_lines = from_device<uint32_t>(b, m.lines, (size_t)m.most_lines * WEIR_FORM_LINE);
    expect(counts[0] == f.n_lines && counts[1] == f.n_exceptions, "counts", c.rows, c.columns,
           c.kind, 0);
    bool same = true;
    for (uint64_t u = 0; u < n_units && same; u++) {
        uint8_t *a = &mine[u * WEIR_FORM_UNIT_BYTES], *d = &theirs[u * WEIR_FORM_UNIT_BYTES];
        uint32_t ha[4], hd[4];
        memcpy(ha, a + WEIR_FORM_HALF_BYTES, 16);
        memcpy(hd, d + WEIR_FORM_HALF_BYTES, 16);
        if (ha[0] == WEIR_FORM_LIST && hd[0] == WEIR_FORM_LIST && ha[2] == hd[2]) {
            same = memcmp(&lines[(size_t)ha[1] * WEIR_FORM_LINE],
                          &their_lines[(size_t)hd[1] * WEIR_FORM_LINE], 4 * ha[2]) == 0;
            memcpy(d + WEIR_FORM_HALF_BYTES, ha, 16);
        }
        same = same && memcmp(a, d, WEIR_FORM_UNIT_BYTES) == 0;
    }
    expect(same, "units", c.rows, c.columns, c.kind, 0);
}

/* Unpacked whole and in parts, and rows picked out. */
void check_back(const Bench &b, const Case &c, const weir_gpu_matrix &m)
{
    Room back(b.gpu, 2 * c.w.size());
    must(weir_gpu_fill(b.s, back.at, 0xee, 2 * c.w.size()), "fill");
    const uint32_t first = c.rows > 16 ? 16 : 0;
    if (first)
        must(weir_gpu_matrix_unpack(b.s, &m, 0, first, back.at), "unpack");
    must(weir_gpu_matrix_unpack(b.s, &m, first, c.rows - first,
                                (uint16_t *)back.at + (size_t)first * c.columns),
         "unpack");
    expect(from_device<uint16_t>(b, back.at, c.w.size()) == c.w, "unpack", c.rows, c.columns,
           c.kind, m.form);
    const std::vector<uint32_t> row = {c.rows - 1, 0, c.rows / 2, c.rows, UINT32_MAX};
    Room which = to_room(b, row), out(b.gpu, 4 * row.size() * c.columns);
    must(weir_gpu_matrix_pick(b.s, &m, (const uint32_t *)which.at, (uint32_t)row.size(), 1,
                              out.floats(), c.columns),
         "pick");
    auto got = from_device<uint32_t>(b, out.at, row.size() * c.columns);
    bool same = true;
    for (size_t i = 0; i < row.size(); i++)
        for (uint32_t k = 0; k < c.columns; k++) {
            const uint32_t r = row[i] < c.rows ? row[i] : 0;
            const uint32_t want = (uint32_t)c.w[(size_t)r * c.columns + k] << 16;
            const uint32_t v = got[i * c.columns + k];
            const bool nan = (want & 0x7fffffff) > 0x7f800000;
            same = same && (nan ? (v & 0x7fffffff) > 0x7f800000 : v == want);
        }
    expect(same, "pick", c.rows, c.columns, c.kind, m.form);
}

void check_sums(const Case &c, const std::vector<float> &x, uint32_t n, const Product &p)
{
    bool close = true;
    for (uint32_t i = 0; i<n; i += n> 4 ? n / 3 : 1)
        for (uint32_t r = 0; r < c.rows; r += 1 + c.rows / 40) {
            double sum = 0, size = 0;
            for (uint32_t k = 0; k < c.columns; k++) {
                const double v = (double)from_bf16(c.w[(size_t)r * c.columns + k]) *
                                 from_bf16(to_bf16(x[(size_t)i * c.columns + k]));
                sum += v;
                size += std::fabs(v);
            }
            float got;
            memcpy(&got, &p.bits[(size_t)i * c.rows + r], 4);
            close = close && std::fabs(got - sum) <= 1e-6 * size + 1e-30;
        }
    expect(close, "sums", c.rows, c.columns, c.kind, n);
}

void check_products(const Bench &b, const Case &c, const weir_gpu_matrix &rows,
                    const weir_gpu_matrix &packed, Random &random)
{
    const uint32_t batches[] = {1, 2, 8, 9, 16, 21, 32, 33, 64};
    std::vector<float> x(64 * (size_t)c.columns);
    for (auto &v : x)
        v = c.kind == BIG_AND_SMALL ? 1.0f : (float)random.normal();
    Room dx = to_room(b, x);
    std::vector<Product> alone;
    for (uint32_t i = 0; i < 64; i += 9)
        alone.push_back(
            multiply(b, i % 2 ? rows : packed, dx.floats() + i * (size_t)c.columns, 0, 1, false));
    for (uint32_t n : batches) {
        const Product a = multiply(b, rows, dx.at, c.columns, n, false);
        const Product p = multiply(b, packed, dx.at, c.columns, n, n % 2);
        expect(a.all_written && p.all_written, "written", c.rows, c.columns, c.kind, n);
        expect(a.bits == p.bits, "rows = packed", c.rows, c.columns, c.kind, n);
        bool same = true;
        for (uint32_t i = 0; i < n; i += 9)
            same = same && std::equal(alone[i / 9].bits.begin(), alone[i / 9].bits.end(),
                                      p.bits.begin() + (size_t)i * c.rows);
        expect(same, "n = 1", c.rows, c.columns, c.kind, n);
        if (c.kind == NORMAL || c.kind == ODD_UNITS)
            check_sums(c, x, n, p);
    }
}

void check_case(const Bench &b, uint32_t n_rows, uint32_t n_columns, int kind, Random &random)
{
    Case c{n_rows, n_columns, kind, make_weights(n_rows, n_columns, kind, random)};
    uint8_t high[8];
    uint64_t n_odd = choose_high(c.w, high);
    if (kind == ODD_UNITS) { /* a table that knows none of them */
        memcpy(high, "\x38\x39\x3a\x3b\x3c\x3d\x3e\x37", 8);
        std::sort(high, high + 8);
        n_odd = 0;
        for (uint16_t v : c.w)
            n_odd += !std::count(high, high + 8, v >> 8 & 127);
    }
    Room dw = to_room(b, c.w);
    const weir_gpu_matrix rows = rows_matrix(dw, n_rows, n_columns);
    const uint64_t bytes = weir_gpu_matrix_bytes(WEIR_GPU_PACKED, n_rows, n_columns, n_odd);
    Room room(b.gpu, bytes);
    must(weir_gpu_fill(b.s, room.at, 0xa5, bytes), "fill");
    weir_gpu_matrix packed;
    must(weir_gpu_matrix_begin(b.s, room.at, n_rows, n_columns, n_odd, high, &packed), "begin");
    const uint32_t first = n_rows > 32 ? 32 : 0;
    if (first)
        must(weir_gpu_matrix_pack(b.s, &packed, 0, first, dw.at), "pack");
    must(weir_gpu_matrix_pack(b.s, &packed, first, n_rows - first,
                              (uint16_t *)dw.at + (size_t)first * n_columns),
         "pack");
    bool fits = false;
    uint64_t exceptions = 0;
    must(weir_gpu_matrix_check_wait(b.s, &packed, &fits, &exceptions), "check");
    expect(fits && exceptions == n_odd, "exceptions", n_rows, n_columns, kind, 0);
    if (!fits)
        return;
    check_units(b, c, packed);
    check_back(b, c, packed);
    check_back(b, c, rows);
    check_products(b, c, rows, packed, random);
}

/* ---- a norm in front of a product, gates behind it ---- */

struct Chain {
    uint32_t hidden, width; /* width: of gates; 0: there are none */
    bool first, odd;        /* nothing is added; all that there may be besides */
};

/* What a chain leaves: the new x, then what comes out. */
std::vector<uint32_t> run_chain(const Bench &b, const Chain &c, const weir_gpu_matrix &m,
                                const Room &numbers, bool at_once)
{
    const size_t h = c.hidden, n_out = c.width ? c.width / 2 : m.n_rows;
    float *const at = numbers.floats(); /* x, sum, norm, bias of sum, norm of sum, bias of gates */
    Room x_to = to_room(b, std::vector<uint32_t>(h, 0x7fabcdef));
    Room y = to_room(b, std::vector<uint32_t>(m.n_rows, 0x7fabcdef));
    Room out = to_room(b, std::vector<uint32_t>((c.width + 128) / 2, 0x7fabcdef));
    Room vectors(b.gpu, weir_gpu_vectors_bytes(WEIR_GPU_FRAGMENTS, c.hidden, 1));
    weir_gpu_norm norm{};
    norm.hidden = c.hidden;
    norm.eps = 1e-5f;
    norm.x = at;
    norm.x_to = x_to.floats();
    norm.x_stride = norm.sum_stride = h;
    norm.sum = c.first ? nullptr : at + h;
    norm.weight = at + 2 * h;
    norm.sum_bias = c.odd ? at + 3 * h : nullptr;
    norm.sum_weight = c.odd ? at + 4 * h : nullptr;
    norm.out = vectors.at;
    norm.layout = WEIR_GPU_FRAGMENTS;
    const weir_gpu_product product{&m, vectors.at, 1, y.floats(), m.n_rows, c.odd};
    weir_gpu_gate gate{};
    gate.gate_up = y.floats();
    gate.stride = m.n_rows;
    gate.width = c.width;
    gate.bias = c.odd ? at + 5 * h : nullptr;
    gate.gelu_tanh = c.odd;
    gate.out = out.at;
    gate.layout = WEIR_GPU_FRAGMENTS;
    const weir_gpu_chain chain{&norm, &product, c.width ? &gate : nullptr};
    if (at_once) {
        must(weir_gpu_op_chain(b.s, &chain), "chain");
    } else {
        must(weir_gpu_op_norm(b.s, 1, &norm), "norm");
        must(weir_gpu_multiply(b.s, &product), "multiply");
        if (c.width)
            must(weir_gpu_op_gate(b.s, 1, &gate), "gate");
    }
    auto all = from_device<uint32_t>(b, x_to.at, h);
    const auto more = from_device<uint32_t>(b, c.width ? out.at : y.at, n_out);
    all.insert(all.end(), more.begin(), more.end());
    return all;
}

void check_chain(const Bench &b, const Chain &c, Random &random)
{
    const uint32_t n_rows = c.width ? 2 * c.width : 100;
    std::vector<uint16_t> w = make_weights(n_rows, c.hidden, NORMAL, random);
    std::vector<float> numbers((size_t)5 * c.hidden + n_rows);
    for (auto &v : numbers)
        v = (float)random.normal();
    uint8_t high[8];
    const uint64_t n_odd = choose_high(w, high);
    Room dw = to_room(b, w), dn = to_room(b, numbers);
    Room room(b.gpu, weir_gpu_matrix_bytes(WEIR_GPU_PACKED, n_rows, c.hidden, n_odd));
    const weir_gpu_matrix rows = rows_matrix(dw, n_rows, c.hidden);
    weir_gpu_matrix packed;
    must(weir_gpu_matrix_begin(b.s, room.at, n_rows, c.hidden, n_odd, high, &packed), "begin");
    must(weir_gpu_matrix_pack(b.s, &packed, 0, n_rows, dw.at), "pack");
    const auto want = run_chain(b, c, rows, dn, false);
    expect(run_chain(b, c, rows, dn, true) == want, "chain", n_rows, c.hidden, c.odd, 1);
    expect(run_chain(b, c, packed, dn, true) == want, "packed chain", n_rows, c.hidden, c.odd, 1);
    expect(std::count(want.begin(), want.end(), 0x7fabcdef) == 0, "chain written", n_rows, c.hidden,
           c.odd, 1);
}

/* Widths that are no multiple of 128, and rows too long for a block, are several launches. */
void check_chains(const Bench &b, bool brief, Random &random)
{
    const uint32_t hidden[] = {64, 130, 960, 2048, 4096, 4104}, width[] = {0, 128, 200, 6400};
    for (uint32_t h : hidden)
        for (uint32_t w : width)
            if (brief ? h == 130 && w <= 128 : w < 1000 || h < 1000)
                for (int k = 0; k < 3; k++)
                    check_chain(b, Chain{h, w, k == 0, k == 2}, random);
}

/* More exceptions than there is room for: said, and nothing else touched. */
void check_no_room(const Bench &b)
{
    std::vector<uint16_t> w(64 * 128, 0x7fc0);
    Room dw = to_room(b, w);
    const uint64_t bytes = weir_gpu_matrix_bytes(WEIR_GPU_PACKED, 64, 128, 0);
    Room room(b.gpu, bytes + 4096);
    must(weir_gpu_fill(b.s, room.at, 0xa5, bytes + 4096), "fill");
    weir_gpu_matrix m;
    const uint8_t high[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    must(weir_gpu_matrix_begin(b.s, room.at, 64, 128, 0, high, &m), "begin");
    must(weir_gpu_matrix_pack(b.s, &m, 0, 64, dw.at), "pack");
    bool fits = true;
    uint64_t exceptions = 0;
    must(weir_gpu_matrix_check_wait(b.s, &m, &fits, &exceptions), "check");
    const auto behind = from_device<uint8_t>(b, (uint8_t *)room.at + bytes, 4096);
    expect(!fits && exceptions == 64 * 128, "no room", 64, 128, 0, 0);
    expect(std::count(behind.begin(), behind.end(), 0xa5) == 4096, "behind", 64, 128, 0, 0);
}

} // namespace

int check_matmul(const Bench &b, bool brief)
{
    const uint32_t columns[] = {1, 7, 8, 63, 64, 65, 127, 128, 960, 1500, 5632};
    const uint32_t rows[] = {1, 2, 15, 16, 17, 33};
    Random random;
    for (uint32_t c : columns)
        for (uint32_t r : rows)
            if (brief ? r == 17 && (c == 65 || c == 960) : c < 1000 || r == 33)
                for (int kind = 0; kind < N_KINDS; kind++)
                    check_case(b, r, c, kind, random);
    if (!brief) { /* more than one pass */
        check_case(b, 132 * 16 * 5 + 3, 65, ODD_UNITS, random);
        check_case(b, 132 * 16 * 2 + 3, 1040, ANYTHING, random);
    }
    check_chains(b, brief, random);
    check_no_room(b);
    printf("# %d checks, %d failed\n", n_checks, n_bad);
    return n_bad;
}
