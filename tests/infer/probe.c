/* probe.c - a model run on given ids, for the scripts beside it.
 *
 *     infer_probe SRC [OPTION...] ID...        SRC: a store, a directory, a file of weights
 *       -n N   this many ids more, greedily    -t N   threads        -c N   tokens of a pass
 *       -b N   as many texts, all the same     -k NAME  kernels      -d DIR  inside the store
 *       -l FILE  all logits, F32               -h     KV in BF16     -w FILE  of weights
 *       -K BYTES  of weights are kept          -P     ... as they are
 * Prints the ids that it chose, and the hash of all logits: those of every position. */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "infer/graph.h"
#include "infer/hash.h"

enum { MAX_FILES = 64, MAX_IDS = 65536, MAX_PATH = 4096 };

struct opened {
    struct weir_source source[MAX_FILES];
    struct weir_checkpoint_file file[MAX_FILES];
    char name[MAX_FILES][256];
    size_t n;
    struct weir_store *store;
    struct weir_checkpoint *ck;
    struct weir_model *model;
};

struct wanted {
    struct weir_graph_options graph;
    const char *weights, *dir, *logits;
    uint32_t n_more;
    uint32_t id[MAX_IDS];
    size_t n_ids;
};

static void check(weir_err err, const struct weir_diag *diag, const char *what)
{
    if (err) {
        fprintf(stderr, "%s: %s: %s\n", what, weir_err_text(err), diag->text);
        exit(1);
    }
}

static void add_file(struct opened *o, const char *dir, const char *name)
{
    struct weir_diag diag = {""};
    char path[MAX_PATH];
    struct stat st;
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode) || o->n == MAX_FILES)
        return;
    check(weir_source_open_file(path, &o->source[o->n], &diag), &diag, path);
    (void)snprintf(o->name[o->n], sizeof(o->name[0]), "%s", name);
    o->file[o->n] = (struct weir_checkpoint_file){o->name[o->n], &o->source[o->n]};
    o->n++;
}

static void open_folder(struct opened *o, const char *path, const char *weights)
{
    struct weir_diag diag = {""};
    DIR *dir = opendir(path);
    struct dirent *e;
    while (dir && (e = readdir(dir)))
        add_file(o, path, e->d_name);
    if (dir)
        closedir(dir);
    check(weir_checkpoint_from_files(o->file, o->n, weights, &o->ck, &diag), &diag, path);
}

static void open_model(struct opened *o, const char *src, const struct wanted *w)
{
    struct weir_diag diag = {""};
    struct weir_model_config config;
    struct stat st;
    size_t n = strlen(src);
    if (stat(src, &st) == 0 && S_ISDIR(st.st_mode)) {
        open_folder(o, src, w->weights);
    } else if (n > 5 && strcmp(src + n - 5, ".weir") == 0) {
        check(weir_source_open_file(src, &o->source[o->n++], &diag), &diag, src);
        check(weir_store_open(&o->source[0], &o->store, &diag), &diag, src);
        check(weir_checkpoint_from_store(o->store, w->dir, w->weights, &o->ck, &diag), &diag, src);
    } else {
        char folder[MAX_PATH];
        const char *slash = strrchr(src, '/');
        (void)snprintf(folder, sizeof(folder), "%.*s", (int)(slash ? slash - src : 1),
                       slash ? src : ".");
        open_folder(o, folder, slash ? slash + 1 : src);
    }
    check(weir_model_config_read(o->ck, &config, &diag), &diag, src);
    check(weir_model_open(o->ck, &config, &o->model, &diag), &diag, src);
}

static void close_model(struct opened *o)
{
    weir_model_free(o->model);
    weir_checkpoint_free(o->ck);
    weir_store_free(o->store);
    for (size_t i = 0; i < o->n; i++)
        weir_source_close(&o->source[i]);
}

static uint32_t greatest(const float *logits, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++)
        if (logits[i] > logits[best])
            best = i;
    return best;
}

struct out {
    FILE *file;
    struct weir_logits_hash *hash;
    uint32_t vocab;
};

/* The i-th token of a pass is of text i mod n_texts; only the first text's logits count, but the
 * others' must be the same. */
static uint32_t take(const struct weir_graph *g, size_t n, uint32_t n_texts, struct out *out)
{
    const size_t bytes = out->vocab * sizeof(float);
    for (size_t i = 0; i < n; i++) {
        const float *logits = weir_graph_logits(g, i);
        if (n_texts > 1 && i % n_texts) {
            if (memcmp(logits, weir_graph_logits(g, i - i % n_texts), bytes) != 0) {
                fprintf(stderr, "text %zu differs\n", i % n_texts);
                exit(1);
            }
            continue;
        }
        weir_logits_hash_add(out->hash, logits, out->vocab);
        if (out->file && fwrite(logits, 1, bytes, out->file) != bytes)
            exit(1);
    }
    return greatest(weir_graph_logits(g, n - 1), out->vocab);
}

static void run(const struct weir_model *model, struct wanted *w, struct out *out)
{
    struct weir_diag diag = {""};
    struct weir_graph *g;
    const uint32_t n_texts = w->graph.n_sequences ? w->graph.n_sequences : 1;
    uint32_t at_once = w->graph.chunk / n_texts, next = 0;
    struct weir_graph_token *token = calloc(w->graph.chunk, sizeof(*token));
    if (!token)
        exit(1);
    check(weir_graph_new(model, &w->graph, &g, &diag), &diag, "graph");
    for (uint32_t s = 0; s < n_texts; s++)
        weir_graph_begin(g, s, (uint32_t)w->n_ids + w->n_more);
    for (size_t at = 0; at < w->n_ids || w->n_more; at += at_once) {
        uint32_t n = w->n_ids - at < at_once ? (uint32_t)(w->n_ids - at) : at_once;
        if (at >= w->n_ids) {
            printf("%u ", next);
            w->id[w->n_ids++] = next;
            w->n_more--;
            at_once = n = 1;
        }
        for (uint32_t i = 0; i < n * n_texts; i++)
            token[i] = (struct weir_graph_token){n_texts > 1 ? i % n_texts : 0,
                                                 w->id[at + (n_texts > 1 ? i / n_texts : i)], true};
        check(weir_graph_run(g, token, (size_t)n * n_texts, &diag), &diag, "run");
        next = take(g, (size_t)n * n_texts, n_texts, out);
        if (at + n >= w->n_ids)
            at = w->n_ids - at_once;
    }
    weir_graph_free(g);
    free(token);
}

static void read_options(int argc, char **argv, struct wanted *w)
{
    int c;
    while ((c = getopt(argc, argv, "n:t:c:b:k:d:l:hw:K:P")) != -1) {
        uint32_t n = optarg ? (uint32_t)strtoul(optarg, NULL, 10) : 0;
        switch (c) {
        case 'n':
            w->n_more = n;
            break;
        case 't':
            w->graph.n_threads = n;
            break;
        case 'c':
            w->graph.chunk = n;
            break;
        case 'b':
            w->graph.n_sequences = n;
            break;
        case 'k':
            w->graph.kernels = optarg;
            break;
        case 'd':
            w->dir = optarg;
            break;
        case 'l':
            w->logits = optarg;
            break;
        case 'h':
            w->graph.kv_bf16 = true;
            break;
        case 'K':
            w->graph.keep_bytes = optarg ? strtoull(optarg, NULL, 10) : 0;
            break;
        case 'P':
            w->graph.keep_plain = true;
            break;
        case 'w':
            w->weights = optarg;
            break;
        default:
            exit(2);
        }
    }
    for (int i = optind + 1; i < argc && w->n_ids < MAX_IDS / 2; i++)
        w->id[w->n_ids++] = (uint32_t)strtoul(argv[i], NULL, 10);
    w->graph.chunk *= w->graph.n_sequences;
    w->graph.n_logits = w->graph.chunk;
    w->graph.context = (uint32_t)w->n_ids + w->n_more;
}

int main(int argc, char **argv)
{
    static struct wanted w = {.graph = {.n_sequences = 1, .chunk = 64}, .dir = ""};
    static struct opened o;
    struct out out = {0};
    read_options(argc, argv, &w);
    if (optind >= argc || w.n_ids == 0 || w.graph.chunk == 0)
        return 2;
    open_model(&o, argv[optind], &w);
    out.vocab = o.model->config.vocab;
    out.file = w.logits ? fopen(w.logits, "wb") : NULL;
    if (weir_logits_hash_new(&out.hash))
        return 1;
    run(o.model, &w, &out);
    printf("\n%016llx\n", (unsigned long long)weir_logits_hash_value(out.hash));
    if (out.file && fclose(out.file) != 0)
        return 1;
    weir_logits_hash_free(out.hash);
    close_model(&o);
    return 0;
}
