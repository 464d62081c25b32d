/* The index of a 70B model (80 layers, 723 tensors, 141 GB of BF16 in 33,648 extents, every SHA-256
 * different) opens quickly and in little memory.  The extents themselves are a hole. */
#include "codec/store.h"

#include <criterion/criterion.h>
#include <malloc.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <time.h>
#include <zstd.h>

#include "bytes.h"

enum { LAYERS = 80, HIDDEN = 8192, KV = 1024, FFN = 28672, VOCABULARY = 128256 };

static uint64_t random_state = 20260101;

static uint64_t random_bits(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void put_random(struct bytes *b, size_t n)
{
    for (size_t i = 0; i < n; i += 8)
        bytes_number(b, random_bits(), 8);
}

struct shape {
    const char *name;
    uint64_t rows, columns; /* columns 0: one dimension */
};

static const struct shape per_layer[] = {
    {"input_layernorm", HIDDEN, 0},       {"mlp.down_proj", HIDDEN, FFN},
    {"mlp.gate_proj", FFN, HIDDEN},       {"mlp.up_proj", FFN, HIDDEN},
    {"post_attention_norm", HIDDEN, 0},   {"self_attn.k_proj", KV, HIDDEN},
    {"self_attn.o_proj", HIDDEN, HIDDEN}, {"self_attn.q_proj", HIDDEN, HIDDEN},
    {"self_attn.v_proj", KV, HIDDEN},
};
static const struct shape once[] = {
    {"embed_tokens", VOCABULARY, HIDDEN}, {"norm", HIDDEN, 0}, {"lm_head", VOCABULARY, HIDDEN}};

enum { PER_LAYER = 9, N_TENSORS = LAYERS * PER_LAYER + 3 };

static struct shape tensor_at(int i)
{
    return i < LAYERS * PER_LAYER ? per_layer[i % PER_LAYER] : once[i - LAYERS * PER_LAYER];
}

static uint64_t tensor_bytes(int i)
{
    struct shape s = tensor_at(i);
    return 2 * s.rows * (s.columns ? s.columns : 1);
}

/* One coding for each tensor: 62 indices, as for normal weights. */
static void put_coding(struct bytes *b)
{
    bytes_number(b, 2, 2);
    bytes_number(b, 1, 1);
    bytes_number(b, 0, 1);
    bytes_number(b, 0, 2); /* offset */
    bytes_number(b, 1, 2); /* count */
    bytes_number(b, 2, 1);
    bytes_number(b, 1, 1); /* sign first */
    bytes_number(b, 0, 1);
    bytes_number(b, 10, 1);
    bytes_number(b, 238, 2);
    bytes_number(b, 190, 1);
    bytes_number(b, 251, 1);
    uint64_t left = 4096;
    for (int j = 190; j < 251; j++) {
        uint64_t f = 1 + random_bits() % 60;
        bytes_number(b, f, 2);
        left -= f;
    }
    bytes_number(b, left, 2);
}

static void put_entry(struct bytes *b, uint64_t size)
{
    char name[96];
    bytes_number(b, 0, 2); /* a file */
    bytes_number(b, 0644, 2);
    bytes_text(b, "model.safetensors", 2);
    bytes_number(b, size, 8);
    put_random(b, 32);
    bytes_number(b, N_TENSORS, 4);
    for (int i = 0; i < N_TENSORS; i++) {
        struct shape s = tensor_at(i);
        snprintf(name, sizeof(name), "model.layers.%d.%s.weight", i / PER_LAYER, s.name);
        bytes_number(b, tensor_bytes(i), 8);
        bytes_number(b, (uint64_t)i, 4);
        bytes_number(b, 1, 1);
        bytes_text(b, name, 2);
        bytes_text(b, "BF16", 1);
        bytes_number(b, s.columns ? 2 : 1, 1);
        bytes_number(b, s.rows, 8);
        if (s.columns)
            bytes_number(b, s.columns, 8);
    }
}

/* A store of which only head and tail are there; what lies between reads as zeros. */
struct holed {
    struct bytes tail; /* index and trailer */
    uint64_t tail_at, size;
};

static weir_err read_holed(void *self, uint64_t at, void *dst, size_t n)
{
    static const uint8_t head[] = {0x89, 'w', 'e', 'i', 'r', '\r', '\n', 0x1a, 1};
    struct holed *h = self;
    uint8_t *to = dst;
    memset(to, 0, n);
    for (size_t i = 0; i < n && at + i < sizeof(head); i++)
        to[i] = head[at + i];
    if (at + n > h->tail_at) {
        uint64_t from = at > h->tail_at ? at : h->tail_at;
        memcpy(to + (from - at), h->tail.at + (from - h->tail_at), (size_t)(at + n - from));
    }
    return WEIR_OK;
}

static void make_store(struct holed *h)
{
    struct bytes b = {0};
    uint64_t size = 0, n_tiles = 0, at = 4096;
    for (int i = 0; i < N_TENSORS; i++) {
        size += tensor_bytes(i);
        n_tiles += (tensor_bytes(i) + WEIR_TILE_BYTES - 1) / WEIR_TILE_BYTES;
    }
    uint64_t n_extents = (n_tiles + WEIR_EXTENT_TILES - 1) / WEIR_EXTENT_TILES;
    const uint64_t counts[] = {N_TENSORS, N_TENSORS, n_extents, 1};
    for (int i = 0; i < 4; i++)
        bytes_number(&b, counts[i], 4);
    for (int i = 0; i < N_TENSORS; i++)
        put_coding(&b);
    for (uint32_t i = 0; i < N_TENSORS; i++) {
        bytes_number(&b, tensor_bytes((int)i), 8);
        bytes_number(&b, i, 4);
    }
    for (uint64_t e = 0; e < n_extents; e++) {
        uint64_t stored = 2750000 + random_bits() % 4096;
        bytes_number(&b, stored, 4);
        put_random(&b, 32);
        at += stored;
        if (e + 1 < n_extents)
            at = (at + 4095) / 4096 * 4096;
    }
    put_entry(&b, size);

    size_t room = ZSTD_compressBound(b.n);
    uint8_t *stored = malloc(room), digest[32];
    size_t n = ZSTD_compress(stored, room, b.at, b.n, 3);
    cr_assert(!ZSTD_isError(n));
    SHA256(stored, n, digest);
    bytes_put(&h->tail, stored, n);
    bytes_number(&h->tail, at, 8);
    bytes_number(&h->tail, n, 4);
    bytes_number(&h->tail, b.n, 4);
    bytes_put(&h->tail, digest, 32);
    bytes_number(&h->tail, 1, 8); /* version, zeros */
    bytes_put(&h->tail, "weirend\n", 8);
    h->tail_at = at;
    h->size = at + h->tail.n;
    free(stored);
    free(b.at);
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

Test(store_scale, index_of_a_70b_model)
{
    struct holed h = {0};
    make_store(&h);
    struct weir_source src = {.self = &h, .size = h.size, .read = read_holed};
    struct weir_store *store = NULL;
    struct weir_diag diag = {""};
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    double start = now_ms();
    cr_assert_eq(weir_store_open(&src, &store, &diag), WEIR_OK, "%s", diag.text);
    double ms = now_ms() - start;
    size_t kept = mallinfo2().uordblks + mallinfo2().hblkhd - before;
    const struct weir_store_info *info = weir_store_info(store);
    printf("70B index: %u extents, %zu bytes stored, open in %.1f ms, %zu bytes kept\n",
           info->n_extents, h.tail.n, ms, kept);
    cr_assert_gt(info->plain_bytes, 140000000000u);
    cr_assert_gt(info->n_extents, 33000);
    cr_assert_lt(kept, 64u << 20);
#ifndef __SANITIZE_ADDRESS__
    cr_assert_lt(ms, 100, "%.1f ms", ms);
#endif
    weir_store_free(store);
    free(h.tail.at);
}
