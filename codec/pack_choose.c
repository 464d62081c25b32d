#include "pack_plan.h"

#include <stdlib.h>

#include <xxhash.h>
#include <zstd.h>

enum {
    PIECE_BYTES = 32 << 10,     /* of a sample of elements: more places say more */
    MIN_GUESS_BYTES = 64 << 10, /* shorter opaque runs go to zstd unseen */

    ZSTD_LEVEL = 3, /* what a tile gets */
    ZSTD_TILES = 4, /* of the sample are tried: it is the slow part */

    CODING_BYTES = 4, /* docs/format.md, 3.1 */
    PART_BYTES = 12,
    TRANSFORM_BYTES = 16,
};

_Static_assert((int)PACK_SAMPLE_BYTES <= (int)PACK_PLAIN_BYTES, "a sample fits a slot");

/* Opaque bytes that zstd makes this small are no numbers. */
static const double no_numbers_ratio = 1.0 / 16;

/* What opaque bytes may be at heart: files of other formats are mostly arrays of these. */
static const struct weir_elements guesses[] = {
    {.elem_bytes = 1, .n_parts = 1, .part = {{0, 1, 1, false, 0}}}, /* bytes */
    {.elem_bytes = 2, .n_parts = 1, .part = {{0, 1, 2, true, 8}}},  /* bf16 */
    {.elem_bytes = 2, .n_parts = 1, .part = {{0, 1, 2, true, 5}}},  /* f16 */
    {.elem_bytes = 4, .n_parts = 1, .part = {{0, 1, 4, true, 8}}},  /* f32 */
};

struct pack_chooser {
    ZSTD_CCtx *zstd;
};

weir_err pack_chooser_new(struct pack_chooser **out)
{
    struct pack_chooser *c = calloc(1, sizeof(*c));
    if (!c)
        return WEIR_ERR_NOMEM;
    c->zstd = ZSTD_createCCtx();
    if (!c->zstd) {
        free(c);
        return WEIR_ERR_NOMEM;
    }
    *out = c;
    return WEIR_OK;
}

void pack_chooser_free(struct pack_chooser *c)
{
    if (!c)
        return;
    ZSTD_freeCCtx(c->zstd);
    free(c);
}

size_t pack_coding_bytes(const struct weir_coding *coding)
{
    size_t n = CODING_BYTES + (coding->transform.kind ? TRANSFORM_BYTES : 0);
    for (int i = 0; i < coding->n_parts; i++) {
        size_t n_freq = 0;
        for (size_t j = 0; j < 256; j++)
            if (coding->part[i].freq[j])
                n_freq = j + 1;
        n += PART_BYTES + 2 * n_freq;
    }
    return n;
}

/* Pieces of whole elements, evenly spread; everything when it fits.  Where they are depends on the
 * segment alone.  Opaque bytes come in whole tiles, as zstd will see them. */
static struct pack_sample sample_of(const struct weir_segment *segment,
                                    const struct weir_elements *like)
{
    if (segment->bytes <= PACK_SAMPLE_BYTES)
        return (struct pack_sample){1, (size_t)segment->bytes, 1};
    size_t piece = WEIR_TILE_BYTES;
    if (like)
        piece = PIECE_BYTES - (size_t)PIECE_BYTES % like->elem_bytes;
    return (struct pack_sample){PACK_SAMPLE_BYTES / piece, piece, segment->bytes / piece};
}

uint64_t pack_piece_at(const struct pack_sample *s, size_t i)
{
    uint64_t number = s->n_pieces / s->n * i + s->n_pieces % s->n * i / s->n;
    return number * s->piece;
}

static weir_err take_sample(const struct pack_seen *seen, uint64_t file_offset,
                            struct weir_diag *diag)
{
    const struct pack_sample *s = &seen->sample;
    for (size_t i = 0; i < s->n; i++) {
        weir_err err = pack_read(seen->reader, seen->entry, file_offset + pack_piece_at(s, i),
                                 seen->slot->plain + i * s->piece, s->piece, diag);
        if (err)
            return err;
    }
    return WEIR_OK;
}

void pack_choose_announce(struct pack_reader *r, uint32_t entry, uint32_t segment)
{
    const struct weir_segment *at = &r->pack->ix.entry[entry].segment[segment];
    if (at->bytes <= r->pack->window_bytes / 2) {
        pack_expect(r, entry, at->file_offset, at->bytes);
        return;
    }
    const struct pack_sample s = sample_of(at, pack_elements(r->pack, entry, segment));
    for (size_t i = 0; i < s.n; i++)
        pack_expect(r, entry, at->file_offset + pack_piece_at(&s, i), s.piece);
}

/* Stored bytes per plain byte with zstd, on some tiles of the sample. */
static weir_err measure_zstd(struct pack_chooser *c, const struct pack_slot *slot,
                             size_t sample_bytes, double *ratio)
{
    size_t n_tiles = (sample_bytes + WEIR_TILE_BYTES - 1) / WEIR_TILE_BYTES;
    size_t n_tried = n_tiles < ZSTD_TILES ? n_tiles : ZSTD_TILES;
    size_t plain_bytes = 0;
    size_t stored_bytes = 0;
    for (size_t i = 0; i < n_tried; i++) {
        size_t at = n_tiles * i / n_tried * WEIR_TILE_BYTES;
        size_t n = sample_bytes - at < WEIR_TILE_BYTES ? sample_bytes - at : WEIR_TILE_BYTES;
        size_t got = ZSTD_compressCCtx(c->zstd, slot->stored, WEIR_MAX_EXTENT_BYTES,
                                       slot->plain + at, n, ZSTD_LEVEL);
        if (ZSTD_isError(got))
            return WEIR_ERR_NOMEM; /* there is room for any result, so it is nothing else */
        plain_bytes += n;
        stored_bytes += got < n ? got : n;
    }
    *ratio = (double)stored_bytes / (double)plain_bytes;
    return WEIR_OK;
}

struct candidate {
    const struct pack_slot *slot;
    uint64_t bytes; /* of the segment */
    size_t sample_bytes;
    double best_bytes; /* what the best so far takes in the store */
    struct weir_coding *best;
};

/* Takes the coding for `like` when it beats what there is. */
static weir_err try_elements(struct candidate *c, const struct weir_elements *like)
{
    size_t whole = c->sample_bytes - c->sample_bytes % like->elem_bytes;
    if (!whole)
        return WEIR_OK;
    struct weir_coding *coding = NULL;
    double bits = 8;
    weir_err err = weir_coding_choose(like, c->slot->plain, whole, &coding, &bits);
    if (err || !coding)
        return err;
    double bytes = (double)c->bytes * bits / 8;
    if (bytes < c->best_bytes) {
        free(c->best);
        c->best = coding;
        c->best_bytes = bytes;
    } else {
        free(coding);
    }
    return WEIR_OK;
}

static weir_err try_all(struct pack_chooser *chooser, struct candidate *c,
                        const struct weir_elements *elements)
{
    double ratio = 1;
    weir_err err = measure_zstd(chooser, c->slot, c->sample_bytes, &ratio);
    c->best_bytes = (double)c->bytes * ratio;
    if (elements)
        return err ? err : try_elements(c, elements);
    if (ratio < no_numbers_ratio)
        return err;
    for (size_t i = 0; !err && i < sizeof(guesses) / sizeof(guesses[0]); i++)
        err = try_elements(c, &guesses[i]);
    return err;
}

/* Of its own: without regard to what the base has. */
static weir_err choose_alone(struct pack_chooser *chooser, const struct pack_seen *seen,
                             const struct weir_elements *elements, struct candidate *c,
                             struct weir_diag *diag)
{
    const struct pack *p = seen->reader->pack;
    const uint64_t bytes = p->ix.entry[seen->entry].segment[seen->segment].bytes;
    *c = (struct candidate){.slot = seen->slot,
                            .bytes = bytes,
                            .sample_bytes = seen->sample.n * seen->sample.piece,
                            .best_bytes = (double)bytes};
    if (!elements && bytes < MIN_GUESS_BYTES)
        return WEIR_OK;
    weir_err err = try_all(chooser, c, elements);
    if (!err && elements)
        err = pack_born_choose(seen, &c->best_bytes, &c->best, diag);
    if (err) {
        free(c->best);
        c->best = NULL;
    }
    return err;
}

weir_err pack_choose(struct pack_chooser *chooser, struct pack_seen *seen, struct pack_choice *out,
                     struct weir_diag *diag)
{
    const struct pack *p = seen->reader->pack;
    const struct weir_elements *elements = pack_elements(p, seen->entry, seen->segment);
    const struct weir_segment *s = &p->ix.entry[seen->entry].segment[seen->segment];
    seen->sample = sample_of(s, elements);
    *out = (struct pack_choice){.place = {.object = WEIR_NO_OBJECT}};
    weir_err err = take_sample(seen, s->file_offset, diag);
    if (err)
        return err;
    out->sample_xxh3 = XXH3_64bits(seen->slot->plain, seen->sample.n * seen->sample.piece);
    if (p->base)
        err = pack_base_find_same(p->base, seen, &out->place, diag);
    if (err || out->place.is_same)
        return err;

    struct candidate c;
    err = choose_alone(chooser, seen, elements, &c, diag);
    out->coding = c.best;
    if (!err && p->base)
        err = pack_base_find_near(p->base, seen, c.best_bytes, out, diag);
    if (!err && p->near)
        err = pack_near_choose(seen, c.best_bytes, out, diag);
    if (err) {
        free(out->coding);
        out->coding = NULL;
    }
    return err;
}
