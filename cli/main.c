/* main.c - finds the command and hands over. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "codec/tile.h"
#include "fail.h"
#include "mount_helper.h"
#include "options.h"

static const struct cmd *const commands[] = {&cmd_pack,   &cmd_unpack, &cmd_verify, &cmd_ls,
                                             &cmd_mount,  &cmd_umount, &cmd_fetch,  &cmd_run,
                                             &cmd_doctor, &cmd_bench};

enum { N_COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static void print_help(FILE *to)
{
    fputs("Usage: weir COMMAND [OPTION]... OPERAND...\n"
          "Keep LLM checkpoints compressed, bit for bit, and use them as plain files.\n\n"
          "Commands:\n",
          to);
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(to, "  %-12s %s\n", commands[i]->name, commands[i]->summary);
    fputs("\nOptions:\n"
          "  -h, --help   print this and stop; 'weir COMMAND --help' tells more\n"
          "  --version    print the version and stop\n\n"
          "Examples:\n"
          "  weir pack Llama-3.1-8B llama.weir    make one small store of a checkpoint\n"
          "  weir mount llama.weir /mnt/llama     see it as the plain directory it was\n"
          "  weir unpack llama.weir Llama-3.1-8B  make it plain files again\n",
          to);
}

static void print_version(void)
{
    printf("weir %s (store format 1, kernels %s, %s)\n", WEIR_VERSION,
           weir_kernels_name(weir_kernels_best()), WEIR_FEATURES);
}

/* `code`, unless stdout is lost: a full disk behind a redirection shows only here. */
static int end_output(const struct cmd *cmd, int code)
{
    if (code != EXIT_FINE || (fflush(stdout) == 0 && !ferror(stdout)))
        return code;
    const struct cli cli = {.cmd = cmd, .out = stdout}; /* no JSON: nobody would read it */
    struct weir_diag diag;
    weir_diag_set(&diag, "standard output: %s", strerror(errno));
    return fail(&cli, WEIR_ERR_IO, NULL, &diag);
}

static int run_command(const struct cmd *cmd, int argc, char **argv)
{
    struct cli cli = {.cmd = cmd, .out = stdout};
    int code = EXIT_FINE;
    if (options_parse(&cli, argc, argv, &code))
        code = cmd->run(&cli);
    options_free(&cli);
    return end_output(cmd, code);
}

/* Whoever starts us with 0, 1 or 2 closed must not have a store or /dev/fuse opened there: results
 * would be written into it, and a mount puts /dev/null in its place.  Opened the wrong way round,
 * they still fail when used. */
static void fill_standard_streams(void)
{
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            (void)open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

static bool is_either(const char *word, const char *a, const char *b)
{
    return strcmp(word, a) == 0 || strcmp(word, b) == 0;
}

int main(int argc, char **argv)
{
    const struct cli nobody = {.out = stdout};
    fill_standard_streams();
    if (mount_helper_is(argv[0]) && !(argc > 1 && is_either(argv[1], "--version", "-V")))
        return mount_helper_code(run_command(&cmd_mount_helper, argc, argv));
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (is_either(argv[1], "--version", "-V")) {
        print_version();
        return end_output(NULL, EXIT_FINE);
    }
    bool help = is_either(argv[1], "--help", "-h") || strcmp(argv[1], "help") == 0;
    if (help && argc == 2) {
        print_help(stdout);
        return end_output(NULL, EXIT_FINE);
    }
    int first = help ? 2 : 1;
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(commands[i]->name, argv[first]) != 0)
            continue;
        if (!help)
            return run_command(commands[i], argc - first, argv + first);
        options_help(commands[i], stdout);
        return end_output(commands[i], EXIT_FINE);
    }
    return fail_usage(&nobody,
                      argv[first][0] == '-' ? "unknown option '%s'" : "unknown command '%s'",
                      argv[first]);
}
