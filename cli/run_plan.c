/* Where weights would be, what that takes, and how fast it would be: nothing is run.
 *
 * A token needs all weights once.  Those in memory are multiplied with at the rates that `weir
 * doctor` has measured; those that are not are decoded first, and read from the disk first if the
 * page cache cannot hold them. */
#include <string.h>

#include "doctor.h"
#include "fail.h"
#include "memory.h"
#include "output.h"
#include "run_job.h"

enum { DEFAULT_CONTEXT = 4096 };

enum form { RESIDENT, PLAIN, STREAMED, VECTOR, N_FORMS };

static const char *const form_names[N_FORMS] = {"resident", "plain", "streamed", "vector"};

struct part {
    uint64_t plain, memory; /* bytes: of the weights as they are; that they take */
    uint64_t each;          /* of `plain`, what every token needs */
    size_t n;
};

struct plan {
    struct run_job *job;
    struct part part[N_FORMS];
    uint64_t fixed, weights, streamed_stored;
    bool from_disk;
    bool measured;
    struct doctor machine;
    double seconds[N_FORMS], disk_seconds; /* of a token */
};

static enum form form_of(const struct plan *p, const struct weir_checkpoint_tensor *t,
                         uint64_t *memory)
{
    *memory = 0;
    if (t->form.n_dims == 1) {
        *memory = t->form.dim[0] * sizeof(float);
        return VECTOR;
    }
    switch (weir_graph_place(p->job->graph, t, memory)) {
    case WEIR_PLACE_PLAIN:
        return PLAIN;
    case WEIR_PLACE_RESIDENT:
        return RESIDENT;
    default:
        return STREAMED;
    }
}

/* Of the embeddings a token needs a row, unless they are the output matrix, too. */
static bool needed(const struct weir_model *m, const struct weir_checkpoint_tensor *t)
{
    return t != m->embedding.tensor || t == m->output.tensor;
}

static void add_up(struct plan *p)
{
    const struct weir_checkpoint *ck = p->job->source.checkpoint;
    for (size_t i = 0; i < weir_checkpoint_n_tensors(ck); i++) {
        const struct weir_checkpoint_tensor *t = weir_checkpoint_tensor(ck, i);
        uint64_t memory;
        struct part *part = &p->part[form_of(p, t, &memory)];
        part->n++;
        part->plain += t->bytes;
        part->memory += memory;
        part->each += needed(p->job->model, t) ? t->bytes : 0;
    }
}

/* ---- the rate ---- */

static void foresee(struct plan *p)
{
    const struct weir_store *store = p->job->source.store.store;
    const struct weir_store_info *info = store ? weir_store_info(store) : NULL;
    const struct doctor *m = &p->machine;
    double ratio =
        info && info->plain_bytes ? (double)info->stored_bytes / (double)info->plain_bytes : 1;
    p->streamed_stored = (uint64_t)((double)p->part[STREAMED].each * ratio);
    p->from_disk = p->streamed_stored > memory_available();
    p->measured = doctor_read(&p->machine);
    if (!p->measured)
        return;
    unsigned threads = weir_graph_threads(p->job->graph);
    double share = threads < m->threads ? (double)threads / m->threads : 1;
    p->seconds[RESIDENT] = (double)p->part[RESIDENT].each / (m->resident * share);
    p->seconds[PLAIN] = (double)p->part[PLAIN].each / (m->plain * share);
    double streamed = (double)p->part[STREAMED].each;
    p->seconds[STREAMED] =
        streamed / (m->plain * share) + (store ? streamed / (m->decode * share) : 0);
    if (p->from_disk && m->disk > 0)
        p->disk_seconds = (double)p->streamed_stored / m->disk;
}

static double token_seconds(const struct plan *p)
{
    return p->seconds[RESIDENT] + p->seconds[PLAIN] + p->seconds[STREAMED] + p->disk_seconds;
}

static const char *limit(const struct plan *p)
{
    double memory = p->seconds[RESIDENT] + p->seconds[PLAIN];
    if (p->disk_seconds > memory && p->disk_seconds > p->seconds[STREAMED])
        return "disk";
    return p->seconds[STREAMED] > memory ? "decode" : "memory";
}

/* ---- saying ---- */

static void print(const struct plan *p)
{
    const struct weir_checkpoint *ck = p->job->source.checkpoint;
    FILE *out = p->job->cli->out;
    char a[HUMAN_BYTES], b[HUMAN_BYTES], c[HUMAN_BYTES];
    for (size_t i = 0; i < weir_checkpoint_n_tensors(ck); i++) {
        const struct weir_checkpoint_tensor *t = weir_checkpoint_tensor(ck, i);
        uint64_t memory;
        enum form form = form_of(p, t, &memory);
        fprintf(out, "%-8s  %-9s  %-9s  ", form_names[form], human_bytes(a, (double)t->bytes),
                human_bytes(b, (double)memory));
        print_escaped(out, t->form.name);
        (void)fputc('\n', out);
    }
    for (int f = 0; f < N_FORMS; f++)
        if (p->part[f].n)
            fprintf(out, "%s: %zu tensors, %s, in %s of memory\n", form_names[f], p->part[f].n,
                    human_bytes(a, (double)p->part[f].plain),
                    human_bytes(b, (double)p->part[f].memory));
    fprintf(out, "memory: %s for weights, %s for all else", human_bytes(a, (double)p->weights),
            human_bytes(b, (double)p->fixed));
    fprintf(out, p->job->ram ? "; at most %s\n" : "\n", human_bytes(c, (double)p->job->ram));
    if (p->measured)
        fprintf(out, "expected: %.3g tok/s, limited by %s\n", 1 / token_seconds(p), limit(p));
    else
        fprintf(out, "expected: unknown; 'weir doctor' measures this machine\n");
}

static json_t *tensors(const struct plan *p)
{
    const struct weir_checkpoint *ck = p->job->source.checkpoint;
    json_t *list = json_array();
    for (size_t i = 0; i < weir_checkpoint_n_tensors(ck); i++) {
        const struct weir_checkpoint_tensor *t = weir_checkpoint_tensor(ck, i);
        uint64_t memory;
        enum form form = form_of(p, t, &memory);
        (void)json_array_append_new(list, json_pack("{s:o,s:s,s:I,s:I}", "name",
                                                    json_text(t->form.name), "form",
                                                    form_names[form], "bytes", (json_int_t)t->bytes,
                                                    "memory_bytes", (json_int_t)memory));
    }
    return list;
}

static json_t *totals(const struct plan *p)
{
    json_t *o = json_object();
    for (int f = 0; f < N_FORMS; f++)
        (void)json_object_set_new(
            o, form_names[f],
            json_pack("{s:I,s:I,s:I,s:I,s:f}", "tensors", (json_int_t)p->part[f].n, "bytes",
                      (json_int_t)p->part[f].plain, "memory_bytes", (json_int_t)p->part[f].memory,
                      "bytes_per_token", (json_int_t)p->part[f].each, "seconds_per_token",
                      p->seconds[f]));
    return o;
}

static json_t *json_of(const struct plan *p)
{
    json_t *rate = p->measured ? json_real(1 / token_seconds(p)) : json_null();
    json_t *limited = p->measured ? json_string(limit(p)) : json_null();
    return json_pack(
        "{s:o,s:o,s:I,s:I,s:o,s:b,s:f,s:o,s:o,s:I,s:I}", "tensors", tensors(p), "forms", totals(p),
        "weights_memory_bytes", (json_int_t)p->weights, "other_memory_bytes", (json_int_t)p->fixed,
        "ram_bytes", p->job->ram ? json_integer((json_int_t)p->job->ram) : json_null(), "from_disk",
        (int)p->from_disk, "disk_seconds_per_token", p->disk_seconds, "expected_tok_per_s", rate,
        "limited_by", limited, "context", (json_int_t)p->job->graph_options.context, "threads",
        (json_int_t)weir_graph_threads(p->job->graph));
}

int run_plan(struct run_job *job)
{
    struct weir_diag diag = {""};
    struct plan p = {.job = job};
    struct weir_graph_options *o = &job->graph_options;
    weir_err err = run_job_open(job, &diag);
    if (!err && !o->context) {
        const uint32_t most = job->model->config.context;
        o->context = most < DEFAULT_CONTEXT ? most : DEFAULT_CONTEXT;
    }
    if (!err && job->on_gpu)
        return run_device_plan(job);
    if (!err)
        err = run_job_make(job, &diag);
    if (err)
        return fail(job->cli, err, job->source.name, &diag);
    p.fixed = job->fixed_bytes;
    p.weights = weir_graph_counts(job->graph).kept_bytes;
    add_up(&p);
    foresee(&p);
    if (job->cli->json)
        return print_json(job->cli, json_of(&p));
    print(&p);
    return EXIT_FINE;
}
