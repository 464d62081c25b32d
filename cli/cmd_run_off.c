/* cmd_run_off.c - `weir run` and `weir doctor` where libpcre2 or libutf8proc was not there at build
 * time. */
#include "cmd_run.h"
#include "doctor.h"
#include "fail.h"

int run_run(struct cli *cli)
{
    struct weir_diag diag = {"this weir was built without libpcre2 or libutf8proc; install "
                             "libpcre2-dev and libutf8proc-dev and build it again"};
    return fail(cli, WEIR_ERR_UNSUPPORTED, NULL, &diag);
}

int doctor_run(struct cli *cli)
{
    return run_run(cli);
}
