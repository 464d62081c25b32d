/* near_rate.c - how fast tiles of near-lossless weights are made and read, beside lossless ones.
 *
 *     near_rate [TYPE [ROWS COLUMNS]]     TYPE: bf16 (default), f16, f32
 *
 * Normally distributed rows with outliers, one thread, its processor time, the best of some rounds:
 * where others compute on the same machine, that is what can be told.  Prints CSV. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/gen/normal.h"
#include "codec/quantise.h"

enum { ROUNDS = 7, SAMPLE_ROWS = 128, MAX_TILES = 4096, DEFAULT_ROWS = 2048 };

struct layer {
    enum weir_float type;
    size_t rows, columns, n, bytes, tile_elements, n_tiles;
    uint8_t *plain, *out, *stored, *items, *made;
    float *rms, *scales;
    size_t at[MAX_TILES];
    struct weir_tile_head head[MAX_TILES];
    size_t stored_bytes;
    struct weir_coding *coding;
    struct weir_step step;
};

static double seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void must(int fine, const char *what)
{
    if (fine)
        return;
    fprintf(stderr, "near_rate: %s\n", what);
    exit(2);
}

static size_t tile_elements(const struct layer *l, size_t tile)
{
    size_t left = l->n - tile * l->tile_elements;
    return left < l->tile_elements ? left : l->tile_elements;
}

static void encode_near(struct layer *l, const struct weir_kernels *k,
                        struct weir_tile_encoder *enc, size_t tile, uint8_t *payload)
{
    const size_t elem = weir_float_bytes(l->type), first = tile * l->tile_elements;
    const size_t n = tile_elements(l, tile), column = first % l->columns;
    const struct weir_quantise_job job = {l->coding, l->step, (uint32_t)column,
                                          l->rms + first / l->columns, NULL};
    weir_quantise(k, &job, l->plain + first * elem, n, l->items, l->made, l->scales);
    const struct weir_tile_items items = {
        l->items, 0, (uint32_t)column, l->scales,
        (size_t)weir_transform_scales(&l->coding->transform, 0, (uint32_t)column, n)};
    must(weir_tile_encode_made(enc, l->coding, &items, l->made, n * elem, payload,
                               &l->head[tile]) == WEIR_OK,
         "encoding");
}

static void encode(struct layer *l, const struct weir_kernels *k, struct weir_tile_encoder *enc)
{
    const size_t elem = weir_float_bytes(l->type);
    l->stored_bytes = 0;
    for (size_t tile = 0, at = 0; tile < l->n_tiles; tile++) {
        l->at[tile] = at;
        if (l->coding->transform.kind)
            encode_near(l, k, enc, tile, l->stored + at);
        else
            must(weir_tile_encode(enc, l->coding, l->plain + tile * l->tile_elements * elem,
                                  tile_elements(l, tile) * elem, l->stored + at,
                                  &l->head[tile]) == WEIR_OK,
                 "encoding");
        at += (l->head[tile].payload_bytes + 15u) & ~15u;
        l->stored_bytes = at + (tile + 1) * WEIR_TILE_HEAD_BYTES;
    }
}

static void decode(struct layer *l, struct weir_tile_decoder *dec)
{
    const size_t elem = weir_float_bytes(l->type);
    for (size_t tile = 0; tile < l->n_tiles; tile++)
        must(weir_tile_decode(dec, l->coding, &l->head[tile], l->stored + l->at[tile],
                              l->out + tile * l->tile_elements * elem,
                              tile_elements(l, tile) * elem) == WEIR_OK,
             "decoding");
}

static void measure(struct layer *l, const struct weir_kernels *k, const char *form)
{
    struct weir_tile_encoder *enc = NULL;
    struct weir_tile_decoder *dec = NULL;
    must(weir_tile_encoder_new(k, &enc) == WEIR_OK && weir_tile_decoder_new(k, &dec) == WEIR_OK,
         "memory");
    double encoding = 1e9, decoding = 1e9;
    for (int i = 0; i < ROUNDS; i++) {
        double t = seconds();
        encode(l, k, enc);
        encoding = seconds() - t < encoding ? seconds() - t : encoding;
        t = seconds();
        decode(l, dec);
        decoding = seconds() - t < decoding ? seconds() - t : decoding;
    }
    printf("%s,%s,%zux%zu,%.4f,%.3f,%.3f\n", weir_kernels_name(k), form, l->rows, l->columns,
           8 * (double)l->stored_bytes / (double)l->n, (double)l->n / encoding / 1e9,
           (double)l->n / decoding / 1e9);
    weir_tile_encoder_free(enc);
    weir_tile_decoder_free(dec);
}

static void fill(struct layer *l)
{
    static const enum gen_type types[] = {GEN_BF16, GEN_F16, GEN_F32};
    struct gen_normal g;
    gen_normal_init(&g);
    const struct gen_spec spec = {
        .type = types[l->type], .sigma = 0.02, .seed = 1, .row_elements = l->columns};
    for (size_t at = 0; at < l->n; at += GEN_BLOCK)
        gen_normal_block(&g, &spec, at / GEN_BLOCK, l->n - at < GEN_BLOCK ? l->n - at : GEN_BLOCK,
                         l->plain + at * weir_float_bytes(l->type));
}

static void allocate(struct layer *l)
{
    l->n = l->rows * l->columns;
    l->bytes = l->n * weir_float_bytes(l->type);
    l->tile_elements = WEIR_TILE_BYTES / weir_float_bytes(l->type);
    l->n_tiles = (l->n - 1) / l->tile_elements + 1;
    must(l->n_tiles <= MAX_TILES, "that is too large");
    l->plain = malloc(l->bytes);
    l->out = calloc(1, l->bytes);
    l->stored = calloc(1, l->bytes + 16 * l->n_tiles);
    l->items = calloc(1, WEIR_TILE_BYTES);
    l->made = calloc(1, WEIR_TILE_BYTES);
    l->rms = calloc(l->rows, sizeof(float));
    l->scales = calloc(l->rows + 1, sizeof(float));
    must(l->plain && l->out && l->stored && l->items && l->made && l->rms && l->scales, "memory");
}

static void choose_near(struct layer *l, const struct weir_near *near)
{
    const size_t n = l->rows < SAMPLE_ROWS ? l->rows : SAMPLE_ROWS;
    const struct weir_rows shape = {l->type, (uint32_t)l->columns, n};
    double bits, signal = 0;
    must(weir_quantise_choose(weir_kernels_best(), &shape, l->plain, near, &l->coding, &l->step,
                              &bits) == WEIR_OK &&
             l->coding,
         "nothing to gain");
    const size_t row_bytes = l->columns * weir_float_bytes(l->type);
    for (size_t i = 0; i < l->rows; i++)
        l->rms[i] = weir_quantise_rms(weir_kernels_best(), l->type, l->plain + i * row_bytes,
                                      l->columns, &signal);
}

static void choose_lossless(struct layer *l)
{
    const uint8_t elem = (uint8_t)weir_float_bytes(l->type);
    const struct weir_elements like = {
        .elem_bytes = elem,
        .n_parts = 1,
        .part = {{0, 1, elem, true, l->type == WEIR_FLOAT_F16 ? 5 : 8}}};
    double bits;
    const size_t bytes = l->bytes < 1 << 20 ? l->bytes : 1 << 20;
    must(weir_coding_choose(&like, l->plain, bytes, &l->coding, &bits) == WEIR_OK && l->coding,
         "nothing to gain");
}

int main(int argc, char **argv)
{
    static const char *const kernels[] = {"scalar", "avx2", "avx512"};
    static const struct weir_near nears[] = {{0}, {.snr = 40}, {.snr = 46}};
    static const char *const forms[] = {"q8", "q8-40dB", "q8-46dB"};
    static struct layer l;
    l.type = argc < 2 || strcmp(argv[1], "bf16") == 0 ? WEIR_FLOAT_BF16
             : strcmp(argv[1], "f16") == 0            ? WEIR_FLOAT_F16
                                                      : WEIR_FLOAT_F32;
    l.rows = argc > 2 ? strtoul(argv[2], NULL, 10) : DEFAULT_ROWS;
    l.columns = argc > 3 ? strtoul(argv[3], NULL, 10) : DEFAULT_ROWS;
    must(l.rows > 0 && l.columns >= WEIR_QUANTISE_MIN_ROW, "what shape?");
    allocate(&l);
    fill(&l);
    printf("kernels,form,shape,bits_per_weight,encode_gweights,decode_gweights\n");
    for (size_t k = 0; k < sizeof(kernels) / sizeof(kernels[0]); k++) {
        const struct weir_kernels *named = weir_kernels_named(kernels[k]);
        if (!named)
            continue;
        choose_lossless(&l);
        measure(&l, named, "lossless");
        free(l.coding);
        for (size_t i = 0; i < sizeof(nears) / sizeof(nears[0]); i++) {
            choose_near(&l, &nears[i]);
            measure(&l, named, forms[i]);
            free(l.coding);
        }
    }
    return 0;
}
