#include "compare_near.h"

#include <stdlib.h>

enum { MAX_ROW_BYTES = 64 << 20 }; /* far above what pack makes near */

/* Elements [column, column + n) of a row that is at hand as it was packed. */
static size_t compare_row(const struct compare_near *c, const uint8_t *row, size_t column,
                          const uint8_t *given, size_t n, struct weir_nearness *nearness)
{
    const struct weir_object *o = weir_store_object(c->store, c->segment->object);
    const struct weir_transform *t = &o->coding->transform;
    const struct weir_kernels *kernels = weir_kernels_best();
    double all = 0;
    const float rms =
        weir_quantise_rms(kernels, (enum weir_float)t->made, row, t->row_elements, &all);
    return weir_nearness_measure(kernels, o->coding, o->nearness.step * rms,
                                 row + column * o->coding->elem_bytes, given, n, nearness);
}

/* A row begins in the tile before, or goes on in the next: it is read whole, for its step. */
static weir_err compare_rows(const struct compare_near *c, uint8_t *row, size_t row_bytes,
                             const uint8_t *given, size_t n, struct weir_nearness *nearness,
                             uint64_t *first)
{
    const size_t elem = weir_store_object(c->store, c->segment->object)->coding->elem_bytes;
    const uint64_t offset = c->at - c->segment->file_offset;
    for (size_t done = 0, some; done < n; done += some) {
        const size_t inside = (size_t)((offset + done) % row_bytes);
        some = row_bytes - inside < n - done ? row_bytes - inside : n - done;
        weir_err err = weir_source_read(c->plain, c->at + done - inside, row, row_bytes);
        if (err)
            return err;
        size_t fit = compare_row(c, row, inside / elem, given + done, some / elem, nearness);
        if (fit < some / elem && c->at + done + fit * elem < *first)
            *first = c->at + done + fit * elem;
    }
    return WEIR_OK;
}

weir_err compare_near(const struct compare_near *c, const uint8_t *given, size_t n,
                      struct weir_nearness *nearness, uint64_t *first)
{
    const struct weir_coding *coding = weir_store_object(c->store, c->segment->object)->coding;
    const uint64_t row_bytes = (uint64_t)coding->transform.row_elements * coding->elem_bytes;
    const uint64_t offset = c->at - c->segment->file_offset;
    if (row_bytes > MAX_ROW_BYTES || c->segment->bytes % row_bytes || offset % coding->elem_bytes ||
        n % coding->elem_bytes)
        return WEIR_ERR_CORRUPT;
    uint8_t *row = malloc((size_t)row_bytes);
    if (!row)
        return WEIR_ERR_NOMEM;
    weir_err err = compare_rows(c, row, (size_t)row_bytes, given, n, nearness, first);
    free(row);
    return err;
}
