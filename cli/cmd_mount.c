/* cmd_mount.c - the command line of `weir mount`. */
#include "cmd_mount.h"

#include "cmd.h"
#include "fail.h"
#include "options.h"

enum { OPT_FOREGROUND, OPT_OPTIONS, OPT_CACHE, OPT_CACHE_SIZE, OPT_THREADS, OPT_BASE };

static const struct cli_option options[] = {
    [OPT_FOREGROUND] = {'f', "foreground", NULL, "stay here until it is unmounted", false},
    [OPT_OPTIONS] = {'o', "options", "LIST", "mount options, separated by ',' (see below)", true},
    [OPT_CACHE] = {0, "cache", "DIR", "the same as -o cache_dir=DIR; BYTES: as -o cache=BYTES",
                   false},
    [OPT_CACHE_SIZE] = {0, "cache-size", "BYTES", "the same as -o cache_size=BYTES", false},
    [OPT_THREADS] = {'j', "threads", "N", "the same as -o threads=N", false},
    [OPT_BASE] = {0, "base", "STORE|URL", "the same as -o base=STORE", false},
    {0},
};

static weir_err read_settings(const struct cli *cli, struct mount_settings *s,
                              struct weir_diag *diag)
{
    weir_err err = WEIR_OK;
    if (option_given(cli, OPT_OPTIONS))
        err = mount_settings_add(s, cli->value[OPT_OPTIONS], 0, diag);
    if (!err && option_given(cli, OPT_CACHE))
        err = mount_settings_set(
            s, mount_settings_is_bytes(cli->value[OPT_CACHE]) ? "cache" : "cache_dir",
            cli->value[OPT_CACHE], diag);
    if (!err && option_given(cli, OPT_CACHE_SIZE))
        err = mount_settings_set(s, "cache_size", cli->value[OPT_CACHE_SIZE], diag);
    if (!err && option_given(cli, OPT_THREADS))
        err = mount_settings_set(s, "threads", cli->value[OPT_THREADS], diag);
    if (!err && option_given(cli, OPT_BASE))
        err = mount_settings_set(s, "base", cli->value[OPT_BASE], diag);
    return err;
}

static int run(struct cli *cli)
{
    struct mount_order order = {.store = cli->operand[0],
                                .dir = cli->operand[1],
                                .foreground = option_given(cli, OPT_FOREGROUND)};
    struct weir_diag diag = {""};
    int code;
    weir_err err = read_settings(cli, &order.settings, &diag);
    if (err == WEIR_ERR_INVALID)
        code = fail_usage(cli, "%s", diag.text);
    else
        code = err ? fail(cli, err, NULL, &diag) : mount_start(cli, &order);
    mount_settings_free(&order.settings);
    return code;
}

const struct cmd cmd_mount = {
    .name = "mount",
    .operands = "STORE|URL DIR",
    .summary = "Show a store as the plain directory it was made of",
    .text =
        "DIR is an existing directory; it shows the files read-only, decoded as they are read.\n"
        "Returns when the mount answers, and 'weir umount DIR' ends it; 'fusermount3 -u DIR' and\n"
        "umount(8) do as well. With -f it stays in the foreground and SIGINT or SIGTERM unmounts.\n"
        "Of a URL, what is read is fetched and verified before anybody sees it; with --cache DIR\n"
        "it is also kept in DIR, a folder that several processes may share. A DIR that reads like\n"
        "a number of bytes is written ./DIR.\n"
        "DIR may be /dev/fd/N, where N is /dev/fuse, mounted already by whoever started weir.\n",
    .examples = "  weir mount llama.weir /mnt/llama\n"
                "  weir mount --cache ~/.cache/weir https://host/llama.weir /mnt/llama\n"
                "  weir mount -f -o allow_other,cache=256M llama.weir /mnt/llama\n",
    .option = options,
    .more_help = mount_settings_help,
    .min_operands = 2,
    .max_operands = 2,
    .run = run,
};
