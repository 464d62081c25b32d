/* Every case is a tile that both decode: their verdicts must be the same, and the bytes where it is
 * a good one; around payload and output lie bytes that must not change. */
#include "gpu_decode_check.h"

#include <stdio.h>

#include "cuda/decode.h"
#include "tile_data.h"

enum {
    GUARD = 256, /* bytes on both sides of what a tile may write */
    POISON = 0xa5,
    MOST_REPORTS = 20,
    MANY = 96, /* tiles in one batch */
};

struct lab {
    struct weir_gpu *gpu;
    struct weir_gpu_stream *stream;
    struct weir_gpu_batch *batch;
    struct weir_tile_encoder *enc;
    struct weir_tile_decoder *dec;
    uint8_t *payload, *out; /* device */
    uint8_t *back;          /* pinned: GUARD, a tile, GUARD */
    uint8_t *padded;        /* pinned */
    uint8_t *cpu;
    uint64_t random;
    unsigned n_good, n_bad, n_wrong, every, turn;
};

/* A tile as it may have come from anywhere. */
struct sample {
    const char *what;
    struct weir_coding *coding;
    struct weir_gpu_coding *on_gpu;
    uint8_t *plain, *payload; /* payload: room for plain_bytes */
    size_t plain_bytes;
    struct weir_tile_head head;
};

static void must(weir_err err, const char *what)
{
    if (!err)
        return;
    fprintf(stderr, "%s: %s\n", what, weir_err_text(err));
    exit(2);
}

static void *must_have(void *p)
{
    if (!p)
        must(WEIR_ERR_NOMEM, "memory");
    return p;
}

static void wrong(struct lab *lab, const struct sample *s, const char *how)
{
    if (lab->n_wrong++ < MOST_REPORTS)
        fprintf(stderr, "%s, %zu bytes, mode %d, payload %u: %s\n", s->what, s->plain_bytes,
                s->head.mode, s->head.payload_bytes, how);
}

/* Whether this case is among the few. */
static bool is_due(struct lab *lab)
{
    return lab->turn++ % lab->every == 0;
}

static bool all_poison(const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (bytes[i] != POISON)
            return false;
    return true;
}

/* ---- one tile ---- */

/* Decodes on the GPU into lab->back + GUARD. */
static weir_err decode_on_gpu(struct lab *lab, const struct sample *s)
{
    const size_t n = s->head.payload_bytes, room = WEIR_TILE_BYTES + 2 * GUARD;
    const struct weir_gpu_tile tile = {s->on_gpu, lab->payload, lab->out + GUARD, s->head,
                                       (uint32_t)s->plain_bytes};
    memset(lab->padded, POISON, n + 16);
    memcpy(lab->padded, s->payload, n);
    must(weir_gpu_to_device(lab->stream, lab->payload, lab->padded, n + 16), "upload");
    must(weir_gpu_fill(lab->stream, lab->out, POISON, room), "poison");
    weir_err err = weir_gpu_batch_set(lab->batch, &tile, 1);
    if (err)
        return err;
    must(weir_gpu_decode(lab->stream, lab->batch), "decode");
    must(weir_gpu_to_host(lab->stream, lab->back, lab->out, room), "download");
    must(weir_gpu_stream_wait(lab->stream), "wait");
    size_t bad_tile = 99;
    err = weir_gpu_batch_result(lab->batch, &bad_tile);
    if (err && bad_tile != 0)
        wrong(lab, s, "the bad tile has another number");
    return err;
}

/* Both decode it.  Returns the verdict. */
static weir_err compare(struct lab *lab, const struct sample *s)
{
    /* Of exactly its size: what reads past it on the CPU is not the truth. */
    uint8_t *exact = must_alloc(s->head.payload_bytes);
    memcpy(exact, s->payload, s->head.payload_bytes);
    weir_err want =
        weir_tile_decode(lab->dec, s->coding, &s->head, exact, lab->cpu, s->plain_bytes);
    free(exact);
    weir_err err = decode_on_gpu(lab, s);
    if (err != want)
        wrong(lab, s, err ? "only the GPU refuses it" : "only the CPU refuses it");
    else if (!err && memcmp(lab->back + GUARD, lab->cpu, s->plain_bytes) != 0)
        wrong(lab, s, "other bytes");
    if (!all_poison(lab->back, GUARD) ||
        !all_poison(lab->back + GUARD + s->plain_bytes, WEIR_TILE_BYTES + GUARD - s->plain_bytes))
        wrong(lab, s, "wrote outside");
    if (want)
        lab->n_bad++;
    else
        lab->n_good++;
    return want;
}

static void compare_good(struct lab *lab, const struct sample *s)
{
    if (s->head.mode != WEIR_TILE_ZSTD && compare(lab, s))
        wrong(lab, s, "a good tile is refused by both");
}

/* ---- samples ---- */

static struct weir_coding *choose_for(const struct weir_elements *like, enum data_kind kind,
                                      uint64_t *random)
{
    const size_t n = 65536 / like->elem_bytes;
    uint8_t *plain = make_elements(like, kind, n, random);
    struct weir_coding *coding = NULL;
    double bits;
    must(weir_coding_choose(like, plain, n * like->elem_bytes, &coding, &bits), "choose");
    free(plain);
    return coding;
}

static void encode(struct lab *lab, struct sample *s)
{
    s->payload = must_alloc(s->plain_bytes);
    must(weir_tile_encode(lab->enc, s->coding, s->plain, s->plain_bytes, s->payload, &s->head),
         "encode");
}

static struct sample make_sample(struct lab *lab, size_t type, enum data_kind kind, size_t n,
                                 struct weir_coding *coding, struct weir_gpu_coding *on_gpu)
{
    const struct weir_elements *like = &element_types[type].like;
    struct sample s = {.what = element_types[type].name,
                       .coding = coding,
                       .on_gpu = on_gpu,
                       .plain = make_elements(like, kind, n, &lab->random),
                       .plain_bytes = n * like->elem_bytes};
    encode(lab, &s);
    return s;
}

static void free_sample(struct sample *s)
{
    free(s->plain);
    free(s->payload);
}

static struct weir_gpu_coding *upload(struct lab *lab, const struct weir_coding *coding)
{
    struct weir_gpu_coding *on_gpu = NULL;
    if (coding)
        must(weir_gpu_coding_new(lab->gpu, coding, &on_gpu), "coding");
    return on_gpu;
}

/* ---- good tiles ---- */

/* Element types, what fills them, sizes: whole tiles, one element, what is left of rows and of
 * steps of rows. */
static void check_types(struct lab *lab)
{
    for (size_t type = 0; type < COUNT_OF(element_types); type++) {
        const struct weir_elements *like = &element_types[type].like;
        const size_t most = WEIR_TILE_BYTES / like->elem_bytes;
        const size_t sizes[] = {most, most - 1, most / 3, 2048, 1025, 1023, 129, 65, 1};
        struct weir_coding *coding = choose_for(like, DATA_NORMAL, &lab->random);
        struct weir_gpu_coding *on_gpu = upload(lab, coding);
        for (int kind = 0; kind < N_DATA_KINDS; kind++)
            for (size_t i = 0; i < COUNT_OF(sizes); i++) {
                if (sizes[i] == 0 || sizes[i] > most || !is_due(lab))
                    continue;
                struct sample s =
                    make_sample(lab, type, (enum data_kind)kind, sizes[i], coding, on_gpu);
                compare_good(lab, &s);
                free_sample(&s);
            }
        weir_gpu_coding_free(lab->gpu, on_gpu);
        free(coding);
    }
}

/* An item that the part codes without a patch. */
static uint64_t item_of(const struct weir_part *p, uint64_t *random)
{
    const unsigned width = 8u * p->item_bytes, raw_bits = width - p->drop_bits - p->symbol_bits;
    uint32_t index = random_below(random, 256);
    while (p->freq[index] == 0)
        index = (index + 1) % 256;
    uint64_t code = index ? index + p->base : 0;
    code = code << raw_bits | (random_u64(random) & ((1ull << raw_bits) - 1));
    if (!p->sign_first)
        return code << p->drop_bits;
    return code >> 1 << p->drop_bits | (code & 1) << (width - 1);
}

/* Every item width with every number of raw, symbol and dropped bits, some of them patches. */
static void check_parts(struct lab *lab)
{
    struct part_walk walk = {0};
    struct weir_part part;
    while (part_walk_next(&walk, &part, &lab->random)) {
        bool is_fast = part.item_bytes == 2 && part.drop_bits == 0 && part.sign_first;
        if ((!is_fast && walk.n % 11) || !is_due(lab))
            continue;
        struct weir_coding *coding = coding_of_one(&part);
        const size_t n_items = is_fast ? 3 * 1024 + walk.n : 500 + walk.n % 600;
        struct sample s = {.what = "part", .coding = coding, .plain_bytes = n_items};
        s.plain_bytes *= part.item_bytes;
        s.plain = must_alloc(s.plain_bytes);
        for (size_t i = 0; i < n_items; i++) {
            uint64_t v = item_of(&part, &lab->random);
            if (i == 0 || random_below(&lab->random, 400) == 0)
                v = random_u64(&lab->random);
            put_item(s.plain + i * part.item_bytes, v, part.item_bytes);
        }
        encode(lab, &s);
        s.on_gpu = upload(lab, coding);
        compare_good(lab, &s);
        weir_gpu_coding_free(lab->gpu, s.on_gpu);
        free_sample(&s);
        free(coding);
    }
}

/* Opaque bytes of every length up to where the long rules begin and some beyond, raw and constant.
 */
static void check_lengths(struct lab *lab)
{
    for (size_t n = 1; n <= WEIR_TILE_BYTES; n += n < 300 ? 1 : n < 3000 ? 61 : 9973) {
        if (!is_due(lab))
            continue;
        struct sample s = {.what = "opaque", .plain_bytes = n, .plain = must_alloc(n)};
        random_bytes(&lab->random, s.plain, n);
        encode(lab, &s);
        compare_good(lab, &s);
        memset(s.plain, (int)n, n);
        free(s.payload);
        encode(lab, &s);
        compare_good(lab, &s);
        free_sample(&s);
    }
}

/* ---- bad tiles ---- */

static void compare_flipped(struct lab *lab, const struct sample *s, size_t at)
{
    s->payload[at] ^= (uint8_t)(1u << random_below(&lab->random, 8));
    (void)compare(lab, s);
}

/* One bit in each piece of a stream, and in places all over it. */
static void check_flips(struct lab *lab, struct sample *s)
{
    const uint32_t n = s->head.payload_bytes;
    uint8_t *good = must_alloc(n);
    memcpy(good, s->payload, n);
    for (uint32_t i = 0; i < 400; i++) {
        size_t at = i < 300 ? i : random_below(&lab->random, n);
        if (i >= 340 && i - 340 < n)
            at = n - 1 - (i - 340); /* patches, if there are any */
        if (at < n && is_due(lab)) {
            compare_flipped(lab, s, at);
            memcpy(s->payload, good, n);
        }
    }
    for (uint32_t i = 0; i < 10; i++) {
        random_bytes(&lab->random, s->payload + (i < 5 ? 0 : n / 2), n - (i < 5 ? 0 : n / 2));
        if (i % 2 && n > 16)
            memcpy(s->payload, good, 16); /* as many words and patches as there should be */
        (void)compare(lab, s);
    }
    memcpy(s->payload, good, n);
    free(good);
}

static void check_heads(struct lab *lab, struct sample *s)
{
    const struct weir_tile_head good = s->head;
    for (uint32_t cut = 1; cut < 20 && cut < good.payload_bytes; cut++) {
        s->head.payload_bytes = good.payload_bytes - cut;
        if (is_due(lab))
            (void)compare(lab, s);
    }
    for (uint32_t n = 0; n < 700 && n < good.payload_bytes; n += 7) {
        s->head.payload_bytes = n;
        if (is_due(lab))
            (void)compare(lab, s);
    }
    s->head = good;
    if (good.payload_bytes < s->plain_bytes) {
        s->payload[s->head.payload_bytes++] = 0; /* one byte too many */
        (void)compare(lab, s);
    }
    for (int mode = WEIR_TILE_RAW; mode <= WEIR_TILE_SPLIT; mode++) {
        s->head = good;
        s->head.mode = (uint8_t)mode;
        if (mode != WEIR_TILE_ZSTD && (mode != WEIR_TILE_SPLIT || s->coding))
            (void)compare(lab, s);
    }
    s->head = good;
    s->head.xxh3 ^= 1;
    (void)compare(lab, s);
    s->head = good;
}

static void check_broken(struct lab *lab)
{
    static const struct {
        size_t type, n;
        enum data_kind kind;
    } cases[] = {{0, 65536, DATA_OUTLIERS},   {0, 3000, DATA_NORMAL}, {0, 5000, DATA_OUTLIERS},
                 {2, 700, DATA_NORMAL},       {12, 500, DATA_NORMAL}, {14, 900, DATA_NORMAL},
                 {0, 600, DATA_CONSTANT},     {0, 600, DATA_NOISE},   {4, 3000, DATA_NORMAL},
                 {13, 100, DATA_LAST_DIFFERS}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct weir_elements *like = &element_types[cases[i].type].like;
        struct weir_coding *coding = choose_for(like, DATA_NORMAL, &lab->random);
        struct weir_gpu_coding *on_gpu = upload(lab, coding);
        struct sample s =
            make_sample(lab, cases[i].type, cases[i].kind, cases[i].n, coding, on_gpu);
        if (s.head.mode != WEIR_TILE_ZSTD) {
            check_flips(lab, &s);
            check_heads(lab, &s);
            compare_good(lab, &s);
        }
        free_sample(&s);
        weir_gpu_coding_free(lab->gpu, on_gpu);
        free(coding);
    }
}

/* ---- batches ---- */

struct many {
    struct sample sample[MANY];
    struct weir_gpu_tile tile[MANY];
    struct weir_coding *coding[3];
    struct weir_gpu_coding *on_gpu[3];
    uint8_t *payload, *out; /* device, WEIR_TILE_BYTES a tile */
};

/* Tiles of several types and modes, one after the other. */
static void make_many(struct lab *lab, struct many *m)
{
    static const size_t types[] = {0, 12, 2};
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        m->coding[i] = choose_for(&element_types[types[i]].like, DATA_NORMAL, &lab->random);
        m->on_gpu[i] = upload(lab, m->coding[i]);
    }
    m->payload = must_have(weir_gpu_alloc(lab->gpu, (size_t)MANY * WEIR_TILE_BYTES));
    m->out = must_have(weir_gpu_alloc(lab->gpu, (size_t)MANY * WEIR_TILE_BYTES));
    for (size_t i = 0; i < MANY; i++) {
        const size_t which = i / 7 % COUNT_OF(types), at = i * WEIR_TILE_BYTES;
        const enum data_kind kind = i % 5 == 3   ? DATA_CONSTANT
                                    : i % 5 == 4 ? DATA_OUTLIERS
                                                 : DATA_NORMAL;
        struct sample *s = &m->sample[i];
        *s = make_sample(lab, types[which], kind, i % 9 ? 2000 + i : 7000, m->coding[which],
                         m->on_gpu[which]);
        m->tile[i] = (struct weir_gpu_tile){s->on_gpu, m->payload + at, m->out + at, s->head,
                                            (uint32_t)s->plain_bytes};
        must(weir_gpu_to_device(lab->stream, m->payload + at, s->payload, s->head.payload_bytes),
             "upload");
    }
}

static void free_many(struct lab *lab, struct many *m)
{
    for (size_t i = 0; i < MANY; i++)
        free_sample(&m->sample[i]);
    for (size_t i = 0; i < COUNT_OF(m->coding); i++) {
        weir_gpu_coding_free(lab->gpu, m->on_gpu[i]);
        free(m->coding[i]);
    }
    weir_gpu_free(lab->gpu, m->payload);
    weir_gpu_free(lab->gpu, m->out);
}

/* Tiles first .. first + n - 1 came out right, and no others were touched. */
static void expect_many(struct lab *lab, const struct many *m, size_t first, size_t n)
{
    size_t bad;
    if (weir_gpu_batch_result(lab->batch, &bad))
        wrong(lab, &m->sample[first], "a batch of good tiles is refused");
    for (size_t i = 0; i < MANY; i++) {
        const struct sample *s = &m->sample[i];
        must(weir_gpu_to_host(lab->stream, lab->back, m->out + i * WEIR_TILE_BYTES, s->plain_bytes),
             "download");
        must(weir_gpu_stream_wait(lab->stream), "wait");
        if (i < first || i >= first + n ? !all_poison(lab->back, s->plain_bytes)
                                        : memcmp(lab->back, s->plain, s->plain_bytes) != 0)
            wrong(lab, s, "wrong in a batch");
        lab->n_good++;
    }
}

static void poison_many(struct lab *lab, const struct many *m)
{
    must(weir_gpu_fill(lab->stream, m->out, POISON, (size_t)MANY * WEIR_TILE_BYTES), "poison");
}

static void check_first_bad(struct lab *lab, struct many *m)
{
    static const size_t bad[] = {90, 41, 3};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        size_t said = 0;
        m->tile[bad[i]].head.xxh3 ^= 1;
        must(weir_gpu_batch_set(lab->batch, m->tile, MANY), "set");
        must(weir_gpu_decode(lab->stream, lab->batch), "decode");
        must(weir_gpu_stream_wait(lab->stream), "wait");
        if (weir_gpu_batch_result(lab->batch, &said) != WEIR_ERR_CORRUPT || said != bad[i])
            wrong(lab, &m->sample[bad[i]], "not named as the first bad tile");
        lab->n_bad++;
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        m->tile[bad[i]].head.xxh3 ^= 1;
}

/* What is recorded decodes whatever the batch is set to when it is replayed. */
static void check_replays(struct lab *lab, struct many *m)
{
    struct weir_gpu_graph *graph = NULL;
    must(weir_gpu_batch_set(lab->batch, m->tile, 5), "set");
    must(weir_gpu_record_begin(lab->stream), "record");
    weir_err err = weir_gpu_decode(lab->stream, lab->batch);
    must(weir_gpu_record_end(lab->stream, &graph), "record");
    must(err, "decode");
    static const size_t first[] = {0, 30, 11}, n[] = {MANY, 50, 1};
    for (size_t i = 0; i < COUNT_OF(n); i++) {
        poison_many(lab, m);
        must(weir_gpu_batch_set(lab->batch, m->tile + first[i], n[i]), "set");
        must(weir_gpu_graph_launch(graph, lab->stream), "replay");
        must(weir_gpu_stream_wait(lab->stream), "wait");
        expect_many(lab, m, first[i], n[i]);
    }
    weir_gpu_graph_free(graph);
}

static void check_batches(struct lab *lab)
{
    static struct many m;
    make_many(lab, &m);
    for (int again = 0; again < 2; again++) {
        poison_many(lab, &m);
        if (!again) /* twice without setting it anew */
            must(weir_gpu_batch_set(lab->batch, m.tile, MANY), "set");
        must(weir_gpu_decode(lab->stream, lab->batch), "decode");
        must(weir_gpu_stream_wait(lab->stream), "wait");
        expect_many(lab, &m, 0, MANY);
    }
    check_first_bad(lab, &m);
    check_replays(lab, &m);
    free_many(lab, &m);
}

/* ---- all of it ---- */

bool check_decoder(struct weir_gpu *gpu, bool few)
{
    struct lab lab = {.gpu = gpu, .random = 88172645463325252ull, .every = few ? 10 : 1};
    must(weir_gpu_stream_new(gpu, &lab.stream), "stream");
    must(weir_gpu_batch_new(gpu, MANY, &lab.batch), "batch");
    must(weir_tile_encoder_new(weir_kernels_best(), &lab.enc), "encoder");
    must(weir_tile_decoder_new(weir_kernels_best(), &lab.dec), "decoder");
    lab.payload = must_have(weir_gpu_alloc(gpu, WEIR_TILE_BYTES + 16));
    lab.out = must_have(weir_gpu_alloc(gpu, WEIR_TILE_BYTES + 2 * GUARD));
    lab.back = must_have(weir_gpu_alloc_host(gpu, WEIR_TILE_BYTES + 2 * GUARD));
    lab.padded = must_have(weir_gpu_alloc_host(gpu, WEIR_TILE_BYTES + 16));
    lab.cpu = must_alloc(WEIR_TILE_BYTES);
    check_types(&lab);
    check_parts(&lab);
    check_lengths(&lab);
    check_broken(&lab);
    check_batches(&lab);
    printf("%u good tiles, %u bad ones, %u wrong\n", lab.n_good, lab.n_bad, lab.n_wrong);
    free(lab.cpu);
    weir_gpu_free_host(gpu, lab.padded);
    weir_gpu_free_host(gpu, lab.back);
    weir_gpu_free(gpu, lab.out);
    weir_gpu_free(gpu, lab.payload);
    weir_tile_decoder_free(lab.dec);
    weir_tile_encoder_free(lab.enc);
    weir_gpu_batch_free(gpu, lab.batch);
    weir_gpu_stream_free(lab.stream);
    return lab.n_wrong == 0;
}
