/* Where weights would be, what that takes, and how fast it would be: nothing is run.
 *
 * The rate is that of answering, with half of the context behind it (plan_rate.h). */
#include <string.h>

#include "doctor.h"
#include "fail.h"
#include "memory.h"
#include "output.h"
#include "plan_rate.h"
#include "run_job.h"

enum {
    DEFAULT_CONTEXT = 4096,
    LAYER_ROUNDS = 5, /* in which infer/forward.c hands out work of one token to the threads */
    OTHER_ROUNDS = 1,
};

enum form { RESIDENT, PLAIN, STREAMED, VECTOR, N_FORMS };

static const char *const form_names[N_FORMS] = {"resident", "plain", "streamed", "vector"};

struct part {
    uint64_t plain, memory; /* bytes: of the weights as they are; that they take */
    uint64_t each, rows;    /* of `plain`, what every token needs */
    size_t n;
};

struct plan {
    struct run_job *job;
    struct part part[N_FORMS];
    uint64_t fixed, weights;
    struct plan_load load;
    const char *unknown; /* why there is no rate; NULL: there is one */
    struct plan_time time;
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
        if (needed(p->job->model, t)) {
            part->each += t->bytes;
            part->rows += t->form.n_dims > 1 ? t->form.dim[0] : 0;
        }
    }
}

/* ---- the rate ---- */

/* Keys and values of half the context, or of as much as a layer sees. */
static uint64_t kept_bytes(const struct plan *p)
{
    const struct weir_model_config *c = &p->job->model->config;
    const struct weir_graph_options *o = &p->job->graph_options;
    const uint64_t half = o->context / 2, head = (o->kv_bf16 ? 2U : 4U) * (uint64_t)c->head_dim;
    uint64_t positions = 0;
    for (uint32_t i = 0; i < c->n_layers; i++)
        positions += c->windowed[i] && c->window && c->window < half ? c->window : half;
    return 2 * positions * c->n_kv_heads * head;
}

/* What `streamed` plain bytes of the store are as they are stored, on average. */
static uint64_t stored_bytes(const struct weir_store *store, uint64_t streamed)
{
    const struct weir_store_info *info = store ? weir_store_info(store) : NULL;
    return info && info->plain_bytes ? (uint64_t)((double)streamed * (double)info->stored_bytes /
                                                  (double)info->plain_bytes)
                                     : streamed;
}

static void foresee(struct plan *p)
{
    const struct opened *opened = &p->job->source.store;
    struct plan_load *load = &p->load;
    struct doctor machine;
    *load = (struct plan_load){
        .resident = p->part[RESIDENT].each,
        .plain = p->part[PLAIN].each,
        .streamed = p->part[STREAMED].each,
        .from_store = opened->store != NULL,
        .stored = stored_bytes(opened->store, p->part[STREAMED].each),
        .kept = kept_bytes(p),
        .rows = p->part[RESIDENT].rows + p->part[PLAIN].rows + p->part[STREAMED].rows,
        .rounds = LAYER_ROUNDS * p->job->model->config.n_layers + OTHER_ROUNDS,
        .threads = weir_graph_threads(p->job->graph),
    };
    const uint64_t spare = memory_available(), taken = p->weights + p->fixed;
    load->from_disk = load->stored > (spare > taken ? spare - taken : 0);
    if (!doctor_read(&machine))
        p->unknown = "'weir doctor' measures this machine";
    else if (opened->remote && load->streamed)
        p->unknown = "the network decides";
    else
        p->time = plan_foresee(load, &machine);
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
    if (p->unknown)
        fprintf(out, "expected: unknown; %s\n", p->unknown);
    else
        fprintf(out, "expected: %.3g tok/s, limited by %s\n", 1 / plan_seconds(&p->time),
                plan_part_names[plan_limit(&p->time)]);
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
            json_pack("{s:I,s:I,s:I,s:I}", "tensors", (json_int_t)p->part[f].n, "bytes",
                      (json_int_t)p->part[f].plain, "memory_bytes", (json_int_t)p->part[f].memory,
                      "bytes_per_token", (json_int_t)p->part[f].each));
    return o;
}

/* Seconds of a token by what they go by with; null: nobody knows. */
static json_t *seconds(const struct plan *p)
{
    json_t *o = p->unknown ? json_null() : json_object();
    for (int i = 0; i < PLAN_PARTS && !p->unknown; i++)
        (void)json_object_set_new(o, plan_part_names[i], json_real(p->time.part[i]));
    return o;
}

static json_t *json_of(const struct plan *p)
{
    json_t *rate = p->unknown ? json_null() : json_real(1 / plan_seconds(&p->time));
    json_t *limited = p->unknown ? json_null() : json_string(plan_part_names[plan_limit(&p->time)]);
    return json_pack("{s:o,s:o,s:I,s:I,s:o,s:b,s:I,s:o,s:o,s:o,s:I,s:I}", "tensors", tensors(p),
                     "forms", totals(p), "weights_memory_bytes", (json_int_t)p->weights,
                     "other_memory_bytes", (json_int_t)p->fixed, "ram_bytes",
                     p->job->ram ? json_integer((json_int_t)p->job->ram) : json_null(), "from_disk",
                     (int)p->load.from_disk, "attention_bytes_per_token", (json_int_t)p->load.kept,
                     "seconds_per_token", seconds(p), "expected_tok_per_s", rate, "limited_by",
                     limited, "context", (json_int_t)p->job->graph_options.context, "threads",
                     (json_int_t)p->load.threads);
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
