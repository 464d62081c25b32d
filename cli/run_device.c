#include "run_device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "doctor.h"
#include "env.h"
#include "fail.h"
#include "options.h"
#include "output.h"
#include "run_job.h"

enum {
    MOST_DEPTH = 8, /* more, the weights do not take */
    MOST_CACHE_LAYERS = 4096,
    MARGIN_BYTES = 512 << 20, /* of free memory that is left alone, and ... */
    MARGIN_SHARE = 32,        /* ... this part of it */
    GPU_CHUNK = 512, /* where a matrix is read once for all tokens of a pass, more of them pay */
};

/* ---- the options ---- */

static bool read_device(struct run_device *d, const struct cli *cli)
{
    static const char *const otherwise[] = {"WEIR_DEVICE", NULL};
    const char *value = cli->value[RUN_DEVICE] ? cli->value[RUN_DEVICE] : env_first(otherwise);
    char *end = NULL;
    if (!value)
        return true;
    d->wanted = RUN_ON_CUDA;
    if (strcmp(value, "auto") == 0)
        d->wanted = RUN_ON_WHAT_THERE_IS;
    else if (strcmp(value, "cpu") == 0)
        d->wanted = RUN_ON_CPU;
    if (d->wanted != RUN_ON_CUDA || strcmp(value, "cuda") == 0)
        return true;
    if (strncmp(value, "cuda:", 5) == 0 && value[5] >= '0' && value[5] <= '9') {
        errno = 0;
        long number = strtol(value + 5, &end, 10);
        d->number = (int)number;
        if (!*end && !errno && number <= INT16_MAX)
            return true;
    }
    (void)fail_usage(cli, "%s is 'auto', 'cpu', 'cuda' or, of several, 'cuda:N'",
                     option_given(cli, RUN_DEVICE) ? "--device" : otherwise[0]);
    return false;
}

static bool read_tier(struct run_device *d, const struct cli *cli)
{
    const char *value = cli->value[RUN_DECODE];
    if (!value)
        return true;
    for (int tier = WEIR_TIER_AUTO; tier <= WEIR_TIER_RAW; tier++)
        if (strcmp(value, run_tier_name(tier)) == 0) {
            d->rules.tier = tier;
            return true;
        }
    (void)fail_usage(cli, "--decode is 'auto', 'cpu', 'gpu', 'fused' or 'raw'");
    return false;
}

static bool read_cache_layers(struct run_device *d, const struct cli *cli)
{
    const char *value = cli->value[RUN_CACHE_LAYERS];
    if (!value)
        return true;
    char *end;
    errno = 0;
    unsigned long n = strtoul(value, &end, 10);
    bool automatic = strcmp(value, "auto") == 0;
    if (!automatic && (*value < '0' || *value > '9' || *end || errno || n > MOST_CACHE_LAYERS)) {
        (void)fail_usage(cli, "--cache-layers is 'auto' or a number from 0 to %d",
                         MOST_CACHE_LAYERS);
        return false;
    }
    d->rules.cache_layers = automatic ? (uint32_t)WEIR_CACHE_AUTO : (uint32_t)n;
    if (d->rules.tier == WEIR_TIER_AUTO)
        d->rules.tier = WEIR_TIER_GPU;
    if (d->rules.tier == WEIR_TIER_CPU || d->rules.tier == WEIR_TIER_GPU)
        return true;
    (void)fail_usage(cli, "--cache-layers goes with --decode cpu or gpu");
    return false;
}

/* Tests look for races with it: "delay=MICROSECONDS,seed=N,poison,queue,host", any of them;
 * queue: no recorded passes; host: samplers of the host choose. */
static bool read_test(struct weir_device_rules *rules, const struct cli *cli)
{
    const char *value = getenv("WEIR_DEVICE_TEST");
    while (value && *value) {
        char *end = NULL;
        if (strncmp(value, "delay=", 6) == 0)
            rules->delay_us = (uint32_t)strtoul(value + 6, &end, 10);
        else if (strncmp(value, "seed=", 5) == 0)
            rules->delay_seed = strtoull(value + 5, &end, 10);
        else if (strncmp(value, "poison", 6) == 0 && (rules->poison = true))
            end = (char *)value + 6;
        else if (strncmp(value, "queue", 5) == 0 && (rules->no_recording = true))
            end = (char *)value + 5;
        else if (strncmp(value, "host", 4) == 0 && (rules->host_choice = true))
            end = (char *)value + 4;
        if (!end || (*end && *end != ',')) {
            (void)fail_usage(cli,
                             "WEIR_DEVICE_TEST is of 'delay=N', 'seed=N', 'poison', 'queue' and "
                             "'host'");
            return false;
        }
        value = *end ? end + 1 : end;
    }
    return true;
}

/* The first of these that was given, or NULL. */
static const char *first_given(const struct cli *cli, const int *option, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (option_given(cli, option[i]))
            return cli->cmd->option[option[i]].name;
    return NULL;
}

/* Options of one device only ask for it, and do not go with the other. */
static bool settle_device(struct run_device *d, const struct cli *cli)
{
    static const int gpu[] = {RUN_DECODE, RUN_CACHE_LAYERS, RUN_VRAM, RUN_DEPTH};
    static const int cpu[] = {RUN_KEEP, RUN_KERNELS};
    const char *of_gpu = first_given(cli, gpu, sizeof(gpu) / sizeof(gpu[0]));
    const char *of_cpu = first_given(cli, cpu, sizeof(cpu) / sizeof(cpu[0]));
    const bool said = option_given(cli, RUN_DEVICE);
    if (of_gpu && (of_cpu || (said && d->wanted == RUN_ON_CPU))) {
        (void)fail_usage(cli, "--%s is of a GPU; it goes without --%s", of_gpu,
                         of_cpu ? of_cpu : "device cpu");
        return false;
    }
    if (of_cpu && said && d->wanted == RUN_ON_CUDA) {
        (void)fail_usage(cli, "--%s is of the processor; --vram and --decode are a GPU's", of_cpu);
        return false;
    }
    if (of_gpu) /* the variable speaks only for those who say nothing */
        d->wanted = RUN_ON_CUDA;
    else if (of_cpu)
        d->wanted = RUN_ON_CPU;
    return true;
}

bool run_device_options(struct run_device *d, const struct cli *cli)
{
    unsigned depth = 0, threads = 0;
    bool fine = read_device(d, cli) && read_tier(d, cli) && read_cache_layers(d, cli) &&
                option_bytes(cli, RUN_VRAM, 0, &d->vram) &&
                option_bytes(cli, RUN_RAM, 0, &d->rules.host_bytes) &&
                option_number(cli, RUN_DEPTH, MOST_DEPTH, 0, &depth) &&
                option_number(cli, RUN_THREADS, CLI_MAX_THREADS, 0, &threads) &&
                read_test(&d->rules, cli) && settle_device(d, cli);
    d->rules.depth = depth;
    d->rules.n_threads = threads;
    return fine;
}

/* ---- choosing ---- */

static bool is_bf16(const struct weir_matrix *m)
{
    return !m->tensor || strcmp(m->tensor->form.dtype, "BF16") == 0;
}

/* The first matrix that a GPU does not take, or NULL. */
static const struct weir_checkpoint_tensor *first_other(const struct weir_model *m)
{
    const struct weir_matrix *outer[] = {&m->embedding, &m->output};
    for (size_t i = 0; i < sizeof(outer) / sizeof(outer[0]); i++)
        if (!is_bf16(outer[i]))
            return outer[i]->tensor;
    for (uint32_t i = 0; i < m->config.n_layers; i++) {
        const struct weir_layer *l = &m->layer[i];
        const struct weir_matrix *of[] = {&l->q, &l->k, &l->v, &l->o, &l->gate, &l->up, &l->down};
        for (size_t j = 0; j < sizeof(of) / sizeof(of[0]); j++)
            if (!is_bf16(of[j]))
                return of[j]->tensor;
    }
    return NULL;
}

/* Of this kind of GPU, if `weir doctor` has been here. */
static void use_measured(struct run_device *d)
{
    struct doctor doctor;
    if (!doctor_read(&doctor) || !doctor.has_gpu || strcmp(doctor.gpu.name, d->info.name) != 0)
        return;
    d->measured = doctor.gpu;
    d->rules.small_piece = doctor_gpu_piece(&d->measured);
    d->rules.crossing = d->measured.crossing;
    d->rules.n_crossings = d->measured.n_crossings;
}

static weir_err open_device(struct run_device *d, struct weir_diag *diag)
{
    d->tried = true;
    weir_err err = weir_device_open(d->number, &d->device, diag);
    if (err) {
        d->device = NULL;
        fail_advise_gpu(err, diag);
        return err;
    }
    if (d->vram)
        weir_device_limit(d->device, d->vram);
    err = weir_device_info(d->device, &d->info);
    if (err)
        run_device_close(d);
    else
        use_measured(d);
    return err;
}

bool run_device_open(struct run_device *d, const struct cli *cli, int *code)
{
    struct weir_diag diag = {""};
    if (d->wanted != RUN_ON_CUDA)
        return true;
    weir_err err = open_device(d, &diag);
    if (err)
        *code = fail(cli, err, "--device cuda", &diag);
    return !err;
}

/* One line, before the weights are on their way. */
static void say(const struct run_job *job, const char *why)
{
    const struct cli *cli = job->cli;
    char name[RUN_DEVICE_NAME];
    if (cli->quiet || cli->json)
        return;
    fprintf(stderr, "weir run: on %s, ", run_device_name(name, job));
    print_escaped(stderr, why);
    (void)fputc('\n', stderr);
}

weir_err run_device_choose(struct run_device *d, struct run_job *job, struct weir_diag *diag)
{
    const bool may = d->wanted == RUN_ON_WHAT_THERE_IS;
    if (d->wanted == RUN_ON_CPU)
        return WEIR_OK;
    weir_err err = d->tried ? WEIR_OK : open_device(d, diag);
    if (err && may) { /* nobody has promised one */
        if (err == WEIR_ERR_NOMEM)
            say(job, "not the GPU: that has no memory left");
        diag->text[0] = 0;
        return WEIR_OK;
    }
    if (err || !d->device)
        return err;
    const struct weir_checkpoint_tensor *other = first_other(job->model);
    if (other && may) {
        struct weir_diag why;
        weir_diag_set(&why, "not the GPU: that takes BF16, and %s is %s", other->form.name,
                      other->form.dtype);
        say(job, why.text);
        return WEIR_OK;
    }
    if (other) {
        weir_diag_set(diag, "%s is %s, and the GPU takes BF16; --device cpu takes it",
                      other->form.name, other->form.dtype);
        return WEIR_ERR_UNSUPPORTED;
    }
    job->on_gpu = true;
    if (!option_given(job->cli, RUN_CHUNK))
        job->graph_options.chunk = GPU_CHUNK;
    say(job, d->info.name);
    return WEIR_OK;
}

bool run_device_give_up(struct run_job *job, weir_err err, struct weir_diag *diag)
{
    struct weir_diag why;
    if (job->device->wanted != RUN_ON_WHAT_THERE_IS ||
        (err != WEIR_ERR_UNSUPPORTED && err != WEIR_ERR_NOMEM))
        return false;
    job->on_gpu = false;
    weir_diag_set(&why, "not the GPU: %s", diag->text[0] ? diag->text : weir_err_text(err));
    say(job, why.text);
    diag->text[0] = 0;
    return true;
}

uint64_t run_device_budget(const struct run_device *d)
{
    const uint64_t margin = d->info.free_bytes / MARGIN_SHARE + MARGIN_BYTES;
    const uint64_t free_bytes = d->info.free_bytes > margin ? d->info.free_bytes - margin : 0;
    return d->vram && d->vram < free_bytes ? d->vram : free_bytes;
}

void run_device_close(struct run_device *d)
{
    weir_device_close(d->device);
    d->device = NULL;
}

weir_err run_device_graph(struct run_job *job, uint64_t bytes, struct weir_diag *diag)
{
    struct weir_device_rules rules = job->device->rules;
    rules.bytes = bytes;
    weir_err err = weir_device_graph_new(job->device->device, job->model, &job->graph_options,
                                         &rules, &job->graph, diag);
    if (err)
        fail_advise_gpu(err, diag);
    return err;
}
