#include "bench_model.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "fail.h"
#include "interrupt.h"
#include "model_tensors.h"
#include "output.h"

struct totals {
    size_t n;
    uint64_t weights, plain_bytes, stored_bytes;
    double encode_seconds, decode_seconds;
    struct near_sum near;
};

struct model_bench {
    const struct cli *cli;
    const struct near_wish *wish;
    struct bench_plan plan;
    struct bench_room room;
    struct model_tensors model;
    uint8_t *plain; /* of the tensor at hand */
    size_t plain_bytes;
    json_t *layers; /* NULL without --json */
    struct totals sum;
};

static double gbps(uint64_t bytes, double seconds)
{
    return seconds > 0 ? (double)bytes / seconds / 1e9 : 0;
}

static void shape_text(const struct weir_tensor *t, char *to, size_t room)
{
    size_t at = 0;
    for (uint8_t i = 0; i < t->n_dims && at < room; i++)
        at += (size_t)snprintf(to + at, room - at, "%s%" PRIu64, i ? "x" : "", t->dim[i]);
}

static void print_layer(const struct weir_tensor *t, const struct bench_row *r,
                        const struct bench_run *run)
{
    enum { SHAPE_TEXT = 40 };
    char shape[SHAPE_TEXT] = "", text[NEARNESS_TEXT];
    shape_text(t, shape, sizeof(shape));
    printf("%-14s %-5s %12" PRIu64 " %12" PRIu64 " %8.4f %7.4f %7.2f %7.2f  ", shape, t->dtype,
           r->plain_bytes, r->stored_bytes, r->bits_per_weight,
           ratio_of(r->plain_bytes, r->stored_bytes), r->encode_gbps, r->decode_gbps);
    print_name(stdout, t->name);
    if (run->rms)
        printf("  %s", nearness_text(&run->nearness, text));
    putchar('\n');
}

static json_t *layer_object(const struct weir_tensor *t, const struct bench_row *r,
                            const struct bench_run *run)
{
    json_t *shape = json_array();
    for (uint8_t i = 0; i < t->n_dims; i++)
        (void)json_array_append_new(shape, json_integer((json_int_t)t->dim[i]));
    return json_pack("{s:o,s:o,s:s,s:I,s:I,s:f,s:f,s:f,s:f,s:o}", "name", json_text(t->name),
                     "shape", shape, "dtype", t->dtype, "plain_bytes", (json_int_t)r->plain_bytes,
                     "stored_bytes", (json_int_t)r->stored_bytes, "bits_per_weight",
                     r->bits_per_weight, "ratio", ratio_of(r->plain_bytes, r->stored_bytes),
                     "encode_gbps", r->encode_gbps, "decode_gbps", r->decode_gbps, "near_lossless",
                     run->rms ? nearness_object(&run->nearness) : json_null());
}

static void add(struct totals *sum, const struct bench_row *r, const struct bench_run *run,
                uint64_t n_weights)
{
    sum->n++;
    sum->weights += n_weights;
    sum->plain_bytes += r->plain_bytes;
    sum->stored_bytes += r->stored_bytes;
    sum->encode_seconds += r->encode_seconds;
    sum->decode_seconds += r->decode_seconds;
    if (!run->rms)
        return;
    sum->near.n++;
    sum->near.bytes += r->plain_bytes;
    weir_nearness_add(&sum->near.nearness, &run->nearness);
}

static weir_err room_for(struct model_bench *b, uint64_t bytes)
{
    if (bytes <= b->plain_bytes)
        return WEIR_OK;
    free(b->plain);
    b->plain_bytes = 0;
    b->plain = bytes < SIZE_MAX ? malloc((size_t)bytes) : NULL;
    if (!b->plain)
        return WEIR_ERR_NOMEM;
    b->plain_bytes = (size_t)bytes;
    return WEIR_OK;
}

static struct weir_elements elements_of(enum weir_float type)
{
    const uint8_t bytes = (uint8_t)weir_float_bytes(type);
    return (struct weir_elements){
        .elem_bytes = bytes,
        .n_parts = 1,
        .part = {{0, 1, bytes, true, type == WEIR_FLOAT_F16 ? 5 : 8}},
    };
}

static weir_err measure_layer(struct model_bench *b, size_t i, const struct weir_rows *rows,
                              struct weir_diag *diag)
{
    const struct model_tensor *t = &b->model.tensor[i];
    weir_err err = room_for(b, t->bytes);
    if (!err)
        err = model_tensors_read(&b->model, i, b->plain, diag);
    if (err)
        return err;
    struct bench_run run = {.bytes = (size_t)t->bytes,
                            .like = elements_of(rows->type),
                            .near = b->wish->wanted ? &b->wish->near : NULL,
                            .rows = *rows};
    struct bench_data data = {.plain = b->plain,
                              .bytes = (size_t)t->bytes,
                              .n_weights = rows->n_rows * rows->n_elements,
                              .n_runs = 1,
                              .run = &run};
    struct bench_row row;
    err = bench_measure(&data, &b->plan, &row);
    if (!err) {
        add(&b->sum, &row, &run, data.n_weights);
        if (b->layers)
            (void)json_array_append_new(b->layers, layer_object(t->tensor, &row, &run));
        else
            print_layer(t->tensor, &row, &run);
    }
    bench_run_free(&run);
    return err;
}

static weir_err measure_all(struct model_bench *b, struct weir_diag *diag)
{
    weir_err err = WEIR_OK;
    for (size_t i = 0; !err && i < b->model.n; i++) {
        const struct weir_tensor *t = b->model.tensor[i].tensor;
        struct weir_rows rows;
        if (weir_near_wants(t, b->wish->embeddings) && weir_quantise_rows(t, &rows))
            err = measure_layer(b, i, &rows, diag);
    }
    if (err || b->sum.n)
        return err;
    weir_diag_set(diag, "no linear layers of BF16, F16 or F32 in it; nothing to measure");
    return WEIR_ERR_UNSUPPORTED;
}

static int print_totals(struct model_bench *b, double seconds)
{
    const struct totals *s = &b->sum;
    const double bits = 8.0 * (double)s->stored_bytes / (double)s->weights;
    const double ratio = ratio_of(s->plain_bytes, s->stored_bytes);
    const double encode = gbps(s->plain_bytes, s->encode_seconds);
    const double decode = gbps(s->plain_bytes, s->decode_seconds);
    if (b->layers)
        return print_json(
            b->cli,
            json_pack("{s:I,s:I,s:I,s:I,s:f,s:f,s:f,s:f,s:f,s:i,s:s,s:o,s:o}", "layers_measured",
                      (json_int_t)s->n, "weights", (json_int_t)s->weights, "plain_bytes",
                      (json_int_t)s->plain_bytes, "stored_bytes", (json_int_t)s->stored_bytes,
                      "bits_per_weight", bits, "ratio", ratio, "encode_gbps", encode, "decode_gbps",
                      decode, "seconds", seconds, "threads", (int)b->plan.threads, "kernels",
                      weir_kernels_name(b->plan.kernels), "near_lossless",
                      near_sum_object(&s->near), "layers", b->layers));
    printf("%-20s %12" PRIu64 " %12" PRIu64 " %8.4f %7.4f %7.2f %7.2f  %zu layers\n", "total",
           s->plain_bytes, s->stored_bytes, bits, ratio, encode, decode, s->n);
    if (!b->cli->quiet)
        printf("%.2f s, reading included; %u thread%s, %s\n", seconds, b->plan.threads,
               b->plan.threads == 1 ? "" : "s", weir_kernels_name(b->plan.kernels));
    near_sum_print(stdout, &s->near);
    return EXIT_FINE;
}

int bench_model(const struct cli *cli, const char *name, const struct bench_model_how *how)
{
    struct model_bench b = {
        .cli = cli, .wish = how->wish, .layers = cli->json ? json_array() : NULL};
    struct weir_diag diag = {""};
    b.plan = (struct bench_plan){.kind = BENCH_CODEC,
                                 .kernels = how->kernels,
                                 .threads = how->threads,
                                 .repeat = 1,
                                 .room = &b.room};
    const double started = now_seconds();
    weir_err err = cli->json && !b.layers ? WEIR_ERR_NOMEM : WEIR_OK;
    if (!err)
        err = model_tensors_open(&b.model, name, &diag);
    if (!err && !cli->json && !cli->quiet)
        printf("shape          dtype        plain       stored  bits/wt   ratio  encode  decode  "
               "(GB/s)  layer\n");
    if (!err)
        err = measure_all(&b, &diag);
    int code;
    if (err) {
        json_decref(b.layers);
        code = fail(cli, err, name, &diag);
    } else {
        code = print_totals(&b, now_seconds() - started);
    }
    model_tensors_close(&b.model);
    bench_room_free(&b.room);
    free(b.plain);
    return code;
}
