/* cmd_bench.c - how fast the codec is here, and how small it gets things. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "bench_model.h"
#include "cmd.h"
#include "fail.h"
#include "interrupt.h"
#include "options.h"
#include "output.h"

enum {
    OPT_SIZE,
    OPT_DTYPE,
    OPT_FILE,
    OPT_REPEAT,
    OPT_THREADS,
    OPT_KERNELS,
    OPT_PROFILE,
    OPT_STEP,
    OPT_SNR,
    OPT_RATIO,
    OPT_EMBEDDINGS
};

static const struct cli_option options[] = {
    [OPT_SIZE] = {'s', "size", "BYTES", "of each type (default: 256M)", false},
    [OPT_DTYPE] = {'d', "dtype", "TYPE",
                   "bf16 (default), f16, f32, f32_bf16, f64, f8_e4m3, f8_e5m2, i8 or all", false},
    [OPT_FILE] = {0, "file", "FILE", "the tensors of FILE instead, all their types", false},
    [OPT_REPEAT] = {'r', "repeat", "N", "take the median of N times (default: 5)", false},
    [OPT_THREADS] = {'j', "threads", "N", "measure one thread and N (default: one per processor)",
                     false},
    [OPT_KERNELS] = {0, "kernels", "NAME",
                     "of a model: scalar, avx2 or avx512 (default: the fastest)", false},
    [OPT_PROFILE] = {0, "profile", "NAME", "of a model: lossless (default) or q8, as in weir pack",
                     false},
    [OPT_STEP] = {0, "q8-step", "S", "as in weir pack", false},
    [OPT_SNR] = {0, "q8-snr", "DB", "as in weir pack", false},
    [OPT_RATIO] = {0, "q8-ratio", "R", "as in weir pack", false},
    [OPT_EMBEDDINGS] = {0, "q8-embeddings", NULL, "measure embeddings, too", false},
    {0},
};

enum { MAX_REPEAT = 99 };

struct job {
    const struct cli *cli;
    unsigned repeat, threads;
    json_t *rows; /* NULL without --json */
};

static weir_err measure_one(struct job *job, struct bench_data *d, struct bench_plan plan)
{
    bool talk = !job->cli->quiet && isatty(STDERR_FILENO);
    if (talk)
        fprintf(stderr, "\rmeasuring ...");
    struct bench_row row;
    weir_err err = bench_measure(d, &plan, &row);
    if (talk)
        fprintf(stderr, "\r             \r");
    if (err)
        return err;
    if (job->rows)
        (void)json_array_append_new(
            job->rows,
            json_pack("{s:s,s:s,s:f,s:f,s:f,s:i}", "variant", row.variant, "dtype", row.dtype,
                      "bits_per_weight", row.bits_per_weight, "encode_gbps", row.encode_gbps,
                      "decode_gbps", row.decode_gbps, "threads", (int)row.threads));
    else
        printf("%-8s %-9s %7u  %11.4f  %6.2f  %6.2f\n", row.variant, row.dtype, row.threads,
               row.bits_per_weight, row.encode_gbps, row.decode_gbps);
    (void)fflush(stdout); /* rows come seconds apart */
    return WEIR_OK;
}

static weir_err measure_all(struct job *job, struct bench_data *d)
{
    static const char *const variants[] = {"scalar", "avx2", "avx512"};
    unsigned threads[2] = {1, job->threads};
    weir_err err = WEIR_OK;
    for (size_t i = 0; i < (job->threads > 1 ? 2U : 1U) && !err; i++) {
        struct bench_plan plan = {.threads = threads[i], .repeat = job->repeat};
        for (size_t k = 0; k < sizeof(variants) / sizeof(variants[0]) && !err; k++) {
            plan.kernels = weir_kernels_named(variants[k]);
            if (plan.kernels)
                err = measure_one(job, d, plan);
        }
        plan.kind = BENCH_MEMCPY;
        if (!err)
            err = measure_one(job, d, plan);
        plan.kind = BENCH_ZSTD;
        if (!err)
            err = measure_one(job, d, plan);
    }
    return err;
}

static weir_err measure_file(struct job *job, size_t bytes, struct weir_diag *diag)
{
    struct bench_data *list;
    size_t n;
    weir_err err = bench_data_load(job->cli->value[OPT_FILE], bytes, &list, &n, diag);
    if (err)
        return err;
    for (size_t i = 0; i < n; i++) {
        if (!err)
            err = measure_all(job, &list[i]);
        bench_data_free(&list[i]);
    }
    free(list);
    return err;
}

static weir_err measure_generated(struct job *job, const char *dtype, size_t bytes,
                                  struct weir_diag *diag)
{
    struct bench_data d;
    weir_err err = bench_data_generate(&d, dtype, bytes);
    if (err == WEIR_ERR_INVALID)
        weir_diag_set(diag, "no type '%s'; see 'weir bench --help'", dtype);
    if (err)
        return err;
    err = measure_all(job, &d);
    bench_data_free(&d);
    return err;
}

static weir_err measure(struct job *job, size_t bytes, struct weir_diag *diag)
{
    const char *dtype = job->cli->value[OPT_DTYPE] ? job->cli->value[OPT_DTYPE] : "bf16";
    if (option_given(job->cli, OPT_FILE))
        return measure_file(job, bytes, diag);
    if (strcmp(dtype, "all") != 0)
        return measure_generated(job, dtype, bytes, diag);
    weir_err err = WEIR_OK;
    for (size_t i = 0; bench_dtypes[i] && !err; i++)
        err = measure_generated(job, bench_dtypes[i], bytes, diag);
    return err;
}

static int run_model(struct cli *cli, const struct near_wish *wish, unsigned n_threads)
{
    const char *name = cli->value[OPT_KERNELS];
    const struct weir_kernels *kernels = name ? weir_kernels_named(name) : weir_kernels_best();
    if (!kernels)
        return fail_usage(cli, "no kernels '%s' here", name);
    const struct bench_model_how how = {wish, kernels, n_threads};
    interrupt_catch();
    return bench_model(cli, cli->operand[1], &how);
}

static int run_codec(struct cli *cli, struct job *job, uint64_t bytes)
{
    job->rows = cli->json ? json_array() : NULL;
    if (cli->json && !job->rows)
        return fail(cli, WEIR_ERR_NOMEM, NULL, NULL);
    interrupt_catch();
    if (!cli->json && !cli->quiet)
        printf("variant  dtype     threads  bits/weight    encode  decode  GB/s\n");
    struct weir_diag diag = {""};
    weir_err err = measure(job, (size_t)bytes, &diag);
    if (!err)
        return cli->json ? print_json(cli, job->rows) : EXIT_FINE;
    json_decref(job->rows);
    return fail(cli, err, NULL, &diag);
}

static int run(struct cli *cli)
{
    static const struct near_options near = {OPT_PROFILE, OPT_STEP, OPT_SNR, OPT_RATIO,
                                             OPT_EMBEDDINGS};
    struct near_wish wish;
    const bool model = strcmp(cli->operand[0], "model") == 0;
    if (!model && strcmp(cli->operand[0], "codec") != 0)
        return fail_usage(cli, "nothing called '%s' to measure", cli->operand[0]);
    if (cli->n_operands != 1 + model)
        return fail_usage(cli, model ? "whose model?" : "codec goes alone");
    struct job job = {.cli = cli};
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t bytes;
    if (!option_bytes(cli, OPT_SIZE, 256000000, &bytes) ||
        !option_number(cli, OPT_REPEAT, MAX_REPEAT, 5, &job.repeat) ||
        !option_number(cli, OPT_THREADS, CLI_MAX_THREADS,
                       processors > 0 && processors <= CLI_MAX_THREADS ? (unsigned)processors : 1,
                       &job.threads) ||
        !near_wish_read(cli, &near, &wish))
        return EXIT_USAGE;
    if (!model && (wish.wanted || cli->value[OPT_KERNELS]))
        return fail_usage(cli, "%s goes with a model", wish.wanted ? "--profile" : "--kernels");
    /* Small enough for one tile, or so large that sizes overflow, measures nothing. */
    if (bytes < WEIR_TILE_BYTES || bytes > (uint64_t)1 << 40)
        return fail_usage(cli, "--size is at least 128Ki and at most 1024Gi");
    return model ? run_model(cli, &wish, job.threads) : run_codec(cli, &job, bytes);
}

const struct cmd cmd_bench = {
    .name = "bench",
    .operands = "codec | model DIR|STORE",
    .summary = "Measure the codec on this machine, memory to memory",
    .text =
        "Encodes (choosing the coding included) and decodes (checksums included) normally\n"
        "distributed weights with every kernel that this processor runs, beside memcpy and "
        "zstd -3\n"
        "on the same bytes. GB are plain bytes; bits/weight counts tile heads and padding.\n"
        "\n"
        "Of a model, each linear layer is read, encoded and decoded once, in memory and by all\n"
        "threads, and checked: a line for each, and their totals.\n",
    .examples = "  weir bench codec\n"
                "  weir bench codec --dtype all --size 64M -j1 --json\n"
                "  weir bench model Llama-3.1-8B --profile q8\n"
                "  weir bench codec --file model-00001-of-00002.safetensors\n",
    .option = options,
    .min_operands = 1,
    .max_operands = 2,
    .run = run,
};
