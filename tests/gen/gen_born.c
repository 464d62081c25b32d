/* gen_born.c - makes the matrices of a safetensors file ones that were born as something narrower.
 *
 *     gen_born IN OUT e4m3|e5m2|int8|int4 BLOCK_ROWS BLOCK_COLS
 *
 * Each block of each matrix of BF16, F16 or F32 gets the scale that makes its largest element the
 * largest number, its elements become the numbers next to them, and these times the scale, rounded,
 * are written.  BLOCK_ROWS, BLOCK_COLS 0: all there are.  All else is copied. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/layout.h"

enum { BF16, F16, F32, N_TYPES };
static const char *const type_name[N_TYPES] = {"BF16", "F16", "F32"};

/* Numbers of mantissa_bits behind the point, with exponents from least_exponent on; or integers. */
struct numbers {
    const char *name;
    double largest;
    int mantissa_bits, least_exponent;
};
static const struct numbers all_numbers[] = {
    {"e4m3", 448, 3, -6}, {"e5m2", 57344, 2, -14}, {"int8", 127, 0, 0}, {"int4", 7, 0, 0}};

struct matrix {
    uint8_t *bytes;
    int type;
    uint64_t rows, cols;
};

static float get(const struct matrix *m, uint64_t i)
{
    uint32_t bits = 0;
    if (m->type == F32) {
        memcpy(&bits, m->bytes + 4 * i, 4);
    } else {
        uint16_t half;
        memcpy(&half, m->bytes + 2 * i, 2);
        bits = (uint32_t)half << 16;
        if (m->type == F16) {
            const int exponent = half >> 10 & 31;
            const float f = ldexpf((float)((half & 1023) + (exponent ? 1024 : 0)),
                                   (exponent ? exponent : 1) - 25);
            return half >> 15 ? -f : f;
        }
    }
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

static uint32_t f16_bits(float f)
{
    const uint32_t sign = signbit(f) ? 0x8000 : 0;
    const double x = fabs((double)f);
    int exponent;
    (void)frexp(x, &exponent);
    exponent = x == 0 || exponent < -13 ? -13 : exponent; /* of x = 0.1... * 2^exponent */
    const double ulps = nearbyint(ldexp(x, 11 - exponent));
    return sign | (uint32_t)(ulps + (exponent + 13) * 1024); /* a carry goes into the exponent */
}

static void put(const struct matrix *m, uint64_t i, float f)
{
    uint32_t bits;
    memcpy(&bits, &f, 4);
    if (m->type == BF16)
        bits = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    else if (m->type == F16)
        bits = f16_bits(f);
    memcpy(m->bytes + (m->type == F32 ? 4 : 2) * i, &bits, m->type == F32 ? 4 : 2);
}

static double number_near(const struct numbers *n, double x)
{
    int exponent = 1; /* integers are so many times 1 */
    if (n->mantissa_bits) {
        (void)frexp(x, &exponent);
        exponent = exponent - 1 < n->least_exponent ? n->least_exponent + 1 : exponent;
    }
    const double ulp = ldexp(1, exponent - 1 - n->mantissa_bits);
    const double y = nearbyint(x / ulp) * ulp;
    return fabs(y) > n->largest ? copysign(n->largest, y) : y;
}

static void give_birth_to_block(const struct matrix *m, const struct numbers *n,
                                const uint64_t at[4])
{
    float most = 0;
    for (uint64_t r = at[0]; r < at[1]; r++)
        for (uint64_t c = at[2]; c < at[3]; c++)
            most = fmaxf(most, fabsf(get(m, r * m->cols + c)));
    const float scale = most / (float)n->largest;
    for (uint64_t r = at[0]; scale > 0 && r < at[1]; r++)
        for (uint64_t c = at[2]; c < at[3]; c++) {
            const uint64_t i = r * m->cols + c;
            const float number = (float)number_near(n, (double)(get(m, i) / scale));
            put(m, i, (number == 0 && !n->mantissa_bits ? 0 : number) * scale);
        }
}

static void give_birth(const struct matrix *m, const struct numbers *n, uint64_t block_rows,
                       uint64_t block_cols)
{
    const uint64_t rows = block_rows ? block_rows : m->rows;
    const uint64_t cols = block_cols ? block_cols : m->cols;
    for (uint64_t r = 0; r < m->rows; r += rows)
        for (uint64_t c = 0; c < m->cols; c += cols) {
            const uint64_t at[4] = {r, r + rows < m->rows ? r + rows : m->rows, c,
                                    c + cols < m->cols ? c + cols : m->cols};
            give_birth_to_block(m, n, at);
        }
}

static uint8_t *read_all(const struct weir_source *src)
{
    uint8_t *bytes = malloc((size_t)src->size + 1);
    if (bytes && weir_source_read(src, 0, bytes, (size_t)src->size)) {
        free(bytes);
        return NULL;
    }
    return bytes;
}

static void change(uint8_t *bytes, const struct weir_layout *layout, char **arg)
{
    size_t n = 0;
    while (strcmp(all_numbers[n].name, arg[0]) != 0)
        n++;
    for (size_t i = 0; i < layout->n_parts; i++) {
        const struct weir_layout_part *part = &layout->part[i];
        if (!part->is_tensor || part->tensor.n_dims != 2)
            continue;
        struct matrix m = {bytes + part->offset, 0, part->tensor.dim[0], part->tensor.dim[1]};
        while (m.type < N_TYPES && strcmp(type_name[m.type], part->tensor.dtype) != 0)
            m.type++;
        if (m.type < N_TYPES)
            give_birth(&m, &all_numbers[n], strtoull(arg[1], NULL, 10), strtoull(arg[2], NULL, 10));
    }
}

int main(int argc, char **argv)
{
    struct weir_source src;
    struct weir_layout *layout = NULL;
    struct weir_diag diag = {""};
    size_t known = 0;
    for (size_t i = 0; argc == 6 && i < sizeof(all_numbers) / sizeof(all_numbers[0]); i++)
        known += strcmp(all_numbers[i].name, argv[3]) == 0;
    if (!known) {
        fprintf(stderr, "usage: gen_born IN OUT e4m3|e5m2|int8|int4 BLOCK_ROWS BLOCK_COLS\n");
        return 1;
    }
    if (weir_source_open_file(argv[1], &src, &diag)) {
        fprintf(stderr, "%s\n", diag.text);
        return 2;
    }
    uint8_t *bytes = read_all(&src);
    FILE *f = fopen(argv[2], "wb");
    bool ok = f && bytes && weir_layout_find(&src, argv[1], &layout) == WEIR_OK;
    if (ok)
        change(bytes, layout, argv + 3);
    ok = ok && fwrite(bytes, 1, (size_t)src.size, f) == src.size;
    ok = f && fclose(f) == 0 && ok;
    weir_layout_free(layout);
    free(bytes);
    weir_source_close(&src);
    if (!ok)
        perror(argv[2]);
    return ok ? 0 : 2;
}
