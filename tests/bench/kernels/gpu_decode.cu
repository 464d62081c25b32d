/* Decodes generated BF16 tiles on the GPU: checks every bit against the plain data, then times one
 * layer and bulk beside the rate of a device-to-device copy in the same run.
 *
 *     gpu_decode [--check] [--csv FILE] [--commit ID]
 *
 * --check stops before the timing; it is the test gpu.decode, and what compute-sanitizer is run on.
 *
 * Rates are BF16 bytes out per second of device time (events), medians.  Inputs rotate through
 * 8,192 tiles (0.7 GB stored, 1 GiB plain), so that nothing is found in the L2 cache. */
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cuda_runtime.h>
#include <vector>

#include "codec/tile.h"
#include "cuda/decode.h"

namespace
{

const size_t N_DISTINCT = 512, N_COPIES = 16, TILE_ITEMS = WEIR_TILE_BYTES / 2;

uint64_t random_state = 88172645463325252ull;

uint64_t random_bits()
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

uint16_t to_bf16(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

void normal_bf16(uint16_t *out, size_t n, double sigma)
{
    for (size_t i = 0; i < n; i++) {
        double a = (double)((random_bits() >> 11) + 1) * 0x1p-53;
        double b = (double)(random_bits() >> 11) * 0x1p-53;
        out[i] =
            to_bf16((float)(sigma * std::sqrt(-2 * std::log(a)) * std::cos(6.283185307179586 * b)));
    }
}

void must(weir_err err, const char *what)
{
    if (err) {
        fprintf(stderr, "%s: %s\n", what, weir_err_text(err));
        exit(2);
    }
}

/* Plain items, their coding, and one tile encoded on the CPU. */
struct Sample {
    std::vector<uint16_t> plain;
    std::vector<uint8_t> payload;
    weir_coding *coding;
    weir_tile_head head;
};

Sample encode(weir_tile_encoder *enc, weir_coding *coding, std::vector<uint16_t> plain)
{
    Sample s{plain, std::vector<uint8_t>(plain.size() * 2), coding, {}};
    must(weir_tile_encode(enc, coding, (const uint8_t *)plain.data(), plain.size() * 2,
                          s.payload.data(), &s.head),
         "encode");
    s.payload.resize(s.head.payload_bytes);
    return s;
}

weir_coding *choose(const std::vector<uint16_t> &plain, uint8_t exponent_bits, bool is_float)
{
    weir_elements like{};
    like.elem_bytes = 2;
    like.n_parts = 1;
    like.part[0] = {0, 1, 2, is_float, exponent_bits};
    weir_coding *coding = nullptr;
    double bits;
    must(weir_coding_choose(&like, (const uint8_t *)plain.data(), plain.size() * 2, &coding, &bits),
         "choose");
    return coding;
}

/* One tile through the GPU; the bytes that come back. */
std::vector<uint16_t> decode_on_gpu(weir_gpu *gpu, const Sample &s, weir_err want)
{
    size_t room = s.plain.size() * 2;
    weir_gpu_coding *coding;
    must(weir_gpu_coding_new(gpu, s.coding, &coding), "coding");
    std::vector<uint8_t> padded = s.payload;
    padded.resize((padded.size() + 15) / 16 * 16);
    void *payload = weir_gpu_alloc(gpu, padded.size()), *out = weir_gpu_alloc(gpu, room);
    must(weir_gpu_upload(gpu, payload, padded.data(), padded.size()), "upload");
    weir_gpu_tile tile{coding, payload, out, (uint32_t)s.payload.size(), (uint32_t)room};
    weir_gpu_batch *batch;
    size_t bad = 99;
    must(weir_gpu_batch_new(gpu, &tile, 1, &batch), "batch");
    must(weir_gpu_decode(gpu, batch), "decode");
    weir_err err = weir_gpu_decode_wait(gpu, batch, &bad);
    if (err != want) {
        fprintf(stderr, "decode said %s, expected %s: %zu items, symbol bits %d, drop %d\n",
                weir_err_text(err), weir_err_text(want), s.plain.size(),
                s.coding->part[0].symbol_bits, s.coding->part[0].drop_bits);
        exit(3);
    }
    std::vector<uint16_t> back(s.plain.size());
    if (!err)
        must(weir_gpu_download_wait(gpu, back.data(), out, room), "download");
    weir_gpu_batch_free(gpu, batch);
    weir_gpu_free(gpu, payload);
    weir_gpu_free(gpu, out);
    weir_gpu_coding_free(gpu, coding);
    return back;
}

/* Odd sizes, odd values, every number of raw bits, broken payloads. */
void check_oddities(weir_gpu *gpu, weir_tile_encoder *enc)
{
    size_t n_split = 0, n_bad = 0;
    const size_t sizes[] = {64 * 12, 1000,  1023,           1024,      1025,
                            4097,    20000, TILE_ITEMS - 1, TILE_ITEMS};
    for (size_t n : sizes) {
        for (int kind = 0; kind < 7; kind++) {
            std::vector<uint16_t> plain(n);
            normal_bf16(plain.data(), n, kind == 1 ? 1e-3 : 0.02);
            for (size_t i = 0; i < n; i++) {
                if (kind == 2 && random_bits() % 2)
                    plain[i] = (uint16_t)(random_bits() % 2 << 15); /* 0 and -0 */
                if (kind == 3 && random_bits() % 50 == 0)
                    plain[i] = (uint16_t)random_bits(); /* NaN, Inf, denormals, anything */
                if (kind == 4)
                    plain[i] &= 0xfff0; /* dropped bits */
            }
            weir_coding *coding = choose(plain, kind == 5 ? 5 : 8, kind != 6);
            if (!coding)
                continue;
            Sample s = encode(enc, coding, plain);
            if (s.head.mode == WEIR_TILE_SPLIT) {
                n_split++;
                if (decode_on_gpu(gpu, s, WEIR_OK) != plain) {
                    fprintf(stderr, "kind %d, %zu items: wrong bits\n", kind, n);
                    exit(3);
                }
                s.payload.pop_back(); /* too short */
                decode_on_gpu(gpu, s, WEIR_ERR_CORRUPT);
                s.payload.push_back(0);
                s.payload[16 + random_bits() % 256] ^= 1; /* a state: ends wrong */
                decode_on_gpu(gpu, s, WEIR_ERR_CORRUPT);
                for (uint8_t &b : s.payload) /* rubbish all through */
                    b = (uint8_t)random_bits();
                decode_on_gpu(gpu, s, WEIR_ERR_CORRUPT);
                n_bad += 3;
            }
            free(coding);
        }
    }
    /* every width of raw bits, the slow kernel's too: a coding forced to it */
    for (int symbol_bits = 4; symbol_bits <= 12; symbol_bits++) {
        std::vector<uint16_t> plain(TILE_ITEMS - 77);
        normal_bf16(plain.data(), plain.size(), 0.02);
        weir_coding *coding =
            choose(plain, (uint8_t)symbol_bits > 11 ? 11 : (uint8_t)symbol_bits, true);
        if (!coding)
            continue;
        Sample s = encode(enc, coding, plain);
        if (s.head.mode == WEIR_TILE_SPLIT && ++n_split &&
            decode_on_gpu(gpu, s, WEIR_OK) != plain) {
            fprintf(stderr, "%d symbol bits: wrong bits\n", coding->part[0].symbol_bits);
            exit(3);
        }
        free(coding);
    }
    printf("oddities: %zu tiles bit-exact, %zu broken ones refused\n", n_split, n_bad);
}

float median(std::vector<float> v)
{
    std::sort(v.begin(), v.end());
    return v[v.size() / 2];
}

double copy_rate()
{
    const size_t bytes = (size_t)2 << 30;
    void *a, *b;
    cudaEvent_t start, stop;
    if (cudaMalloc(&a, bytes) || cudaMalloc(&b, bytes) || cudaEventCreate(&start) ||
        cudaEventCreate(&stop))
        exit(2);
    std::vector<float> ms(15);
    for (float &m : ms) {
        cudaEventRecord(start);
        cudaMemcpyAsync(b, a, bytes, cudaMemcpyDeviceToDevice);
        cudaEventRecord(stop);
        cudaEventSynchronize(stop);
        cudaEventElapsedTime(&m, start, stop);
    }
    cudaFree(a);
    cudaFree(b);
    return 2.0 * (double)bytes / median(ms) / 1e6;
}

} // namespace

int main(int argc, char **argv)
{
    const char *csv = nullptr, *commit = "unknown";
    bool only_check = false;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--check"))
            only_check = true;
        else if (!strcmp(argv[i], "--csv") && i + 1 < argc)
            csv = argv[++i];
        else if (!strcmp(argv[i], "--commit") && i + 1 < argc)
            commit = argv[++i];
        else
            return fprintf(stderr, "usage: gpu_decode [--check] [--csv FILE] [--commit ID]\n"), 1;
    }
    weir_gpu *gpu;
    weir_diag diag;
    if (weir_gpu_open(0, &gpu, &diag)) {
        fprintf(stderr, "%s\n", diag.text);
        return 77;
    }
    weir_tile_encoder *enc;
    must(weir_tile_encoder_new(weir_kernels_best(), &enc), "encoder");
    check_oddities(gpu, enc);
    if (only_check) {
        weir_tile_encoder_free(enc);
        weir_gpu_close(gpu);
        return 0;
    }

    std::vector<uint16_t> plain(N_DISTINCT * TILE_ITEMS);
    normal_bf16(plain.data(), plain.size(), 0.02);
    weir_coding *coding =
        choose(std::vector<uint16_t>(plain.begin(), plain.begin() + (2 << 20)), 8, true);
    weir_gpu_coding *gpu_coding;
    must(weir_gpu_coding_new(gpu, coding, &gpu_coding), "coding");
    std::vector<uint8_t> stored;
    std::vector<size_t> at, length;
    for (size_t t = 0; t < N_DISTINCT; t++) {
        auto from = plain.begin() + (long)(t * TILE_ITEMS);
        Sample s = encode(enc, coding, std::vector<uint16_t>(from, from + (long)TILE_ITEMS));
        at.push_back(stored.size());
        length.push_back(s.payload.size());
        stored.insert(stored.end(), s.payload.begin(), s.payload.end());
        stored.resize((stored.size() + 15) / 16 * 16);
    }
    const size_t n_tiles = N_DISTINCT * N_COPIES, plain_bytes = n_tiles * WEIR_TILE_BYTES;
    auto *payload = (uint8_t *)weir_gpu_alloc(gpu, stored.size() * N_COPIES);
    auto *out = (uint8_t *)weir_gpu_alloc(gpu, plain_bytes);
    std::vector<weir_gpu_tile> tiles(n_tiles);
    for (size_t c = 0; c < N_COPIES; c++) {
        must(weir_gpu_upload(gpu, payload + c * stored.size(), stored.data(), stored.size()),
             "upload");
        for (size_t t = 0; t < N_DISTINCT; t++)
            tiles[c * N_DISTINCT + t] = {gpu_coding, payload + c * stored.size() + at[t],
                                         out + (c * N_DISTINCT + t) * WEIR_TILE_BYTES,
                                         (uint32_t)length[t], WEIR_TILE_BYTES};
    }
    must(weir_gpu_wait(gpu), "upload");
    if (cudaMemset(out, 0x55, plain_bytes) || cudaDeviceSynchronize())
        return 2;

    FILE *f = csv ? fopen(csv, "w") : nullptr;
    if (f)
        fprintf(f, "commit,what,tiles,weights,ms_median,tb_per_s_bf16_out,bits_per_weight\n");
    double bits = 8.0 * (double)stored.size() / (double)plain.size();
    printf("bits per weight %.3f, copy %.2f TB/s (read + written)\n", bits, copy_rate() / 1e3);
    for (size_t n : {(size_t)1, (size_t)64, (size_t)132, (size_t)528, (size_t)671, (size_t)700,
                     (size_t)1400, n_tiles}) {
        size_t n_windows = std::min<size_t>(n_tiles / n, 11);
        std::vector<float> ms;
        for (size_t w = 0; w < n_windows; w++) {
            weir_gpu_batch *batch;
            size_t bad;
            must(weir_gpu_batch_new(gpu, tiles.data() + w * n, n, &batch), "batch");
            float some[11];
            size_t repeat = n == n_tiles ? 11 : 1;
            if (w == 0) /* load the kernel */
                must(weir_gpu_decode_time_wait(gpu, batch, 1, some), "time");
            must(weir_gpu_decode_time_wait(gpu, batch, repeat, some), "time");
            must(weir_gpu_decode_wait(gpu, batch, &bad), "decode");
            ms.insert(ms.end(), some, some + repeat);
            weir_gpu_batch_free(gpu, batch);
        }
        float m = median(ms);
        double rate = (double)n * WEIR_TILE_BYTES / m / 1e9;
        printf("%6zu tiles: %8.4f ms, %.3f TB/s of BF16\n", n, m, rate);
        if (f)
            fprintf(f, "%s,gpu_decode,%zu,%zu,%.5f,%.4f,%.4f\n", commit, n, n * TILE_ITEMS, m, rate,
                    bits);
    }
    if (f)
        fclose(f);

    std::vector<uint16_t> back(plain.size());
    for (size_t c = 0; c < N_COPIES; c++) {
        must(weir_gpu_download_wait(gpu, back.data(), out + c * N_DISTINCT * WEIR_TILE_BYTES,
                                    back.size() * 2),
             "download");
        if (back != plain) {
            fprintf(stderr, "copy %zu: wrong bits\n", c);
            return 3;
        }
    }
    printf("all %zu tiles bit-exact\n", n_tiles);
    weir_gpu_free(gpu, payload);
    weir_gpu_free(gpu, out);
    weir_gpu_coding_free(gpu, gpu_coding);
    free(coding);
    weir_tile_encoder_free(enc);
    weir_gpu_close(gpu);
    return 0;
}
