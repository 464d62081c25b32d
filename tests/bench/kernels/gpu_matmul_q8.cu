/* The resident form of whole steps on the GPU: bits against bits of the CPU's packing and of rows,
 * then times beside cublasGemmEx, rows and the 12-bit form in the same run.
 *
 *     gpu_matmul_q8 [--check [--brief]] [--shape N] [BATCH...]      CSV on stdout
 *
 * --check stops before the timing; it is the test gpu.matmul_q8, and with --brief what
 * compute-sanitizer is run on.  Timed weights are N(0, 0.02) with 0.1 % ten times as large, rounded
 * as `weir pack --profile q8` does.  The rest is as in gpu_matmul.cu. */
#include <cublas_v2.h>

#include "codec/grid.h"
#include "cuda/form_q8.h"
#include "gpu_private.h"
#include "matmul_kit.h"

namespace
{

enum { EXIT_SKIPPED = 77 };
const size_t ROTATED_BYTES = 400000000, N_DISTINCT = 1 << 22;
const uint32_t SHAPES[][2] = {{14336, 4096}, {4096, 14336}, {28672, 8192}, {4096, 4096},
                              {5632, 2048},  {2048, 5632},  {2048, 2048}};

int n_bad = 0, n_checks = 0;

void expect(bool fine, const char *what, uint32_t rows, uint32_t columns, int kind, uint32_t n)
{
    n_checks++;
    if (!fine && n_bad++ < 40)
        printf("BAD %s: %u x %u, kind %d, n %u\n", what, rows, columns, kind, n);
}

/* A weight of N(0, 1) times `size`, rounded to a grid of 0.95 steps of 0.0765 of it; as it is where
 * that is more than half a step away. */
uint16_t round_to_grid(Random &random, float size)
{
    const float wide = random.bits() % 1000 == 0 ? 10 : 1, nominal = 0.0765f * size;
    const uint16_t w = to_bf16(wide * size * (float)random.normal()),
                   step = to_bf16(0.95f * nominal);
    const float q = std::nearbyint(from_bf16(w) / from_bf16(step));
    const uint16_t near = to_bf16(q * from_bf16(step));
    return std::fabs(from_bf16(near) - from_bf16(w)) < nominal / 2 ? near : w;
}

enum kind { NORMAL, BIG_AND_SMALL, ANYTHING, NO_GRID, EVERY_NUMBER, N_KINDS };

std::vector<uint16_t> make_weights(uint32_t rows, uint32_t columns, int kind, Random &random)
{
    std::vector<uint16_t> w((size_t)rows * columns);
    for (size_t i = 0; i < w.size(); i++) {
        const size_t column = i % columns, row = i / columns;
        w[i] = round_to_grid(random, 0.01f * (float)(1 + row % 7));
        if (kind == BIG_AND_SMALL) /* a sum of another order is another sum */
            w[i] = column == 0             ? to_bf16(0x1p25f)
                   : column == columns - 1 ? to_bf16(-0x1p25f)
                                           : to_bf16(0.03125f);
        if (kind == ANYTHING && random.bits() % 20 == 0)
            w[i] = (uint16_t)random.bits(); /* NaN, Inf, -0, denormals */
        if (kind == NO_GRID && row / 16 % 2 == 0)
            w[i] = to_bf16((float)(0.02 * random.normal()));
        if (kind == EVERY_NUMBER) /* of every step */
            w[i] = (uint16_t)(weir_grid_weight(
                                  (uint16_t)(WEIR_GRID_LEAST_STEP +
                                             row % (WEIR_GRID_END_STEP - WEIR_GRID_LEAST_STEP)),
                                  column % 64) |
                              column / 64 << 15);
    }
    return w;
}

struct Case {
    uint32_t rows, columns;
    int kind;
    std::vector<uint16_t> w;
};

/* The CPU's, with as many lines as it takes. */
struct Reference {
    std::vector<uint8_t> units;
    std::vector<uint32_t> steps, lines;
    weir_form_q8 f{};
    explicit Reference(const Case &c)
        : units(weir_form_units(c.rows, c.columns) * WEIR_FORM_Q8_UNIT_BYTES),
          steps(weir_form_q8_step_bytes(c.rows) / 4)
    {
        lines.resize((c.w.size() / 4 + 8) * WEIR_FORM_LINE);
        f.units = units.data();
        f.steps = steps.data();
        f.lines = lines.data();
        f.most_lines = (uint32_t)(lines.size() / WEIR_FORM_LINE);
        must(weir_form_q8_pack(c.w.data(), c.rows, c.columns, &f), "pack on the CPU");
    }
};

/* The device's units are the CPU's; only which lines lists lie in is another. */
void check_units(const Bench &b, const Case &c, const weir_gpu_matrix &m, const Reference &r)
{
    auto theirs = from_device<uint8_t>(b, m.at, r.units.size());
    auto lines = from_device<uint32_t>(b, m.lines, (size_t)m.most_lines * WEIR_FORM_LINE);
    auto counts = from_device<uint32_t>(b, m.counts, 2);
    expect(counts[0] == r.f.n_lines && counts[1] == r.f.n_exceptions, "counts", c.rows, c.columns,
           c.kind, 0);
    expect(from_device<uint32_t>(b, m.steps, r.steps.size()) == r.steps, "steps", c.rows, c.columns,
           c.kind, 0);
    bool same = true;
    for (size_t at = 0; at < theirs.size() && same; at += WEIR_FORM_Q8_UNIT_BYTES) {
        uint32_t mine[WEIR_FORM_Q8_INLINE], their[WEIR_FORM_Q8_INLINE];
        uint8_t *head = &theirs[at + WEIR_FORM_Q8_HALF_BYTES];
        memcpy(mine, &r.units[at + WEIR_FORM_Q8_HALF_BYTES], sizeof(mine));
        memcpy(their, head, sizeof(their));
        if (mine[0] == WEIR_FORM_LIST && their[0] == WEIR_FORM_LIST && mine[2] == their[2]) {
            same = memcmp(&r.lines[(size_t)mine[1] * WEIR_FORM_LINE],
                          &lines[(size_t)their[1] * WEIR_FORM_LINE], 4 * (size_t)mine[2]) == 0;
            memcpy(head, mine, sizeof(mine));
        }
        same = same && memcmp(&theirs[at], &r.units[at], WEIR_FORM_Q8_UNIT_BYTES) == 0;
    }
    expect(same, "units", c.rows, c.columns, c.kind, 0);
}

/* Unpacked in parts, and rows picked out. */
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
           c.kind, 0);
    const std::vector<uint32_t> row = {c.rows - 1, 0, c.rows / 2, c.rows, UINT32_MAX};
    Room which = to_room(b, row), out(b.gpu, 4 * row.size() * c.columns);
    must(weir_gpu_matrix_pick(b.s, &m, (const uint32_t *)which.at, (uint32_t)row.size(), 1,
                              out.floats(), c.columns),
         "pick");
    auto got = from_device<uint32_t>(b, out.at, row.size() * c.columns);
    bool same = true;
    for (size_t i = 0; i < got.size(); i++) {
        const uint32_t r = row[i / c.columns] < c.rows ? row[i / c.columns] : 0;
        const uint32_t want = (uint32_t)c.w[(size_t)r * c.columns + i % c.columns] << 16;
        const bool nan = (want & 0x7fffffff) > 0x7f800000;
        same = same && (nan ? (got[i] & 0x7fffffff) > 0x7f800000 : got[i] == want);
    }
    expect(same, "pick", c.rows, c.columns, c.kind, 0);
}

void check_products(const Bench &b, const Case &c, const weir_gpu_matrix &rows,
                    const weir_gpu_matrix &q8, Random &random)
{
    std::vector<float> x(64 * (size_t)c.columns);
    for (auto &v : x)
        v = c.kind == BIG_AND_SMALL ? 1.0f : (float)random.normal();
    Room dx = to_room(b, x);
    for (uint32_t n : {1, 2, 8, 9, 16, 21, 32, 33, 64}) {
        const Product a = multiply(b, rows, dx.at, c.columns, n, false);
        const Product p = multiply(b, q8, dx.at, c.columns, n, n % 2);
        expect(a.all_written && p.all_written, "written", c.rows, c.columns, c.kind, n);
        expect(a.bits == p.bits, "rows = q8", c.rows, c.columns, c.kind, n);
    }
}

weir_gpu_matrix begin(const Bench &b, const Room &room, uint32_t rows, uint32_t columns,
                      uint64_t exceptions)
{
    weir_gpu_matrix m{};
    must(weir_gpu_matrix_begin_q8(b.s, room.at, rows, columns, exceptions, &m), "begin");
    return m;
}

void check_case(const Bench &b, uint32_t n_rows, uint32_t n_columns, int kind, Random &random)
{
    const Case c{n_rows, n_columns, kind, make_weights(n_rows, n_columns, kind, random)};
    const Reference r(c);
    Room dw = to_room(b, c.w);
    const uint64_t bytes = weir_gpu_matrix_bytes(WEIR_GPU_Q8, n_rows, n_columns, r.f.n_listed);
    Room room(b.gpu, bytes);
    must(weir_gpu_fill(b.s, room.at, 0xa5, bytes), "fill");
    const weir_gpu_matrix q8 = begin(b, room, n_rows, n_columns, r.f.n_listed);
    const uint32_t first = n_rows > 32 ? 32 : 0;
    if (first)
        must(weir_gpu_matrix_pack(b.s, &q8, 0, first, dw.at), "pack");
    must(weir_gpu_matrix_pack(b.s, &q8, first, n_rows - first,
                              (uint16_t *)dw.at + (size_t)first * n_columns),
         "pack");
    bool fits = false;
    uint64_t exceptions = 0;
    must(weir_gpu_matrix_check_wait(b.s, &q8, &fits, &exceptions), "check");
    expect(fits && exceptions == r.f.n_listed, "exceptions", n_rows, n_columns, kind, 0);
    expect(kind != EVERY_NUMBER || r.f.n_exceptions == 0, "grid", n_rows, n_columns, kind, 0);
    if (!fits)
        return;
    check_units(b, c, q8, r);
    check_back(b, c, q8);
    check_products(b, c, rows_matrix(dw, n_rows, n_columns), q8, random);
}

/* More exceptions than there is room for: said, and nothing else touched. */
void check_no_room(const Bench &b)
{
    std::vector<uint16_t> w(64 * 128, 0x7fc0);
    Room dw = to_room(b, w);
    const uint64_t bytes = weir_gpu_matrix_bytes(WEIR_GPU_Q8, 64, 128, 0);
    Room room(b.gpu, bytes + 4096);
    must(weir_gpu_fill(b.s, room.at, 0xa5, bytes + 4096), "fill");
    const weir_gpu_matrix m = begin(b, room, 64, 128, 0);
    must(weir_gpu_matrix_pack(b.s, &m, 0, 64, dw.at), "pack");
    bool fits = true;
    uint64_t exceptions = 0;
    must(weir_gpu_matrix_check_wait(b.s, &m, &fits, &exceptions), "check");
    const auto behind = from_device<uint8_t>(b, (uint8_t *)room.at + bytes, 4096);
    expect(!fits && exceptions == 64 * 128, "no room", 64, 128, 0, 0);
    expect(std::count(behind.begin(), behind.end(), 0xa5) == 4096, "behind", 64, 128, 0, 0);
}

int check_all(const Bench &b, bool brief)
{
    Random random;
    for (uint32_t c : {1, 7, 8, 63, 64, 65, 127, 128, 960, 1500, 5632})
        for (uint32_t r : {1, 2, 15, 16, 17, 33})
            if (brief ? r == 17 && (c == 65 || c == 960) : c < 1000 || r == 33)
                for (int kind = 0; kind < EVERY_NUMBER; kind++)
                    check_case(b, r, c, kind, random);
    if (!brief) { /* more than one pass; and all steps */
        check_case(b, 132 * 16 * 5 + 3, 65, NO_GRID, random);
        check_case(b, 132 * 16 * 2 + 3, 1040, ANYTHING, random);
        check_case(b, WEIR_GRID_END_STEP - WEIR_GRID_LEAST_STEP, 128, EVERY_NUMBER, random);
    }
    check_no_room(b);
    printf("# %d checks, %d failed\n", n_checks, n_bad);
    return n_bad;
}

/* ---- times ---- */

struct Weights {
    uint32_t n_rows, n_columns;
    uint64_t q8_bytes;
    std::vector<Room> rooms;
    std::vector<weir_gpu_matrix> rows, packed, q8;
};

Weights make_timed(const Bench &b, uint32_t n_rows, uint32_t n_columns)
{
    static std::vector<uint16_t> some;
    Random random;
    while (some.size() < N_DISTINCT)
        some.push_back(round_to_grid(random, 0.02f));
    std::vector<uint16_t> w((size_t)n_rows * n_columns);
    for (size_t i = 0; i < w.size(); i++)
        w[i] = some[(i + i / N_DISTINCT * 977) % N_DISTINCT];
    const uint64_t odd = w.size() / 5000; /* in units that have more than come along */
    uint8_t high[8];
    const uint64_t n_odd = choose_high(w, high);
    Weights out{n_rows, n_columns, weir_gpu_matrix_bytes(WEIR_GPU_Q8, n_rows, n_columns, odd),
                {},     {},        {},
                {}};
    const size_t n_copies = std::max<size_t>(2, ROTATED_BYTES / w.size() + 1);
    for (size_t i = 0; i < n_copies; i++) {
        out.rooms.push_back(to_room(b, w));
        const void *rows = out.rooms.back().at;
        out.rows.push_back(rows_matrix(out.rooms.back(), n_rows, n_columns));
        Room packed(b.gpu, weir_gpu_matrix_bytes(WEIR_GPU_PACKED, n_rows, n_columns, n_odd));
        Room q8(b.gpu, out.q8_bytes);
        weir_gpu_matrix m[2] = {{}, begin(b, q8, n_rows, n_columns, odd)};
        must(weir_gpu_matrix_begin(b.s, packed.at, n_rows, n_columns, n_odd, high, &m[0]), "begin");
        for (auto &to : m) {
            bool fits = false;
            must(weir_gpu_matrix_pack(b.s, &to, 0, n_rows, rows), "pack");
            must(weir_gpu_matrix_check_wait(b.s, &to, &fits, nullptr), "check");
            must(fits ? WEIR_OK : WEIR_ERR_NOMEM, "pack");
        }
        out.packed.push_back(m[0]);
        out.q8.push_back(m[1]);
        out.rooms.push_back(std::move(packed));
        out.rooms.push_back(std::move(q8));
    }
    return out;
}

double time_cublas(const Bench &b, cublasHandle_t h, const Weights &w, const void *x, uint32_t n,
                   void *y)
{
    const float one = 1, zero = 0;
    const int rows = (int)w.n_rows, columns = (int)w.n_columns;
    return time_us(b, std::max<int>(LEAST_LAUNCHES, (int)w.rows.size()), [&](int i) {
        if (cublasGemmEx(h, CUBLAS_OP_T, CUBLAS_OP_N, rows, (int)n, columns, &one,
                         w.rows[(size_t)i % w.rows.size()].at, CUDA_R_16BF, columns, x, CUDA_R_16BF,
                         columns, &zero, y, CUDA_R_16BF, rows, CUBLAS_COMPUTE_32F,
                         CUBLAS_GEMM_DEFAULT) != CUBLAS_STATUS_SUCCESS)
            must(WEIR_ERR_IO, "cuBLAS");
    });
}

void time_shape(const Bench &b, cublasHandle_t h, const Weights &w, uint32_t n)
{
    Room x = to_room(b, make_x(n, w.n_columns)), y(b.gpu, 4ull * n * w.n_rows),
         y2(b.gpu, 4ull * n * w.n_rows);
    Room lines(b.gpu, weir_gpu_vectors_bytes(WEIR_GPU_LINES, w.n_columns, n));
    Room fragments(b.gpu, weir_gpu_vectors_bytes(WEIR_GPU_FRAGMENTS, w.n_columns, n));
    must(weir_gpu_vectors_make(b.s, WEIR_GPU_LINES, x.floats(), w.n_columns, w.n_columns, n,
                               lines.at),
         "vectors");
    must(weir_gpu_vectors_make(b.s, WEIR_GPU_FRAGMENTS, x.floats(), w.n_columns, w.n_columns, n,
                               fragments.at),
         "vectors");
    const double cublas = time_cublas(b, h, w, lines.at, n, y.at);
    const double packed = time_form(b, w.packed, fragments.at, n, y2.floats());
    const double rows = time_form(b, w.rows, fragments.at, n, y.floats());
    const double q8 = time_form(b, w.q8, fragments.at, n, y2.floats());
    const bool same = from_device<uint32_t>(b, y.at, (size_t)n * w.n_rows) ==
                      from_device<uint32_t>(b, y2.at, (size_t)n * w.n_rows);
    printf("%u,%u,%u,%.2f,%.2f,%.2f,%.2f,%.3f,%.3f,%.2f,%.3f,%s\n", w.n_rows, w.n_columns, n,
           cublas, rows, packed, q8, cublas / packed, cublas / q8, (double)w.q8_bytes / q8 / 1e6,
           8.0 * (double)w.q8_bytes / ((double)w.n_rows * w.n_columns), same ? "same" : "DIFFER");
    fflush(stdout);
}

void time_all(const Bench &b, const std::vector<uint32_t> &batches, int only)
{
    cublasHandle_t h = nullptr;
    const size_t workspace = 64 << 20;
    Room room(b.gpu, workspace);
    if (cublasCreate(&h) != CUBLAS_STATUS_SUCCESS ||
        cublasSetStream(h, b.s->cuda) != CUBLAS_STATUS_SUCCESS ||
        cublasSetWorkspace(h, room.at, workspace) != CUBLAS_STATUS_SUCCESS)
        must(WEIR_ERR_IO, "cuBLAS");
    printf("rows,columns,batch,cublas_us,rows_us,packed_us,q8_us,packed_ratio,q8_ratio,q8_tb_s,"
           "q8_bits,differ\n");
    for (auto &shape : SHAPES) {
        if (only >= 0 && &shape != &SHAPES[only])
            continue;
        const Weights w = make_timed(b, shape[0], shape[1]);
        for (uint32_t n : batches)
            time_shape(b, h, w, n);
    }
    (void)cublasDestroy(h);
}

} // namespace

int main(int argc, char **argv)
{
    bool only_check = false, brief = false;
    int only = -1;
    std::vector<uint32_t> batches;
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--check"))
            only_check = true;
        else if (!strcmp(argv[i], "--brief"))
            brief = true;
        else if (!strcmp(argv[i], "--shape") && i + 1 < argc)
            only = (int)strtol(argv[++i], nullptr, 10) % (int)(sizeof(SHAPES) / sizeof(*SHAPES));
        else
            batches.push_back((uint32_t)strtoul(argv[i], nullptr, 10));
    if (batches.empty())
        batches = {1, 8, 16, 32};
    Bench b;
    weir_diag diag{};
    const weir_err err = weir_gpu_open(0, &b.gpu, &diag);
    if (err == WEIR_ERR_NOT_FOUND || err == WEIR_ERR_UNSUPPORTED) {
        fprintf(stderr, "skipped: %s\n", diag.text);
        return EXIT_SKIPPED;
    }
    must(err, diag.text);
    must(weir_gpu_stream_new(b.gpu, &b.s), "stream");
    const int bad = only < 0 ? check_all(b, brief) : 0;
    if (!only_check)
        time_all(b, batches, only);
    weir_gpu_stream_free(b.s);
    weir_gpu_close(b.gpu);
    return bad ? 1 : 0;
}
