/* Several prompts, or several models, at once: each prompt is answered by each model in turn.  All
 * models are held from the beginning to the end, within one --vram (or --ram). */
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "interrupt.h"
#include "memory.h"
#include "output.h"
#include "run_job.h"

enum { SPARE_NUMERATOR = 4, SPARE_DENOMINATOR = 5 }; /* as memory.c has it */

struct one {
    struct run_job *job;
    struct weir_ids *prompt; /* n_prompts */
    uint32_t *context;       /* n_prompts: that such a prompt would have alone */
    uint64_t may, vram;      /* of device memory: the most that it gets, and what it took */
    struct weir_device_needs needs;
    json_t *answers; /* --json */
};

struct models {
    const struct cli *cli;
    struct run_device *device;
    struct one *at;
    size_t n;
    struct run_prompts prompts;
    const char *failed; /* the model that an error is about; NULL: none of them */
};

/* ---- prompts ---- */

/* Their ids, and a context that holds the longest and its answer: the budget counts with that. */
static weir_err encode(struct models *m, struct one *o, struct weir_diag *diag)
{
    struct run_job *job = o->job;
    uint32_t most = 1;
    size_t longest = 1;
    weir_err err = WEIR_OK;
    o->prompt = calloc(m->prompts.n ? m->prompts.n : 1, sizeof(*o->prompt));
    o->context = calloc(m->prompts.n ? m->prompts.n : 1, sizeof(*o->context));
    if (!o->prompt || !o->context)
        return WEIR_ERR_NOMEM;
    for (size_t i = 0; i < m->prompts.n && !err; i++) {
        struct weir_ids *ids = &o->prompt[i];
        err = run_job_encode(job, m->prompts.at[i].text.bytes, m->prompts.at[i].text.n, ids, diag);
        if (!err && ids->n == 0) {
            weir_diag_set(diag, "prompt %zu is empty, and this model's texts begin with nothing",
                          i + 1);
            err = WEIR_ERR_INVALID;
        }
        if (!err)
            err = run_job_context(job, ids->n, &o->context[i], diag);
        if (!err && o->context[i] > most)
            most = o->context[i];
        if (ids->n > longest)
            longest = ids->n;
    }
    job->graph_options.context = most;
    if (job->graph_options.chunk > longest)
        job->graph_options.chunk = (uint32_t)longest;
    return err;
}

/* ---- memory ---- */

static uint64_t part_of(uint64_t all, uint64_t mine, uint64_t everybodys)
{
    return everybodys ? (uint64_t)((double)all * ((double)mine / (double)everybodys)) : 0;
}

/* What the models on the GPU get of `all`: each the least that it needs, then of what is left by
 * what each could use. */
static weir_err share_vram(struct models *m, uint64_t all, struct weir_diag *diag)
{
    uint64_t least = 0, more = 0, n_there = 0;
    bool has_library = false;
    for (size_t i = 0; i < m->n; i++)
        n_there += m->at[i].job->on_gpu;
    if (n_there > 1) /* of --ram, too, for what streams */
        m->device->rules.host_bytes /= n_there;
    for (size_t i = 0; i < m->n; i++) {
        struct one *o = &m->at[i];
        if (!o->job->on_gpu)
            continue;
        weir_err err = weir_device_graph_needs(o->job->model, &o->job->graph_options,
                                               &m->device->rules, &o->needs, diag);
        if (err)
            return err;
        if (has_library) /* the one before has taken it */
            o->needs.fixed -= o->needs.library;
        has_library = has_library || o->needs.library;
        least += o->needs.fixed + o->needs.least_weights;
        more += o->needs.most_weights - o->needs.least_weights;
    }
    if (least > all) {
        char given[HUMAN_BYTES], least_text[HUMAN_BYTES];
        weir_diag_set(diag, "%s of device memory are not enough for all models; %s would be",
                      human_bytes(given, (double)all), human_bytes(least_text, (double)least));
        return WEIR_ERR_NOMEM;
    }
    for (size_t i = 0; i < m->n; i++) {
        const struct weir_device_needs *n = &m->at[i].needs;
        m->at[i].may = n->fixed + n->least_weights +
                       part_of(all - least, n->most_weights - n->least_weights, more);
    }
    return WEIR_OK;
}

/* What model i may have of this machine's memory, when those before it are made: what it needs
 * itself, and of the rest by its weights. */
static uint64_t share_ram(const struct models *m, size_t i, uint64_t all)
{
    uint64_t others = 0, weights = 0;
    for (size_t j = 0; j < m->n; j++) {
        const struct run_job *job = m->at[j].job;
        if (job->on_gpu)
            continue;
        if (j != i)
            others += weir_graph_bytes(job->model, &job->graph_options);
        if (j < i)
            others += weir_graph_counts(job->graph).kept_bytes;
        else
            weights += job->model->weight_bytes;
    }
    const struct run_job *job = m->at[i].job;
    uint64_t fixed = memory_fixed(job->model, &job->graph_options);
    uint64_t left = all > others ? all - others : 1;
    return left > fixed ? fixed + part_of(left - fixed, job->model->weight_bytes, weights) : left;
}

/* --ram, or four fifths of what there is to spare. */
static uint64_t all_ram(const struct models *m)
{
    uint64_t available = memory_available();
    if (m->at[0].job->ram)
        return m->at[0].job->ram;
    return available == UINT64_MAX
               ? UINT64_MAX / 2
               : memory_peak() + available / SPARE_DENOMINATOR * SPARE_NUMERATOR;
}

static weir_err taken(const struct models *m, uint64_t *bytes)
{
    struct weir_device_info info = {.taken_bytes = 0};
    weir_err err = m->device->device ? weir_device_info(m->device->device, &info) : WEIR_OK;
    *bytes = info.taken_bytes;
    return err;
}

static weir_err make_one(struct models *m, size_t i, struct weir_diag *diag)
{
    struct one *o = &m->at[i];
    uint64_t before = 0, after = 0;
    weir_err err = taken(m, &before);
    m->failed = o->job->name;
    if (!err)
        err = run_job_graph(o->job, o->may, o->job->on_gpu ? 0 : share_ram(m, i, all_ram(m)), diag);
    if (!err)
        err = taken(m, &after);
    o->vram = after - before;
    return err;
}

static weir_err make_all(struct models *m, struct weir_diag *diag)
{
    const struct run_device *d = m->device;
    weir_err err = WEIR_OK;
    if (d->device)
        err = share_vram(m, run_device_budget(d), diag);
    for (size_t i = 0; i < m->n && !err; i++)
        err = make_one(m, i, diag);
    return err;
}

static weir_err open_all(struct models *m, struct weir_diag *diag)
{
    weir_err err = run_prompts_given(m->cli, &m->prompts, diag);
    for (size_t i = 0; i < m->n && !err; i++) {
        m->failed = m->at[i].job->name;
        err = run_job_open(m->at[i].job, diag);
        if (!err)
            err = encode(m, &m->at[i], diag);
    }
    m->failed = err ? m->failed : NULL;
    return err ? err : make_all(m, diag);
}

/* ---- answers ---- */

static weir_err say(struct models *m, struct one *o, struct generation *g, size_t prompt,
                    struct weir_diag *diag)
{
    if (m->cli->json) {
        json_t *answer = run_report_json(o->job, g);
        if (answer)
            (void)json_object_set_new(answer, "prompt", json_integer((json_int_t)prompt));
        return json_array_append_new(o->answers, answer) ? WEIR_ERR_NOMEM : WEIR_OK;
    }
    if (fputc('\n', m->cli->out) == EOF || fflush(m->cli->out) != 0) {
        weir_diag_set(diag, "standard output could not be written");
        return WEIR_ERR_IO;
    }
    if (!m->cli->quiet) {
        print_escaped(stderr, o->job->name);
        fputs(": ", stderr);
        run_report_line(o->job, g);
    }
    return WEIR_OK;
}

/* Of one model the answers are told apart by their numbers, of several by their models. */
static void say_whose(const struct models *m, const struct one *o, size_t prompt)
{
    fputs("== ", m->cli->out);
    if (m->n == 1)
        fprintf(m->cli->out, "prompt %zu", prompt + 1);
    else
        print_escaped(m->cli->out, o->job->name);
    (void)fputc('\n', m->cli->out);
}

static weir_err answer(struct models *m, struct one *o, size_t prompt, struct weir_diag *diag)
{
    struct run_job *job = o->job;
    struct generation g = {.rules = &job->rules,
                           .graph = job->graph,
                           .context = o->context[prompt],
                           .prompt = o->prompt[prompt].id,
                           .n_prompt = o->prompt[prompt].n};
    m->failed = job->name;
    if (!m->cli->json)
        say_whose(m, o, prompt);
    weir_graph_begin(job->graph, 0, g.context);
    weir_err err = generation_begin(&g, diag);
    if (!err)
        err = generate(&g, job->graph_options.chunk, diag);
    if (!err)
        err = say(m, o, &g, prompt, diag);
    generation_free(&g);
    return err;
}

static weir_err answer_all(struct models *m, struct weir_diag *diag)
{
    weir_err err = WEIR_OK;
    for (size_t p = 0; p < m->prompts.n; p++)
        for (size_t i = 0; i < m->n && !err && !interrupted(); i++)
            err = answer(m, &m->at[i], p, diag);
    return err;
}

/* ---- the end ---- */

static json_t *json_of(struct models *m, const struct weir_device_info *info)
{
    json_t *list = json_array();
    for (size_t i = 0; i < m->n; i++) {
        struct one *o = &m->at[i];
        json_t *object = json_pack("{s:o,s:I,s:I,s:O}", "model", json_text(o->job->name),
                                   "vram_bytes", (json_int_t)o->vram, "kept_bytes",
                                   (json_int_t)weir_graph_counts(o->job->graph).kept_bytes,
                                   "answers", o->answers);
        (void)json_array_append_new(list, run_device_report(o->job, object));
    }
    return json_pack("{s:o,s:o,s:I,s:I,s:I}", "models", list, "vram_limit_bytes",
                     m->device->vram ? json_integer((json_int_t)m->device->vram) : json_null(),
                     "peak_vram_bytes", (json_int_t)info->peak_bytes, "vram_measured_bytes",
                     (json_int_t)info->measured_bytes, "peak_rss_bytes", (json_int_t)memory_peak());
}

static void print_end(const struct models *m, const struct weir_device_info *info)
{
    char text[HUMAN_BYTES];
    fputs("together: ", stderr);
    for (size_t i = 0; i < m->n; i++) {
        const struct one *o = &m->at[i];
        uint64_t bytes = o->job->on_gpu ? o->vram : weir_graph_counts(o->job->graph).kept_bytes;
        print_escaped(stderr, o->job->name);
        fprintf(stderr, " %s; ", human_bytes(text, (double)bytes));
    }
    if (m->device->device)
        fprintf(stderr, "VRAM %s", human_bytes(text, (double)info->peak_bytes));
    else
        fprintf(stderr, "peak RSS %s", human_bytes(text, (double)memory_peak()));
    if (m->device->vram)
        fprintf(stderr, " of %s", human_bytes(text, (double)m->device->vram));
    (void)fputc('\n', stderr);
}

static int end(struct models *m)
{
    struct weir_device_info info = {.memory_bytes = 0};
    struct weir_diag diag = {""};
    weir_err err = m->device->device ? weir_device_info(m->device->device, &info) : WEIR_OK;
    int code = EXIT_FINE;
    if (err)
        return fail(m->cli, err, NULL, &diag);
    if (m->cli->json)
        code = print_json(m->cli, json_of(m, &info));
    else if (!m->cli->quiet)
        print_end(m, &info);
    return code == EXIT_FINE && interrupted() ? EXIT_INTERRUPTED : code;
}

int run_models(struct run_job *jobs, size_t n)
{
    struct weir_diag diag = {""};
    struct models m = {.cli = jobs[0].cli, .device = jobs[0].device, .n = n};
    m.at = calloc(n, sizeof(*m.at));
    weir_err err = m.at ? WEIR_OK : WEIR_ERR_NOMEM;
    for (size_t i = 0; i < n && !err; i++) {
        m.at[i] = (struct one){.job = &jobs[i], .answers = json_array()};
        jobs[i].shares = n > 1;
        err = m.at[i].answers ? WEIR_OK : WEIR_ERR_NOMEM;
    }
    if (!err)
        err = open_all(&m, &diag);
    if (!err)
        err = answer_all(&m, &diag);
    int code = err ? fail(m.cli, err, m.failed, &diag) : end(&m);
    for (size_t i = 0; i < n && m.at; i++) {
        for (size_t p = 0; p < m.prompts.n && m.at[i].prompt; p++)
            weir_ids_free(&m.at[i].prompt[p]);
        free(m.at[i].prompt);
        free(m.at[i].context);
        json_decref(m.at[i].answers);
    }
    run_prompts_free(&m.prompts);
    free(m.at);
    return code;
}
