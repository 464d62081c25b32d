/* cmd_run_infer.c - `weir run`: one of the things that it does. */
#include <string.h>

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
    const char *dot = option_given(cli, RUN_FILE) ? strrchr(cli->value[RUN_FILE], '.') : NULL;
    return dot && strcmp(dot, ".jsonl") == 0 ? run_batch(job) : run_text(job);
}

int run_run(struct cli *cli)
{
    struct run_job job = {0};
    int code = EXIT_USAGE;
    interrupt_catch();
    if (run_job_options(&job, cli))
        code = do_job(&job);
    run_job_close(&job);
    return code;
}
