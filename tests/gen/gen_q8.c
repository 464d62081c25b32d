/* gen_q8.c - makes a GGUF file of Q8_0 tensors of the matrices of a safetensors file.
 *
 *     gen_q8 IN OUT
 *
 * Matrices of BF16 and F32 with rows of whole blocks are taken, all else is left out.  A block is
 * what GGML's converters make of 32 weights as float32. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/layout.h"

enum { WEIGHTS = 32, BLOCK = 34, ALIGNMENT = 32, Q8_0 = 8, VERSION = 3 };

static float get(const uint8_t *bytes, bool is_f32, uint64_t i)
{
    uint32_t bits;
    uint16_t half;
    float f;
    if (is_f32) {
        memcpy(&bits, bytes + 4 * i, 4);
    } else {
        memcpy(&half, bytes + 2 * i, 2);
        bits = (uint32_t)half << 16;
    }
    memcpy(&f, &bits, 4);
    return f;
}

/* Of x >= 0, below 65504; halfway cases to even, as nearbyint() has it. */
static uint16_t f16_bits(float x)
{
    int exponent;
    (void)frexpf(x, &exponent);
    exponent = x == 0 || exponent < -13 ? -13 : exponent; /* of x = 0.1... * 2^exponent */
    return (uint16_t)(nearbyint(ldexp((double)x, 11 - exponent)) + (exponent + 13) * 1024);
}

static void put_block(const uint8_t *bytes, bool is_f32, uint64_t first, FILE *f)
{
    float x[WEIGHTS], most = 0;
    uint8_t block[BLOCK];
    for (size_t i = 0; i < WEIGHTS; i++) {
        x[i] = get(bytes, is_f32, first + i);
        most = fmaxf(most, fabsf(x[i]));
    }
    const float d = most / 127, inverse = d > 0 ? 1 / d : 0;
    const uint16_t half = f16_bits(d);
    memcpy(block, &half, 2);
    for (size_t i = 0; i < WEIGHTS; i++)
        block[2 + i] = (uint8_t)(int)roundf(x[i] * inverse);
    (void)fwrite(block, 1, BLOCK, f);
}

static void put(FILE *f, uint64_t v, size_t n)
{
    (void)fwrite(&v, 1, n, f); /* little-endian hosts only */
}

static void pad(FILE *f)
{
    while (ftell(f) % ALIGNMENT)
        (void)fputc(0, f);
}

static bool is_taken(const struct weir_layout_part *p)
{
    return p->is_tensor && p->tensor.n_dims == 2 && p->tensor.dim[1] % WEIGHTS == 0 &&
           (strcmp(p->tensor.dtype, "BF16") == 0 || strcmp(p->tensor.dtype, "F32") == 0);
}

static void put_header(const struct weir_layout *layout, FILE *f)
{
    uint64_t n = 0, at = 0;
    for (size_t i = 0; i < layout->n_parts; i++)
        n += is_taken(&layout->part[i]);
    (void)fwrite("GGUF", 1, 4, f);
    put(f, VERSION, 4);
    put(f, n, 8);
    put(f, 0, 8); /* key-value pairs */
    for (size_t i = 0; i < layout->n_parts; i++) {
        const struct weir_layout_part *p = &layout->part[i];
        if (!is_taken(p))
            continue;
        put(f, strlen(p->tensor.name), 8);
        (void)fwrite(p->tensor.name, 1, strlen(p->tensor.name), f);
        put(f, 2, 4); /* dimensions, innermost first */
        put(f, p->tensor.dim[1], 8);
        put(f, p->tensor.dim[0], 8);
        put(f, Q8_0, 4);
        put(f, at, 8);
        at += p->tensor.dim[0] * p->tensor.dim[1] / WEIGHTS * BLOCK;
        at = (at + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    pad(f);
}

static void put_tensors(const struct weir_layout *layout, const uint8_t *bytes, FILE *f)
{
    for (size_t i = 0; i < layout->n_parts; i++) {
        const struct weir_layout_part *p = &layout->part[i];
        if (!is_taken(p))
            continue;
        const bool is_f32 = strcmp(p->tensor.dtype, "F32") == 0;
        for (uint64_t w = 0; w < p->tensor.dim[0] * p->tensor.dim[1]; w += WEIGHTS)
            put_block(bytes + p->offset, is_f32, w, f);
        pad(f);
    }
}

int main(int argc, char **argv)
{
    struct weir_source src;
    struct weir_layout *layout = NULL;
    struct weir_diag diag = {""};
    if (argc != 3) {
        fprintf(stderr, "usage: gen_q8 IN OUT\n");
        return 1;
    }
    if (weir_source_open_file(argv[1], &src, &diag)) {
        fprintf(stderr, "%s\n", diag.text);
        return 2;
    }
    uint8_t *bytes = malloc((size_t)src.size + 1);
    FILE *f = fopen(argv[2], "wb");
    bool ok = f && bytes && weir_source_read(&src, 0, bytes, (size_t)src.size) == WEIR_OK &&
              weir_layout_find(&src, argv[1], &layout) == WEIR_OK && layout;
    if (ok) {
        put_header(layout, f);
        put_tensors(layout, bytes, f);
    }
    ok = ok && !ferror(f);
    ok = f && fclose(f) == 0 && ok;
    weir_layout_free(layout);
    free(bytes);
    weir_source_close(&src);
    if (!ok)
        perror(argv[2]);
    return ok ? 0 : 2;
}
