/* cmd_fetch_off.c - `weir fetch` where libcurl was not there at build time. */
#include "cmd_fetch.h"
#include "fail.h"

int fetch_run(struct cli *cli)
{
    struct weir_diag diag = {
        "this weir was built without libcurl; install libcurl4-openssl-dev and "
        "build it again"};
    return fail(cli, WEIR_ERR_UNSUPPORTED, NULL, &diag);
}
