#include "options.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"

enum {
    KEY_JSON = 0x100,
    KEY_OWN, /* + position in the command's table */
    N_COMMON = 3,
};

static const char exit_codes[] =
    "Exit codes:\n"
    "  0 fine, 1 usage, 2 input or output, 3 corrupt or not matching, 4 unsupported,\n"
    "  5 network, 6 out of memory or budget, 130 interrupted\n";

static int count_own(const struct cmd *cmd)
{
    int n = 0;
    while (cmd->option && cmd->option[n].name)
        n++;
    assert(n <= CLI_MAX_OPTIONS);
    return n;
}

/* What getopt_long wants, from the table. */
struct getopt_tables {
    char letters[2 + 2 * (N_COMMON + CLI_MAX_OPTIONS)];
    struct option option[N_COMMON + CLI_MAX_OPTIONS + 1];
};

static void make_tables(const struct cmd *cmd, struct getopt_tables *t)
{
    static const struct option common[N_COMMON] = {
        {"quiet", no_argument, NULL, 'q'},
        {"json", no_argument, NULL, KEY_JSON},
        {"help", no_argument, NULL, 'h'},
    };
    memset(t, 0, sizeof(*t));
    memcpy(t->option, common, sizeof(common));
    size_t at = 0;
    for (const char *c = ":qh"; *c; c++)
        t->letters[at++] = *c;
    for (int i = 0; i < count_own(cmd); i++) {
        const struct cli_option *o = &cmd->option[i];
        t->option[N_COMMON + i] =
            (struct option){o->name, o->arg ? required_argument : no_argument, NULL, KEY_OWN + i};
        if (!o->letter)
            continue;
        t->letters[at++] = o->letter;
        if (o->arg)
            t->letters[at++] = ':';
    }
}

/* Which of the command's options getopt's key stands for; -1: none. */
static int own_index(const struct cmd *cmd, int key)
{
    int n = count_own(cmd);
    if (key >= KEY_OWN && key < KEY_OWN + n)
        return key - KEY_OWN;
    for (int i = 0; i < n; i++)
        if (cmd->option[i].letter && cmd->option[i].letter == key)
            return i;
    return -1;
}

static bool keep_given(struct cli *cli, int i, const char *arg)
{
    struct cli_given *more = realloc(cli->given, (cli->n_given + 1) * sizeof(*more));
    if (!more)
        return false;
    cli->given = more;
    more[cli->n_given] = (struct cli_given){i, strdup(arg)};
    return more[cli->n_given].text && ++cli->n_given;
}

static bool keep_value(struct cli *cli, int i, const char *arg)
{
    if (cli->cmd->option[i].repeats && !keep_given(cli, i, arg))
        return false;
    char *old = cli->value[i];
    bool join = old && cli->cmd->option[i].joins;
    size_t bytes = strlen(arg) + 1 + (join ? strlen(old) + 1 : 0);
    char *value = malloc(bytes);
    if (!value)
        return false;
    char with[] = ",";
    if (cli->cmd->option[i].with)
        with[0] = cli->cmd->option[i].with;
    snprintf(value, bytes, "%s%s%s", join ? old : "", join ? with : "", arg);
    free(old);
    cli->value[i] = value;
    return true;
}

static int bad_option(const struct cli *cli, int key, char **argv)
{
    const char *word = argv[optind - 1];
    if (optopt && own_index(cli->cmd, optopt) < 0 && optopt < KEY_JSON && optopt != 'q' &&
        optopt != 'h')
        return fail_usage(cli, "unknown option '-%c'", optopt);
    if (key == ':')
        return fail_usage(cli, "option '%s' needs an argument", word);
    /* optopt is set for a flag given as --flag=value. */
    return fail_usage(cli, optopt ? "option '%s' takes no argument" : "unknown option '%s'", word);
}

/* One answer of getopt_long; false: stop with *code. */
static bool take(struct cli *cli, int key, char **argv, int *code)
{
    switch (key) {
    case 'q':
        cli->quiet = true;
        return true;
    case KEY_JSON:
        cli->json = true;
        return true;
    case 'h':
        options_help(cli->cmd, stdout);
        *code = EXIT_FINE;
        return false;
    default:
        break;
    }
    int i = own_index(cli->cmd, key);
    if (i < 0) {
        *code = bad_option(cli, key, argv);
        return false;
    }
    if (keep_value(cli, i, optarg ? optarg : ""))
        return true;
    *code = fail(cli, WEIR_ERR_NOMEM, NULL, NULL);
    return false;
}

/* An error on the command line is an object too, even if --json stands after it. */
static bool wants_json(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--json") == 0)
            return true;
    return false;
}

bool options_parse(struct cli *cli, int argc, char **argv, int *code)
{
    struct getopt_tables tables;
    make_tables(cli->cmd, &tables);
    cli->json = wants_json(argc, argv);
    opterr = 0;
    optind = 1;
    for (int key; (key = getopt_long(argc, argv, tables.letters, tables.option, NULL)) != -1;)
        if (!take(cli, key, argv, code))
            return false;

    int n = argc - optind;
    if (n < cli->cmd->min_operands)
        *code = fail_usage(cli, n ? "needs %s: one is missing" : "needs %s", cli->cmd->operands);
    else if (n > cli->cmd->max_operands)
        *code =
            fail_usage(cli, "'%s' is one operand too many", argv[optind + cli->cmd->max_operands]);
    if (n < cli->cmd->min_operands || n > cli->cmd->max_operands)
        return false;
    cli->n_operands = n;
    cli->operand = argv + optind;
    return true;
}

void options_free(struct cli *cli)
{
    for (int i = 0; i < CLI_MAX_OPTIONS; i++) {
        free(cli->value[i]);
        cli->value[i] = NULL;
    }
    for (size_t i = 0; i < cli->n_given; i++)
        free(cli->given[i].text);
    free(cli->given);
    cli->given = NULL;
    cli->n_given = 0;
}

const char *option_nth(const struct cli *cli, int i, size_t n)
{
    for (size_t at = 0; at < cli->n_given; at++)
        if (cli->given[at].option == i && n-- == 0)
            return cli->given[at].text;
    return NULL;
}

bool option_given(const struct cli *cli, int i)
{
    return cli->value[i] != NULL;
}

bool option_number(const struct cli *cli, int i, unsigned max, unsigned otherwise, unsigned *out)
{
    const char *text = cli->value[i];
    if (!text) {
        *out = otherwise;
        return true;
    }
    char *end = NULL;
    errno = 0;
    unsigned long v = text[0] >= '0' && text[0] <= '9' ? strtoul(text, &end, 10) : 0;
    if (errno || v == 0 || v > max || !end || *end) {
        fail_usage(cli, "--%s is a number from 1 to %u, not '%s'", cli->cmd->option[i].name, max,
                   text);
        return false;
    }
    *out = (unsigned)v;
    return true;
}

static uint64_t unit_bytes(const char *unit)
{
    static const struct {
        const char *name;
        uint64_t bytes;
    } known[] = {
        {"", 1},           {"k", 1000},      {"K", 1000},      {"M", 1000000},
        {"G", 1000000000}, {"Ki", 1U << 10}, {"Mi", 1U << 20}, {"Gi", 1U << 30},
    };
    size_t n = strlen(unit);
    if (n && unit[n - 1] == 'B')
        n--;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strlen(known[i].name) == n && strncmp(known[i].name, unit, n) == 0)
            return known[i].bytes;
    return 0;
}

bool option_bytes(const struct cli *cli, int i, uint64_t otherwise, uint64_t *out)
{
    const char *text = cli->value[i];
    if (!text) {
        *out = otherwise;
        return true;
    }
    char *end = NULL;
    errno = 0;
    unsigned long long v = text[0] >= '0' && text[0] <= '9' ? strtoull(text, &end, 10) : 0;
    uint64_t unit = end ? unit_bytes(end) : 0;
    if (errno || v == 0 || unit == 0 || v > UINT64_MAX / unit) {
        fail_usage(cli, "--%s is a size such as 64M or 1GiB, not '%s'", cli->cmd->option[i].name,
                   text);
        return false;
    }
    *out = v * unit;
    return true;
}

static void help_option(FILE *to, const struct cli_option *o)
{
    char left[64];
    snprintf(left, sizeof(left), "%s--%s%s%s", o->letter ? "" : "    ", o->name,
             o->arg ? (o->letter ? " " : "=") : "", o->arg ? o->arg : "");
    if (o->letter)
        fprintf(to, "  -%c, %-20s %s\n", o->letter, left, o->help);
    else
        fprintf(to, "  %-24s %s\n", left, o->help);
}

void options_help(const struct cmd *cmd, FILE *to)
{
    static const struct cli_option common[N_COMMON] = {
        {.letter = 'q', .name = "quiet", .help = "say less: no summary, no progress"},
        {.name = "json", .help = "print results and errors as JSON on stdout"},
        {.letter = 'h', .name = "help", .help = "print this and stop"},
    };
    fprintf(to, "Usage: %s%s [OPTION]... %s\n%s.\n\n%s\nOptions:\n", cmd->called ? "" : "weir ",
            cmd->called ? cmd->called : cmd->name, cmd->operands, cmd->summary, cmd->text);
    for (int i = 0; i < count_own(cmd); i++)
        help_option(to, &cmd->option[i]);
    for (int i = 0; i < N_COMMON; i++)
        help_option(to, &common[i]);
    if (cmd->more_help)
        cmd->more_help(to);
    fprintf(to, "\nExamples:\n%s\n%s", cmd->examples,
            cmd->exit_codes ? cmd->exit_codes : exit_codes);
}
