/* Many tiles in one batch, of several types and modes: all right, the first bad one named, and
 * recorded launches that decode what the batch is set to by then. */
#include "gpu_decode_lab.h"

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

void check_batches(struct lab *lab)
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
