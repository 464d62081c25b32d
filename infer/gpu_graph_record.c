/* Passes of single tokens recorded, so that the next token costs a few calls.
 *
 * What changes from one to the next (ids, positions, whose they are) is read from device memory; so
 * a recording is good for all passes of as many rows whose positions are below the same power of
 * two.  Only where weights stay.  One is made when such a pass comes twice in a row.  What is
 * pinned, and what is chosen by, is another from pass to pass, so that is queued beside it. */
#include "gpu_graph.h"

static bool may_record(const struct graph_gpu *g)
{
    return !g->rules.no_recording && !g->rules.delay_us && g->n_groups == 1 && !g->group[0].large &&
           g->n_asked == g->n_rows && gpu_weights_stay(g->weights);
}

static struct gpu_recording *find(struct graph_gpu *g)
{
    for (size_t i = 0; i < GPU_MOST_RECORDINGS; i++) {
        struct gpu_recording *r = &g->recording[i];
        if (r->graph && r->n_rows == g->n_rows && r->most_positions == g->most_positions)
            return r;
    }
    return NULL;
}

/* An empty one, or the one that was used least recently. */
static struct gpu_recording *make_room(struct graph_gpu *g)
{
    struct gpu_recording *oldest = &g->recording[0];
    for (size_t i = 1; i < GPU_MOST_RECORDINGS; i++)
        if (oldest->graph && (!g->recording[i].graph || g->recording[i].used < oldest->used))
            oldest = &g->recording[i];
    weir_gpu_graph_free(oldest->graph);
    *oldest = (struct gpu_recording){.n_rows = g->n_rows, .most_positions = g->most_positions};
    return oldest;
}

/* NULL: it could not be made, for lack of memory perhaps. */
static struct weir_gpu_graph *record(struct graph_gpu *g)
{
    struct weir_gpu_graph *graph = NULL;
    struct weir_diag unsaid = {""};
    if (weir_gpu_record_begin(g->stream))
        return NULL;
    weir_err err = gpu_pass_queue(g, &unsaid);
    weir_err ended = weir_gpu_record_end(g->stream, &graph);
    if (!err && !ended)
        return graph;
    weir_gpu_graph_free(graph);
    return NULL;
}

weir_err gpu_pass_start(struct graph_gpu *g, struct weir_diag *diag)
{
    const bool may = may_record(g), again = may && g->last_rows == g->n_rows;
    struct gpu_recording *r = may ? find(g) : NULL;
    g->last_rows = may ? g->n_rows : 0;
    if (!r && again) {
        r = make_room(g);
        r->graph = record(g);
        g->rules.no_recording = !r->graph;
    }
    if (!r || !r->graph)
        return gpu_pass_queue(g, diag);
    r->used = ++g->n_replays;
    return weir_gpu_graph_launch(r->graph, g->stream);
}

void gpu_recordings_free(struct graph_gpu *g)
{
    for (size_t i = 0; i < GPU_MOST_RECORDINGS; i++)
        weir_gpu_graph_free(g->recording[i].graph);
}
