/* cmd_fetch_curl.c - what kind of fetch is asked for. */
#include "cmd_fetch.h"
#include "fail.h"
#include "fetch_job.h"
#include "opened.h"
#include "options.h"

int fetch_run(struct cli *cli)
{
    if (!is_url(cli->operand[0]))
        return fail_usage(cli, "'%s' is not a URL; it begins with http:// or https://",
                          cli->operand[0]);
    return option_given(cli, FETCH_PLAIN) ? fetch_plain(cli) : fetch_store(cli);
}
