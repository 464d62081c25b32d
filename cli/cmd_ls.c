/* cmd_ls.c - what is in a store and what it takes. */
#include <inttypes.h>
#include <stdlib.h>

#include "born_text.h"
#include "cache_options.h"
#include "cmd.h"
#include "fail.h"
#include "listing.h"
#include "nearness.h"
#include "opened.h"
#include "options.h"
#include "output.h"

enum { OPT_TENSORS, OPT_CACHE, OPT_CACHE_SIZE };

static const struct cli_option options[] = {
    [OPT_TENSORS] = {'t', "tensors", NULL, "list the tensors of each file too", false},
    [OPT_CACHE] = {0, "cache", "DIR", "of a URL: keep what was fetched there, for later", false},
    [OPT_CACHE_SIZE] = {0, "cache-size", "BYTES", "how much of it (default: 2Gi)", false},
    {0},
};

struct job {
    const struct cli *cli;
    struct listing listing;
    bool tensors;
    json_t *entries; /* NULL without --json */
};

static const char *const kind_name[] = {"file", "directory", "link"};

/* Bits that one element takes; 0 without any. */
static double bits_per_weight(const struct weir_tensor *t, const struct usage *u)
{
    uint64_t n = tensor_elements(t);
    return n ? 8.0 * (double)u->stored_bytes / (double)n : 0;
}

/* What the elements of a segment were born as; NULL: nothing else than they are. */
static const char *segment_born(const struct weir_store *store, const struct weir_segment *segment,
                                char buf[BORN_TEXT])
{
    if (segment->object == WEIR_NO_OBJECT)
        return NULL;
    return born_text(weir_store_object(store, segment->object), buf);
}

static void print_tensor(const struct job *job, const struct weir_segment *segment,
                         const struct usage *u)
{
    const struct weir_tensor *t = segment->tensor;
    const struct weir_nearness *near = nearness_of(job->listing.store, segment);
    char buf[BORN_TEXT];
    const char *born = segment_born(job->listing.store, segment, buf);
    char coding[CODING_TEXT], size[HUMAN_BYTES];
    printf("    %9s  %-7s %-12s %7.3f b/w  [", human_bytes(size, (double)u->stored_bytes), t->dtype,
           usage_coding(u, coding), bits_per_weight(t, u));
    for (uint8_t i = 0; i < t->n_dims; i++)
        printf("%s%" PRIu64, i ? ", " : "", t->dim[i]);
    fputs("]  ", stdout);
    print_name(stdout, t->name);
    char text[NEARNESS_TEXT];
    if (near)
        printf("  near-lossless: %s", nearness_text(near, text));
    if (born)
        printf("  (%s)", born);
    putchar('\n');
}

static json_t *tensor_object(const struct job *job, const struct weir_segment *segment,
                             const struct usage *u)
{
    const struct weir_tensor *t = segment->tensor;
    const struct weir_nearness *near = nearness_of(job->listing.store, segment);
    char coding[CODING_TEXT], buf[BORN_TEXT];
    const char *born = segment_born(job->listing.store, segment, buf);
    json_t *shape = json_array();
    for (uint8_t i = 0; i < t->n_dims; i++)
        (void)json_array_append_new(shape, json_integer((json_int_t)t->dim[i]));
    json_t *o = json_pack("{s:o,s:o,s:o,s:o,s:s,s:I,s:I,s:I,s:f}", "near_lossless",
                          near ? nearness_object(near) : json_null(), "name", json_text(t->name),
                          "dtype", json_text(t->dtype), "shape", shape, "coding",
                          usage_coding(u, coding), "plain_bytes", (json_int_t)u->plain_bytes,
                          "absent_bytes", (json_int_t)u->absent_bytes, "stored_bytes",
                          (json_int_t)u->stored_bytes, "bits_per_weight", bits_per_weight(t, u));
    if (o && born)
        (void)json_object_set_new(o, "born", json_string(born));
    return o;
}

static void usage_add(struct usage *sum, const struct usage *u)
{
    sum->plain_bytes += u->plain_bytes;
    sum->stored_bytes += u->stored_bytes;
    sum->absent_bytes += u->absent_bytes;
    sum->shared = sum->shared || u->shared;
    sum->same_as_base = sum->same_as_base || u->same_as_base;
    sum->difference = sum->difference || u->difference;
    sum->estimated = sum->estimated || u->estimated;
    for (size_t i = 0; i < LISTING_MODES; i++)
        sum->tiles[i] += u->tiles[i];
}

/* Tensors come before the line of their file would be complete, so a file is gone through twice:
 * *sum first, the tensors' own figures kept in each[] (NULL: not wanted). */
static weir_err measure(struct job *job, const struct weir_entry *e, struct usage *sum,
                        struct usage *each, struct weir_diag *diag)
{
    for (uint32_t i = 0; i < e->n_segments; i++) {
        struct usage one = {0};
        struct weir_diag detail = {""};
        weir_err err = listing_add(&job->listing, &e->segment[i], &one, &detail);
        if (err) {
            weir_diag_set(diag, "%.300s: %s", e->path, detail.text);
            return err;
        }
        usage_add(sum, &one);
        if (each)
            each[i] = one;
    }
    return WEIR_OK;
}

static void print_entry(const struct weir_entry *e, const struct usage *u)
{
    char plain[HUMAN_BYTES], stored[HUMAN_BYTES], ratio[HUMAN_BYTES] = "-";
    if (u->stored_bytes)
        snprintf(ratio, sizeof(ratio), "%.3fx", ratio_of(u->plain_bytes, u->stored_bytes));
    else if (u->shared || u->same_as_base)
        snprintf(ratio, sizeof(ratio), "same");
    if (u->absent_bytes)
        snprintf(ratio, sizeof(ratio), "%s", u->stored_bytes ? "part" : "absent");
    bool file = e->kind == WEIR_ENTRY_FILE;
    printf("%04o %9s %9s %8s  ", e->mode, file ? human_bytes(plain, (double)e->size) : "-",
           file ? human_bytes(stored, (double)u->stored_bytes) : "-", file ? ratio : "-");
    print_name(stdout, e->path);
    if (e->kind == WEIR_ENTRY_DIR)
        putchar('/');
    if (e->kind == WEIR_ENTRY_LINK) {
        fputs(" -> ", stdout);
        print_name(stdout, e->target);
    }
    putchar('\n');
}

static json_t *entry_object(const struct job *job, const struct weir_entry *e,
                            const struct usage *u, const struct usage *each)
{
    char hex[HEX_DIGEST], coding[CODING_TEXT];
    json_t *o = json_pack("{s:o,s:s,s:i}", "path", json_text(e->path), "kind", kind_name[e->kind],
                          "mode", (int)e->mode);
    if (o && e->kind == WEIR_ENTRY_LINK)
        (void)json_object_set_new(o, "target", json_text(e->target));
    if (!o || e->kind != WEIR_ENTRY_FILE)
        return o;
    json_t *file =
        json_pack("{s:I,s:I,s:I,s:f,s:s,s:s}", "plain_bytes", (json_int_t)e->size, "absent_bytes",
                  (json_int_t)u->absent_bytes, "stored_bytes", (json_int_t)u->stored_bytes, "ratio",
                  ratio_of(u->plain_bytes, u->stored_bytes), "coding", usage_coding(u, coding),
                  "sha256", hex_digest(hex, e->sha256));
    (void)json_object_update(o, file);
    json_decref(file);
    json_t *tensors = each ? json_array() : NULL;
    for (uint32_t i = 0; tensors && i < e->n_segments; i++)
        if (e->segment[i].tensor)
            (void)json_array_append_new(tensors, tensor_object(job, &e->segment[i], &each[i]));
    if (tensors)
        (void)json_object_set_new(o, "tensors", tensors);
    return o;
}

static weir_err list_entry(struct job *job, const struct weir_entry *e, struct weir_diag *diag)
{
    struct usage sum = {0};
    struct usage *each = job->tensors ? calloc(e->n_segments + (size_t)1, sizeof(*each)) : NULL;
    if (job->tensors && !each)
        return WEIR_ERR_NOMEM;
    weir_err err = measure(job, e, &sum, each, diag);
    if (!err && job->entries) {
        (void)json_array_append_new(job->entries, entry_object(job, e, &sum, each));
    } else if (!err) {
        print_entry(e, &sum);
        for (uint32_t i = 0; each && i < e->n_segments; i++)
            if (e->segment[i].tensor)
                print_tensor(job, &e->segment[i], &each[i]);
    }
    free(each);
    return err;
}

/* Takes entries over. */
static int print_totals(const struct cli *cli, const struct weir_store *store, json_t *entries)
{
    const struct weir_store_info *info = weir_store_info(store);
    double ratio = ratio_of(info->plain_bytes, info->stored_bytes);
    char hex[HEX_DIGEST], plain[HUMAN_BYTES], stored[HUMAN_BYTES];
    hex_digest(hex, info->digest);
    const struct near_sum near = near_sum_store(store);
    bool differs = info->features & WEIR_FEATURE_BASE;
    if (entries) {
        json_t *o = json_pack(
            "{s:o,s:I,s:I,s:I,s:I,s:f,s:s,s:o}", "near_lossless", near_sum_object(&near), "extents",
            (json_int_t)info->n_extents, "present_extents", (json_int_t)info->n_present,
            "plain_bytes", (json_int_t)info->plain_bytes, "stored_bytes",
            (json_int_t)info->stored_bytes, "ratio", ratio, "digest", hex, "entries", entries);
        if (o && differs)
            (void)json_object_set_new(o, "base", json_string(hex_digest(hex, info->base_digest)));
        return print_json(cli, o);
    }
    if (!cli->quiet)
        printf("%u entries, %s in %s (%.3fx)\nsha256:%s\n", info->n_entries,
               human_bytes(plain, (double)info->plain_bytes),
               human_bytes(stored, (double)info->stored_bytes), ratio, hex);
    if (!cli->quiet)
        near_sum_print(stdout, &near);
    if (!cli->quiet && differs)
        printf("needs its base, sha256:%s\n", hex_digest(hex, info->base_digest));
    if (!cli->quiet && info->n_present < info->n_extents)
        printf("a part: %u of %u extents, %s, were fetched\n", info->n_present, info->n_extents,
               human_bytes(stored, (double)info->present_bytes));
    return EXIT_FINE;
}

static int run(struct cli *cli)
{
    struct weir_diag diag = {""};
    struct opened in;
    struct remote_options remote;
    if (!cache_options(cli, OPT_CACHE, OPT_CACHE_SIZE, &remote))
        return EXIT_USAGE;
    weir_err err = opened_open(&in, cli->operand[0], &remote, &diag);
    if (err)
        return fail(cli, err, in.name, &diag);
    struct job job = {.cli = cli, .tensors = option_given(cli, OPT_TENSORS)};
    job.entries = cli->json ? json_array() : NULL;
    err = cli->json && !job.entries ? WEIR_ERR_NOMEM
                                    : listing_open(&job.listing, in.store, in.remote != NULL);
    if (!err && !cli->json && !cli->quiet)
        printf("mode      plain    stored    ratio  path\n");
    for (uint32_t i = 0; !err && i < weir_store_info(in.store)->n_entries; i++)
        err = list_entry(&job, weir_store_entry(in.store, i), &diag);
    listing_close(&job.listing);
    if (err)
        json_decref(job.entries);
    int code = err ? fail(cli, err, in.name, &diag) : print_totals(cli, in.store, job.entries);
    opened_close(&in);
    return code;
}

const struct cmd cmd_ls = {
    .name = "ls",
    .operands = "STORE|URL",
    .summary = "List the files and tensors of a store and what they take",
    .text =
        "Sizes are decimal; 'stored' counts payloads, padding and tile heads, not the index. "
        "Bytes\n"
        "that an earlier file or tensor stores already ('same') count there. Of a URL only the\n"
        "index is read, and 'stored' is estimated. 'absent' and 'part' are what was not, or not "
        "all,\n"
        "fetched of a part of a store. 'same as base' and 'difference' need the base that is "
        "named\n"
        "below (weir pack --base). Tensors that are near-lossless (weir pack --profile q8) have "
        "their\n"
        "signal-to-noise ratio and largest error behind their name. What floats were born as, "
        "where\n"
        "weir pack found it, is there too, such as (FP8 E4M3 x 128x128 scales). -q leaves out "
        "heading and "
        "totals.\n",
    .examples =
        "  weir ls llama.weir\n"
        "  weir ls --tensors --json llama.weir | jq '.entries[].tensors[]?.bits_per_weight'\n",
    .option = options,
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
