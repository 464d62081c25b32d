/* What a run on a GPU would take of its memory, where weights would be, and how fast it would be:
 * nothing is read but headers.
 *
 * A token needs all weights once.  What does not fit is copied for each token, beside the
 * computing, so the slower of the two counts; `weir doctor` has measured both. */
#include <math.h>

#include "doctor.h"
#include "fail.h"
#include "output.h"
#include "run_job.h"

struct plan {
    const struct run_job *job;
    enum weir_tier tier; /* of what is foreseen; AUTO is taken for what it would become */
    struct weir_device_needs needs;
    uint64_t budget, weights; /* bytes of device memory: all; for weights */
    double stays;             /* the part of the weights that stays */
    uint64_t each;            /* plain, what every token needs */
    uint64_t copied;          /* for each token */
    bool measured;
    struct doctor machine;
    double copy, host, device; /* seconds of a token */
};

static uint64_t bytes_per_token(const struct weir_model *m)
{
    uint64_t embedding = m->embedding.tensor->bytes;
    return m->weight_bytes - (m->embedding.tensor == m->output.tensor ? 0 : embedding);
}

/* Stored bytes over plain ones. */
static double stored_share(const struct run_job *job)
{
    const struct weir_store *store = job->source.store.store;
    const struct weir_store_info *info = store ? weir_store_info(store) : NULL;
    return info && info->plain_bytes ? (double)info->stored_bytes / (double)info->plain_bytes : 1;
}

static weir_err fit(struct plan *p, struct weir_diag *diag)
{
    const struct run_device *d = p->job->device;
    weir_err err =
        weir_device_graph_needs(p->job->model, &p->job->graph_options, &d->rules, &p->needs, diag);
    if (err)
        return err;
    const struct weir_device_needs *n = &p->needs;
    p->budget = run_device_budget(d);
    if (p->budget < n->fixed + n->least_weights) {
        char given[HUMAN_BYTES], least[HUMAN_BYTES];
        weir_diag_set(diag, "%s of device memory are not enough; %s would be",
                      human_bytes(given, (double)p->budget),
                      human_bytes(least, (double)(n->fixed + n->least_weights)));
        return WEIR_ERR_NOMEM;
    }
    const uint64_t left = p->budget - n->fixed, most = n->most_weights, least = n->least_weights;
    p->weights = left < most ? left : most;
    p->stays = left >= most ? 1 : (double)(left - least) / (double)(most - least);
    p->each = bytes_per_token(p->job->model);
    return WEIR_OK;
}

/* ---- the rate ---- */

/* Plain bytes a second that a vector is multiplied with, by the largest matrix measured. */
static double multiply_rate(const struct plan *p)
{
    const struct weir_device_measured *m = &p->machine.gpu;
    double best = 0;
    for (size_t i = 0; i < m->n_crossings; i++) {
        const struct weir_device_crossing *c = &m->crossing[i];
        double rate = p->tier == WEIR_TIER_FUSED ? c->packed : c->rows;
        best = rate > best ? rate : best;
    }
    return best > 0 ? best : INFINITY;
}

static void foresee(struct plan *p)
{
    const struct weir_device_measured *gpu = &p->machine.gpu;
    p->tier = p->job->device->rules.tier;
    if (p->tier == WEIR_TIER_AUTO)
        p->tier = WEIR_TIER_FUSED; /* what stays; the rest is decoded there each time */
    const bool decodes_here = p->tier == WEIR_TIER_CPU;
    const double streamed = (1 - p->stays) * (double)p->each;
    p->copied = (uint64_t)(streamed * (decodes_here ? 1 : stored_share(p->job)));
    p->measured = doctor_read(&p->machine) && p->machine.has_gpu;
    if (!p->measured)
        return;
    p->copy = (double)p->copied / gpu->to_device;
    p->host = decodes_here ? streamed / p->machine.measured.store.all : 0;
    p->device = (double)p->each / multiply_rate(p);
    if (!decodes_here)
        p->device += streamed / gpu->decode;
}

static double token_seconds(const struct plan *p)
{
    return fmax(fmax(p->copy, p->host), p->device);
}

static const char *limit(const struct plan *p)
{
    if (p->host > p->copy && p->host > p->device)
        return "the processor's decoding";
    return p->copy > p->device ? "copying to the GPU" : "the GPU";
}

/* ---- saying ---- */

static void print(const struct plan *p)
{
    const struct run_job *job = p->job;
    FILE *out = job->cli->out;
    const struct weir_device_info *info = &job->device->info;
    const uint32_t n_layers = job->model->config.n_layers;
    char name[RUN_DEVICE_NAME], a[HUMAN_BYTES], b[HUMAN_BYTES];
    fprintf(out, "device: %s, %s, %s, %s free\n", run_device_name(name, job), info->name,
            human_bytes(a, (double)info->memory_bytes), human_bytes(b, (double)info->free_bytes));
    fprintf(out, "decode: %s, as %s\n", run_tier_name(job->device->rules.tier),
            run_tier_name(p->tier));
    fprintf(out, "besides weights: %s (keys, values and activations; context %u)\n",
            human_bytes(a, (double)p->needs.fixed), job->graph_options.context);
    fprintf(out, "weights: at least %s", human_bytes(a, (double)p->needs.least_weights));
    fprintf(out, ", at most %s;", human_bytes(a, (double)p->needs.most_weights));
    fprintf(out, " there would be %s", human_bytes(a, (double)p->weights));
    fprintf(out, job->device->vram ? " of --vram %s\n" : "\n", human_bytes(a, (double)p->budget));
    if (p->stays >= 1)
        fprintf(out, "everything stays on the GPU\n");
    else
        fprintf(out, "about %u of %u layers stay there; %s are copied for each token\n",
                (unsigned)(p->stays * n_layers), n_layers, human_bytes(a, (double)p->copied));
    if (p->measured)
        fprintf(out, "expected: at most %.3g tok/s, limited by %s\n", 1 / token_seconds(p),
                limit(p));
    else
        fprintf(out, "expected: unknown; 'weir doctor' measures this machine\n");
}

static json_t *json_of(const struct plan *p)
{
    const struct run_job *job = p->job;
    const struct weir_device_info *info = &job->device->info;
    char name[RUN_DEVICE_NAME];
    json_t *rate = p->measured ? json_real(1 / token_seconds(p)) : json_null();
    json_t *limited = p->measured ? json_string(limit(p)) : json_null();
    return json_pack("{s:s,s:o,s:I,s:I,s:s,s:o,s:I,s:I,s:I,s:I,s:f,s:I,s:I,s:o,s:o,s:I}", "device",
                     run_device_name(name, job), "device_name", json_text(info->name),
                     "memory_bytes", (json_int_t)info->memory_bytes, "free_bytes",
                     (json_int_t)info->free_bytes, "decode", run_tier_name(p->tier), "vram_bytes",
                     job->device->vram ? json_integer((json_int_t)job->device->vram) : json_null(),
                     "other_vram_bytes", (json_int_t)p->needs.fixed, "least_weights_bytes",
                     (json_int_t)p->needs.least_weights, "most_weights_bytes",
                     (json_int_t)p->needs.most_weights, "weights_bytes", (json_int_t)p->weights,
                     "stays", p->stays, "bytes_per_token", (json_int_t)p->each,
                     "copied_bytes_per_token", (json_int_t)p->copied, "expected_tok_per_s", rate,
                     "limited_by", limited, "context", (json_int_t)job->graph_options.context);
}

int run_device_plan(struct run_job *job)
{
    struct weir_diag diag = {""};
    struct plan p = {.job = job};
    weir_err err = fit(&p, &diag);
    if (err)
        return fail(job->cli, err, job->source.name, &diag);
    foresee(&p);
    if (job->cli->json)
        return print_json(job->cli, json_of(&p));
    print(&p);
    return EXIT_FINE;
}
