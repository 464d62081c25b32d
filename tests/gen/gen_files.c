#include "gen_files.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/gen/normal.h"

enum { PATH_BYTES = 4096, ELEM_BYTES = 2, ALIGN = 8 };

uint64_t gen_tensor_elements(const struct gen_tensor *t)
{
    return t->columns ? t->rows * t->columns : t->rows;
}

static FILE *create(const char *dir, const char *name)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    if (!f)
        fprintf(stderr, "gen_checkpoint: %s: %s\n", path, strerror(errno));
    return f;
}

static bool finish(FILE *f, const char *name)
{
    bool bad = ferror(f);
    bad = fclose(f) != 0 || bad;
    if (bad)
        fprintf(stderr, "gen_checkpoint: %s: cannot be written\n", name);
    return !bad;
}

static void shard_name(const struct gen_checkpoint *c, unsigned shard, char *name, size_t bytes)
{
    if (c->n_shards == 1)
        snprintf(name, bytes, "model.safetensors");
    else
        snprintf(name, bytes, "model-%05u-of-%05u.safetensors", shard + 1, c->n_shards);
}

static bool write_config(const char *dir, const struct gen_checkpoint *c)
{
    FILE *f = create(dir, "config.json");
    if (!f)
        return false;
    const struct gen_shape *s = &c->shape;
    fprintf(f,
            "{\n  \"architectures\": [\n    \"LlamaForCausalLM\"\n  ],\n"
            "  \"bos_token_id\": 1,\n  \"eos_token_id\": 2,\n  \"hidden_act\": \"silu\",\n"
            "  \"hidden_size\": %u,\n  \"initializer_range\": 0.02,\n"
            "  \"intermediate_size\": %u,\n  \"max_position_embeddings\": 2048,\n"
            "  \"model_type\": \"llama\",\n  \"num_attention_heads\": %u,\n"
            "  \"num_hidden_layers\": %u,\n  \"num_key_value_heads\": %u,\n"
            "  \"rms_norm_eps\": 1e-05,\n  \"rope_theta\": 10000.0,\n"
            "  \"tie_word_embeddings\": false,\n  \"torch_dtype\": \"bfloat16\",\n"
            "  \"use_cache\": true,\n  \"vocab_size\": %u\n}\n",
            s->hidden, s->intermediate, s->heads, s->layers, s->kv_heads, s->vocabulary);
    return finish(f, "config.json");
}

static bool write_generation_config(const char *dir)
{
    FILE *f = create(dir, "generation_config.json");
    if (!f)
        return false;
    fputs("{\n  \"_from_model_config\": true,\n  \"bos_token_id\": 1,\n  \"eos_token_id\": 2,\n"
          "  \"pad_token_id\": 0\n}\n",
          f);
    return finish(f, "generation_config.json");
}

/* Syllables strung together: as compressible as a real vocabulary, and as long. */
static void token_text(unsigned id, char *text, size_t bytes)
{
    static const char *const part[] = {"an", "ber", "co", "de", "er", "fo", "gi", "he",
                                       "in", "jo",  "ka", "li", "mo", "ne", "on", "pre"};
    size_t at = 0;
    for (unsigned v = id; at + 4 < bytes; v /= 16) {
        at += (size_t)snprintf(text + at, bytes - at, "%s", part[v % 16]);
        if (v < 16)
            break;
    }
}

static bool write_tokenizer(const char *dir, const struct gen_checkpoint *c)
{
    FILE *f = create(dir, "tokenizer.json");
    if (!f)
        return false;
    fputs("{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n"
          "  \"model\": {\n    \"type\": \"BPE\",\n    \"vocab\": {\n",
          f);
    for (unsigned id = 0; id < c->shape.vocabulary; id++) {
        char text[32];
        token_text(id, text, sizeof(text));
        fprintf(f, "      \"%s_%u\": %u%s\n", text, id, id,
                id + 1 < c->shape.vocabulary ? "," : "");
    }
    fputs("    },\n    \"merges\": []\n  }\n}\n", f);
    return finish(f, "tokenizer.json");
}

static bool write_index(const char *dir, const struct gen_checkpoint *c)
{
    FILE *f = create(dir, "model.safetensors.index.json");
    if (!f)
        return false;
    uint64_t total = 0;
    for (size_t i = 0; i < c->n_tensors; i++)
        total += ELEM_BYTES * gen_tensor_elements(&c->tensor[i]);
    fprintf(f, "{\n  \"metadata\": {\n    \"total_size\": %" PRIu64 "\n  },\n  \"weight_map\": {\n",
            total);
    for (size_t i = 0; i < c->n_tensors; i++) {
        char name[64];
        shard_name(c, c->tensor[i].shard, name, sizeof(name));
        fprintf(f, "    \"%s\": \"%s\"%s\n", c->tensor[i].name, name,
                i + 1 < c->n_tensors ? "," : "");
    }
    fputs("  }\n}\n", f);
    return finish(f, "model.safetensors.index.json");
}

bool gen_write_json_files(const char *dir, const struct gen_checkpoint *c)
{
    return write_config(dir, c) && write_generation_config(dir) && write_tokenizer(dir, c) &&
           (c->n_shards == 1 || write_index(dir, c));
}

/* The header of a shard; also tells how long it is when f is NULL. */
static size_t write_header(FILE *f, const struct gen_checkpoint *c, unsigned shard)
{
    size_t bytes = 0;
    uint64_t at = 0;
    char line[256];
    for (size_t i = 0; i < c->n_tensors; i++) {
        const struct gen_tensor *t = &c->tensor[i];
        if (t->shard != shard)
            continue;
        uint64_t end = at + ELEM_BYTES * gen_tensor_elements(t);
        char columns[32] = "";
        if (t->columns)
            snprintf(columns, sizeof(columns), ",%" PRIu64, t->columns);
        snprintf(line, sizeof(line),
                 "%s\"%s\":{\"dtype\":\"BF16\",\"shape\":[%" PRIu64 "%s],\"data_offsets\":[%" PRIu64
                 ",%" PRIu64 "]}",
                 bytes ? "," : "{\"__metadata__\":{\"format\":\"pt\"},", t->name, t->rows, columns,
                 at, end);
        if (f)
            fputs(line, f);
        bytes += strlen(line);
        at = end;
    }
    if (f)
        fputc('}', f);
    return bytes + 1;
}

static void write_tensor(FILE *f, const struct gen_normal *g, const struct gen_checkpoint *c,
                         size_t index, uint8_t *block)
{
    const struct gen_tensor *t = &c->tensor[index];
    struct gen_spec spec = {GEN_BF16, t->mean, t->sigma, c->seed + 0x1000 * (index + 1), 0};
    if (c->by_rows)
        spec.row_elements = t->columns; /* 0 of a norm */
    uint64_t n = gen_tensor_elements(t);
    for (uint64_t at = 0; at < n; at += GEN_BLOCK) {
        size_t part = n - at < GEN_BLOCK ? (size_t)(n - at) : GEN_BLOCK;
        gen_normal_block(g, &spec, at / GEN_BLOCK, part, block);
        fwrite(block, ELEM_BYTES, part, f);
    }
}

bool gen_write_shard(const char *dir, const struct gen_checkpoint *c, unsigned shard)
{
    char name[64];
    shard_name(c, shard, name, sizeof(name));
    uint8_t *block = malloc((size_t)GEN_BLOCK * ELEM_BYTES);
    FILE *f = block ? create(dir, name) : NULL;
    if (!f) {
        free(block);
        return false;
    }
    size_t header = write_header(NULL, c, shard), padded = (header + ALIGN - 1) / ALIGN * ALIGN;
    for (unsigned i = 0; i < 8; i++)
        fputc((int)((uint64_t)padded >> (8 * i) & 0xff), f);
    write_header(f, c, shard);
    for (size_t i = header; i < padded; i++)
        fputc(' ', f);
    struct gen_normal g;
    gen_normal_init(&g);
    for (size_t i = 0; i < c->n_tensors; i++)
        if (c->tensor[i].shard == shard)
            write_tensor(f, &g, c, i, block);
    free(block);
    return finish(f, name);
}
