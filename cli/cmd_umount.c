/* cmd_umount.c - `weir umount`: takes mounts down, also those whose process has died. */
#include <string.h>

#include "cmd.h"
#include "cmd_mount.h"
#include "fail.h"
#include "options.h"
#include "output.h"

enum { OPT_LAZY };

static const struct cli_option options[] = {
    [OPT_LAZY] = {'l', "lazy", NULL, "also where programs still use it: gone with the last", false},
    {0},
};

/* What is left to do depends on why; fail() knows only the kind of error. */
static void add_advice(weir_err err, struct weir_diag *diag)
{
    char text[sizeof(diag->text)];
    memcpy(text, diag->text, sizeof(text));
    if (err == WEIR_ERR_NOT_FOUND)
        weir_diag_set(diag, "%.400s; 'findmnt -t fuse.weir' lists what is mounted", text);
    else if (err == WEIR_ERR_IO && strstr(text, "busy"))
        weir_diag_set(diag, "%.400s; close the programs that use it, or use -l", text);
    else if (err == WEIR_ERR_IO)
        weir_diag_set(diag, "%.400s; whoever mounted it, or root, can unmount it", text);
}

static int run(struct cli *cli)
{
    weir_err first = WEIR_OK;
    struct weir_diag why = {""};
    json_t *done = json_array(), *failed = json_array();
    for (int i = 0; i < cli->n_operands; i++) {
        const char *dir = cli->operand[i];
        struct weir_diag diag = {""};
        weir_err err = mount_end(dir, option_given(cli, OPT_LAZY), &diag);
        (void)json_array_append_new(err ? failed : done, json_text(dir));
        if (!err)
            continue;
        add_advice(err, &diag);
        if (!first)
            why = diag;
        first = first ? first : err;
        if (!cli->json)
            (void)fail(cli, err, NULL, &diag);
    }
    int code = exit_code_of(first);
    if (cli->json) {
        json_t *lists = json_pack("{s:o,s:o}", "unmounted", done, "failed", failed);
        return first ? fail_with(cli, first, NULL, &why, lists) : print_json(cli, lists);
    }
    json_decref(done);
    json_decref(failed);
    return code;
}

const struct cmd cmd_umount = {
    .name = "umount",
    .operands = "DIR...",
    .summary = "Unmount what weir mount shows",
    .text = "Only mounts of weir are taken down; one whose process has died is one, too. Not that\n"
            "of somebody else, unless you are root.\n",
    .examples = "  weir umount /mnt/llama\n"
                "  weir umount -l /mnt/llama /mnt/qwen\n",
    .option = options,
    .min_operands = 1,
    .max_operands = CLI_ANY_NUMBER,
    .run = run,
};
