#include "vocab.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum {
    WORD_BYTES = 8,
    FEW_SLOTS = 16,
};

/* A file cannot be made so that its spellings collide: it does not know the seed. */
static uint64_t random_seed(void)
{
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != (ssize_t)sizeof(seed))
        seed = (uint64_t)time(NULL);
    return seed;
}

static uint64_t mix(uint64_t h)
{
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    return h ^ h >> 32;
}

static uint32_t hash_of(const struct vocab *v, const char *spelling, size_t n)
{
    uint64_t h = v->seed ^ n * 0x9e3779b97f4a7c15u;
    for (; n >= WORD_BYTES; n -= WORD_BYTES, spelling += WORD_BYTES) {
        uint64_t word;
        memcpy(&word, spelling, sizeof(word));
        h = mix(h ^ word);
    }
    if (n > 0) {
        uint64_t word = 0;
        memcpy(&word, spelling, n);
        h = mix(h ^ word);
    }
    return (uint32_t)h;
}

weir_err vocab_start(struct vocab *v, size_t n, size_t n_bytes)
{
    *v = (struct vocab){.n = n, .most_bytes = n_bytes, .seed = random_seed()};
    v->at = calloc(n + 1, sizeof(*v->at));
    v->length = calloc(n + 1, sizeof(*v->length));
    v->flags = calloc(n + 1, sizeof(*v->flags));
    v->bytes = malloc(n_bytes + 1);
    return v->at && v->length && v->flags && v->bytes ? WEIR_OK : WEIR_ERR_NOMEM;
}

bool vocab_set(struct vocab *v, uint32_t id, const char *spelling, size_t n, uint8_t flags)
{
    if (id >= v->n || v->flags[id] & VOCAB_THERE || n > v->most_bytes - v->n_bytes)
        return false;
    v->at[id] = (uint32_t)v->n_bytes;
    v->length[id] = (uint32_t)n;
    v->flags[id] = (uint8_t)(flags | VOCAB_THERE);
    if (n > 0)
        memcpy(v->bytes + v->n_bytes, spelling, n);
    v->n_bytes += n;
    return true;
}

/* The slot of this spelling, or the free one where it would be. */
static struct vocab_slot *find_slot(const struct vocab *v, const char *spelling, size_t n,
                                    uint32_t hash)
{
    for (size_t i = hash & v->mask;; i = (i + 1) & v->mask) {
        struct vocab_slot *s = &v->slot[i];
        if (s->id == VOCAB_NONE)
            return s;
        if (s->hash == hash && v->length[s->id] == n &&
            (n == 0 || memcmp(vocab_spelling(v, s->id), spelling, n) == 0))
            return s;
    }
}

weir_err vocab_index(struct vocab *v)
{
    size_t n_slots = FEW_SLOTS;
    while (n_slots < 2 * v->n)
        n_slots *= 2;
    v->slot = malloc(n_slots * sizeof(*v->slot));
    if (!v->slot)
        return WEIR_ERR_NOMEM;
    memset(v->slot, 0xff, n_slots * sizeof(*v->slot));
    v->mask = n_slots - 1;
    for (uint32_t id = 0; id < v->n; id++) {
        if (!(v->flags[id] & VOCAB_WORD))
            continue;
        uint32_t hash = hash_of(v, vocab_spelling(v, id), v->length[id]);
        struct vocab_slot *s = find_slot(v, vocab_spelling(v, id), v->length[id], hash);
        if (s->id != VOCAB_NONE)
            return WEIR_ERR_CORRUPT;
        *s = (struct vocab_slot){hash, id};
    }
    return WEIR_OK;
}

uint32_t vocab_find(const struct vocab *v, const char *spelling, size_t n)
{
    return find_slot(v, spelling, n, hash_of(v, spelling, n))->id;
}

void vocab_free(struct vocab *v)
{
    free(v->at);
    free(v->length);
    free(v->flags);
    free(v->bytes);
    free(v->slot);
    *v = (struct vocab){0};
}
