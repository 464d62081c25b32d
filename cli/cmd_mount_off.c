/* cmd_mount_off.c - mounting where libfuse3 was not there at build time. */
#include "cmd_mount.h"
#include "fail.h"

static const char why[] =
    "this weir was built without libfuse3; install libfuse3-dev and build it again, or use 'weir "
    "unpack'";

int mount_start(const struct cli *cli, const struct mount_order *order)
{
    (void)order;
    struct weir_diag diag;
    weir_diag_set(&diag, "%s", why);
    return fail(cli, WEIR_ERR_UNSUPPORTED, NULL, &diag);
}

weir_err mount_end(const char *dir, bool lazy, struct weir_diag *diag)
{
    (void)lazy;
    weir_diag_set(diag, "%s: %s", dir, why);
    return WEIR_ERR_UNSUPPORTED;
}
