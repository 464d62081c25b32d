/* Goes on with one text. */
#include "fail.h"
#include "interrupt.h"
#include "output.h"
#include "run_job.h"

static weir_err make(struct run_job *job, struct generation *g, size_t n_prompt,
                     struct weir_diag *diag)
{
    struct weir_graph_options *o = &job->graph_options;
    weir_err err = run_job_context(job, n_prompt, &g->context, diag);
    if (err)
        return err;
    o->context = g->context;
    if (o->chunk > n_prompt)
        o->chunk = (uint32_t)n_prompt;
    err = run_job_make(job, diag);
    g->rules = &job->rules;
    g->graph = job->graph;
    return err;
}

static int say_result(const struct run_job *job, struct generation *g)
{
    const struct cli *cli = job->cli;
    if (cli->json) {
        int code = print_json(cli, run_report_json(job, g));
        return code == EXIT_FINE && interrupted() ? EXIT_INTERRUPTED : code;
    }
    if (g->ids.n)
        (void)fputc('\n', cli->out);
    (void)fflush(cli->out);
    if (!cli->quiet)
        run_report_line(job, g);
    return interrupted() ? EXIT_INTERRUPTED : EXIT_FINE;
}

int run_text(struct run_job *job)
{
    struct weir_diag diag = {""};
    struct weir_ids prompt = {0};
    struct generation g = {0};
    weir_err err = run_job_open(job, &diag);
    if (!err)
        err = run_job_prompt(job, &prompt, &diag);
    if (!err)
        err = make(job, &g, prompt.n, &diag);
    g.prompt = prompt.id;
    g.n_prompt = prompt.n;
    if (!err)
        err = generation_begin(&g, &diag);
    if (!err)
        err = generate(&g, job->graph_options.chunk, &diag);
    weir_err ended = run_job_end_logits(job, err ? NULL : &diag);
    err = err ? err : ended;
    int code = err ? fail(job->cli, err, job->source.name, &diag) : say_result(job, &g);
    generation_free(&g);
    weir_ids_free(&prompt);
    return code;
}
