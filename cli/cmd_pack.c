/* cmd_pack.c - a directory or a file into a store. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd.h"
#include "codec/pack.h"
#include "fail.h"
#include "interrupt.h"
#include "nearness.h"
#include "opened.h"
#include "options.h"
#include "outfile.h"
#include "output.h"
#include "progress.h"
#include "walk.h"

enum {
    OPT_FORCE,
    OPT_THREADS,
    OPT_KEEP_LINKS,
    OPT_PROFILE,
    OPT_STEP,
    OPT_SNR,
    OPT_RATIO,
    OPT_EMBEDDINGS,
    OPT_BASE
};

static const struct cli_option options[] = {
    [OPT_FORCE] = {'f', "force", NULL, "replace DST if it exists", false},
    [OPT_THREADS] = {'j', "threads", "N", "use N threads (default: one per processor)", false},
    [OPT_KEEP_LINKS] = {0, "keep-links", NULL,
                        "store links that stay inside SRC as links, not what they show", false},
    [OPT_PROFILE] = {0, "profile", "NAME",
                     "lossless (default), or q8: smaller, and weights are near what they were",
                     false},
    [OPT_STEP] = {0, "q8-step", "S", "a step is S x the RMS of its row (default: 0.0808)", false},
    [OPT_SNR] = {0, "q8-snr", "DB", "every tensor has at least DB decibels (default: about 33.5)",
                 false},
    [OPT_RATIO] = {0, "q8-ratio", "R", "every tensor gets R times smaller, about", false},
    [OPT_EMBEDDINGS] = {0, "q8-embeddings", NULL, "embeddings, too", false},
    [OPT_BASE] = {0, "base", "STORE|URL",
                  "store what STORE has, or nearly has, as references to it", false},
    {0},
};

/* All that one run needs, so that one place frees it. */
struct job {
    struct walk *walk;
    struct weir_pack_entry *entry;
    struct outfile out;
    struct opened base;
    struct weir_pack_result result;
    double seconds;
    struct near_wish near;
};

/* What needs the base must not take its place. */
static weir_err spare_base(const struct cli *cli, const struct stat *dst, struct weir_diag *diag)
{
    const char *base = cli->value[OPT_BASE];
    struct stat st;
    if (!base || is_url(base) || stat(base, &st) != 0 || st.st_dev != dst->st_dev ||
        st.st_ino != dst->st_ino)
        return WEIR_OK;
    weir_diag_set(diag, "%s: is the base, which the new store would need; give it another name",
                  cli->operand[1]);
    return WEIR_ERR_INVALID;
}

static weir_err look(const struct cli *cli, struct job *job, struct weir_diag *diag)
{
    struct stat st;
    bool exists;
    weir_err err = outfile_check(cli->operand[1], option_given(cli, OPT_FORCE), &st, &exists, diag);
    if (!err && exists)
        err = spare_base(cli, &st, diag);
    if (err)
        return err;
    struct walk_options how = {.keep_links = option_given(cli, OPT_KEEP_LINKS),
                               .skip = exists && S_ISREG(st.st_mode) ? &st : NULL};
    err = walk_tree(cli->operand[0], &how, &job->walk, diag);
    if (err)
        return err;
    job->entry = walk_entries(job->walk);
    return job->entry ? WEIR_OK : WEIR_ERR_NOMEM;
}

/* What reading the base ends with says that it is the base's. */
static weir_err open_base(const struct cli *cli, struct job *job, struct weir_diag *diag)
{
    const char *base = cli->value[OPT_BASE];
    if (!base)
        return WEIR_OK;
    struct weir_diag detail = {""};
    weir_err err = opened_open(&job->base, base, NULL, &detail);
    if (!err)
        err = opened_need_all(&job->base, &detail);
    if (err)
        weir_diag_set(diag, "the base, %.200s: %.280s", job->base.name,
                      detail.text[0] ? detail.text : weir_err_text(err));
    return err;
}

static weir_err pack(const struct cli *cli, struct job *job, unsigned n_threads,
                     struct weir_diag *diag)
{
    weir_err err = outfile_open(cli->operand[1], option_given(cli, OPT_FORCE), &job->out, diag);
    if (err)
        return err;
    struct progress progress;
    progress_begin(&progress, cli, "packing");
    struct weir_pack_options how = {.n_threads = n_threads,
                                    .watch = &progress.watch,
                                    .base = job->base.store,
                                    .near = job->near.wanted ? &job->near.near : NULL,
                                    .near_embeddings = job->near.embeddings};
    struct weir_output to = {&job->out, outfile_write};
    err = weir_pack(job->entry, job->walk->n, &to, &how, &job->result, diag);
    progress_end(&progress);
    if (err && job->out.diag.text[0])
        *diag = job->out.diag;
    /* The command line is fine: it is the tree that a store cannot hold. */
    if (err == WEIR_ERR_INVALID)
        err = WEIR_ERR_UNSUPPORTED;
    if (!err)
        err = outfile_commit(&job->out, diag);
    job->seconds = now_seconds() - progress.started;
    return err;
}

static int print_result(const struct cli *cli, const struct job *job)
{
    const struct weir_pack_result *r = &job->result;
    double ratio = ratio_of(r->plain_bytes, r->stored_bytes);
    char hex[HEX_DIGEST];
    hex_digest(hex, r->digest);
    const struct near_sum near = {r->n_near, r->near_bytes, r->nearness};
    if (cli->json)
        return print_json(
            cli, json_pack("{s:o,s:I,s:I,s:f,s:s,s:f,s:I,s:I,s:I,s:b,s:I}", "near_lossless",
                           near_sum_object(&near), "plain_bytes", (json_int_t)r->plain_bytes,
                           "stored_bytes", (json_int_t)r->stored_bytes, "ratio", ratio, "digest",
                           hex, "seconds", job->seconds, "files", (json_int_t)job->walk->n_files,
                           "directories", (json_int_t)job->walk->n_dirs, "links",
                           (json_int_t)job->walk->n_links, "needs_base", (int)r->needs_base,
                           "same_bytes", (json_int_t)r->same_bytes));
    if (cli->quiet)
        return EXIT_FINE;
    if (r->needs_base)
        fprintf(cli->out, "needs its base, sha256:%s\n",
                hex_digest(hex, weir_store_info(job->base.store)->digest));
    hex_digest(hex, r->digest);
    char plain[HUMAN_BYTES], stored[HUMAN_BYTES], rate[HUMAN_BYTES];
    double speed = job->seconds > 0 ? (double)r->plain_bytes / job->seconds : 0;
    fprintf(cli->out, "%zu file%s, %s -> %s (%.3fx), %.2f s, %s/s\nsha256:%s\n", job->walk->n_files,
            job->walk->n_files == 1 ? "" : "s", human_bytes(plain, (double)r->plain_bytes),
            human_bytes(stored, (double)r->stored_bytes), ratio, job->seconds,
            human_bytes(rate, speed), hex);
    if (job->near.wanted && !near.n)
        fprintf(cli->out, "lossless: no tensor gets smaller by --profile q8\n");
    near_sum_print(cli->out, &near);
    return EXIT_FINE;
}

static int run(struct cli *cli)
{
    unsigned n_threads;
    static const struct near_options near = {OPT_PROFILE, OPT_STEP, OPT_SNR, OPT_RATIO,
                                             OPT_EMBEDDINGS};
    struct job job = {.out = {.fd = -1}};
    if (!option_number(cli, OPT_THREADS, CLI_MAX_THREADS, 0, &n_threads) ||
        !near_wish_read(cli, &near, &job.near))
        return EXIT_USAGE;
    if (job.near.wanted && option_given(cli, OPT_BASE))
        return fail_usage(cli, "--base is lossless: not with --profile q8");
    if (strcmp(cli->operand[1], "-") == 0)
        cli->out = stderr;
    interrupt_catch();
    struct weir_diag diag = {""};
    weir_err err = look(cli, &job, &diag);
    if (!err)
        err = open_base(cli, &job, &diag);
    if (!err)
        err = pack(cli, &job, n_threads, &diag);
    outfile_close(&job.out);
    int code = err ? fail(cli, err, diag.text[0] ? NULL : cli->operand[0], &diag)
                   : print_result(cli, &job);
    free(job.entry);
    walk_free(job.walk);
    opened_close(&job.base);
    return code;
}

const struct cmd cmd_pack = {
    .name = "pack",
    .operands = "SRC DST",
    .summary = "Make one small store of a checkpoint, a directory or a file",
    .text =
        "SRC is packed whole: safetensors and GGUF files tensor by tensor, everything else as it\n"
        "is, with directories and permissions. Symbolic links are followed. DST appears under its\n"
        "name only when it is complete; '-' is stdout (what is said then goes to stderr).\n"
        "The same SRC gives the same bytes, whatever the number of threads.\n"
        "\n"
        "--profile q8 is near-lossless, not lossless: each weight of a linear layer becomes a "
        "multiple\n"
        "of a step of its row, within half a step of what it was (what is out of that range, "
        "infinite\n"
        "or no number stays as it is). That holds for floats of 16 and 32 bits in two dimensions "
        "and\n"
        "more, the layer that gives the logits among them where it is one of its own; norms, "
        "biases,\n"
        "small tensors, embeddings and all other files stay lossless. What comes out of the store "
        "is\n"
        "the same for ever; ls, verify, unpack and a mount say how near it is.\n"
        "\n"
        "With --base, tensors and files that STORE has are not stored again, and tensors of the "
        "same\n"
        "name, type and shape as differences where that is smaller. Whoever reads DST needs STORE, "
        "the\n"
        "very same, which may itself need no base. If nothing is alike, DST needs no base.\n",
    .examples = "  weir pack Llama-3.1-8B llama.weir\n"
                "  weir pack ~/.cache/huggingface/hub/models--gpt2/snapshots/* gpt2.weir\n"
                "  weir pack --profile q8 --q8-snr 40 Llama-3.1-8B llama-q8.weir\n"
                "  weir pack model.gguf - | ssh host 'cat > model.weir'\n",
    .option = options,
    .min_operands = 2,
    .max_operands = 2,
    .run = run,
};
