/* ops.h - what lies between the matrices of a model, on the device: norms, turning heads,
 * attention, gates, choosing a token.
 *
 * All arrays are device memory unless said otherwise.  A pass has n tokens ("rows"), of any
 * sequences; which row is which token lies in device memory, so that a recorded pass is good for
 * the next token too.  What is computed of a row depends on its own sequence alone: not on n, not
 * on its place.  F32 but where BF16 is said.  All calls queue work and nothing more.
 *
 * Arrays are aligned to 16 bytes; strides count numbers and are even.  What belongs to the model
 * (weights of norms, which are fetched ahead of the work queued before) has been there since before
 * that work was queued.
 * WEIR_ERR_INVALID: a count of 0 or one that does not fit the others, too many vectors for their
 * layout, an odd stride.  WEIR_ERR_UNSUPPORTED: a shape that no kernel is made for.  WEIR_ERR_IO:
 * the launch failed. */
#ifndef WEIR_CUDA_OPS_H
#define WEIR_CUDA_OPS_H

#include "cuda/matrix.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The rows of a pass. */
struct weir_gpu_pass {
    uint32_t n;
    const uint32_t *sequence, *position; /* [n] */
};

/* x += sum (times its own norm, where there is one), then out = x normed, rounded to BF16.
 *
 *   x[n][x_stride], sum[n][sum_stride]    hidden numbers each
 *   normed value = v / sqrt(mean(v^2) + eps) * weight */
struct weir_gpu_norm {
    uint32_t hidden; /* even, at most 65536 */
    float eps;
    float *x;
    float *x_to; /* where the new x goes, with or without a sum; NULL: x itself.  The same stride */
    size_t x_stride;
    const float *sum; /* NULL: nothing is added */
    size_t sum_stride;
    const float *sum_bias;   /* [hidden], added to sum first; NULL: none */
    const float *sum_weight; /* [hidden]: sum is normed before it is added; NULL: it is not */
    const float *weight;     /* [hidden]; NULL: only the addition, no out */
    void *out;               /* weir_gpu_vectors_bytes(layout, hidden, n) */
    enum weir_gpu_layout layout;
    const uint32_t *row; /* [n]: vector i of out is of row row[i], each at most once, and only
                            these rows are touched; NULL: all in order */
};
WEIR_MUST_CHECK weir_err weir_gpu_op_norm(struct weir_gpu_stream *s, uint32_t n,
                                          const struct weir_gpu_norm *o);

/* Keys and values: [sequence][head][position][head_dim] of BF16 each, of one layer.  What lies at
 * positions that no row has had yet may be anything. */
struct weir_gpu_kv {
    void *keys, *values;
    uint32_t n_heads;
    uint32_t head_dim; /* a multiple of 8, at most 256 */
    uint32_t context;  /* positions that there is room for */
};

/* q, k, v of each row as the matrices gave them; q is turned in place, k is turned and stored with
 * v, rounded to BF16, at the row's position. */
struct weir_gpu_heads {
    float *qkv; /* [n][stride]: q of n_heads, then k, then v of kv.n_heads, head_dim each */
    size_t stride;
    uint32_t n_heads;
    const float *bias;            /* of all of qkv; NULL: none */
    const float *q_norm, *k_norm; /* [head_dim]: each head is normed before it turns; NULL: none */
    float norm_eps;
    const float *turn;      /* [position][n_pairs][2]: cosine and sine, scaled */
    const float *long_turn; /* the same for sequences with is_long; NULL: none are */
    const uint8_t *is_long; /* [sequence] */
    uint32_t n_pairs;       /* the first 2 n_pairs dimensions of a head turn */
    bool pairs;             /* 2i with 2i + 1, not i with i + n_pairs */
};
WEIR_MUST_CHECK weir_err weir_gpu_op_heads(struct weir_gpu_stream *s,
                                           const struct weir_gpu_pass *pass,
                                           const struct weir_gpu_kv *kv,
                                           const struct weir_gpu_heads *o);

/* Each row's heads look at the positions up to its own (at most `window` of them, itself counted;
 * 0: all): softmax(scale * q k, capped) v.  Time goes by positions, and a little by
 * most_positions, which is no part of the result. */
struct weir_gpu_attention {
    const float *q;   /* as weir_gpu_op_heads() left it */
    size_t stride;    /* a multiple of 4 */
    uint32_t n_heads; /* a multiple of kv.n_heads */
    float scale, cap; /* cap c: s becomes c tanh(s / c); 0: none */
    uint32_t window;
    uint32_t most_positions; /* no row of the pass has position >= this; at most kv.context */
    float *scratch;          /* weir_gpu_attention_bytes(), zeros when first used; for one stream */
    void *out;               /* n vectors of n_heads * head_dim, BF16 */
    enum weir_gpu_layout layout;
};
/* Enough for fewer rows and positions too. */
size_t weir_gpu_attention_bytes(uint32_t n, uint32_t n_heads, uint32_t head_dim,
                                uint32_t most_positions);
WEIR_MUST_CHECK weir_err weir_gpu_op_attention(struct weir_gpu_stream *s,
                                               const struct weir_gpu_pass *pass,
                                               const struct weir_gpu_kv *kv,
                                               const struct weir_gpu_attention *o);

/* out = activation(gate) * up, BF16. */
struct weir_gpu_gate {
    const float *gate_up; /* [n][stride]: gate, then up, `width` numbers each */
    size_t stride;
    uint32_t width;    /* even */
    const float *bias; /* [2 width]; NULL: none */
    bool gelu_tanh;    /* else silu */
    void *out;
    enum weir_gpu_layout layout;
};
WEIR_MUST_CHECK weir_err weir_gpu_op_gate(struct weir_gpu_stream *s, uint32_t n,
                                          const struct weir_gpu_gate *o);

/* What stands in front of a product and behind it, in one launch where that is possible: `norm` of
 * one row makes the product's one vector, `gate` takes what it gives.  The same bits as from one
 * call after the other.  A norm has a weight, no list of rows, and x_to is another place than x and
 * sum; with a gate, its out is another place than the product's vectors.  norm->out and
 * gate->gate_up, which the product reads and writes, are only there for where it is not one launch:
 * what is in them afterwards may be anything. */
struct weir_gpu_chain {
    const struct weir_gpu_norm *norm;
    const struct weir_gpu_product *product;
    const struct weir_gpu_gate *gate; /* NULL: none */
};
WEIR_MUST_CHECK weir_err weir_gpu_op_chain(struct weir_gpu_stream *s,
                                           const struct weir_gpu_chain *chain);

/* Each logit l becomes c tanh(l / c), c = cap; 0: it stays. */
WEIR_MUST_CHECK weir_err weir_gpu_op_cap(struct weir_gpu_stream *s, float *logits, size_t stride,
                                         uint32_t n, uint32_t width, float cap);

/* The `k` largest of each line, descending, of equal ones the lower id first; NaNs and -infinity
 * are left out, and where fewer than k are left id[] ends with UINT32_MAX.  1 <= k <=
 * WEIR_GPU_MOST_TOP.  With a list of recent ids (n_recent[i] of them at recent + i * recent_stride)
 * those ids' logits are first divided by `penalty` where positive, multiplied where not, each id
 * once (infer/sample.h does the same); the line itself stays as it is. */
enum { WEIR_GPU_MOST_TOP = 256 };
struct weir_gpu_top {
    const float *logits;
    size_t stride;
    uint32_t n, width, k;
    float penalty;                     /* 1 or 0: none */
    const uint32_t *recent, *n_recent; /* NULL: none */
    size_t recent_stride;
    uint32_t *id;  /* [n][k] */
    float *logit;  /* [n][k] */
    void *scratch; /* weir_gpu_top_bytes() */
};
size_t weir_gpu_top_bytes(uint32_t n, uint32_t width, uint32_t k);
WEIR_MUST_CHECK weir_err weir_gpu_op_top(struct weir_gpu_stream *s, const struct weir_gpu_top *o);

/* One of the k that weir_gpu_op_top() found of each line, as infer/sample.h draws it with top_k =
 * k: as few as have top_p together, of these those with min_p of the likeliest one's probability,
 * of these one at the temperature.  Sums are doubles, in that order; e^x is the device's. */
struct weir_gpu_draw {
    const uint32_t *id;    /* [n][k] */
    const float *logit;    /* [n][k] */
    uint32_t n, k;         /* k <= WEIR_GPU_MOST_TOP */
    float temperature;     /* 0: the likeliest; it takes no number then */
    float top_p;           /* 1 and above: all */
    float min_p;           /* 0: all */
    const double *uniform; /* [n]: a number of 0 <= u < 1 for each line */
    uint32_t *chosen;      /* [n]; UINT32_MAX where there is none to choose */
};
WEIR_MUST_CHECK weir_err weir_gpu_op_draw(struct weir_gpu_stream *s, const struct weir_gpu_draw *o);

/* What was chosen becomes what is computed with: words[to[i]] = chosen[from[i]], or 0 where that is
 * no id.  No two of `to` are equal. */
struct weir_gpu_feed {
    uint32_t n;
    const uint32_t *to, *from; /* [n] */
    const uint32_t *chosen;
    uint32_t n_ids; /* ids are below it */
    uint32_t *words;
};
WEIR_MUST_CHECK weir_err weir_gpu_op_feed(struct weir_gpu_stream *s, const struct weir_gpu_feed *o);

#ifdef __cplusplus
}
#endif

#endif
