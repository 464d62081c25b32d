/* cmd_run_infer.c - `weir run`: one of the things that it does. */
#include <stdlib.h>

#include "fail.h"
#include "interrupt.h"
#include "options.h"
#include "run_job.h"

static int do_job(struct run_job *job)
{
    const struct cli *cli = job->cli;
    if (option_given(cli, RUN_PLAN))
        return run_plan(job);
    if (option_given(cli, RUN_PERPLEXITY))
        return run_perplexity(job);
    if (job->chats)
        return run_chat(job);
    return run_prompts_are_lines(cli->value[RUN_FILE]) ? run_batch(job) : run_text(job);
}

/* At least one, which may turn out not to be given. */
static size_t count_models(const struct cli *cli)
{
    size_t n = 1;
    while (n < RUN_MOST_MODELS && option_nth(cli, RUN_MODEL, n))
        n++;
    return n;
}

int run_run(struct cli *cli)
{
    const size_t n = count_models(cli);
    struct run_device device = {.number = 0};
    struct run_job *jobs = calloc(n, sizeof(*jobs));
    if (!jobs)
        return fail(cli, WEIR_ERR_NOMEM, NULL, NULL);
    int code = EXIT_USAGE;
    interrupt_catch();
    bool fine = run_device_options(&device, cli);
    for (size_t i = 0; i < n && fine; i++) {
        jobs[i].device = &device;
        fine = run_job_options(&jobs[i], cli, i);
    }
    const bool in_turn = n > 1 || option_nth(cli, RUN_PROMPT, 1);
    if (fine && run_device_open(&device, cli, &code))
        code = in_turn ? run_models(jobs, n) : do_job(jobs);
    for (size_t i = 0; i < n; i++)
        run_job_close(&jobs[i]);
    run_device_close(&device);
    free(jobs);
    return code;
}
