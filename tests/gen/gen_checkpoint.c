/* gen_checkpoint.c - makes up a checkpoint: a Hub repository's files around normally distributed
 * BF16 weights with a Llama's tensor names and shapes.
 *
 *     gen_checkpoint DIR [--megabytes N] [--seed S] [--shards K] [--rows]
 *
 * --rows: each row of a matrix has a sigma of its own, and one weight in a thousand is ten times as
 * far out.  2000 megabytes give the shape of TinyLlama-1.1B.
 *
 * The same arguments give the same bytes. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gen_files.h"

enum { MAX_MEGABYTES = 1 << 20, MAX_SHARDS = 999 };

static void add(struct gen_checkpoint *c, const char *name, uint64_t rows, uint64_t columns)
{
    if (c->n_tensors == GEN_MAX_TENSORS)
        return;
    /* Norms sit around one; matrices are as initialised and a little different each. */
    double sigma = columns ? 0.02 * (1 + 0.05 * (double)(c->n_tensors % 7)) : 0.05;
    struct gen_tensor *t = &c->tensor[c->n_tensors++];
    snprintf(t->name, sizeof(t->name), "%s", name);
    t->rows = rows;
    t->columns = columns;
    t->mean = columns ? 0 : 1;
    t->sigma = sigma;
}

static void add_layer(struct gen_checkpoint *c, unsigned layer)
{
    const struct gen_shape *s = &c->shape;
    uint64_t kv = (uint64_t)s->hidden / s->heads * s->kv_heads;
    const struct {
        const char *name;
        uint64_t rows, columns;
    } part[] = {
        {"input_layernorm", s->hidden, 0},
        {"mlp.down_proj", s->hidden, s->intermediate},
        {"mlp.gate_proj", s->intermediate, s->hidden},
        {"mlp.up_proj", s->intermediate, s->hidden},
        {"post_attention_layernorm", s->hidden, 0},
        {"self_attn.k_proj", kv, s->hidden},
        {"self_attn.o_proj", s->hidden, s->hidden},
        {"self_attn.q_proj", s->hidden, s->hidden},
        {"self_attn.v_proj", kv, s->hidden},
    };
    for (size_t i = 0; i < sizeof(part) / sizeof(part[0]); i++) {
        char name[GEN_NAME_BYTES];
        snprintf(name, sizeof(name), "model.layers.%u.%s.weight", layer, part[i].name);
        add(c, name, part[i].rows, part[i].columns);
    }
}

static uint64_t layer_bytes(const struct gen_shape *s)
{
    uint64_t h = s->hidden, kv = h / s->heads * s->kv_heads;
    return 2 * (2 * h + 3 * h * s->intermediate + 2 * kv * h + 2 * h * h);
}

static uint64_t outer_bytes(const struct gen_shape *s)
{
    return 2 * (2 * (uint64_t)s->vocabulary * s->hidden + s->hidden);
}

/* A shape of at least `bytes`: TinyLlama's proportions, narrower when little is asked for. */
static void choose_shape(uint64_t bytes, struct gen_shape *s)
{
    static const struct gen_shape widths[] = {
        {2048, 5632, 0, 32, 4, 32000},
        {1024, 2816, 0, 16, 2, 16000},
        {256, 704, 0, 4, 2, 4000},
        {64, 176, 0, 2, 1, 512},
    };
    size_t n = sizeof(widths) / sizeof(widths[0]), i = 0;
    while (i + 1 < n && outer_bytes(&widths[i]) + 4 * layer_bytes(&widths[i]) > bytes)
        i++;
    *s = widths[i];
    uint64_t outer = outer_bytes(s), layer = layer_bytes(s);
    uint64_t layers = bytes > outer ? (bytes - outer + layer - 1) / layer : 1;
    uint64_t most = (GEN_MAX_TENSORS - 3) / 9;
    s->layers = (unsigned)(layers < most ? layers : most);
}

static void plan(struct gen_checkpoint *c, uint64_t bytes, unsigned shards)
{
    choose_shape(bytes, &c->shape);
    /* The order of a safetensors file that transformers wrote: by name. */
    add(c, "lm_head.weight", c->shape.vocabulary, c->shape.hidden);
    add(c, "model.embed_tokens.weight", c->shape.vocabulary, c->shape.hidden);
    for (unsigned i = 0; i < c->shape.layers; i++)
        add_layer(c, i);
    add(c, "model.norm.weight", c->shape.hidden, 0);
    uint64_t total = 0, at = 0;
    for (size_t i = 0; i < c->n_tensors; i++)
        total += gen_tensor_elements(&c->tensor[i]);
    c->n_shards = 1;
    for (size_t i = 0; i < c->n_tensors; i++) {
        unsigned shard = (unsigned)(at * shards / total);
        /* No shard may stay empty, however large a tensor is. */
        shard = shard < c->n_shards ? shard : c->n_shards - (i == 0);
        c->tensor[i].shard = shard;
        c->n_shards = shard + 1;
        at += gen_tensor_elements(&c->tensor[i]);
    }
}

static bool parse_number(const char *text, uint64_t most, uint64_t *out)
{
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    if (errno || *text < '0' || *text > '9' || *end || v > most)
        return false;
    *out = v;
    return true;
}

static int usage(void)
{
    fputs("usage: gen_checkpoint DIR [--megabytes N] [--seed S] [--shards K] [--rows]\n", stderr);
    return 1;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"megabytes", required_argument, NULL, 'm'},
        {"seed", required_argument, NULL, 's'},
        {"shards", required_argument, NULL, 'k'},
        {"rows", no_argument, NULL, 'r'},
        {0},
    };
    bool by_rows = false;
    uint64_t megabytes = 320, seed = 1, shards = 3;
    for (int key; (key = getopt_long(argc, argv, "m:s:k:r", options, NULL)) != -1;) {
        bool fine = (key == 'm' && parse_number(optarg, MAX_MEGABYTES, &megabytes)) ||
                    (key == 's' && parse_number(optarg, UINT64_MAX, &seed)) ||
                    (key == 'r' && (by_rows = true)) ||
                    (key == 'k' && parse_number(optarg, MAX_SHARDS, &shards) && shards > 0);
        if (!fine)
            return usage();
    }
    if (argc - optind != 1)
        return usage();
    const char *dir = argv[optind];
    if (mkdir(dir, 0777) != 0 && errno != EEXIST) {
        fprintf(stderr, "gen_checkpoint: %s: %s\n", dir, strerror(errno));
        return 2;
    }
    struct gen_checkpoint *c = calloc(1, sizeof(*c));
    if (!c)
        return 2;
    c->seed = seed;
    c->by_rows = by_rows;
    plan(c, megabytes * 1000000, (unsigned)shards);
    bool fine = gen_write_json_files(dir, c);
    for (unsigned i = 0; fine && i < c->n_shards; i++)
        fine = gen_write_shard(dir, c, i);
    free(c);
    return fine ? 0 : 2;
}
