/* gpu_graph.h - the back end on a GPU from inside: its memory, and how a pass is put together.
 *
 * A pass's tokens become rows, in an order of their own, and rows become groups: up to 64 rows that
 * are multiplied together, whosever they are, because each row's sums are the same in any company;
 * and long pieces of one text, by themselves, because what the library computes depends on how many
 * vectors it gets.  A group goes through a layer alone.  So everything between x, which all rows
 * have, and the logits is as large as a group. */
#ifndef WEIR_INFER_GPU_GRAPH_PRIVATE_H
#define WEIR_INFER_GPU_GRAPH_PRIVATE_H

#include "cuda/ops.h"
#include "gpu_device.h"
#include "gpu_weights.h"
#include "graph_private.h"

enum {
    GPU_SMALL = WEIR_GPU_MOST_VECTORS, /* rows of a small group */
    GPU_LARGE = 1024,                  /* rows of a large one */
    GPU_LARGE_STEP = 64,               /* it is padded to a multiple of */
    GPU_ROWS_STEP = 64,                /* rows of a matrix that the library gets: a multiple */
    GPU_ROWS_BYTES = 32 << 20,         /* ... at most; as many as GPU_ROWS_STEP of any width */
    GPU_ROOMS = 2,                     /* for such rows, unpacked */
    GPU_MOST_RECORDINGS = 16,
    GPU_LEAST_BUCKET = 256, /* positions */
    GPU_MOST_RECENT = 256,  /* tokens back that a penalty looks on the device */
    GPU_SLOTS = WEIR_GRAPH_MOST_BEGUN,
    GPU_POISON = 0xff, /* bytes of a NaN, in F32 and in BF16 */
};

/* What a layer has besides its matrices, in device memory; NULL: none. */
struct gpu_layer_vectors {
    const float *attention_norm, *mlp_norm, *after_attention_norm, *after_mlp_norm;
    const float *q_norm, *k_norm;
    const float *qkv_bias, *o_bias, *gate_up_bias, *down_bias;
};

/* Cosines and sines of all positions. */
struct gpu_turn {
    const float *at, *long_at; /* long_at: NULL: the same for all lengths */
    uint32_t n_pairs;
};

struct gpu_vectors {
    struct gpu_layer_vectors *layer; /* [n_layers] */
    const float *norm;
    struct gpu_turn turn, local_turn;
};

/* gpu_graph_vectors.c: bytes of device memory; then its filling.  Waits.  WEIR_ERR_NOMEM, _IO. */
uint64_t gpu_vectors_bytes(const struct weir_model *model, uint32_t context);
WEIR_MUST_CHECK weir_err gpu_vectors_init(struct gpu_vectors *v, const struct weir_model *model,
                                          uint32_t context, struct weir_gpu_stream *s, void *room);
void gpu_vectors_free(struct gpu_vectors *v);

/* How large everything is; by the model and the options alone. */
struct gpu_sizes {
    uint32_t most_small; /* tokens of a text in a pass that go into small groups */
    uint32_t group;      /* rows of a group at most, padding counted */
    uint32_t large;      /* of a large one; 0: there are none */
    uint64_t rows_bytes; /* of a room for rows that are unpacked */
    uint32_t x, qkv, gate_up, looked, intermediate, logits; /* floats of a row, padding counted */
};

/* Device memory of a graph.  Bytes each, one behind the other. */
struct gpu_room {
    char *at;
    float *x, *sum, *qkv, *gate_up, *logits, *attention;
    void *vectors, *asked; /* BF16 */
    float *x_between;      /* of a single row: x in the middle of a layer */
    void *gated;           /* ... and BF16, behind its gates */
    void *rows;            /* of a packed matrix, unpacked */
    char *kv;
    void *small; /* gpu_vectors */
    uint32_t *params;
    float *aside; /* logits on their way to the host, while the next pass computes its own */
    uint32_t *top_id;
    uint32_t *chosen; /* [GPU_SLOTS][n_choices] */
    float *top_logit;
    void *top; /* scratch */
};

/* Where a pass's parameters are, in 32-bit words; it depends on n_rows alone.  What it chooses by
 * comes behind `words`. */
struct gpu_params {
    size_t sequence, position, id, asked, is_long, words;
};

/* What a pass chooses by, and what it is fed with: words of its parameters, behind the others. */
struct gpu_choice {
    bool is_made;     /* on the device */
    size_t into, fed; /* of room.chosen: where ids go; where those of the pass before are, which a
                         pass that fails and is begun again still needs */
    const struct weir_sampler_options *options;
    uint32_t k, recent_stride; /* 0: no penalty */
    uint32_t n_fed;
    size_t uniform, n_recent, recent, to, from, words; /* words: where all ends */
};

struct gpu_group {
    uint32_t first, n;
    bool large;
};

struct gpu_recording {
    uint32_t n_rows, most_positions;
    uint64_t used; /* when */
    struct weir_gpu_graph *graph;
};

/* Of a pass that has begun; what is pinned is written by it until it has ended. */
struct gpu_slot {
    struct weir_gpu_event *done, *down; /* ids are there; logits are */
    uint32_t *params;                   /* pinned */
    uint32_t *chosen;                   /* pinned, [n_choices] */
    float *logits;                      /* pinned; of slot 0 n_logits lines, else n_choices */
    bool chooses, brings_logits, asks;
};

/* Of gpu_graph_large.c; a zeroed one is fine. */
struct gpu_large {
    struct weir_gpu_stream *stream; /* NULL: no piece is so long */
    struct weir_gpu_event *given;
    struct weir_gpu_event *unpacked[GPU_ROOMS], *used[GPU_ROOMS];
    uint32_t n_blocks; /* unpacked so far: the rooms take turns */
};

struct graph_gpu {
    struct weir_device *device;
    struct weir_gpu *gpu;
    const struct weir_model *model;
    struct weir_graph_options options; /* the front's */
    struct weir_device_rules rules;
    struct gpu_sizes sizes;
    struct gpu_room room;
    struct gpu_vectors vectors;
    struct gpu_weights *weights;
    struct weir_gpu_blas *blas; /* the device's; NULL: none */
    struct weir_gpu_stream *stream;
    struct weir_gpu_stream *aside; /* brings logits to the host */
    struct weir_gpu_event *staged; /* they are in room.aside */
    struct gpu_large large;
    struct gpu_slot slot[GPU_SLOTS];
    uint64_t random; /* of delays */

    float *embedded; /* pinned; NULL: the embeddings are on the device */
    struct weir_gpu_matrix embedding;

    /* the pass */
    uint32_t n_rows, n_asked, most_positions;
    struct gpu_params at;
    struct gpu_group *group; /* [chunk] */
    uint32_t n_groups;
    uint32_t *row_of;   /* [chunk]: the token that is in a row */
    uint32_t *place;    /* [chunk]: the row that a token is in */
    uint32_t *n_of;     /* [n_sequences]: tokens in the pass; zero between passes */
    uint32_t last_rows; /* of the pass before, if it could have been recorded */
    uint32_t *params;   /* of its slot */
    struct gpu_choice choice;

    struct gpu_recording recording[GPU_MOST_RECORDINGS];
    uint64_t n_replays, n_choosing, n_ahead;
    uint32_t n_begun;    /* passes on their way */
    uint64_t used_bytes; /* plain, of matrices */
};

/* ---- gpu_graph_plan.c: how much a graph takes ---- */

/* Takes everything in device memory that is no weight: *fixed bytes of *budget.  With what would do
 * in *diag: WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err gpu_graph_take_room(struct graph_gpu *g, uint64_t *budget, uint64_t *fixed,
                                             struct weir_diag *diag);

/* Makes g->weights, in what is left; errors as above. */
WEIR_MUST_CHECK weir_err gpu_graph_take_weights(struct graph_gpu *g, uint64_t budget,
                                                uint64_t fixed, struct weir_diag *diag);

/* ---- gpu_graph_room.c ---- */

/* Choices of a pass, at most. */
uint32_t gpu_n_choices(const struct weir_graph_options *options);

void gpu_sizes_fill(const struct weir_model *model, const struct weir_graph_options *options,
                    const struct weir_device_rules *rules, bool has_blas, struct gpu_sizes *out);

/* Bytes of device memory; 0: more than there can be. */
uint64_t gpu_room_bytes(const struct weir_model *model, const struct weir_graph_options *options,
                        const struct gpu_sizes *sizes);

/* WEIR_ERR_NOMEM.  Freed with weir_gpu_free(room.at). */
WEIR_MUST_CHECK weir_err gpu_room_take(struct graph_gpu *g);

/* Queues what it holds at first: zeros, or NaNs where nothing may depend on it. */
WEIR_MUST_CHECK weir_err gpu_room_clear(struct graph_gpu *g);

/* Keys and values of a layer. */
struct weir_gpu_kv gpu_room_kv(const struct graph_gpu *g, uint32_t layer);

struct gpu_params gpu_params_at(uint32_t n_rows, uint32_t n_sequences);

/* ---- gpu_graph_pass.c: rows and groups, and their parameters in pinned memory ---- */

void gpu_pass_arrange(struct graph_gpu *g, const struct graph_pass *pass);

/* ---- gpu_graph_choose.c: what comes next, chosen on the device ---- */

/* Words of parameters that choosing takes at most. */
size_t gpu_choice_most_words(const struct weir_graph_options *options);

/* Whether a pass's samplers choose in a way that the device knows; and what they choose by, and
 * what the pass is fed with, behind the parameters of an arranged pass. */
void gpu_choice_arrange(struct graph_gpu *g, const struct graph_pass *pass);

/* Of an arranged pass that does not begin after all: its samplers are as they were. */
void gpu_choice_take_back(const struct graph_gpu *g, const struct graph_pass *pass);

/* Queues: ids that the pass before has chosen to their places.  Then choosing, and ids to the
 * host. */
WEIR_MUST_CHECK weir_err gpu_choice_feed(struct graph_gpu *g);
WEIR_MUST_CHECK weir_err gpu_choice_queue(struct graph_gpu *g, struct gpu_slot *slot);

/* ---- gpu_graph_large.c ---- */

/* WEIR_ERR_NOMEM, WEIR_ERR_IO.  Freed with gpu_large_free(), also after an error. */
WEIR_MUST_CHECK weir_err gpu_large_init(struct graph_gpu *g);
void gpu_large_free(struct gpu_large *a);

/* Waits until nothing is on its way on its stream; what a pass that was queued whole has there is
 * done before the pass is. */
WEIR_MUST_CHECK weir_err gpu_large_wait(struct gpu_large *a);

/* As weir_gpu_multiply_many(), of a matrix of either form and of any number of vectors: there is
 * room for a multiple of GPU_LARGE_STEP. */
WEIR_MUST_CHECK weir_err gpu_large_multiply(struct graph_gpu *g,
                                            const struct weir_gpu_product *product);

/* ---- gpu_graph_layer.c, gpu_graph_queue.c ---- */

/* Queues a group's way through a layer.  `chained`: it is the only one of the pass, and what the
 * layer before it had to add is added here. */
WEIR_MUST_CHECK weir_err gpu_layer_queue(struct graph_gpu *g, const struct gpu_group *group,
                                         uint32_t layer, const struct gpu_layer *weights,
                                         bool chained);

/* Queues what differs from pass to pass: parameters, embeddings that the host has looked up. */
WEIR_MUST_CHECK weir_err gpu_pass_queue_input(struct graph_gpu *g);

/* Queues the pass, from parameters on the device to logits there. */
WEIR_MUST_CHECK weir_err gpu_pass_queue(struct graph_gpu *g, struct weir_diag *diag);

/* Queues logits on their way to the host.  beside: what is queued next need not wait for that. */
WEIR_MUST_CHECK weir_err gpu_logits_queue(struct graph_gpu *g, struct gpu_slot *slot, bool beside);

/* ---- gpu_graph_record.c ---- */

/* gpu_pass_queue(), from a recording where there is one and making one where it pays; where none
 * can be made, from now on without. */
WEIR_MUST_CHECK weir_err gpu_pass_start(struct graph_gpu *g, struct weir_diag *diag);
void gpu_recordings_free(struct graph_gpu *g);

#endif
