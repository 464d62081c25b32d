#include "measure_files.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ALIGNMENT = 64, MEBI = 1 << 20 };

struct hand { /* what a worker has of its own */
    struct weir_tile_decoder *decoder;
    uint8_t *stored, *tile; /* WEIR_TILE_BYTES each */
    float to[MEASURE_TILE_ROWS];
};

struct stored {
    struct weir_tile_head head;
    off_t at;
};

/* The file: plain tiles, then the same ones as a store has them. */
struct measure_files {
    int fd, own_fd; /* own_fd -1: fd is the caller's */
    size_t n_tiles;
    struct weir_coding *coding; /* NULL: they are opaque */
    struct stored *stored;
    off_t end;
    const struct math_kernels *kernels;
    const float *x;
    unsigned n_hands;
    struct hand *hand;
};

static off_t place_of(size_t tile)
{
    return (off_t)(tile * WEIR_TILE_BYTES);
}

static bool write_bytes(const struct measure_files *m, const uint8_t *bytes, size_t n, off_t at)
{
    for (ssize_t wrote; n > 0; bytes += wrote, at += wrote, n -= (size_t)wrote) {
        wrote = pwrite(m->fd, bytes, n, at);
        if (wrote <= 0)
            return false;
    }
    return true;
}

static weir_err write_stored(struct measure_files *m, struct weir_tile_encoder *encoder, size_t i,
                             const uint8_t *plain)
{
    struct stored *s = &m->stored[i];
    uint8_t *stored = m->hand[0].stored;
    weir_err err = weir_tile_encode(encoder, m->coding, plain, WEIR_TILE_BYTES, stored, &s->head);
    if (err)
        return err;
    s->at = m->end;
    m->end += (off_t)s->head.payload_bytes;
    return write_bytes(m, stored, s->head.payload_bytes, s->at) ? WEIR_OK : WEIR_ERR_IO;
}

static weir_err write_tiles(struct measure_files *m, const uint8_t *weights)
{
    const struct weir_elements like = {
        .elem_bytes = 2,
        .n_parts = 1,
        .part = {{.count = 1, .item_bytes = 2, .is_float = true, .exponent_bits = 8}}};
    const size_t bytes = m->n_tiles * WEIR_TILE_BYTES;
    struct weir_tile_encoder *encoder = NULL;
    double bits;
    weir_err err =
        weir_coding_choose(&like, weights, bytes < MEBI ? bytes : MEBI, &m->coding, &bits);
    if (!err)
        err = weir_tile_encoder_new(weir_kernels_best(), &encoder);
    if (!err && !write_bytes(m, weights, bytes, 0))
        err = WEIR_ERR_IO;
    for (size_t i = 0; i < m->n_tiles && !err; i++)
        err = write_stored(m, encoder, i, weights + i * WEIR_TILE_BYTES);
    weir_tile_encoder_free(encoder);
    return err;
}

static weir_err fill(struct measure_files *m, const uint8_t *weights)
{
    if (m->fd < 0)
        m->fd = m->own_fd = memfd_create("weir", MFD_CLOEXEC);
    m->end = place_of(m->n_tiles);
    m->stored = calloc(m->n_tiles, sizeof(*m->stored));
    m->hand = calloc(m->n_hands, sizeof(*m->hand));
    if (m->fd < 0)
        return WEIR_ERR_IO;
    if (!m->stored || !m->hand)
        return WEIR_ERR_NOMEM;
    for (unsigned i = 0; i < m->n_hands; i++) {
        struct hand *hand = &m->hand[i];
        hand->stored = aligned_alloc(ALIGNMENT, WEIR_TILE_BYTES);
        hand->tile = aligned_alloc(ALIGNMENT, WEIR_TILE_BYTES);
        weir_err err = weir_tile_decoder_new(weir_kernels_best(), &hand->decoder);
        if (err || !hand->stored || !hand->tile)
            return WEIR_ERR_NOMEM;
    }
    return write_tiles(m, weights);
}

weir_err measure_files_new(int fd, const uint16_t *weights, size_t n_tiles, unsigned n_workers,
                           const struct math_kernels *kernels, const float *x,
                           struct measure_files **out)
{
    struct measure_files *m = calloc(1, sizeof(*m));
    if (!m)
        return WEIR_ERR_NOMEM;
    *m = (struct measure_files){.fd = fd,
                                .own_fd = -1,
                                .n_tiles = n_tiles,
                                .kernels = kernels,
                                .x = x,
                                .n_hands = n_workers};
    weir_err err = fill(m, (const uint8_t *)weights);
    if (err)
        measure_files_free(m);
    else
        *out = m;
    return err;
}

void measure_files_free(struct measure_files *m)
{
    if (!m)
        return;
    for (unsigned i = 0; m->hand && i < m->n_hands; i++) {
        weir_tile_decoder_free(m->hand[i].decoder);
        free(m->hand[i].stored);
        free(m->hand[i].tile);
    }
    if (m->own_fd >= 0)
        (void)close(m->own_fd);
    free(m->coding);
    free(m->stored);
    free(m->hand);
    free(m);
}

static weir_err multiply(const struct measure_files *m, struct hand *hand)
{
    const struct rows w = {hand->tile, 2 * (size_t)MEASURE_COLS, MEASURE_TILE_ROWS, MEASURE_COLS,
                           NUMBER_BF16};
    const struct vectors x = {m->x, MEASURE_COLS, 1};
    m->kernels->dot(&w, &x, hand->to, MEASURE_TILE_ROWS);
    return WEIR_OK;
}

weir_err measure_plain_unit(void *self, size_t unit, unsigned worker, struct weir_diag *diag)
{
    struct measure_files *m = self;
    struct hand *hand = &m->hand[worker];
    (void)diag;
    ssize_t n = pread(m->fd, hand->tile, WEIR_TILE_BYTES, place_of(unit));
    return n == (ssize_t)WEIR_TILE_BYTES ? multiply(m, hand) : WEIR_ERR_IO;
}

weir_err measure_store_unit(void *self, size_t unit, unsigned worker, struct weir_diag *diag)
{
    struct measure_files *m = self;
    struct hand *hand = &m->hand[worker];
    const struct weir_tile_head *head = &m->stored[unit].head;
    (void)diag;
    ssize_t n = pread(m->fd, hand->stored, head->payload_bytes, m->stored[unit].at);
    if (n != (ssize_t)head->payload_bytes)
        return WEIR_ERR_IO;
    weir_err err =
        weir_tile_decode(hand->decoder, m->coding, head, hand->stored, hand->tile, WEIR_TILE_BYTES);
    return err ? err : multiply(m, hand);
}
