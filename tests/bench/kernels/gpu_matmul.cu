/* Vectors times matrices on the GPU: checks bits, then times both forms beside cublasGemmEx in the
 * same run.
 *
 *     gpu_matmul [--check [--brief]] [--crossing] [--shape N] [BATCH...]      CSV on stdout
 *
 * --check stops before the timing; it is the test gpu.matmul, and with --brief what
 * compute-sanitizer is run on. Times are device time in microseconds, medians of 7 graphs of at
 * least 20 launches that rotate over 0.4 GB of copies, so that nothing is found in the L2 cache;
 * cuBLAS reads BF16 and writes BF16, and adds up in F32.  Bits are counted from allocated bytes.
 * --crossing: up to which batch the kernel beats unpacking and cuBLAS. */
#include <algorithm>
#include <cublas_v2.h>

#include "gpu_private.h"
#include "matmul_kit.h"

namespace
{

enum { EXIT_SKIPPED = 77 };
const size_t ROTATED_BYTES = 400000000, N_DISTINCT = 1 << 22, BLOCK_BYTES = 16 << 20;

const uint32_t SHAPES[][2] = {{14336, 4096}, {4096, 14336}, {28672, 8192}, {4096, 4096},
                              {5632, 2048},  {2048, 5632},  {2048, 2048}};

/* One matrix, several times, in both forms. */
struct Weights {
    uint32_t n_rows, n_columns;
    uint64_t packed_bytes;
    std::vector<Room> rooms;
    std::vector<weir_gpu_matrix> rows, packed;
};

Weights make_weights(const Bench &b, uint32_t n_rows, uint32_t n_columns)
{
    static std::vector<uint16_t> some;
    Random random;
    while (some.size() < N_DISTINCT)
        some.push_back(to_bf16((float)(0.02 * random.normal())));
    std::vector<uint16_t> w((size_t)n_rows * n_columns);
    for (size_t i = 0; i < w.size(); i++)
        w[i] = some[(i + i / N_DISTINCT * 977) % N_DISTINCT];
    Weights out{n_rows, n_columns, 0, {}, {}, {}};
    uint8_t high[8];
    const uint64_t n_odd = choose_high(w, high);
    out.packed_bytes = weir_gpu_matrix_bytes(WEIR_GPU_PACKED, n_rows, n_columns, n_odd);
    const size_t n_copies = std::max<size_t>(2, ROTATED_BYTES / (2 * w.size()) + 1);
    for (size_t i = 0; i < n_copies; i++) {
        out.rooms.push_back(to_room(b, w));
        out.rows.push_back(rows_matrix(out.rooms.back(), n_rows, n_columns));
        Room room(b.gpu, out.packed_bytes);
        weir_gpu_matrix m;
        bool fits = false;
        must(weir_gpu_matrix_begin(b.s, room.at, n_rows, n_columns, n_odd, high, &m), "begin");
        must(weir_gpu_matrix_pack(b.s, &m, 0, n_rows, out.rows.back().at), "pack");
        must(weir_gpu_matrix_check_wait(b.s, &m, &fits, nullptr), "check");
        if (!fits)
            must(WEIR_ERR_NOMEM, "pack");
        out.packed.push_back(m);
        out.rooms.push_back(std::move(room));
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
    const size_t weights = (size_t)w.n_rows * w.n_columns;
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
    const double rows = time_form(b, w.rows, fragments.at, n, y.floats());
    const double packed = time_form(b, w.packed, fragments.at, n, y2.floats());
    const bool same = from_device<uint32_t>(b, y.at, (size_t)n * w.n_rows) ==
                      from_device<uint32_t>(b, y2.at, (size_t)n * w.n_rows);
    printf("%u,%u,%u,%.2f,%.2f,%.2f,%.3f,%.3f,%.2f,%.3f,%s\n", w.n_rows, w.n_columns, n, cublas,
           rows, packed, cublas / rows, cublas / packed, (double)w.packed_bytes / packed / 1e6,
           8.0 * (double)w.packed_bytes / (double)weights, same ? "same" : "DIFFER");
    fflush(stdout);
}

/* All vectors, through rows that are unpacked `block` at a time into the same place. */
double time_unpacked(const Bench &b, weir_gpu_blas *blas, const Weights &w, const Room &lines,
                     uint32_t n, const Room &y, uint32_t block)
{
    Room rows(b.gpu, 2ull * block * w.n_columns);
    return time_us(b, LEAST_LAUNCHES, [&](int i) {
        for (uint32_t first = 0; first < w.n_rows; first += block) {
            const weir_gpu_matrix &m = w.packed[(size_t)i % w.packed.size()];
            const uint32_t n_rows = std::min(block, w.n_rows - first);
            must(weir_gpu_matrix_unpack(b.s, &m, first, n_rows, rows.at), "unpack");
            const weir_gpu_matrix part = rows_matrix(rows, n_rows, w.n_columns);
            const weir_gpu_product p{&part, lines.at, n, y.floats() + first, w.n_rows, false};
            must(weir_gpu_multiply_many(blas, b.s, &p), "many");
        }
    });
}

/* Vectors in lots of 64 through the kernel, against all of them through unpacked rows: whole
 * matrices, and blocks of them that stay in the L2 cache. */
void time_crossing(const Bench &b, weir_gpu_blas *blas, const Weights &w, uint32_t n)
{
    Room x = to_room(b, make_x(n, w.n_columns)), y(b.gpu, 4ull * n * w.n_rows);
    Room lines(b.gpu, weir_gpu_vectors_bytes(WEIR_GPU_LINES, w.n_columns, n));
    must(weir_gpu_vectors_make(b.s, WEIR_GPU_LINES, x.floats(), w.n_columns, w.n_columns, n,
                               lines.at),
         "vectors");
    const uint32_t lot = std::min<uint32_t>(n, WEIR_GPU_MOST_VECTORS);
    Room fragments(b.gpu, weir_gpu_vectors_bytes(WEIR_GPU_FRAGMENTS, w.n_columns, lot));
    must(weir_gpu_vectors_make(b.s, WEIR_GPU_FRAGMENTS, x.floats(), w.n_columns, w.n_columns, lot,
                               fragments.at),
         "vectors");
    const double kernel =
        time_form(b, w.packed, fragments.at, lot, y.floats()) * ((n + lot - 1) / lot);
    const double whole = time_unpacked(b, blas, w, lines, n, y, w.n_rows);
    const uint32_t block = (uint32_t)(BLOCK_BYTES / (2ull * w.n_columns) / 16 * 16);
    const double blocks = time_unpacked(b, blas, w, lines, n, y, std::min(block, w.n_rows));
    const double raw = time_us(b, LEAST_LAUNCHES, [&](int i) {
        const weir_gpu_product p{
            &w.rows[(size_t)i % w.rows.size()], lines.at, n, y.floats(), w.n_rows, false};
        must(weir_gpu_multiply_many(blas, b.s, &p), "many");
    });
    printf("crossing,%u,%u,%u,%.2f,%.2f,%.2f,%.2f,%s\n", w.n_rows, w.n_columns, n, kernel, whole,
           blocks, raw, kernel <= std::min(whole, blocks) ? "kernel" : "unpack");
    fflush(stdout);
}

/* Read and written bytes of copies on the device; the best of a few. */
void print_copy_rate(const Bench &b)
{
    const size_t n = (size_t)1 << 30;
    Room a(b.gpu, n), c(b.gpu, n);
    weir_gpu_event *from = nullptr, *to = nullptr;
    must(weir_gpu_event_new(b.gpu, true, &from), "event");
    must(weir_gpu_event_new(b.gpu, true, &to), "event");
    must(weir_gpu_fill(b.s, a.at, 1, n), "fill");
    float best = 1e9f;
    for (int i = 0; i < N_WARM + N_RUNS; i++) {
        float ms = 0;
        must(weir_gpu_event_record(from, b.s), "event");
        must(weir_gpu_copy(b.s, c.at, a.at, n), "copy");
        must(weir_gpu_event_record(to, b.s), "event");
        must(weir_gpu_event_wait(to), "wait");
        must(weir_gpu_event_ms(from, to, &ms), "time");
        best = std::min(best, ms);
    }
    weir_gpu_event_free(from);
    weir_gpu_event_free(to);
    struct weir_gpu_info info;
    weir_gpu_info(b.gpu, &info);
    printf("# %s, %u processors, copy %.2f TB/s\n", info.name, info.n_processors,
           2.0 * (double)n / (double)best / 1e9);
}

void time_all(const Bench &b, const std::vector<uint32_t> &batches, bool crossing, int only)
{
    cublasHandle_t h = nullptr;
    const size_t workspace = 64 << 20;
    Room room(b.gpu, workspace);
    if (cublasCreate(&h) != CUBLAS_STATUS_SUCCESS ||
        cublasSetStream(h, b.s->cuda) != CUBLAS_STATUS_SUCCESS ||
        cublasSetWorkspace(h, room.at, workspace) != CUBLAS_STATUS_SUCCESS)
        must(WEIR_ERR_IO, "cuBLAS");
    weir_gpu_blas *blas = nullptr;
    weir_diag diag{};
    must(weir_gpu_blas_new(b.gpu, &blas, &diag), diag.text);
    print_copy_rate(b);
    printf("rows,columns,batch,cublas_us,rows_us,packed_us,rows_ratio,packed_ratio,packed_tb_s,"
           "bits,differ\n");
    for (auto &shape : SHAPES) {
        if (only >= 0 && &shape != &SHAPES[only])
            continue;
        const Weights w = make_weights(b, shape[0], shape[1]);
        for (uint32_t n : batches)
            time_shape(b, h, w, n);
        if (crossing)
            printf("crossing,rows,columns,batch,kernel_us,whole_us,blocks_us,rows_us,best\n");
        if (crossing)
            for (uint32_t n : {16, 32, 64, 128, 256, 512})
                time_crossing(b, blas, w, n);
    }
    weir_gpu_blas_free(blas);
    (void)cublasDestroy(h);
}

} // namespace

int main(int argc, char **argv)
{
    bool only_check = false, brief = false, crossing = false;
    int only = -1;
    std::vector<uint32_t> batches;
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--check"))
            only_check = true;
        else if (!strcmp(argv[i], "--brief"))
            brief = true;
        else if (!strcmp(argv[i], "--shape") && i + 1 < argc)
            only = (int)strtol(argv[++i], nullptr, 10) % (int)(sizeof(SHAPES) / sizeof(*SHAPES));
        else if (!strcmp(argv[i], "--crossing"))
            crossing = true;
        else
            batches.push_back((uint32_t)strtoul(argv[i], nullptr, 10));
    if (batches.empty())
        batches = {1, 8, 16, 32, 64};
    Bench b;
    weir_diag diag{};
    const weir_err err = weir_gpu_open(0, &b.gpu, &diag);
    if (err == WEIR_ERR_NOT_FOUND || err == WEIR_ERR_UNSUPPORTED) {
        fprintf(stderr, "skipped: %s\n", diag.text);
        return EXIT_SKIPPED;
    }
    must(err, diag.text);
    must(weir_gpu_stream_new(b.gpu, &b.s), "stream");
    const int bad = only < 0 ? check_matmul(b, brief) : 0;
    if (!only_check)
        time_all(b, batches, crossing, only);
    weir_gpu_stream_free(b.s);
    weir_gpu_close(b.gpu);
    return bad ? 1 : 0;
}
