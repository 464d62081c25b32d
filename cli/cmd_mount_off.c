/* cmd_mount_off.c - `weir mount` where libfuse3 was not there at build time. */
#include "cmd_mount.h"
#include "fail.h"

int mount_run(struct cli *cli)
{
    struct weir_diag diag = {"this weir was built without libfuse3; install libfuse3-dev and build "
                             "it again, or use 'weir unpack'"};
    return fail(cli, WEIR_ERR_UNSUPPORTED, NULL, &diag);
}
