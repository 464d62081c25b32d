#include "gpu_weights_ahead.h"

#include <stdio.h>

weir_err ahead_layers(struct gpu_weights *w, uint32_t n, uint32_t n_layers,
                      struct weir_gpu_stream *s, struct weir_diag *diag)
{
    weir_err err = WEIR_OK;
    for (uint32_t i = 0; i < n && !err; i++) {
        struct gpu_layer l;
        err = gpu_weights_layer(w, i, s, &l, diag);
        if (!err)
            err = gpu_weights_layer_done(w, i, s);
    }
    for (uint32_t i = 0; n == n_layers && i < gpu_weights_n_blocks(w) && !err; i++) {
        struct gpu_block_rows b;
        err = gpu_weights_block(w, i, s, &b, diag);
        if (!err)
            err = gpu_weights_block_done(w, i, s);
    }
    return err;
}

void ahead_wait(struct gpu_weights *w)
{
    struct gpu_streaming *s = &w->streaming;
    pthread_mutex_lock(&s->lock);
    while (s->runs && !s->err && s->n_queued < s->n_given + w->plan.depth)
        pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

bool ahead_fail(const char *what)
{
    printf("WRONG: %s\n", what);
    return false;
}
