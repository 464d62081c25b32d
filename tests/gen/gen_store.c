/* gen_store.c - makes up a store of a large model without writing the model first.
 *
 *     gen_store STORE --shape NAME [--layers N] [--distinct N] [--seed S] [--tokenizer FILE]
 *     gen_store STORE --shape HIDDEN,INTERMEDIATE,LAYERS,HEADS,KV_HEADS,VOCABULARY ...
 *
 * NAME: tinyllama, llama-8b (Llama 3.1's), llama-70b.  Weights are normally distributed BF16, made
 * in memory and packed from there; layer i has the matrices of layer i mod --distinct, which the
 * store holds once, so that a model of any size fits on a small disk and still loads as itself.
 * Files in the store: config.json, model.safetensors and, if it was given, tokenizer.json. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/gen/normal.h"
#include "codec/pack.h"

enum {
    ELEM_BYTES = 2,
    N_ROLES = 9, /* tensors of a layer */
    MAX_LAYERS = 1000,
    MAX_TENSORS = N_ROLES * MAX_LAYERS + 3,
    MAX_THREADS = 64,
    HEADER_BYTES = 16 << 20,
    CONFIG_BYTES = 2048,
    ALIGN = 8,
    SHIFT = 12, /* of seeds: room for the blocks of a tensor */
};

struct shape {
    unsigned hidden, intermediate, layers, heads, kv_heads, vocabulary;
    double theta;
    unsigned context;
};

/* A tensor's weights, which several names may show. */
struct weights {
    uint64_t n;
    double mean, sigma;
    uint8_t *at;
};

struct tensor {
    char name[80];
    uint64_t rows, columns; /* columns 0: one dimension */
    struct weights *weights;
    uint64_t offset; /* in the file */
};

struct model {
    struct shape shape;
    unsigned distinct;
    uint64_t seed;
    size_t n_weights, n_tensors;
    struct weights weights[MAX_TENSORS];
    struct tensor tensor[MAX_TENSORS];
    char *header, *config;
    uint8_t *tokenizer;
    size_t header_bytes, config_bytes, tokenizer_bytes;
    uint64_t bytes; /* of model.safetensors */
    /* filling */
    pthread_mutex_t lock;
    size_t next_weights;
    uint64_t next_block;
    struct gen_normal normal;
};

/* ---- what there is ---- */

static struct weights *add_weights(struct model *m, uint64_t n, bool is_matrix)
{
    struct weights *w = &m->weights[m->n_weights++];
    *w = (struct weights){.n = n,
                          .mean = is_matrix ? 0 : 1,
                          .sigma =
                              is_matrix ? 0.02 * (1 + 0.05 * (double)(m->n_weights % 7)) : 0.05};
    return w;
}

static void add(struct model *m, const char *name, uint64_t rows, uint64_t columns,
                struct weights *shared)
{
    struct tensor *t = &m->tensor[m->n_tensors++];
    snprintf(t->name, sizeof(t->name), "%s", name);
    t->rows = rows;
    t->columns = columns;
    t->weights = shared ? shared : add_weights(m, columns ? rows * columns : rows, columns != 0);
}

static void add_layer(struct model *m, unsigned layer)
{
    const struct shape *s = &m->shape;
    const uint64_t kv = (uint64_t)s->hidden / s->heads * s->kv_heads;
    const struct {
        const char *name;
        uint64_t rows, columns;
    } part[N_ROLES] = {
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
    for (size_t i = 0; i < N_ROLES; i++) {
        char name[80];
        snprintf(name, sizeof(name), "model.layers.%u.%s.weight", layer, part[i].name);
        struct tensor *twin =
            layer < m->distinct ? NULL : &m->tensor[m->n_tensors - (size_t)N_ROLES * m->distinct];
        add(m, name, part[i].rows, part[i].columns, twin ? twin->weights : NULL);
    }
}

static void plan(struct model *m)
{
    const struct shape *s = &m->shape;
    for (unsigned i = 0; i < s->layers; i++)
        add_layer(m, i);
    add(m, "lm_head.weight", s->vocabulary, s->hidden, NULL);
    add(m, "model.embed_tokens.weight", s->vocabulary, s->hidden, NULL);
    add(m, "model.norm.weight", s->hidden, 0, NULL);
}

/* ---- weights ---- */

/* The next block that nobody makes yet. */
static bool take_block(struct model *m, struct weights **w, uint64_t *block)
{
    pthread_mutex_lock(&m->lock);
    while (m->next_weights < m->n_weights &&
           m->next_block * GEN_BLOCK >= m->weights[m->next_weights].n) {
        m->next_weights++;
        m->next_block = 0;
    }
    const bool found = m->next_weights < m->n_weights;
    if (found) {
        *w = &m->weights[m->next_weights];
        *block = m->next_block++;
    }
    pthread_mutex_unlock(&m->lock);
    return found;
}

static void *fill(void *self)
{
    struct model *m = self;
    struct weights *w;
    uint64_t block;
    while (take_block(m, &w, &block)) {
        const struct gen_spec spec = {.type = GEN_BF16,
                                      .mean = w->mean,
                                      .sigma = w->sigma,
                                      .seed = m->seed + ((uint64_t)(w - m->weights + 1) << SHIFT)};
        uint64_t at = block * GEN_BLOCK, left = w->n - at;
        gen_normal_block(&m->normal, &spec, block, left < GEN_BLOCK ? (size_t)left : GEN_BLOCK,
                         w->at + at * ELEM_BYTES);
    }
    return NULL;
}

static bool make_weights(struct model *m)
{
    pthread_t thread[MAX_THREADS];
    long n = sysconf(_SC_NPROCESSORS_ONLN), started = 0;
    for (size_t i = 0; i < m->n_weights; i++) {
        m->weights[i].at = malloc(m->weights[i].n * ELEM_BYTES);
        if (!m->weights[i].at)
            return false;
    }
    gen_normal_init(&m->normal);
    pthread_mutex_init(&m->lock, NULL);
    for (; started < n && started < MAX_THREADS; started++)
        if (pthread_create(&thread[started], NULL, fill, m) != 0)
            break;
    (void)fill(m);
    for (long i = 0; i < started; i++)
        (void)pthread_join(thread[i], NULL);
    pthread_mutex_destroy(&m->lock);
    return true;
}

/* ---- files ---- */

static bool make_header(struct model *m)
{
    uint64_t at = 0;
    size_t n = ALIGN;
    m->header = calloc(1, HEADER_BYTES);
    if (!m->header)
        return false;
    for (size_t i = 0; i < m->n_tensors; i++) {
        struct tensor *t = &m->tensor[i];
        uint64_t end = at + t->weights->n * ELEM_BYTES;
        char columns[32] = "";
        if (t->columns)
            snprintf(columns, sizeof(columns), ",%" PRIu64, t->columns);
        n += (size_t)snprintf(m->header + n, HEADER_BYTES - n,
                              "%c\"%s\":{\"dtype\":\"BF16\",\"shape\":[%" PRIu64
                              "%s],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}",
                              i ? ',' : '{', t->name, t->rows, columns, at, end);
        t->offset = at;
        at = end;
    }
    m->header[n++] = '}';
    while (n % ALIGN)
        m->header[n++] = ' ';
    for (unsigned i = 0; i < ALIGN; i++)
        m->header[i] = (char)((uint64_t)(n - ALIGN) >> (8 * i));
    m->header_bytes = n;
    m->bytes = n + at;
    for (size_t i = 0; i < m->n_tensors; i++)
        m->tensor[i].offset += n;
    return true;
}

static bool make_config(struct model *m)
{
    const struct shape *s = &m->shape;
    m->config = malloc(CONFIG_BYTES);
    int n = !m->config
                ? -1
                : snprintf(m->config, CONFIG_BYTES,
                           "{\n  \"architectures\": [\"LlamaForCausalLM\"],\n"
                           "  \"bos_token_id\": 1,\n  \"eos_token_id\": 2,\n"
                           "  \"hidden_act\": \"silu\",\n  \"hidden_size\": %u,\n"
                           "  \"intermediate_size\": %u,\n  \"max_position_embeddings\": %u,\n"
                           "  \"model_type\": \"llama\",\n  \"num_attention_heads\": %u,\n"
                           "  \"num_hidden_layers\": %u,\n  \"num_key_value_heads\": %u,\n"
                           "  \"rms_norm_eps\": 1e-05,\n  \"rope_theta\": %.1f,\n"
                           "  \"tie_word_embeddings\": false,\n  \"torch_dtype\": \"bfloat16\",\n"
                           "  \"vocab_size\": %u\n}\n",
                           s->hidden, s->intermediate, s->context, s->heads, s->layers, s->kv_heads,
                           s->theta, s->vocabulary);
    m->config_bytes = n > 0 ? (size_t)n : 0;
    return n > 0 && n < CONFIG_BYTES;
}

static bool read_tokenizer(struct model *m, const char *path)
{
    FILE *f = path ? fopen(path, "rb") : NULL;
    if (path && !f)
        perror(path);
    if (!f)
        return !path;
    m->tokenizer = malloc(HEADER_BYTES);
    m->tokenizer_bytes = m->tokenizer ? fread(m->tokenizer, 1, HEADER_BYTES, f) : 0;
    fclose(f);
    return m->tokenizer_bytes > 0;
}

/* ---- packing ---- */

/* The tensor that a byte of model.safetensors behind the header belongs to. */
static const struct tensor *tensor_at(const struct model *m, uint64_t at)
{
    size_t low = 0, high = m->n_tensors;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        *(m->tensor[middle].offset <= at ? &low : &high) = middle;
    }
    return &m->tensor[low];
}

static weir_err read_weights(void *self, uint64_t at, void *dst, size_t n)
{
    const struct model *m = self;
    while (n) {
        const bool head = at < m->header_bytes;
        const struct tensor *t = head ? NULL : tensor_at(m, at);
        const uint64_t begin = head ? 0 : t->offset;
        const uint64_t end = head ? m->header_bytes : begin + t->weights->n * ELEM_BYTES;
        const uint8_t *from = head ? (const uint8_t *)m->header : t->weights->at;
        size_t part = n < end - at ? n : (size_t)(end - at);
        memcpy(dst, from + (at - begin), part);
        dst = (uint8_t *)dst + part;
        at += part;
        n -= part;
    }
    return WEIR_OK;
}

static weir_err open_weights(void *self, struct weir_source *out, struct weir_diag *diag)
{
    const struct model *m = self;
    (void)diag;
    *out = (struct weir_source){.self = self, .size = m->bytes, .read = read_weights};
    return WEIR_OK;
}

static weir_err open_config(void *self, struct weir_source *out, struct weir_diag *diag)
{
    const struct model *m = self;
    (void)diag;
    weir_source_from_memory(m->config, m->config_bytes, out);
    return WEIR_OK;
}

static weir_err open_tokenizer(void *self, struct weir_source *out, struct weir_diag *diag)
{
    const struct model *m = self;
    (void)diag;
    weir_source_from_memory(m->tokenizer, m->tokenizer_bytes, out);
    return WEIR_OK;
}

static weir_err write_store(void *self, const void *bytes, size_t n)
{
    return fwrite(bytes, 1, n, self) == n ? WEIR_OK : WEIR_ERR_IO;
}

static bool pack(struct model *m, const char *path)
{
    const struct weir_pack_entry entry[] = {
        {.path = "config.json", .mode = 0644, .self = m, .open = open_config},
        {.path = "model.safetensors", .mode = 0644, .self = m, .open = open_weights},
        {.path = "tokenizer.json", .mode = 0644, .self = m, .open = open_tokenizer},
    };
    const struct weir_pack_options options = {.n_threads = 0};
    struct weir_diag diag = {""};
    struct weir_pack_result result;
    FILE *f = fopen(path, "wb");
    const struct weir_output output = {f, write_store};
    weir_err err =
        f ? weir_pack(entry, m->tokenizer ? 3 : 2, &output, &options, &result, &diag) : WEIR_ERR_IO;
    if (f && fclose(f) != 0)
        err = WEIR_ERR_IO;
    if (err)
        fprintf(stderr, "gen_store: %s: %s %s\n", path, weir_err_text(err), diag.text);
    else
        printf("%" PRIu64 " bytes of %" PRIu64 "\n", result.stored_bytes, result.plain_bytes);
    return !err;
}

/* ---- the command line ---- */

static bool parse_shape(const char *text, struct shape *s)
{
    static const struct {
        const char *name;
        struct shape shape;
    } known[] = {
        {"tinyllama", {2048, 5632, 22, 32, 4, 32000, 10000, 2048}},
        {"llama-8b", {4096, 14336, 32, 32, 8, 128256, 500000, 8192}},
        {"llama-70b", {8192, 28672, 80, 64, 8, 128256, 500000, 8192}},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (strcmp(text, known[i].name) == 0) {
            *s = known[i].shape;
            return true;
        }
    *s = (struct shape){.theta = 10000, .context = 2048};
    int end = 0;
    return sscanf(text, "%u,%u,%u,%u,%u,%u%n", &s->hidden, &s->intermediate, &s->layers, &s->heads,
                  &s->kv_heads, &s->vocabulary, &end) == 6 &&
           !text[end] && s->heads && s->kv_heads && s->hidden % s->heads == 0;
}

static bool parse_number(const char *text, uint64_t most, uint64_t *out)
{
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    *out = v;
    return !errno && *text >= '0' && *text <= '9' && !*end && v <= most;
}

static void free_model(struct model *m)
{
    for (size_t i = 0; i < m->n_weights; i++)
        free(m->weights[i].at);
    free(m->header);
    free(m->config);
    free(m->tokenizer);
    free(m);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"shape", required_argument, NULL, 'h'},     {"layers", required_argument, NULL, 'l'},
        {"distinct", required_argument, NULL, 'd'},  {"seed", required_argument, NULL, 's'},
        {"tokenizer", required_argument, NULL, 't'}, {0},
    };
    struct model *m = calloc(1, sizeof(*m));
    const char *tokenizer = NULL;
    uint64_t layers = 0, distinct = MAX_LAYERS;
    bool shaped = false, fine = m != NULL;
    for (int key; fine && (key = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (key == 't')
            tokenizer = optarg;
        fine = key == 't' || (key == 'h' && (shaped = parse_shape(optarg, &m->shape))) ||
               (key == 'l' && parse_number(optarg, MAX_LAYERS, &layers)) ||
               (key == 'd' && parse_number(optarg, MAX_LAYERS, &distinct) && distinct > 0) ||
               (key == 's' && parse_number(optarg, UINT64_MAX, &m->seed));
    }
    if (!fine || !shaped || argc - optind != 1) {
        fputs("usage: gen_store STORE --shape NAME|H,I,LAYERS,HEADS,KV,VOCABULARY [--layers N]\n"
              "           [--distinct N] [--seed S] [--tokenizer FILE]\n",
              stderr);
        free(m);
        return 1;
    }
    if (layers)
        m->shape.layers = (unsigned)layers;
    m->distinct = (unsigned)distinct;
    plan(m);
    fine = make_header(m) && make_config(m) && read_tokenizer(m, tokenizer) && make_weights(m) &&
           pack(m, argv[optind]);
    free_model(m);
    return fine ? 0 : 2;
}
