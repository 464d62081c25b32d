/* cmd_unpack.c - a store back into plain files. */
#include "cache_options.h"
#include "cmd.h"
#include "codec/extract.h"
#include "fail.h"
#include "interrupt.h"
#include "nearness.h"
#include "opened.h"
#include "options.h"
#include "output.h"
#include "progress.h"
#include "tree_out.h"

enum { OPT_FORCE, OPT_THREADS, OPT_BASE, OPT_CACHE, OPT_CACHE_SIZE };

static const struct cli_option options[] = {
    [OPT_FORCE] = {'f', "force", NULL, "replace files that exist", false},
    [OPT_THREADS] = {'j', "threads", "N", "use N threads (default: one per processor)", false},
    [OPT_BASE] = {0, "base", "STORE|URL",
                  "of a store of differences: the one that it differs from (default: beside it)",
                  false},
    [OPT_CACHE] = {0, "cache", "DIR", "of a URL: keep what was fetched there, for later", false},
    [OPT_CACHE_SIZE] = {0, "cache-size", "BYTES", "how much of it (default: 2Gi)", false},
    {0},
};

static weir_err unpack(const struct cli *cli, const struct opened *in, struct tree_out *tree,
                       unsigned n_threads, struct weir_diag *diag)
{
    weir_err err =
        tree_out_open(tree, in->store, cli->operand[1], option_given(cli, OPT_FORCE), diag);
    if (err)
        return err;
    struct progress progress;
    progress_begin(&progress, cli, "unpacking");
    struct weir_extract_options how = {.n_threads = n_threads, .watch = &progress.watch};
    struct weir_sink sink = tree_out_sink(tree);
    err = weir_extract(in->store, &sink, &how, diag);
    progress_end(&progress);
    if (err && tree->diag.text[0])
        *diag = tree->diag;
    return err ? err : tree_out_finish(tree, diag);
}

static int print_result(const struct cli *cli, const struct weir_store *store, double seconds)
{
    const struct weir_store_info *info = weir_store_info(store);
    json_int_t n_files = 0;
    for (uint32_t i = 0; i < info->n_entries; i++)
        n_files += weir_store_entry(store, i)->kind == WEIR_ENTRY_FILE;
    char hex[HEX_DIGEST];
    const struct near_sum near = near_sum_store(store);
    if (cli->json)
        return print_json(
            cli, json_pack("{s:o,s:I,s:I,s:f,s:s,s:f,s:I}", "near_lossless", near_sum_object(&near),
                           "plain_bytes", (json_int_t)info->plain_bytes, "stored_bytes",
                           (json_int_t)info->stored_bytes, "ratio",
                           ratio_of(info->plain_bytes, info->stored_bytes), "digest",
                           hex_digest(hex, info->digest), "seconds", seconds, "files", n_files));
    if (cli->quiet)
        return EXIT_FINE;
    char plain[HUMAN_BYTES], rate[HUMAN_BYTES];
    fprintf(cli->out, "%lld file%s, %s, %.2f s, %s/s\n", (long long)n_files,
            n_files == 1 ? "" : "s", human_bytes(plain, (double)info->plain_bytes), seconds,
            human_bytes(rate, seconds > 0 ? (double)info->plain_bytes / seconds : 0));
    near_sum_print(cli->out, &near);
    return EXIT_FINE;
}

static int run(struct cli *cli)
{
    unsigned n_threads;
    struct remote_options remote;
    if (!option_number(cli, OPT_THREADS, CLI_MAX_THREADS, 0, &n_threads) ||
        !cache_options(cli, OPT_CACHE, OPT_CACHE_SIZE, &remote))
        return EXIT_USAGE;
    struct weir_diag diag = {""};
    struct opened in;
    weir_err err = opened_open_whole(&in, cli->operand[0], cli->value[OPT_BASE], &remote, &diag);
    if (!err)
        err = opened_need_all(&in, &diag);
    if (err) {
        opened_close(&in);
        return fail(cli, err, in.name, &diag);
    }
    interrupt_catch();
    double started = now_seconds();
    struct tree_out tree = {.root = -1};
    err = unpack(cli, &in, &tree, n_threads, &diag);
    /* What went wrong in the folder names the folder already; all else is the store's. */
    const char *subject = tree.diag.text[0] ? NULL : in.name;
    tree_out_close(&tree);
    if (subject)
        (void)opened_explain(&in, err, &diag);
    int code =
        err ? fail(cli, err, subject, &diag) : print_result(cli, in.store, now_seconds() - started);
    opened_close(&in);
    return code;
}

const struct cmd cmd_unpack = {
    .name = "unpack",
    .operands = "STORE|URL DIR",
    .summary = "Make a store plain files again",
    .text =
        "DIR is created if it is not there. Every file gets its name only when its SHA-256 is "
        "right;\n"
        "after an error or ^C, what was written is removed. Links that lie in DIR are never\n"
        "followed. Set-user-ID and set-group-ID bits come back as they were packed: unpack the\n"
        "stores of strangers as an ordinary user. It does not wait for the disk: run sync after\n"
        "it where power may fail.\n",
    .examples = "  weir unpack llama.weir Llama-3.1-8B\n"
                "  weir unpack -f -j4 llama.weir .\n",
    .option = options,
    .min_operands = 2,
    .max_operands = 2,
    .run = run,
};
