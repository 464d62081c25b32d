#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "cli/gen/normal.h"
#include "codec/layout.h"
#include "codec/source.h"

enum { SEED = 20 };

/* sigma 0.02 is what linear layers have.  8-bit floats and integers carry a scale beside them that
 * spreads the tensor over their range. */
static const struct {
    const char *name;
    double sigma;
    enum gen_type type;
    bool is_float;
    uint8_t exponent_bits;
} types[] = {
    {"bf16", 0.02, GEN_BF16, true, 8},     {"f16", 0.02, GEN_F16, true, 5},
    {"f32", 0.02, GEN_F32, true, 8},       {"f32_bf16", 0.02, GEN_F32_BF16, true, 8},
    {"f64", 0.02, GEN_F64, true, 11},      {"f8_e4m3", 80, GEN_F8_E4M3, true, 4},
    {"f8_e5m2", 80, GEN_F8_E5M2, true, 5}, {"i8", 23.5, GEN_I8, false, 0},
};

enum { N_TYPES = sizeof(types) / sizeof(types[0]) };

const char *const bench_dtypes[N_TYPES + 1] = {"bf16",    "f16",     "f32", "f32_bf16", "f64",
                                               "f8_e4m3", "f8_e5m2", "i8",  NULL};

void bench_run_free(struct bench_run *run)
{
    free(run->coding);
    free(run->rms);
    run->coding = NULL;
    run->rms = NULL;
}

void bench_data_free(struct bench_data *d)
{
    for (size_t i = 0; d->run && i < d->n_runs; i++)
        bench_run_free(&d->run[i]);
    free(d->run);
    free(d->plain);
    memset(d, 0, sizeof(*d));
}

static weir_err reserve(struct bench_data *d, size_t bytes, size_t n_runs)
{
    d->plain = malloc(bytes + 1);
    d->run = calloc(n_runs + 1, sizeof(d->run[0]));
    if (d->plain && d->run)
        return WEIR_OK;
    bench_data_free(d);
    return WEIR_ERR_NOMEM;
}

weir_err bench_data_generate(struct bench_data *d, const char *dtype, size_t bytes)
{
    size_t t = 0;
    while (t < N_TYPES && strcmp(types[t].name, dtype) != 0)
        t++;
    if (t == N_TYPES)
        return WEIR_ERR_INVALID;
    *d = (struct bench_data){.n_runs = 1};
    size_t elem = gen_type_bytes(types[t].type);
    d->n_weights = bytes / elem;
    d->bytes = (size_t)d->n_weights * elem;
    weir_err err = reserve(d, d->bytes, 1);
    if (err)
        return err;
    strncpy(d->dtype, dtype, sizeof(d->dtype) - 1);
    struct gen_normal g;
    gen_normal_init(&g);
    struct gen_spec spec = {.type = types[t].type, .sigma = types[t].sigma, .seed = SEED};
    for (size_t i = 0; i < d->n_weights; i += GEN_BLOCK) {
        size_t n = d->n_weights - i < GEN_BLOCK ? (size_t)d->n_weights - i : GEN_BLOCK;
        gen_normal_block(&g, &spec, i / GEN_BLOCK, n, d->plain + i * elem);
    }
    d->run[0].bytes = d->bytes;
    d->run[0].like = (struct weir_elements){.elem_bytes = (uint16_t)elem, .n_parts = 1};
    d->run[0].like.part[0].count = 1;
    d->run[0].like.part[0].item_bytes = (uint8_t)elem;
    d->run[0].like.part[0].is_float = types[t].is_float;
    d->run[0].like.part[0].exponent_bits = types[t].exponent_bits;
    return WEIR_OK;
}

/* ---- from a file ---- */

static bool wanted(const struct weir_layout_part *p)
{
    return p->is_tensor && p->elements.elem_bytes && p->bytes >= p->elements.elem_bytes;
}

static uint64_t weights_in(const struct weir_tensor *t)
{
    uint64_t n = 1;
    for (uint8_t i = 0; i < t->n_dims; i++)
        n *= t->dim[i]; /* the layout checked the product against the bytes */
    return n;
}

/* Parts of one type; `plain` NULL: only count. */
static weir_err gather(const struct weir_source *src, const struct weir_layout *layout,
                       struct bench_data *d, size_t most_bytes)
{
    size_t at = 0, n = 0;
    d->n_weights = 0;
    for (size_t i = 0; i < layout->n_parts; i++) {
        const struct weir_layout_part *p = &layout->part[i];
        if (!wanted(p) || strcmp(p->tensor.dtype, d->dtype) != 0 || p->bytes > most_bytes - at)
            continue;
        size_t bytes = (size_t)p->bytes;
        if (d->plain) {
            weir_err err = weir_source_read(src, p->offset, d->plain + at, bytes);
            if (err)
                return err;
            /* A tail that is not a whole element would be a tile of its own: leave it out. */
            d->run[n] = (struct bench_run){
                .at = at, .bytes = bytes - bytes % p->elements.elem_bytes, .like = p->elements};
        }
        d->n_weights += weights_in(&p->tensor);
        at += bytes;
        n++;
    }
    d->bytes = at;
    d->n_runs = n;
    return WEIR_OK;
}

static weir_err load_type(const struct weir_source *src, const struct weir_layout *layout,
                          const char *dtype, size_t most_bytes, struct bench_data *d)
{
    memset(d, 0, sizeof(*d));
    strncpy(d->dtype, dtype, sizeof(d->dtype) - 1);
    weir_err err = gather(src, layout, d, most_bytes);
    if (!err && d->n_runs)
        err = reserve(d, d->bytes, d->n_runs);
    if (!err && d->n_runs)
        err = gather(src, layout, d, most_bytes);
    if (err)
        bench_data_free(d);
    return err;
}

static bool seen(const struct bench_data *list, size_t n, const char *dtype)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].dtype, dtype) == 0)
            return true;
    return false;
}

enum { MAX_TYPES = 16 };

static weir_err load_all(const struct weir_source *src, const struct weir_layout *layout,
                         size_t most_bytes, struct bench_data *list, size_t *n)
{
    for (size_t i = 0; i < layout->n_parts && *n < MAX_TYPES; i++) {
        const struct weir_layout_part *p = &layout->part[i];
        if (!wanted(p) || p->bytes > most_bytes || seen(list, *n, p->tensor.dtype))
            continue;
        weir_err err = load_type(src, layout, p->tensor.dtype, most_bytes, &list[*n]);
        if (err)
            return err;
        *n += list[*n].n_runs > 0;
    }
    return *n ? WEIR_OK : WEIR_ERR_UNSUPPORTED;
}

weir_err bench_data_load(const char *file, size_t bytes, struct bench_data **out, size_t *n,
                         struct weir_diag *diag)
{
    struct weir_source src;
    weir_err err = weir_source_open_file(file, &src, diag);
    if (err)
        return err == WEIR_ERR_INVALID ? WEIR_ERR_IO : err;
    struct weir_layout *layout = NULL;
    struct bench_data *list = calloc(MAX_TYPES, sizeof(*list));
    size_t found = 0;
    err = list ? weir_layout_find(&src, file, &layout) : WEIR_ERR_NOMEM;
    if (!err)
        err = load_all(&src, layout, bytes, list, &found);
    if (err == WEIR_ERR_UNSUPPORTED)
        weir_diag_set(diag, "%s: no tensors found that fit --size; name a safetensors or GGUF file",
                      file);
    weir_layout_free(layout);
    weir_source_close(&src);
    if (err) {
        for (size_t i = 0; i < found; i++)
            bench_data_free(&list[i]);
        free(list);
        return err;
    }
    *out = list;
    *n = found;
    return WEIR_OK;
}
