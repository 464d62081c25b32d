/* Every case is a tile that both decode: their verdicts must be the same, and the bytes where it is
 * a good one. */
#include "gpu_decode_check.h"

#include "gpu_decode_lab.h"

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
    check_made(&lab);
    printf("%u good tiles, %u bad ones, %u wrong; %u were made of items\n", lab.n_good, lab.n_bad,
           lab.n_wrong, lab.n_made);
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
