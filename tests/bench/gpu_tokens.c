/* gpu_tokens.c - tokens a second on a GPU, of models with real shapes and made-up weights; and that
 * a text's logits are the same in any company.
 *
 *     gpu_tokens [-m SHAPE] [-l LAYERS] [-t TIER[,...]] [-b BATCH[,...]] [-n TOKENS] [-p PROMPT]
 *                [-v MB] [-q] [-c]
 *
 * SHAPE: tinyllama (default), llama8b; LAYERS: fewer than it has.  TIER: fused, raw, gpu, cpu.
 * BATCH: texts at a time; PROMPT: tokens of it, in one pass.  -v: of device memory, at most.  -q:
 * weights as q8 leaves them.  -c compares instead: places in batches of 1, 4 and 8, recorded or
 * not.  A line of CSV for each; exits 77 where there is no GPU.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "codec/grid.h"
#include "infer/device.h"
#include "infer/hash.h"

enum {
    HEADER_BYTES = 1 << 20,
    SKIPPED = 77,
    N_WARM = 16,
    N_SAMPLES = 1 << 16,
    DISTINCT_BYTES = 200 << 20, /* then again */
    MOST_TOKENS = 1 << 13
};

struct shape {
    const char *name;
    uint32_t hidden, intermediate, n_layers, n_heads, n_kv_heads, vocab;
};

static const struct shape shapes[] = {
    {"tinyllama", 2048, 5632, 22, 32, 4, 32000},
    {"llama8b", 4096, 14336, 32, 32, 8, 128256},
};

struct job {
    struct shape shape;
    const char *tiers, *batches;
    uint32_t n_tokens, prompt;
    bool compares, steps;
    uint64_t vram; /* bytes; 0: all */
};

static void end_if(weir_err err, const struct weir_diag *diag)
{
    if (!err)
        return;
    fprintf(stderr, "%s: %s\n", weir_err_text(err), diag->text);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- the model ---- */

struct file {
    char *at;
    size_t n, header, data;
};

static void add_tensor(struct file *f, const char *name, size_t rows, size_t columns)
{
    const size_t bytes = rows * columns * 2;
    char form[64];
    (void)snprintf(form, sizeof(form), columns == 1 ? "%zu" : "%zu,%zu", rows, columns);
    f->header +=
        (size_t)snprintf(f->at + f->header, HEADER_BYTES - f->header,
                         "%s\"%s\":{\"dtype\":\"BF16\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                         f->header == 8 ? "{" : ",", name, form, f->data, f->data + bytes);
    f->data += bytes;
}

static void add_layer(struct file *f, const struct shape *s, uint32_t layer)
{
    const size_t kv = (size_t)s->hidden / s->n_heads * s->n_kv_heads, h = s->hidden;
    const struct {
        const char *name;
        size_t rows, columns;
    } all[] = {{"input_layernorm", h, 1},
               {"post_attention_layernorm", h, 1},
               {"self_attn.q_proj", h, h},
               {"self_attn.k_proj", kv, h},
               {"self_attn.v_proj", kv, h},
               {"self_attn.o_proj", h, h},
               {"mlp.gate_proj", s->intermediate, h},
               {"mlp.up_proj", s->intermediate, h},
               {"mlp.down_proj", h, s->intermediate}};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        char name[128];
        (void)snprintf(name, sizeof(name), "model.layers.%u.%s.weight", layer, all[i].name);
        add_tensor(f, name, all[i].rows, all[i].columns);
    }
}

/* As `weir pack --profile q8` leaves a weight of N(0, 0.02^2): a whole number of steps, but for one
 * in a thousand. */
static uint16_t round_to_steps(float weight, uint64_t bits)
{
    const float nominal = 0.0765F * 0.02F;
    uint32_t u, s;
    memcpy(&u, &weight, sizeof(u));
    if (bits % 1000 == 0)
        return (uint16_t)(u >> 16) ^ 1;
    const float grid = 0.95F * nominal;
    memcpy(&s, &grid, sizeof(s));
    const uint16_t step = (uint16_t)(s >> 16);
    const float magnitude = weight < 0 ? -weight : weight;
    return (uint16_t)(weir_grid_weight(step, (uint32_t)(magnitude / grid + 0.5F)) |
                      (u >> 16 & 0x8000));
}

/* Values of N(0, 0.02^2), about, from a table in a random order. */
static void fill_values(char *to, size_t n_bytes, bool steps)
{
    static uint16_t sample[N_SAMPLES];
    uint64_t state = 88172645463325252U;
    for (size_t i = 0; i < N_SAMPLES; i++) { /* Irwin-Hall: twelve uniform numbers */
        float sum = -6;
        for (int k = 0; k < 12; k++) {
            state = state * 6364136223846793005U + 1442695040888963407U;
            sum += (float)(state >> 40) * 0x1p-24F;
        }
        sum *= 0.02F;
        uint32_t bits;
        memcpy(&bits, &sum, sizeof(bits));
        sample[i] = steps ? round_to_steps(sum, state >> 20) : (uint16_t)(bits >> 16);
    }
    for (size_t at = 0; at + 8 <= n_bytes && at < DISTINCT_BYTES; at += 8) {
        uint16_t four[4];
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        for (int k = 0; k < 4; k++)
            four[k] = sample[state >> 16 * k & (N_SAMPLES - 1)];
        memcpy(to + at, four, sizeof(four));
    }
    for (size_t at = DISTINCT_BYTES; at < n_bytes; at += DISTINCT_BYTES) {
        const size_t left = n_bytes - at;
        memcpy(to + at, to, left < DISTINCT_BYTES ? left : DISTINCT_BYTES);
    }
}

/* The embeddings, which come first, are no whole steps. */
static struct file make_weights(const struct shape *s, bool steps)
{
    struct file f = {.at = calloc(1, HEADER_BYTES), .header = 8};
    if (!f.at)
        exit(1);
    add_tensor(&f, "model.embed_tokens.weight", s->vocab, s->hidden);
    for (uint32_t i = 0; i < s->n_layers; i++)
        add_layer(&f, s, i);
    add_tensor(&f, "model.norm.weight", s->hidden, 1);
    add_tensor(&f, "lm_head.weight", s->vocab, s->hidden);
    f.at[f.header++] = '}';
    while (f.header % 8)
        f.at[f.header++] = ' ';
    const uint64_t n = f.header - 8;
    memcpy(f.at, &n, sizeof(n));
    f.n = f.header + f.data;
    f.at = realloc(f.at, f.n);
    if (!f.at)
        exit(1);
    const size_t embedding = (size_t)s->vocab * s->hidden * 2;
    fill_values(f.at + f.header, embedding, false);
    fill_values(f.at + f.header + embedding, f.data - embedding, steps);
    return f;
}

static char *make_config(const struct shape *s)
{
    char *text;
    if (asprintf(
            &text,
            "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\","
            "\"hidden_act\":\"silu\",\"hidden_size\":%u,\"intermediate_size\":%u,"
            "\"num_hidden_layers\":%u,\"num_attention_heads\":%u,\"num_key_value_heads\":%u,"
            "\"vocab_size\":%u,\"max_position_embeddings\":4096,\"rms_norm_eps\":1e-05,"
            "\"rope_theta\":10000.0,\"tie_word_embeddings\":false,\"torch_dtype\":\"bfloat16\"}",
            s->hidden, s->intermediate, s->n_layers, s->n_heads, s->n_kv_heads, s->vocab) < 0)
        exit(1);
    return text;
}

static struct weir_model *open_model(const struct shape *s, bool steps)
{
    static struct weir_source source[2];
    static const struct weir_checkpoint_file file[2] = {{"config.json", &source[0]},
                                                        {"model.safetensors", &source[1]}};
    struct weir_checkpoint *ck;
    struct weir_model_config c;
    struct weir_model *model;
    struct weir_diag diag = {""};
    struct file weights = make_weights(s, steps);
    char *config = make_config(s);
    weir_source_from_memory(config, strlen(config), &source[0]);
    weir_source_from_memory(weights.at, weights.n, &source[1]);
    end_if(weir_checkpoint_from_files(file, 2, NULL, &ck, &diag), &diag);
    end_if(weir_model_config_read(ck, &c, &diag), &diag);
    end_if(weir_model_open(ck, &c, &model, &diag), &diag);
    return model;
}

/* Of a list with commas; NULL: no more. */
static const char *next(const char *item)
{
    const char *comma = strchr(item, ',');
    return comma ? comma + 1 : NULL;
}

/* ---- a graph ---- */

struct running {
    struct weir_graph *g;
    uint32_t batch, vocab;
    double load_seconds;
};

static enum weir_tier tier_named(const char *name)
{
    static const char *const names[] = {"auto", "cpu", "gpu", "fused", "raw"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strncmp(name, names[i], strlen(names[i])) == 0)
            return (enum weir_tier)i;
    return WEIR_TIER_AUTO;
}

static struct running start(struct weir_device *d, const struct weir_model *model,
                            const struct job *job, const struct weir_device_rules *rules,
                            uint32_t batch)
{
    struct running r = {.batch = batch, .vocab = model->config.vocab};
    struct weir_diag diag = {""};
    const uint32_t chunk = job->prompt + batch;
    const struct weir_graph_options o = {
        .n_sequences = batch, .context = job->prompt + job->n_tokens + N_WARM + 1, .chunk = chunk};
    const double began = now();
    end_if(weir_device_graph_new(d, model, &o, rules, &r.g, &diag), &diag);
    r.load_seconds = now() - began;
    return r;
}

static uint32_t made_up_id(uint32_t sequence, uint32_t position, uint32_t vocab)
{
    return (uint32_t)((sequence * 7919U + position) * 2654435761U >> 7) % vocab;
}

static void pass(struct running *r, uint32_t first, uint32_t n_each, uint32_t n_texts)
{
    struct weir_diag diag = {""};
    static struct weir_graph_token token[MOST_TOKENS];
    size_t n = 0;
    for (uint32_t s = 0; s < n_texts; s++)
        for (uint32_t i = 0; i < n_each; i++)
            token[n++] =
                (struct weir_graph_token){s, made_up_id(s, first + i, r->vocab), i + 1 == n_each};
    end_if(weir_graph_run(r->g, token, n, &diag), &diag);
}

/* ---- speed ---- */

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of the first text's last logits. */
static uint64_t hash_last(const struct running *r)
{
    struct weir_diag diag = {""};
    struct weir_logits_hash *hash;
    end_if(weir_logits_hash_new(&hash), &diag);
    weir_logits_hash_add(hash, weir_graph_logits(r->g, 0), r->vocab);
    const uint64_t value = weir_logits_hash_value(hash);
    weir_logits_hash_free(hash);
    return value;
}

static void measure(struct weir_device *d, const struct weir_model *model, const struct job *job,
                    const char *tier, uint32_t batch)
{
    const struct weir_device_rules rules = {.tier = tier_named(tier), .bytes = job->vram};
    struct running r = start(d, model, job, &rules, batch);
    struct weir_device_info info;
    struct weir_diag diag = {""};
    double *seconds = calloc(job->n_tokens, sizeof(*seconds)), prompt = 0, all = 0;
    if (!seconds)
        exit(1);
    for (int i = 0; i < 3 && job->prompt; i++) {
        for (uint32_t s = 0; s < batch; s++)
            weir_graph_begin(r.g, s, 0);
        const double began = now();
        pass(&r, 0, job->prompt, 1);
        prompt = now() - began;
    }
    for (uint32_t s = 0; s < batch; s++)
        weir_graph_begin(r.g, s, 0);
    for (uint32_t i = 0; i < N_WARM; i++)
        pass(&r, i, 1, batch);
    for (uint32_t i = 0; i < job->n_tokens; i++) {
        const double began = now();
        pass(&r, N_WARM + i, 1, batch);
        all += seconds[i] = now() - began;
    }
    qsort(seconds, job->n_tokens, sizeof(*seconds), by_value);
    end_if(weir_device_info(d, &info), &diag);
    const struct weir_device_counts c = weir_device_graph_counts(r.g);
    printf("%s,%.*s,%u,%.1f,%.3f,%.3f,%.3f,%.1f,%.2f,%.1f,%.1f,%.1f,%.1f,%d,%llu,%016llx\n",
           job->shape.name, (int)strcspn(tier, ","), tier, batch, batch * job->n_tokens / all,
           1e3 * all / job->n_tokens, 1e3 * seconds[job->n_tokens / 2],
           1e3 * seconds[job->n_tokens * 99 / 100], prompt > 0 ? job->prompt / prompt : 0,
           1e3 * prompt, r.load_seconds * 1e3, (double)c.weight_bytes * 1e-6,
           (double)info.taken_bytes * 1e-6, (double)info.measured_bytes * 1e-6, c.has_blas,
           (unsigned long long)c.n_replays, (unsigned long long)hash_last(&r));
    (void)fflush(stdout);
    free(seconds);
    weir_graph_free(r.g);
}

/* ---- the same bits ---- */

/* Text `place`: its prompt in one pass, then a token a pass; the others have a token in each. */
static size_t fill_pass(const struct running *r, const struct job *job, uint32_t at, uint32_t place,
                        struct weir_graph_token *token)
{
    const uint32_t n_own = at < job->prompt ? job->prompt : 1;
    size_t n = 0;
    for (uint32_t s = 0; s < r->batch; s++)
        for (uint32_t i = 0; i < (s == place ? n_own : 1); i++) {
            const uint32_t text = s == place ? 0 : s + 1;
            token[n++] = (struct weir_graph_token){s, made_up_id(text, at + i, r->vocab),
                                                   s != place || i + 1 == n_own};
        }
    return n;
}

static uint64_t hash_at(struct weir_device *d, const struct weir_model *model,
                        const struct job *job, const struct weir_device_rules *rules,
                        uint32_t batch, uint32_t place)
{
    static struct weir_graph_token token[MOST_TOKENS];
    struct running r = start(d, model, job, rules, batch);
    struct weir_logits_hash *hash;
    struct weir_diag diag = {""};
    end_if(weir_logits_hash_new(&hash), &diag);
    for (uint32_t at = 0; at < job->prompt + job->n_tokens;
         at += at < job->prompt ? job->prompt : 1) {
        const size_t n = fill_pass(&r, job, at, place, token);
        end_if(weir_graph_run(r.g, token, n, &diag), &diag);
        weir_logits_hash_add(hash, weir_graph_logits(r.g, place), r.vocab);
    }
    const uint64_t value = weir_logits_hash_value(hash);
    weir_logits_hash_free(hash);
    weir_graph_free(r.g);
    return value;
}

struct comparison {
    uint64_t first;
    unsigned n, n_other;
};

static void compare_at(struct weir_device *d, const struct weir_model *model, const struct job *job,
                       const struct weir_device_rules *rules, uint32_t batch, uint32_t place,
                       struct comparison *c)
{
    const uint64_t hash = hash_at(d, model, job, rules, batch, place);
    c->first = c->n++ ? c->first : hash;
    if (hash == c->first)
        return;
    c->n_other++;
    printf("FAILED tier %d: place %u of %u, recorded %d: %016llx\n", (int)rules->tier, place, batch,
           !rules->no_recording, (unsigned long long)hash);
}

static int compare(struct weir_device *d, const struct weir_model *model, const struct job *job)
{
    static const uint32_t batches[] = {1, 4, 8};
    struct comparison c = {0};
    for (const char *tier = job->tiers; tier; tier = next(tier))
        for (size_t b = 0; b < sizeof(batches) / sizeof(batches[0]); b++) {
            struct weir_device_rules rules = {.tier = tier_named(tier), .no_recording = true};
            compare_at(d, model, job, &rules, batches[b], 0, &c);
            rules.no_recording = false;
            for (uint32_t place = 0; place < batches[b]; place++)
                compare_at(d, model, job, &rules, batches[b], place, &c);
        }
    printf("%s: %u ways, %u with other bits than %016llx\n", c.n_other ? "FAILED" : "ok", c.n,
           c.n_other, (unsigned long long)c.first);
    return c.n_other != 0;
}

/* ---- asked for ---- */

static struct shape shape_named(const char *name)
{
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
        if (strcmp(shapes[i].name, name) == 0)
            return shapes[i];
    return shapes[0];
}

static void read_options(int argc, char **argv, struct job *job)
{
    int c;
    while ((c = getopt(argc, argv, "m:l:t:b:n:p:v:cq")) != -1) {
        const char *text = optarg ? optarg : "";
        const uint32_t n = (uint32_t)strtoul(text, NULL, 10);
        switch (c) {
        case 'm':
            job->shape = shape_named(text);
            break;
        case 'l':
            job->shape.n_layers = n;
            break;
        case 't':
            job->tiers = text;
            break;
        case 'b':
            job->batches = text;
            break;
        case 'n':
            job->n_tokens = n;
            break;
        case 'p':
            job->prompt = n;
            break;
        case 'q':
            job->steps = true;
            break;
        case 'v':
            job->vram = strtoull(text, NULL, 10) * 1000000;
            break;
        case 'c':
            job->compares = true;
            break;
        default:
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    struct job job = {.shape = shapes[0], .tiers = "fused,raw", .batches = "1", .n_tokens = 256};
    struct weir_device *d;
    struct weir_diag diag = {""};
    read_options(argc, argv, &job);
    weir_err err = weir_device_open(0, &d, &diag);
    if (err == WEIR_ERR_NOT_FOUND || err == WEIR_ERR_UNSUPPORTED) {
        printf("skipped: %s\n", diag.text);
        return SKIPPED;
    }
    end_if(err, &diag);
    const double began = now();
    const struct weir_model *model = open_model(&job.shape, job.steps);
    fprintf(stderr, "made in %.1f s\n", now() - began);
    if (job.compares)
        return compare(d, model, &job);
    printf("model,tier,batch,tok/s,mean ms,median ms,p99 ms,prompt tok/s,prompt ms,load ms,weights "
           "MB,taken MB,measured MB,blas,replays,last\n");
    for (const char *tier = job.tiers; tier; tier = next(tier))
        for (const char *b = job.batches; b; b = next(b))
            measure(d, model, &job, tier, (uint32_t)strtoul(b, NULL, 10));
    weir_device_close(d);
    return 0;
}
