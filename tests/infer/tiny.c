#include "tiny.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LINE = 512, HEADER_PER_TENSOR = 512, MAX_TENSORS = 256 };

struct tensor {
    char name[MAX_LINE], kind[16];
    size_t dim[2];
    size_t n; /* elements */
    int shift, n_dims;
};

static void end(const char *what, const char *name)
{
    fprintf(stderr, "%s: %s\n", what, name);
    exit(1);
}

struct tiny_bytes tiny_read(const char *folder, const char *name)
{
    char path[4096];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END) != 0)
        end("cannot be read", path);
    long n = ftell(f);
    struct tiny_bytes b = {malloc((size_t)n + 1), (size_t)n};
    rewind(f);
    if (!b.at || fread(b.at, 1, b.n, f) != b.n)
        end("cannot be read", path);
    b.at[n] = 0;
    (void)fclose(f);
    return b;
}

static uint64_t hash_of(const char *name)
{
    uint64_t h = 0xcbf29ce484222325;
    for (; *name; name++)
        h = (h ^ (uint8_t)*name) * 0x100000001b3;
    return h;
}

static uint64_t mix(uint64_t start, uint64_t i)
{
    uint64_t z = start + i * 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static float value(const struct tensor *t, uint64_t bits)
{
    if (strcmp(t->kind, "matrix") == 0)
        return (float)((int)(bits >> 56) - 128) / (float)(128 << t->shift);
    float v = (float)((int)(bits >> 60) - 8) / 16;
    return strcmp(t->kind, "norm") == 0 ? 1 + v : v;
}

/* Of a value that F16 has exactly and is no denormal there. */
static uint16_t to_f16(uint32_t bits)
{
    uint32_t exponent = bits >> 23 & 255;
    if (exponent == 0)
        return (uint16_t)(bits >> 16 & 0x8000);
    return (uint16_t)((bits >> 16 & 0x8000) | (exponent - 112) << 10 | (bits >> 13 & 1023));
}

static char *put(char *to, float v, const char *dtype)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof(bits));
    uint16_t half = strcmp(dtype, "F16") == 0 ? to_f16(bits) : (uint16_t)(bits >> 16);
    if (strcmp(dtype, "F32") == 0) {
        memcpy(to, &bits, sizeof(bits));
        return to + sizeof(bits);
    }
    memcpy(to, &half, sizeof(half));
    return to + sizeof(half);
}

static size_t read_list(const char *text, struct tensor *t)
{
    size_t n = 0;
    char line[MAX_LINE];
    while (*text) {
        size_t length = strcspn(text, "\n");
        if (length >= sizeof(line) || n == MAX_TENSORS)
            end("too long", text);
        memcpy(line, text, length);
        line[length] = 0;
        int got = sscanf(line, "%511s %d %15s %zu %zu", t[n].name, &t[n].shift, t[n].kind,
                         &t[n].dim[0], &t[n].dim[1]);
        if (got < 4)
            end("not a tensor", line);
        t[n].n_dims = got - 3;
        t[n].n = t[n].dim[0] * (got == 5 ? t[n].dim[1] : 1);
        n++;
        text += length + (text[length] == '\n');
    }
    return n;
}

/* "model.x" goes under another name in models that also see images. */
static void name_in_file(const struct tensor *t, const char *prefix, char *to, size_t room)
{
    const bool inner = *prefix && strncmp(t->name, "model.", 6) == 0;
    const char *before = inner ? prefix : "";
    if (!inner && strncmp(prefix, "language_model.", 15) == 0)
        before = "language_model.";
    if (snprintf(to, room, "%s%s", before, inner ? t->name + 6 : t->name) >= (int)room)
        end("too long", t->name);
}

struct tiny_bytes tiny_safetensors(const struct tiny_bytes *list, const char *dtype,
                                   const char *prefix)
{
    static struct tensor tensor[MAX_TENSORS];
    const size_t n = read_list(list->at, tensor), item = strcmp(dtype, "F32") == 0 ? 4 : 2;
    size_t at = 0, data = 0, room = 16 + n * HEADER_PER_TENSOR;
    for (size_t i = 0; i < n; i++)
        room += tensor[i].n * item;
    struct tiny_bytes b = {malloc(room), 0};
    if (!b.at)
        end("no memory for", list->at);
    b.n = 8;
    for (size_t i = 0; i < n; i++) {
        const struct tensor *t = &tensor[i];
        char name[MAX_LINE + 32], second[32] = "";
        name_in_file(t, prefix, name, sizeof(name));
        if (t->n_dims == 2)
            (void)snprintf(second, sizeof(second), ",%zu", t->dim[1]);
        b.n += (size_t)sprintf(
            b.at + b.n, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%zu%s],\"data_offsets\":[%zu,%zu]}",
            i ? "," : "{", name, dtype, t->dim[0], second, at, at + t->n * item);
        at += t->n * item;
    }
    b.at[b.n++] = '}';
    data = b.n - 8;
    memcpy(b.at, &data, 8);
    char *to = b.at + b.n;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < tensor[i].n; k++)
            to = put(to, value(&tensor[i], mix(hash_of(tensor[i].name), k)), dtype);
    b.n = (size_t)(to - b.at);
    return b;
}
