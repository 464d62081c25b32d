/* Checks the GPU's decoder against the CPU's, then times it beside the rate of a device-to-device
 * copy in the same run.
 *
 *     gpu_decode [--check | --few | --time] [--csv FILE] [--commit ID]
 *
 * --check stops before the timing; it is the test gpu.decode.  --few checks a tenth of it: for
 * compute-sanitizer.  --time only times.
 *
 * Rates are plain bytes out per second of device time (events), medians; checksums are compared,
 * and the descriptors' upload is counted.  BF16 inputs rotate through 16,384 tiles (1.4 GB stored,
 * 2 GiB plain), so that nothing is found in the L2 cache. */
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "codec/tile.h"
#include "cuda/decode.h"
#include "gpu_decode_check.h"

namespace
{

const size_t N_DISTINCT = 512, N_COPIES = 32, N_REPEAT = 11;

uint64_t random_state = 88172645463325252ull;

uint64_t random_bits()
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

double random_normal()
{
    double a = (double)((random_bits() >> 11) + 1) * 0x1p-53;
    double b = (double)(random_bits() >> 11) * 0x1p-53;
    return std::sqrt(-2 * std::log(a)) * std::cos(6.283185307179586 * b);
}

void must(weir_err err, const char *what)
{
    if (err) {
        fprintf(stderr, "%s: %s\n", what, weir_err_text(err));
        exit(2);
    }
}

template <class T> T *must_have(T *p)
{
    if (!p)
        must(WEIR_ERR_NOMEM, "memory");
    return p;
}

float median(std::vector<float> v)
{
    std::sort(v.begin(), v.end());
    return v[v.size() / 2];
}

struct Type {
    const char *name;
    weir_elements like;
};

/* What is timed: the first is what the figures in docs/benchmarks.md are about. */
const Type types[] = {
    {"bf16", {2, 1, {{0, 1, 2, true, 8}}}},
    {"f16", {2, 1, {{0, 1, 2, true, 5}}}},
    {"f32", {4, 1, {{0, 1, 4, true, 8}}}},
    {"f8_e4m3", {1, 1, {{0, 1, 1, true, 4}}}},
    {"i8", {1, 1, {{0, 1, 1, false, 0}}}},
    {"q8_0", {34, 2, {{0, 1, 2, true, 5}, {2, 32, 1, false, 0}}}},
};

uint64_t narrow(double x, unsigned exponent_bits, unsigned width)
{
    if (exponent_bits == 0)
        return (uint64_t)(int64_t)(30 * x);
    uint64_t d;
    x *= 0.02;
    memcpy(&d, &x, sizeof(d));
    const int bias = (1 << (exponent_bits - 1)) - 1;
    const int exponent = (int)(d >> 52 & 2047) - 1023 + bias;
    const unsigned mantissa_bits = width - 1 - exponent_bits;
    uint64_t sign = d >> 63 << (width - 1);
    if (exponent < 1)
        return sign;
    return sign |
           ((uint64_t)exponent << mantissa_bits | (d & ((1ull << 52) - 1)) >> (52 - mantissa_bits));
}

std::vector<uint8_t> make_plain(const weir_elements &like, size_t bytes)
{
    std::vector<uint8_t> plain(bytes / like.elem_bytes * like.elem_bytes);
    for (size_t e = 0; e < plain.size(); e += like.elem_bytes)
        for (int i = 0; i < like.n_parts; i++)
            for (size_t k = 0; k < like.part[i].count; k++) {
                const size_t n = like.part[i].item_bytes;
                uint64_t v = narrow(random_normal(), like.part[i].exponent_bits, 8 * (unsigned)n);
                memcpy(&plain[e + like.part[i].offset + k * n], &v, n);
            }
    return plain;
}

struct Bench {
    weir_gpu *gpu;
    weir_gpu_stream *stream, *other;
    weir_gpu_event *from, *to;
    weir_tile_encoder *enc;
    FILE *csv;
    const char *commit, *device;
};

/* Tiles of one tensor, in device memory several times over. */
struct Tensor {
    weir_coding *coding;
    weir_gpu_coding *on_gpu;
    std::vector<uint8_t> plain; /* of one copy */
    size_t tile_bytes, stored_bytes;
    uint8_t *payload, *out;
    std::vector<weir_gpu_tile> tiles;
};

Tensor make_tensor(Bench &b, const weir_elements &like, size_t n_distinct, size_t n_copies)
{
    Tensor t{};
    double bits;
    t.tile_bytes = WEIR_TILE_BYTES / like.elem_bytes * like.elem_bytes;
    t.plain = make_plain(like, n_distinct * t.tile_bytes);
    must(weir_coding_choose(&like, t.plain.data(),
                            std::min<size_t>(t.plain.size(), 32 * t.tile_bytes), &t.coding, &bits),
         "choose");
    must(weir_gpu_coding_new(b.gpu, t.coding, &t.on_gpu), "coding");
    std::vector<uint8_t> stored(n_distinct * (size_t)WEIR_TILE_BYTES);
    size_t at = 0;
    const size_t out_step = WEIR_TILE_BYTES;
    for (size_t i = 0; i < n_distinct; i++) {
        weir_gpu_tile tile{
            t.on_gpu, (void *)at, (void *)(i * out_step), {}, (uint32_t)t.tile_bytes};
        must(weir_tile_encode(b.enc, t.coding, &t.plain[i * t.tile_bytes], t.tile_bytes,
                              &stored[at], &tile.head),
             "encode");
        at += (tile.head.payload_bytes + 15) / 16 * 16;
        t.tiles.push_back(tile);
    }
    t.stored_bytes = at;
    t.payload = (uint8_t *)must_have(weir_gpu_alloc(b.gpu, at * n_copies));
    t.out = (uint8_t *)must_have(weir_gpu_alloc(b.gpu, n_distinct * n_copies * out_step));
    for (size_t c = 0; c < n_copies; c++) {
        must(weir_gpu_to_device(b.stream, t.payload + c * at, stored.data(), at), "upload");
        for (size_t i = 0; i < n_distinct; i++) {
            weir_gpu_tile tile = t.tiles[i];
            tile.payload = t.payload + c * at + (size_t)tile.payload;
            tile.out = t.out + c * n_distinct * out_step + (size_t)tile.out;
            t.tiles.push_back(tile);
        }
    }
    t.tiles.erase(t.tiles.begin(), t.tiles.begin() + (long)n_distinct);
    must(weir_gpu_fill(b.stream, t.out, 0x55, n_distinct * n_copies * out_step), "poison");
    must(weir_gpu_stream_wait(b.stream), "upload");
    return t;
}

void free_tensor(Bench &b, Tensor &t)
{
    weir_gpu_free(b.gpu, t.payload);
    weir_gpu_free(b.gpu, t.out);
    weir_gpu_coding_free(b.gpu, t.on_gpu);
    free(t.coding);
}

template <class F> float time_ms(Bench &b, F queue)
{
    float ms;
    must(weir_gpu_event_record(b.from, b.stream), "record");
    queue();
    must(weir_gpu_event_record(b.to, b.stream), "record");
    must(weir_gpu_event_wait(b.to), "wait");
    must(weir_gpu_event_ms(b.from, b.to, &ms), "time");
    return ms;
}

double copy_rate(Bench &b)
{
    const size_t bytes = (size_t)1 << 30;
    void *x = must_have(weir_gpu_alloc(b.gpu, bytes)), *y = must_have(weir_gpu_alloc(b.gpu, bytes));
    std::vector<float> ms;
    for (size_t i = 0; i < N_REPEAT; i++)
        ms.push_back(time_ms(b, [&] { must(weir_gpu_copy(b.stream, y, x, bytes), "copy"); }));
    weir_gpu_free(b.gpu, x);
    weir_gpu_free(b.gpu, y);
    return 2.0 * (double)bytes / median(ms) / 1e9;
}

void report(Bench &b, const char *type, const char *what, size_t n, size_t plain_bytes, float ms,
            double bits)
{
    double rate = (double)plain_bytes / ms / 1e9;
    printf("%-8s %-8s %5zu tiles: %8.4f ms, %.3f TB/s out, %.3f bits a byte\n", type, what, n, ms,
           rate, bits);
    if (b.csv)
        fprintf(b.csv, "%s,%s,%s,%s,%zu,%zu,%.5f,%.4f,%.4f\n", b.commit, b.device, type, what, n,
                plain_bytes, ms, rate, bits);
}

void must_be_sound(weir_gpu_batch *batch)
{
    size_t bad;
    must(weir_gpu_batch_result(batch, &bad), "decode");
}

/* Windows of n tiles one after the other; recorded: replayed from a graph. */
float time_tiles(Bench &b, const Tensor &t, size_t n, bool recorded)
{
    weir_gpu_batch *batch;
    weir_gpu_graph *graph = nullptr;
    std::vector<float> ms;
    must(weir_gpu_batch_new(b.gpu, n, &batch), "batch");
    must(weir_gpu_batch_set(batch, t.tiles.data(), n), "set");
    if (recorded) {
        must(weir_gpu_record_begin(b.stream), "record");
        must(weir_gpu_decode(b.stream, batch), "decode");
        must(weir_gpu_record_end(b.stream, &graph), "record");
    }
    for (size_t i = 0; i < N_REPEAT + 2; i++) { /* two to warm up */
        const size_t n_windows = t.tiles.size() / n;
        must(weir_gpu_batch_set(batch, t.tiles.data() + i % n_windows * n, n), "set");
        float one = time_ms(b, [&] {
            must(recorded ? weir_gpu_graph_launch(graph, b.stream)
                          : weir_gpu_decode(b.stream, batch),
                 "decode");
        });
        must_be_sound(batch);
        if (i >= 2)
            ms.push_back(one);
    }
    weir_gpu_graph_free(graph);
    weir_gpu_batch_free(b.gpu, batch);
    return median(ms);
}

void check_tensor(Bench &b, const Tensor &t, const char *name)
{
    std::vector<uint8_t> back(WEIR_TILE_BYTES);
    const size_t n_distinct = t.plain.size() / t.tile_bytes;
    for (size_t i = 0; i < t.tiles.size(); i++) {
        must(weir_gpu_to_host(b.stream, back.data(), t.tiles[i].out, t.tile_bytes), "download");
        must(weir_gpu_stream_wait(b.stream), "wait");
        if (memcmp(back.data(), &t.plain[i % n_distinct * t.tile_bytes], t.tile_bytes) != 0) {
            fprintf(stderr, "%s, tile %zu: wrong bits\n", name, i);
            exit(3);
        }
    }
}

void time_set(Bench &b, const Tensor &t)
{
    const size_t n = 672;
    weir_gpu_batch *batch;
    must(weir_gpu_batch_new(b.gpu, n, &batch), "batch");
    auto start = std::chrono::steady_clock::now();
    for (size_t i = 0; i < N_REPEAT; i++)
        must(weir_gpu_batch_set(batch, t.tiles.data() + i * n, n), "set");
    std::chrono::duration<double, std::micro> us = std::chrono::steady_clock::now() - start;
    printf("set: %.2f us of the CPU's a 100 tiles\n", us.count() / N_REPEAT / n * 100);
    weir_gpu_batch_free(b.gpu, batch);
}

/* A layer is decoded while copies keep the memory busy on another stream. */
void time_beside_copies(Bench &b, const Tensor &t)
{
    const size_t n = 672, bytes = (size_t)256 << 20, n_layers = 10, n_copies = 8;
    void *x = must_have(weir_gpu_alloc(b.gpu, bytes)), *y = must_have(weir_gpu_alloc(b.gpu, bytes));
    weir_gpu_batch *batch[n_layers];
    weir_gpu_event *done;
    must(weir_gpu_event_new(b.gpu, false, &done), "event");
    for (size_t i = 0; i < n_layers; i++) {
        must(weir_gpu_batch_new(b.gpu, n, &batch[i]), "batch");
        must(weir_gpu_batch_set(batch[i], t.tiles.data() + i * n, n), "set");
    }
    auto decode = [&](weir_gpu_stream *s) {
        for (auto *one : batch)
            must(weir_gpu_decode(s, one), "decode");
    };
    auto copy = [&](weir_gpu_stream *s) {
        for (size_t i = 0; i < n_copies; i++)
            must(weir_gpu_copy(s, y, x, bytes), "copy");
    };
    std::vector<float> alone[2], both;
    for (size_t i = 0; i < N_REPEAT; i++) {
        alone[0].push_back(time_ms(b, [&] { decode(b.stream); }));
        alone[1].push_back(time_ms(b, [&] { copy(b.stream); }));
        both.push_back(time_ms(b, [&] {
            must(weir_gpu_event_before(b.from, b.other), "before");
            copy(b.other);
            must(weir_gpu_event_record(done, b.other), "record");
            decode(b.stream);
            must(weir_gpu_event_before(done, b.stream), "before");
        }));
    }
    printf("%zu layers %.3f ms, copies of 4 GiB (read + written) %.3f ms, both at once %.3f ms\n",
           n_layers, median(alone[0]), median(alone[1]), median(both));
    for (auto *one : batch) {
        must_be_sound(one);
        weir_gpu_batch_free(b.gpu, one);
    }
    weir_gpu_event_free(done);
    weir_gpu_free(b.gpu, x);
    weir_gpu_free(b.gpu, y);
}

void time_all(Bench &b)
{
    printf("copy %.2f TB/s (read + written)\n", copy_rate(b));
    for (const Type &type : types) {
        const bool first = &type == types;
        Tensor t = make_tensor(b, type.like, first ? N_DISTINCT : 64, N_COPIES);
        const double bits = 8.0 * (double)t.stored_bytes / (double)t.plain.size();
        std::vector<size_t> counts = {672, t.tiles.size()};
        if (first)
            counts = {1, 64, 132, 352, 528, 672, 1344, 2688, 8192, t.tiles.size()};
        for (size_t n : counts)
            report(b, type.name, "queued", n, n * t.tile_bytes, time_tiles(b, t, n, false), bits);
        if (first) {
            report(b, type.name, "replayed", 672, 672 * t.tile_bytes, time_tiles(b, t, 672, true),
                   bits);
            time_set(b, t);
            time_beside_copies(b, t);
        }
        check_tensor(b, t, type.name);
        free_tensor(b, t);
    }
}

/* Everything that is timed, into `csv` too unless it is NULL. */
void run_timing(weir_gpu *gpu, const char *device, const char *csv, const char *commit)
{
    Bench b{};
    b.gpu = gpu;
    b.commit = commit;
    b.device = device;
    b.csv = csv ? must_have(fopen(csv, "w")) : nullptr;
    if (b.csv)
        fprintf(b.csv, "commit,device,type,what,tiles,plain_bytes,ms_median,tb_per_s_out,"
                       "bits_per_byte\n");
    must(weir_gpu_stream_new(gpu, &b.stream), "stream");
    must(weir_gpu_stream_new(gpu, &b.other), "stream");
    must(weir_gpu_event_new(gpu, true, &b.from), "event");
    must(weir_gpu_event_new(gpu, true, &b.to), "event");
    must(weir_tile_encoder_new(weir_kernels_best(), &b.enc), "encoder");
    time_all(b);
    weir_tile_encoder_free(b.enc);
    weir_gpu_event_free(b.from);
    weir_gpu_event_free(b.to);
    weir_gpu_stream_free(b.stream);
    weir_gpu_stream_free(b.other);
    if (b.csv && fclose(b.csv))
        exit(2);
}

} // namespace

int main(int argc, char **argv)
{
    const char *csv = nullptr, *commit = "unknown";
    bool check = true, time = true, few = false;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--check") || !strcmp(argv[i], "--few")) {
            time = false;
            few = !strcmp(argv[i], "--few");
        } else if (!strcmp(argv[i], "--time"))
            check = false;
        else if (!strcmp(argv[i], "--csv") && i + 1 < argc)
            csv = argv[++i];
        else if (!strcmp(argv[i], "--commit") && i + 1 < argc)
            commit = argv[++i];
        else
            return fprintf(stderr, "usage: gpu_decode [--check | --few | --time] [--csv FILE] "
                                   "[--commit ID]\n"),
                   1;
    }
    weir_gpu *gpu;
    weir_diag diag;
    if (weir_gpu_open(0, &gpu, &diag)) {
        fprintf(stderr, "%s\n", diag.text);
        return 77;
    }
    struct weir_gpu_info info;
    weir_gpu_info(gpu, &info);
    printf("%s\n", info.name);
    if (check && !check_decoder(gpu, few))
        return 3;
    if (time)
        run_timing(gpu, info.name, csv, commit);
    weir_gpu_close(gpu);
    return 0;
}
