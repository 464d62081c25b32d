#include "fail.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "output.h"

static const struct {
    enum exit_code code;
    const char *kind, *advice;
} meaning[] = {
    [WEIR_OK] = {EXIT_FINE, "ok", NULL},
    [WEIR_ERR_INVALID] = {EXIT_USAGE, "usage", NULL},
    [WEIR_ERR_IO] = {EXIT_IO, "io", "check the disk and the permissions"},
    [WEIR_ERR_NOT_FOUND] = {EXIT_IO, "not_found", "check the name"},
    [WEIR_ERR_CHANGED] = {EXIT_IO, "changed", "start again when nothing writes to it"},
    [WEIR_ERR_CORRUPT] = {EXIT_CORRUPT, "corrupt", "get it again from where it came from"},
    [WEIR_ERR_MISMATCH] = {EXIT_CORRUPT, "mismatch",
                           "keep both sides until you know which is right"},
    [WEIR_ERR_UNSUPPORTED] = {EXIT_UNSUPPORTED, "unsupported", "a newer weir may know it"},
    [WEIR_ERR_NETWORK] = {EXIT_NETWORK, "network", "try again later"},
    [WEIR_ERR_NOMEM] = {EXIT_BUDGET, "out_of_memory", "use fewer threads (-j) or free some memory"},
    [WEIR_ERR_CANCELLED] = {EXIT_INTERRUPTED, "interrupted", NULL},
    [WEIR_ERR_ABSENT] = {EXIT_IO, "absent", "'weir fetch URL STORE' fetches what the store lacks"},
};

static size_t known(weir_err err)
{
    size_t n = sizeof(meaning) / sizeof(meaning[0]);
    return (size_t)err < n ? (size_t)err : (size_t)WEIR_ERR_IO;
}

enum exit_code exit_code_of(weir_err err)
{
    return meaning[known(err)].code;
}

const char *err_kind(weir_err err)
{
    return meaning[known(err)].kind;
}

/* "weir", "weir NAME" or "mount.weir". */
static const char *called(const struct cli *cli, char *buf, size_t bytes)
{
    const struct cmd *cmd = cli->cmd;
    if (cmd && cmd->called)
        return cmd->called;
    snprintf(buf, bytes, "weir%s%s", cmd ? " " : "", cmd ? cmd->name : "");
    return buf;
}

static void print_error(const struct cli *cli, weir_err err, const char *message, json_t *more)
{
    char program[64];
    fprintf(stderr, "%s: ", called(cli, program, sizeof(program)));
    print_escaped(stderr, message);
    fputc('\n', stderr);
    json_t *o = !cli->json
                    ? NULL
                    : json_pack("{s:{s:i,s:s,s:o*}}", "error", "code", (int)exit_code_of(err),
                                "kind", err_kind(err), "message", json_text(message));
    if (o && more)
        (void)json_object_update(o, more);
    /* Nothing is left to do about an error in reporting an error. */
    if (o && json_dumpf(o, cli->out, JSON_COMPACT) == 0)
        fputc('\n', cli->out);
    json_decref(o);
    json_decref(more);
}

/* NULL: it is no more a GPU's error than any other. */
static const char *gpu_advice(weir_err err)
{
    switch (err) {
    case WEIR_ERR_NOT_FOUND:
    case WEIR_ERR_UNSUPPORTED:
        return "--device cpu needs no GPU";
    case WEIR_ERR_IO:
        return "see what the driver logged (dmesg), or use --device cpu";
    case WEIR_ERR_NOMEM:
        return "give it more with --vram, or less to do with -c, -u or -b";
    default:
        return NULL;
    }
}

void fail_advise_gpu(weir_err err, struct weir_diag *diag)
{
    const char *advice = gpu_advice(err);
    const size_t n = strlen(diag->text), room = sizeof(diag->text);
    if (!advice || strstr(diag->text, "; "))
        return;
    (void)snprintf(diag->text + n, room - n, "%s; %s", n ? "" : weir_err_text(err), advice);
}

int fail_with(const struct cli *cli, weir_err err, const char *subject,
              const struct weir_diag *diag, struct json_t *more)
{
    const char *text = err == WEIR_ERR_CANCELLED ? "interrupted"
                       : diag && diag->text[0]   ? diag->text
                                                 : weir_err_text(err);
    const char *advice = meaning[known(err)].advice;
    bool named =
        !subject || err == WEIR_ERR_CANCELLED || strncmp(text, subject, strlen(subject)) == 0;
    bool advised = !advice || strstr(text, "; ");

    char message[sizeof(diag->text) + 4096 + 128];
    snprintf(message, sizeof(message), "%s%s%s%s%s", named ? "" : subject, named ? "" : ": ", text,
             advised ? "" : "; ", advised ? "" : advice);
    print_error(cli, err, message, more);
    return (int)exit_code_of(err);
}

int fail(const struct cli *cli, weir_err err, const char *subject, const struct weir_diag *diag)
{
    return fail_with(cli, err, subject, diag, NULL);
}

int fail_usage(const struct cli *cli, const char *format, ...)
{
    char text[512], message[640], program[64];
    va_list args;
    va_start(args, format);
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): it began a line above */
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    snprintf(message, sizeof(message), "%s; try '%s --help'", text,
             called(cli, program, sizeof(program)));
    print_error(cli, WEIR_ERR_INVALID, message, NULL);
    return EXIT_USAGE;
}
