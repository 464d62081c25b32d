/* gen_tensor.c - makes up a safetensors file of one tensor, independent N(0, 0.02) values.
 *
 *     gen_tensor FILE DTYPE MEGABYTES [COLUMNS]
 *
 * DTYPE: BF16, F16, F32, F32-of-BF16 (values that bf16 holds exactly), F64, F8_E4M3, F8_E5M2 or I8.
 * MEGABYTES of 2^20 bytes, in rows of COLUMNS if given.  The same arguments give the same bytes. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/gen/normal.h"

static const struct {
    const char *name, *dtype;
    enum gen_type type;
} types[] = {
    {"BF16", "BF16", GEN_BF16},
    {"F16", "F16", GEN_F16},
    {"F32", "F32", GEN_F32},
    {"F32-of-BF16", "F32", GEN_F32_BF16},
    {"F64", "F64", GEN_F64},
    {"F8_E4M3", "F8_E4M3", GEN_F8_E4M3},
    {"F8_E5M2", "F8_E5M2", GEN_F8_E5M2},
    {"I8", "I8", GEN_I8},
};

static bool write_tensor(FILE *f, int type, uint64_t bytes, uint64_t columns)
{
    static uint8_t block[8 * GEN_BLOCK];
    struct gen_normal g;
    double sigma = types[type].type == GEN_I8 ? 30 : 0.02;
    struct gen_spec spec = {.type = types[type].type, .sigma = sigma, .seed = 1};
    uint64_t width = gen_type_bytes(types[type].type), n = bytes / width;
    char header[256], rows[32] = "";
    if (columns)
        snprintf(rows, sizeof(rows), "%" PRIu64 ",", n / columns);
    int len = snprintf(header, sizeof(header),
                       "{\"weight\":{\"dtype\":\"%s\",\"shape\":[%s%" PRIu64
                       "],\"data_offsets\":[0,%" PRIu64 "]}}",
                       types[type].dtype, rows, columns ? columns : n, n * width);
    uint8_t prefix[8] = {(uint8_t)len, (uint8_t)(len >> 8)};
    bool ok = fwrite(prefix, 1, 8, f) == 8 && fwrite(header, 1, (size_t)len, f) == (size_t)len;
    gen_normal_init(&g);
    for (uint64_t b = 0; ok && n > 0; b++) {
        size_t some = n < GEN_BLOCK ? (size_t)n : GEN_BLOCK;
        gen_normal_block(&g, &spec, b, some, block);
        ok = fwrite(block, width, some, f) == some;
        n -= some;
    }
    return ok;
}

int main(int argc, char **argv)
{
    int type = 0;
    const int n_types = (int)(sizeof(types) / sizeof(types[0]));
    while (argc >= 4 && type < n_types && strcmp(types[type].name, argv[2]) != 0)
        type++;
    uint64_t megabytes = argc >= 4 ? strtoull(argv[3], NULL, 10) : 0;
    uint64_t columns = argc == 5 ? strtoull(argv[4], NULL, 10) : 0;
    if (argc < 4 || argc > 5 || type == n_types || megabytes == 0 || megabytes > 1u << 20) {
        fprintf(stderr, "usage: gen_tensor FILE DTYPE MEGABYTES [COLUMNS]\n");
        return 1;
    }
    FILE *f = fopen(argv[1], "wb");
    bool ok = f && write_tensor(f, type, megabytes << 20, columns);
    if (f && fclose(f) != 0)
        ok = false;
    if (!ok)
        perror(argv[1]);
    return ok ? 0 : 2;
}
