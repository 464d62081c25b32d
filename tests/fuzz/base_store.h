/* base_store.h - the base that the fuzzed stores which need one are given, whatever digest they
 * name; the seeds base-* of the corpus were packed against it. */
#ifndef WEIR_TESTS_BASE_STORE_H
#define WEIR_TESTS_BASE_STORE_H

#include <stdlib.h>
#include <string.h>

#include "codec/pack.h"

enum { BASE_VALUES = 9000, BASE_ROOM = 1 << 16 };

struct base_file {
    uint8_t bytes[4096 + 2 * BASE_VALUES];
    size_t n;
};

/* A safetensors file of one BF16 tensor; `step`: every so many values differ from the base's. */
static inline void base_file_fill(struct base_file *f, unsigned step)
{
    static const char header[] =
        "{\"w\":{\"dtype\":\"BF16\",\"shape\":[9000],\"data_offsets\":[0,18000]}}";
    const uint64_t n = sizeof(header) - 1;
    uint64_t random = 1;
    memcpy(f->bytes, &n, sizeof(n)); /* little-endian hosts only */
    memcpy(f->bytes + 8, header, n);
    for (unsigned i = 0; i < BASE_VALUES; i++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        uint16_t v = (uint16_t)(0x3c00 + (random >> 56) + (random >> 63 << 15));
        v = (uint16_t)(v + (step && i % step == 0));
        memcpy(f->bytes + 8 + n + 2 * i, &v, sizeof(v));
    }
    f->n = (size_t)(8 + n + 2 * BASE_VALUES);
}

struct base_output {
    uint8_t bytes[BASE_ROOM];
    size_t n;
};

static inline weir_err base_write(void *self, const void *bytes, size_t n)
{
    struct base_output *out = self;
    if (n > sizeof(out->bytes) - out->n)
        return WEIR_ERR_IO;
    memcpy(out->bytes + out->n, bytes, n);
    out->n += n;
    return WEIR_OK;
}

static inline weir_err base_open(void *self, struct weir_source *out, struct weir_diag *diag)
{
    (void)diag;
    const struct base_file *f = self;
    weir_source_from_memory(f->bytes, f->n, out);
    return WEIR_OK;
}

static inline void base_pack(struct base_file *f, const struct weir_store *base,
                             struct base_output *out)
{
    const struct weir_pack_entry entry = {.path = "a.safetensors",
                                          .kind = WEIR_ENTRY_FILE,
                                          .mode = 0644,
                                          .self = f,
                                          .open = base_open};
    const struct weir_output to = {out, base_write};
    const struct weir_pack_options how = {.n_threads = 1, .base = base};
    struct weir_pack_result result;
    struct weir_diag diag;
    out->n = 0;
    if (weir_pack(&entry, 1, &to, &how, &result, &diag))
        abort();
}

/* Made once, never freed. */
static inline const struct weir_store *base_store(void)
{
    static struct base_file file;
    static struct base_output packed;
    static struct weir_source src;
    static struct weir_store *store;
    if (store)
        return store;
    base_file_fill(&file, 0);
    base_pack(&file, NULL, &packed);
    weir_source_from_memory(packed.bytes, packed.n, &src);
    if (weir_store_open(&src, &store, NULL))
        abort();
    return store;
}

#endif
