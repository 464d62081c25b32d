#include "mount_helper.h"

#include <string.h>

#include "cmd_mount.h"
#include "fail.h"
#include "options.h"

enum {
    OPT_SLOPPY,
    OPT_FAKE,
    OPT_VERBOSE,
    OPT_NO_MTAB,
    OPT_READ_ONLY,
    OPT_RW,
    OPT_TYPE,
    OPT_NAMESPACE,
    OPT_OPTIONS
};

/* mount(8)'s own. */
enum { MOUNT_EX_FINE = 0, MOUNT_EX_USAGE = 1, MOUNT_EX_SYSTEM = 2, MOUNT_EX_FAIL = 32 };

static const struct cli_option options[] = {
    [OPT_SLOPPY] = {'s', "sloppy", NULL, "ignore unknown mount options", false},
    [OPT_FAKE] = {'f', "fake", NULL, "check everything, mount nothing", false},
    [OPT_VERBOSE] = {'v', "verbose", NULL, "accepted", false},
    [OPT_NO_MTAB] = {'n', "no-mtab", NULL, "accepted", false},
    [OPT_READ_ONLY] = {'r', "read-only", NULL, "accepted: it always is", false},
    [OPT_RW] = {'w', "rw", NULL, "accepted: what mount(8) says by default", false},
    [OPT_TYPE] = {'t', "types", "TYPE", "accepted", false},
    [OPT_NAMESPACE] = {'N', "namespace", "NS", "mount in this mount namespace", false},
    [OPT_OPTIONS] = {'o', "options", "LIST", "mount options, separated by ',' (see below)", true},
    {0},
};

bool mount_helper_is(const char *argv0)
{
    const char *slash = argv0 ? strrchr(argv0, '/') : NULL;
    const char *name = slash ? slash + 1 : argv0;
    return name && (strcmp(name, "mount.weir") == 0 || strcmp(name, "mount.fuse.weir") == 0);
}

static int run(struct cli *cli)
{
    struct mount_order order = {.store = cli->operand[0],
                                .dir = cli->operand[1],
                                .mount_ns = cli->value[OPT_NAMESPACE],
                                .fake = option_given(cli, OPT_FAKE)};
    struct weir_diag diag = {""};
    unsigned tolerance = MOUNT_TAKES_RW | (option_given(cli, OPT_SLOPPY) ? MOUNT_SLOPPY : 0);
    weir_err err = WEIR_OK;
    int code;
    if (option_given(cli, OPT_OPTIONS))
        err = mount_settings_add(&order.settings, cli->value[OPT_OPTIONS], tolerance, &diag);
    if (err == WEIR_ERR_INVALID)
        code = fail_usage(cli, "%s", diag.text);
    else
        code = err ? fail(cli, err, NULL, &diag) : mount_start(cli, &order);
    mount_settings_free(&order.settings);
    return code;
}

int mount_helper_code(int code)
{
    switch (code) {
    case EXIT_FINE:
        return MOUNT_EX_FINE;
    case EXIT_USAGE:
        return MOUNT_EX_USAGE;
    case EXIT_BUDGET:
        return MOUNT_EX_SYSTEM;
    default:
        return MOUNT_EX_FAIL;
    }
}

const struct cmd cmd_mount_helper = {
    .name = "mount.weir",
    .called = "mount.weir",
    .operands = "STORE|URL DIR",
    .summary = "Show a store as the plain directory it was made of",
    .text = "This is 'weir mount' as mount(8) calls it: 'mount -t weir STORE DIR', and in fstab\n"
            "  STORE DIR fuse.weir ro,nofail,x-systemd.automount 0 0\n",
    .examples = "  mount.weir llama.weir /mnt/llama -o ro,allow_other\n",
    .option = options,
    .more_help = mount_settings_help,
    .exit_codes = "Exit codes:\n"
                  "  0 fine, 1 usage, 2 no memory or no process left, 32 it cannot be mounted\n",
    .min_operands = 2,
    .max_operands = 2,
    .run = run,
};
