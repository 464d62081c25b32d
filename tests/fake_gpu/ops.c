#include "cuda/ops.h"

#include "fake.h"

static void put(void *out, size_t width, size_t row, size_t i, float v)
{
    ((uint16_t *)out)[row * width + i] = fake_round(v);
}

static float norm_scale(const float *x, size_t n, float eps)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return (float)(1 / sqrt(sum / (double)n + (double)eps));
}

/* ---- norm ---- */

struct norming {
    struct weir_gpu_norm o;
    uint32_t n;
};

static void add_sum(const struct weir_gpu_norm *o, float *x, const float *sum)
{
    float whole[1 << 12];
    for (uint32_t i = 0; i < o->hidden; i++)
        whole[i] = sum[i] + (o->sum_bias ? o->sum_bias[i] : 0);
    const float scale = o->sum_weight ? norm_scale(whole, o->hidden, o->eps) : 1;
    for (uint32_t i = 0; i < o->hidden; i++)
        x[i] += o->sum_weight ? whole[i] * scale * o->sum_weight[i] : whole[i];
}

static void do_norm(const void *what)
{
    const struct norming *n = what;
    const struct weir_gpu_norm *o = &n->o;
    for (uint32_t i = 0; i < n->n; i++) {
        const size_t row = o->row ? o->row[i] : i;
        float *x = (o->x_to ? o->x_to : o->x) + row * o->x_stride;
        memmove(x, o->x + row * o->x_stride, o->hidden * sizeof(*x));
        if (o->sum)
            add_sum(o, x, o->sum + row * o->sum_stride);
        if (!o->weight)
            continue;
        const float scale = norm_scale(x, o->hidden, o->eps);
        for (uint32_t j = 0; j < o->hidden; j++)
            put(o->out, o->hidden, i, j, x[j] * scale * o->weight[j]);
    }
}

weir_err weir_gpu_op_norm(struct weir_gpu_stream *s, uint32_t n, const struct weir_gpu_norm *o)
{
    return fake_queue(s, do_norm, &(struct norming){*o, n}, sizeof(struct norming));
}

/* ---- heads ---- */

struct turning {
    struct weir_gpu_pass pass;
    struct weir_gpu_kv kv;
    struct weir_gpu_heads o;
};

static void turn_head(const struct weir_gpu_heads *o, float *head, uint32_t dim, const float *norm,
                      const float *turn)
{
    const float scale = norm ? norm_scale(head, dim, o->norm_eps) : 1;
    for (uint32_t i = 0; norm && i < dim; i++)
        head[i] = head[i] * scale * norm[i];
    for (size_t i = 0; i < o->n_pairs; i++) {
        float *a = o->pairs ? head + 2 * i : head + i;
        float *b = o->pairs ? head + 2 * i + 1 : head + i + o->n_pairs;
        const float x = *a, y = *b, c = turn[2 * i], d = turn[2 * i + 1];
        *a = x * c - y * d;
        *b = y * c + x * d;
    }
}

static uint16_t *kv_at(void *base, const struct weir_gpu_kv *kv, uint32_t sequence, uint32_t head,
                       uint32_t position)
{
    const size_t line = ((size_t)sequence * kv->n_heads + head) * kv->context + position;
    return (uint16_t *)base + line * kv->head_dim;
}

static void turn_row(const struct turning *t, uint32_t row)
{
    const struct weir_gpu_heads *o = &t->o;
    const uint32_t dim = t->kv.head_dim, n_all = o->n_heads + 2 * t->kv.n_heads;
    const uint32_t sequence = t->pass.sequence[row], position = t->pass.position[row];
    const bool is_long = o->long_turn && o->is_long[sequence];
    const float *turn = (is_long ? o->long_turn : o->turn) + (size_t)position * o->n_pairs * 2;
    float *q = o->qkv + row * o->stride;
    for (uint32_t i = 0; o->bias && i < n_all * dim; i++)
        q[i] += o->bias[i];
    for (uint32_t h = 0; h < o->n_heads; h++)
        turn_head(o, q + (size_t)h * dim, dim, o->q_norm, turn);
    for (uint32_t h = 0; h < t->kv.n_heads; h++) {
        float *k = q + (size_t)(o->n_heads + h) * dim, *v = k + (size_t)t->kv.n_heads * dim;
        turn_head(o, k, dim, o->k_norm, turn);
        for (uint32_t i = 0; i < dim; i++) {
            kv_at(t->kv.keys, &t->kv, sequence, h, position)[i] = fake_round(k[i]);
            kv_at(t->kv.values, &t->kv, sequence, h, position)[i] = fake_round(v[i]);
        }
    }
}

static void do_heads(const void *what)
{
    const struct turning *t = what;
    for (uint32_t row = 0; row < t->pass.n; row++)
        turn_row(t, row);
}

weir_err weir_gpu_op_heads(struct weir_gpu_stream *s, const struct weir_gpu_pass *pass,
                           const struct weir_gpu_kv *kv, const struct weir_gpu_heads *o)
{
    return fake_queue(s, do_heads, &(struct turning){*pass, *kv, *o}, sizeof(struct turning));
}

/* ---- attention ---- */

struct looking {
    struct weir_gpu_pass pass;
    struct weir_gpu_kv kv;
    struct weir_gpu_attention o;
};

size_t weir_gpu_attention_bytes(uint32_t n, uint32_t n_heads, uint32_t head_dim,
                                uint32_t most_positions)
{
    return ((size_t)n * n_heads * head_dim + most_positions) * sizeof(float);
}

static void look(const struct looking *l, uint32_t row, uint32_t head)
{
    const struct weir_gpu_attention *o = &l->o;
    const uint32_t dim = l->kv.head_dim, own = head / (o->n_heads / l->kv.n_heads);
    const uint32_t sequence = l->pass.sequence[row], end = l->pass.position[row] + 1;
    const uint32_t first = o->window && end > o->window ? end - o->window : 0;
    const float *q = o->q + row * o->stride + (size_t)head * dim;
    float *score = o->scratch, most = -INFINITY, sum = 0;
    for (uint32_t p = first; p < end; p++) {
        const uint16_t *k = kv_at(l->kv.keys, &l->kv, sequence, own, p);
        float dot = 0;
        for (uint32_t i = 0; i < dim; i++)
            dot += q[i] * fake_widen(k[i]);
        score[p] = dot * o->scale;
        if (o->cap > 0)
            score[p] = o->cap * tanhf(score[p] / o->cap);
        most = score[p] > most ? score[p] : most;
    }
    for (uint32_t p = first; p < end; p++)
        sum += score[p] = expf(score[p] - most);
    for (uint32_t i = 0; i < dim; i++) {
        float v = 0;
        for (uint32_t p = first; p < end; p++)
            v += score[p] * fake_widen(kv_at(l->kv.values, &l->kv, sequence, own, p)[i]);
        put(o->out, (size_t)o->n_heads * dim, row, (size_t)head * dim + i, v / sum);
    }
}

static void do_attention(const void *what)
{
    const struct looking *l = what;
    for (uint32_t row = 0; row < l->pass.n; row++)
        for (uint32_t head = 0; head < l->o.n_heads; head++)
            look(l, row, head);
}

weir_err weir_gpu_op_attention(struct weir_gpu_stream *s, const struct weir_gpu_pass *pass,
                               const struct weir_gpu_kv *kv, const struct weir_gpu_attention *o)
{
    return fake_queue(s, do_attention, &(struct looking){*pass, *kv, *o}, sizeof(struct looking));
}

/* ---- gate ---- */

struct gating {
    struct weir_gpu_gate o;
    uint32_t n;
};

static float activation(const struct weir_gpu_gate *o, float x)
{
    const float y = o->gelu_tanh ? 1.5957691216F * (x + 0.044715F * x * x * x) : x;
    return x / (1 + expf(-y));
}

static void do_gate(const void *what)
{
    const struct gating *g = what;
    const struct weir_gpu_gate *o = &g->o;
    for (uint32_t row = 0; row < g->n; row++)
        for (uint32_t i = 0; i < o->width; i++) {
            const float *gate = o->gate_up + row * o->stride + i, *up = gate + o->width;
            const float *bias = o->bias;
            const float a = *gate + (bias ? bias[i] : 0);
            const float b = *up + (bias ? bias[o->width + i] : 0);
            put(o->out, o->width, row, i, activation(o, a) * b);
        }
}

weir_err weir_gpu_op_gate(struct weir_gpu_stream *s, uint32_t n, const struct weir_gpu_gate *o)
{
    return fake_queue(s, do_gate, &(struct gating){*o, n}, sizeof(struct gating));
}

weir_err weir_gpu_op_chain(struct weir_gpu_stream *s, const struct weir_gpu_chain *chain)
{
    weir_err err = weir_gpu_op_norm(s, 1, chain->norm);
    if (!err)
        err = weir_gpu_multiply(s, chain->product);
    return err || !chain->gate ? err : weir_gpu_op_gate(s, 1, chain->gate);
}

/* ---- logits ---- */

struct capping {
    float *logits;
    size_t stride;
    uint32_t n, width;
    float cap;
};

static void do_cap(const void *what)
{
    const struct capping *c = what;
    for (uint32_t row = 0; row < c->n; row++)
        for (uint32_t i = 0; i < c->width; i++) {
            float *l = c->logits + row * c->stride + i;
            *l = c->cap * tanhf(*l / c->cap);
        }
}

weir_err weir_gpu_op_cap(struct weir_gpu_stream *s, float *logits, size_t stride, uint32_t n,
                         uint32_t width, float cap)
{
    return fake_queue(s, do_cap, &(struct capping){logits, stride, n, width, cap},
                      sizeof(struct capping));
}

/* ---- choosing ---- */

static bool is_recent(const struct weir_gpu_top *o, uint32_t line, uint32_t id)
{
    bool found = false;
    for (uint32_t i = 0; o->n_recent && i < o->n_recent[line]; i++)
        found = found || o->recent[line * o->recent_stride + i] == id;
    return found;
}

static float penalised(const struct weir_gpu_top *o, uint32_t line, uint32_t id)
{
    const float logit = o->logits[line * o->stride + id];
    if (o->penalty == 1 || o->penalty == 0 || !is_recent(o, line, id))
        return logit;
    return logit > 0 ? logit / o->penalty : logit * o->penalty;
}

/* Each goes up to its place among those that are there. */
static void do_top(const void *what)
{
    const struct weir_gpu_top *o = what;
    for (uint32_t line = 0; line < o->n; line++) {
        uint32_t n = 0, *id = o->id + (size_t)line * o->k;
        float *best = o->logit + (size_t)line * o->k;
        for (uint32_t i = 0; i < o->width; i++) {
            const float logit = penalised(o, line, i);
            if (isnan(logit) || logit == -INFINITY || (n == o->k && !(logit > best[n - 1])))
                continue;
            uint32_t at = n < o->k ? n++ : n - 1;
            for (; at > 0 && logit > best[at - 1]; at--) {
                best[at] = best[at - 1];
                id[at] = id[at - 1];
            }
            best[at] = logit;
            id[at] = i;
        }
        for (; n < o->k; n++) {
            id[n] = UINT32_MAX;
            best[n] = -INFINITY;
        }
    }
}

size_t weir_gpu_top_bytes(uint32_t n, uint32_t width, uint32_t k)
{
    return (size_t)n * k + width;
}

weir_err weir_gpu_op_top(struct weir_gpu_stream *s, const struct weir_gpu_top *o)
{
    if (o->n == 0 || o->k == 0 || o->k > WEIR_GPU_MOST_TOP)
        return WEIR_ERR_INVALID;
    return fake_queue(s, do_top, o, sizeof(*o));
}

static uint32_t draw(const struct weir_gpu_draw *o, uint32_t n, const float *logit, double uniform)
{
    double sum = 0, so_far = 0, weight[WEIR_GPU_MOST_TOP];
    uint32_t left = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += weight[i] = exp((double)logit[i] - (double)logit[0]);
    while (left < n && (left == 0 || (double)o->top_p >= 1 || so_far < (double)o->top_p * sum))
        so_far += weight[left++];
    while (left > 1 && weight[left - 1] < (double)o->min_p)
        left--;
    sum = 0;
    for (uint32_t i = 0; i < left; i++)
        sum += weight[i] = exp(((double)logit[i] - (double)logit[0]) / (double)o->temperature);
    double at = uniform * sum;
    uint32_t i = 0;
    while (i + 1 < left && (at -= weight[i]) >= 0)
        i++;
    return i;
}

static void do_draw(const void *what)
{
    const struct weir_gpu_draw *o = what;
    for (uint32_t line = 0; line < o->n; line++) {
        const uint32_t *id = o->id + (size_t)line * o->k;
        const float *logit = o->logit + (size_t)line * o->k;
        uint32_t n = 0;
        while (n < o->k && id[n] != UINT32_MAX)
            n++;
        const bool draws = n > 0 && o->temperature > 0;
        o->chosen[line] = n == 0 ? UINT32_MAX : id[draws ? draw(o, n, logit, o->uniform[line]) : 0];
    }
}

weir_err weir_gpu_op_draw(struct weir_gpu_stream *s, const struct weir_gpu_draw *o)
{
    return fake_queue(s, do_draw, o, sizeof(*o));
}

static void do_feed(const void *what)
{
    const struct weir_gpu_feed *o = what;
    for (uint32_t i = 0; i < o->n; i++) {
        const uint32_t id = o->chosen[o->from[i]];
        o->words[o->to[i]] = id < o->n_ids ? id : 0;
    }
}

weir_err weir_gpu_op_feed(struct weir_gpu_stream *s, const struct weir_gpu_feed *o)
{
    return o->n ? fake_queue(s, do_feed, o, sizeof(*o)) : WEIR_ERR_INVALID;
}
