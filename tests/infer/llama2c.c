/* llama2c.c - a llama2.c .bin file computed plainly, in double, by code that shares nothing with
 * infer/: what its GGUF twin must agree with.
 *
 *     infer_llama2c MODEL.bin LOGITS ID...
 * LOGITS: F32, what infer_probe wrote for these ids.  Prints by how much they differ at most and
 * whether each position's choice is the same; exits 1 if not, or if it is more than 1e-4. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct shape {
    int32_t dim, hidden, n_layers, n_heads, n_kv_heads, vocab, context;
};

struct model {
    struct shape s;
    int kv_dim, head;
    const float *embedding, *attention_norm, *q, *k, *v, *o, *mlp_norm, *gate, *down, *up, *norm;
    double *keys, *values; /* [layer][position][kv_dim] */
};

static void *must(void *p)
{
    if (!p)
        exit(1);
    return p;
}

static void *read_all(const char *path, size_t *n)
{
    FILE *f = must(fopen(path, "rb"));
    (void)fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    void *p = must(malloc(*n));
    if (fread(p, 1, *n, f) != *n)
        exit(1);
    (void)fclose(f);
    return p;
}

static const float *cut(const float **at, size_t n)
{
    const float *here = *at;
    *at += n;
    return here;
}

static struct model read_model(const char *bytes)
{
    struct model m;
    memcpy(&m.s, bytes, sizeof(m.s));
    const struct shape *s = &m.s;
    const float *at = (const float *)(const void *)(bytes + sizeof(m.s));
    const size_t layers = (size_t)s->n_layers, dim = (size_t)s->dim, hidden = (size_t)s->hidden;
    m.head = s->dim / s->n_heads;
    m.kv_dim = m.head * s->n_kv_heads;
    m.embedding = cut(&at, (size_t)s->vocab * dim);
    m.attention_norm = cut(&at, layers * dim);
    m.q = cut(&at, layers * dim * dim);
    m.k = cut(&at, layers * dim * (size_t)m.kv_dim);
    m.v = cut(&at, layers * dim * (size_t)m.kv_dim);
    m.o = cut(&at, layers * dim * dim);
    m.mlp_norm = cut(&at, layers * dim);
    m.gate = cut(&at, layers * dim * hidden);
    m.down = cut(&at, layers * dim * hidden);
    m.up = cut(&at, layers * dim * hidden);
    m.norm = cut(&at, dim);
    m.keys = must(calloc(layers * (size_t)s->context * (size_t)m.kv_dim, sizeof(double)));
    m.values = must(calloc(layers * (size_t)s->context * (size_t)m.kv_dim, sizeof(double)));
    return m;
}

static void multiply(double *to, const float *w, const double *x, int n_rows, int n_cols)
{
    for (int r = 0; r < n_rows; r++) {
        to[r] = 0;
        for (int c = 0; c < n_cols; c++)
            to[r] += (double)w[(size_t)r * (size_t)n_cols + (size_t)c] * x[c];
    }
}

static void norm(double *to, const double *x, const float *w, int n)
{
    double squares = 0;
    for (int i = 0; i < n; i++)
        squares += x[i] * x[i];
    for (int i = 0; i < n; i++)
        to[i] = (double)w[i] * x[i] / sqrt(squares / n + 1e-5);
}

static void turn(double *x, int n, int head, int position)
{
    for (int i = 0; i < n; i += 2) {
        double angle = position * pow(10000, -(double)(i % head) / head);
        double a = x[i], b = x[i + 1];
        x[i] = a * cos(angle) - b * sin(angle);
        x[i + 1] = a * sin(angle) + b * cos(angle);
    }
}

static void look(const struct model *m, int head, const double *q, const double *keys,
                 const double *values, int n, double *to)
{
    double score[4096], most = -INFINITY, sum = 0;
    const int at = head / (m->s.n_heads / m->s.n_kv_heads) * m->head;
    for (int t = 0; t < n; t++) {
        score[t] = 0;
        for (int i = 0; i < m->head; i++)
            score[t] += q[i] * keys[t * m->kv_dim + at + i] / sqrt(m->head);
        most = fmax(most, score[t]);
    }
    for (int t = 0; t < n; t++)
        sum += score[t] = exp(score[t] - most);
    for (int i = 0; i < m->head; i++) {
        to[i] = 0;
        for (int t = 0; t < n; t++)
            to[i] += score[t] / sum * values[t * m->kv_dim + at + i];
    }
}

static void layer(const struct model *m, int l, int position, double *x, double *memory)
{
    const int dim = m->s.dim, hidden = m->s.hidden, kv = m->kv_dim;
    const size_t square = (size_t)l * (size_t)dim, all = (size_t)m->s.context * (size_t)kv;
    double *keys = m->keys + (size_t)l * all, *values = m->values + (size_t)l * all;
    double *key = keys + (size_t)position * (size_t)kv, *a = memory, *q = a + dim, *sum = q + dim;
    double *gate = sum + dim, *up = gate + hidden;
    norm(a, x, m->attention_norm + square, dim);
    multiply(q, m->q + square * (size_t)dim, a, dim, dim);
    multiply(key, m->k + square * (size_t)kv, a, kv, dim);
    multiply(values + (size_t)position * (size_t)kv, m->v + square * (size_t)kv, a, kv, dim);
    turn(q, dim, m->head, position);
    turn(key, kv, m->head, position);
    for (int h = 0; h < m->s.n_heads; h++)
        look(m, h, q + (ptrdiff_t)h * m->head, keys, values, position + 1,
             a + (ptrdiff_t)h * m->head);
    multiply(sum, m->o + square * (size_t)dim, a, dim, dim);
    for (int i = 0; i < dim; i++)
        x[i] += sum[i];
    norm(a, x, m->mlp_norm + square, dim);
    multiply(gate, m->gate + square * (size_t)hidden, a, hidden, dim);
    multiply(up, m->up + square * (size_t)hidden, a, hidden, dim);
    for (int i = 0; i < hidden; i++)
        gate[i] *= up[i] / (1 + exp(-gate[i]));
    multiply(sum, m->down + square * (size_t)hidden, gate, dim, hidden);
    for (int i = 0; i < dim; i++)
        x[i] += sum[i];
}

int main(int argc, char **argv)
{
    size_t n_bytes, n_logits;
    if (argc < 4)
        return 2;
    char *bytes = read_all(argv[1], &n_bytes);
    float *logits = read_all(argv[2], &n_logits);
    struct model m = read_model(bytes);
    const int dim = m.s.dim, vocab = m.s.vocab, n_ids = argc - 3;
    const size_t n_memory = 3 * (size_t)dim + 2 * (size_t)m.s.hidden;
    double *x = must(calloc((size_t)dim + n_memory + (size_t)vocab, sizeof(double)));
    double *memory = x + dim, *answer = memory + n_memory, worst = 0;
    int others = 0;
    if (n_logits != (size_t)n_ids * (size_t)vocab * sizeof(float)) {
        printf("%zu bytes of logits\n", n_logits);
        exit(1);
    }
    for (int p = 0; p < n_ids; p++) {
        int id = atoi(argv[3 + p]), best = 0, other = 0;
        const float *given = logits + (size_t)p * (size_t)vocab;
        for (int i = 0; i < dim; i++)
            x[i] = (double)m.embedding[(size_t)id * (size_t)dim + (size_t)i];
        for (int l = 0; l < m.s.n_layers; l++)
            layer(&m, l, p, x, memory);
        norm(memory, x, m.norm, dim);
        multiply(answer, m.embedding, memory, vocab, dim);
        for (int i = 0; i < vocab; i++) {
            worst = fmax(worst, fabs(answer[i] - (double)given[i]));
            best = answer[i] > answer[best] ? i : best;
            other = given[i] > given[other] ? i : other;
        }
        others += best != other;
    }
    printf("%.1e off, %d other choices at %d positions\n", worst, others, n_ids);
    free(x);
    free(m.keys);
    free(m.values);
    free(logits);
    free(bytes);
    return worst > 1e-4 || others;
}
