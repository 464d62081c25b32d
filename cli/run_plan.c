#include "fail.h"
#include "run_job.h"
int run_plan(struct run_job *job)
{
    return fail(job->cli, WEIR_ERR_UNSUPPORTED, NULL, NULL);
}
