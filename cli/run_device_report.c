/* What a run did on its device, as keys of an object and as a part of a line. */
#include <string.h>

#include "output.h"
#include "run_device.h"
#include "run_job.h"

const char *run_tier_name(enum weir_tier tier)
{
    static const char *const names[] = {
        [WEIR_TIER_AUTO] = "auto",   [WEIR_TIER_CPU] = "cpu", [WEIR_TIER_GPU] = "gpu",
        [WEIR_TIER_FUSED] = "fused", [WEIR_TIER_RAW] = "raw",
    };
    return names[tier];
}

const char *run_device_name(char buf[RUN_DEVICE_NAME], const struct run_job *job)
{
    if (job->on_gpu)
        (void)snprintf(buf, RUN_DEVICE_NAME, "cuda:%d", job->device->number);
    else
        (void)snprintf(buf, RUN_DEVICE_NAME, "cpu");
    return buf;
}

/* Zeros without a GPU. */
static struct weir_device_info info_of(const struct run_job *job)
{
    struct weir_device_info info = {.memory_bytes = 0};
    if (job->on_gpu && weir_device_info(job->device->device, &info))
        info = (struct weir_device_info){.memory_bytes = 0};
    return info;
}

static json_t *layers(const struct weir_device_counts *c)
{
    uint32_t stay = c->n_packed + c->n_rows + c->n_wire;
    return json_pack("{s:I,s:I,s:I,s:I}", "packed", (json_int_t)c->n_packed, "rows",
                     (json_int_t)c->n_rows, "wire", (json_int_t)c->n_wire, "streamed",
                     (json_int_t)(c->n_layers - stay));
}

/* What is counted of the whole device, whoever uses it. */
static json_t *of_device(const struct run_job *job)
{
    const struct weir_device_info info = info_of(job);
    const char *const peak = job->shares ? "device_peak_vram_bytes" : "peak_vram_bytes";
    const char *const measured = job->shares ? "device_vram_measured_bytes" : "vram_measured_bytes";
    return json_pack("{s:o,s:I,s:I}", "device_name",
                     job->on_gpu ? json_text(info.name) : json_null(), peak,
                     (json_int_t)info.peak_bytes, measured, (json_int_t)info.measured_bytes);
}

/* What logits hang on, besides the model and the kind of device. */
static json_t *of_bits(const struct run_job *job, const struct weir_device_counts *c)
{
    json_t *piece = job->on_gpu ? json_integer((json_int_t)c->small_piece) : json_null();
    return json_pack("{s:o,s:o}", "has_blas", job->on_gpu ? json_boolean(c->has_blas) : json_null(),
                     "small_piece", piece);
}

static json_t *of_graph(const struct run_job *job, const struct weir_device_counts *c)
{
    char name[RUN_DEVICE_NAME];
    return json_pack("{s:s,s:o,s:I,s:I,s:I,s:I,s:o}", "device", run_device_name(name, job),
                     "decode", job->on_gpu ? json_string(run_tier_name(c->tier)) : json_null(),
                     "vram_weight_bytes", (json_int_t)c->weight_bytes, "copied_bytes",
                     (json_int_t)c->copied_bytes, "decoded_bytes", (json_int_t)c->decoded_bytes,
                     "chosen_on_device", (json_int_t)c->n_choosing, "layers",
                     job->on_gpu ? layers(c) : json_null());
}

/* Takes `more` over. */
static bool add_keys(json_t *o, json_t *more)
{
    const bool fine = more && json_object_update(o, more) == 0;
    json_decref(more);
    return fine;
}

json_t *run_device_report(const struct run_job *job, json_t *o)
{
    const struct weir_device_counts c = weir_device_graph_counts(job->graph);
    if (o && add_keys(o, of_graph(job, &c)) && add_keys(o, of_device(job)) &&
        add_keys(o, of_bits(job, &c)))
        return o;
    json_decref(o);
    return NULL;
}

const char *run_device_line(char buf[RUN_DEVICE_LINE], const struct run_job *job)
{
    char name[RUN_DEVICE_NAME], vram[HUMAN_BYTES];
    if (!job->on_gpu) {
        (void)snprintf(buf, RUN_DEVICE_LINE, "device cpu");
        return buf;
    }
    (void)snprintf(buf, RUN_DEVICE_LINE, "device %s, %s; VRAM %s", run_device_name(name, job),
                   run_tier_name(weir_device_graph_counts(job->graph).tier),
                   human_bytes(vram, (double)info_of(job).peak_bytes));
    return buf;
}
