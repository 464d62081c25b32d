/* gen_relative.c - a safetensors file that is related to another one.
 *
 *     gen_relative nudge IN OUT SPREAD   BF16: elements move by some places, up to 2 x SPREAD
 *     gen_relative bf16 IN OUT           F32: elements rounded to BF16
 *
 * For tests and figures of stores with a base.  All tensors of IN are of the one dtype. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEAD_BYTES = 8, SIGN = 0x8000 };

struct file {
    uint8_t *bytes;
    size_t n, data; /* where the tensors begin */
};

static bool read_file(const char *path, struct file *out)
{
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END) != 0)
        return false;
    long n = ftell(f);
    rewind(f);
    out->n = n < 0 ? 0 : (size_t)n;
    out->bytes = malloc(out->n + 1);
    bool fine = out->bytes && fread(out->bytes, 1, out->n, f) == out->n && out->n > HEAD_BYTES;
    uint64_t header = 0;
    if (fine)
        memcpy(&header, out->bytes, sizeof(header)); /* little-endian hosts only */
    out->data = HEAD_BYTES + (size_t)header;
    return fclose(f) == 0 && fine && header <= out->n - HEAD_BYTES;
}

static bool write_file(const char *path, const struct file *file)
{
    FILE *f = fopen(path, "wb");
    if (!f)
        return false;
    bool fine = fwrite(file->bytes, 1, file->n, f) == file->n;
    return fclose(f) == 0 && fine;
}

/* By how many places: a sum of four even ones, so small ones are frequent. */
static int places(uint64_t *random, int spread)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    int sum = 0;
    for (int k = 0; k < 4; k++)
        sum += (int)(*random >> (8 * k) & 0xff) - 128;
    return sum * spread / 256;
}

static void nudge(struct file *f, int spread)
{
    uint64_t random = UINT64_C(88172645463325252);
    for (size_t at = f->data; at + 2 <= f->n; at += 2) {
        uint16_t u;
        memcpy(&u, f->bytes + at, sizeof(u));
        u = (uint16_t)(u & SIGN ? ~u : u | SIGN);
        u = (uint16_t)(u + places(&random, spread));
        u = (uint16_t)(u & SIGN ? u ^ SIGN : ~u);
        memcpy(f->bytes + at, &u, sizeof(u));
    }
}

/* Half of a number in the header: data_offsets are multiples of 4. */
static bool halve_offsets(const char *header, char *out, size_t room)
{
    static const char key[] = "\"data_offsets\":";
    size_t n = 0;
    for (const char *at = header; *at;) {
        if (n + 64 > room)
            return false;
        if (strncmp(at, "\"F32\"", 5) == 0) {
            n += (size_t)snprintf(out + n, room - n, "\"BF16\"");
            at += 5;
        } else if (strncmp(at, key, sizeof(key) - 1) == 0) {
            const char *open = strchr(at, '[');
            char *end;
            uint64_t from = strtoull(open ? open + 1 : "", &end, 10);
            uint64_t to = strtoull(*end ? end + 1 : end, &end, 10);
            n += (size_t)snprintf(out + n, room - n, "%s[%" PRIu64 ",%" PRIu64, key, from / 2,
                                  to / 2);
            at = end;
        } else {
            out[n++] = *at++;
        }
    }
    out[n] = 0;
    return true;
}

static bool to_bf16(struct file *f)
{
    const size_t header = f->data - HEAD_BYTES, room = 2 * header + 64;
    char *old = calloc(header + 1, 1), *new = calloc(room, 1);
    uint8_t *bytes = calloc(HEAD_BYTES + room + f->n, 1);
    bool fine = old && new &&bytes;
    if (fine) {
        memcpy(old, f->bytes + HEAD_BYTES, header);
        fine = halve_offsets(old, new, room);
    }
    if (fine) {
        const uint64_t n = strlen(new);
        memcpy(bytes, &n, sizeof(n));
        memcpy(bytes + HEAD_BYTES, new, n + 1);
        uint8_t *to = bytes + HEAD_BYTES + n;
        for (size_t at = f->data; at + 4 <= f->n; at += 4, to += 2) {
            uint32_t u;
            memcpy(&u, f->bytes + at, sizeof(u));
            u = (u + 0x7fff + (u >> 16 & 1)) >> 16; /* to nearest even; there are no NaNs */
            memcpy(to, &u, 2);
        }
        free(f->bytes);
        f->bytes = bytes;
        f->n = (size_t)(to - bytes);
    } else {
        free(bytes);
    }
    free(old);
    free(new);
    return fine;
}

int main(int argc, char **argv)
{
    struct file f = {0};
    bool nudges = argc == 5 && strcmp(argv[1], "nudge") == 0;
    if (!nudges && !(argc == 4 && strcmp(argv[1], "bf16") == 0)) {
        fputs("usage: gen_relative nudge IN OUT SPREAD | bf16 IN OUT\n", stderr);
        return 1;
    }
    bool fine = read_file(argv[2], &f);
    if (fine && nudges)
        nudge(&f, atoi(argv[4]));
    else if (fine)
        fine = to_bf16(&f);
    fine = fine && write_file(argv[3], &f);
    free(f.bytes);
    if (!fine)
        fprintf(stderr, "gen_relative: %s or %s: no\n", argv[2], argv[3]);
    return !fine;
}
