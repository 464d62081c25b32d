#include "index.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_TEXT_BYTES = UINT16_MAX, /* what a u16 of length holds */
    MAX_SHORT_TEXT_BYTES = UINT8_MAX,
};

#define NO_CODING UINT32_MAX
#define REFERENCE (UINT32_MAX - 1)

/* Run twice over the same index: first with at == NULL, which only counts, then for real. */
struct writer {
    uint8_t *at;
    uint64_t n; /* bytes so far */
    bool bad;   /* something does not fit its field */
};

static void put_bytes(struct writer *w, const void *bytes, size_t n)
{
    if (w->at && n) {
        memcpy(w->at, bytes, n);
        w->at += n;
    }
    w->n += n;
}

static void put(struct writer *w, uint64_t value, size_t n)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
    put_bytes(w, bytes, n);
}

/* A string behind its length, which has length_bytes bytes (1 or 2). */
static void put_text(struct writer *w, const char *text, size_t length_bytes)
{
    size_t n = strlen(text);
    size_t most = length_bytes == 1 ? MAX_SHORT_TEXT_BYTES : MAX_TEXT_BYTES;
    if (n > most) {
        w->bad = true;
        return;
    }
    put(w, n, length_bytes);
    put_bytes(w, text, n);
}

static void put_part(struct writer *w, const struct weir_part *part)
{
    unsigned first = 0, last = 255;
    while (first < last && part->freq[first] == 0)
        first++;
    while (last > first && part->freq[last] == 0)
        last--;
    put(w, part->offset, 2);
    put(w, part->count, 2);
    put(w, part->item_bytes, 1);
    put(w, part->sign_first, 1);
    put(w, part->drop_bits, 1);
    put(w, part->symbol_bits, 1);
    put(w, part->base, 2);
    put(w, first, 1);
    put(w, last, 1);
    for (unsigned j = first; j <= last; j++)
        put(w, part->freq[j], 2);
}

static void put_coding(struct writer *w, const struct weir_coding *coding)
{
    put(w, coding->elem_bytes, 2);
    put(w, coding->n_parts, 1);
    const struct weir_transform *t = &coding->transform;
    put(w, t->kind, 1);
    for (size_t i = 0; i < coding->n_parts; i++)
        put_part(w, &coding->part[i]);
    if (!t->kind)
        return;
    put(w, t->number, 1);
    put(w, t->made, 1);
    put(w, t->near, 1);
    put(w, t->item_bytes, 1);
    put(w, t->row_elements, 4);
    put(w, t->block_rows, 4);
    put(w, t->block_cols, 4);
}

size_t index_coding_write(const struct weir_coding *coding, uint8_t *out)
{
    struct writer w = {.at = out};
    put_coding(&w, coding);
    return (size_t)w.n;
}

static void put_segment(struct writer *w, const struct weir_segment *segment)
{
    put(w, segment->bytes, 8);
    put(w, segment->object, 4);
    put(w, segment->tensor != NULL, 1);
    const struct weir_tensor *tensor = segment->tensor;
    if (!tensor)
        return;
    put_text(w, tensor->name, 2);
    put_text(w, tensor->dtype, 1);
    if (tensor->n_dims > WEIR_MAX_DIMS) {
        w->bad = true;
        return;
    }
    put(w, tensor->n_dims, 1);
    for (size_t i = 0; i < tensor->n_dims; i++)
        put(w, tensor->dim[i], 8);
}

static void put_entry(struct writer *w, const struct weir_entry *entry)
{
    put(w, (uint64_t)entry->kind, 1);
    put(w, 0, 1);
    put(w, entry->mode, 2);
    put_text(w, entry->path, 2);
    if (entry->kind == WEIR_ENTRY_LINK)
        put_text(w, entry->target, 2);
    if (entry->kind != WEIR_ENTRY_FILE)
        return;
    put(w, entry->size, 8);
    put_bytes(w, entry->sha256, WEIR_DIGEST_BYTES);
    put(w, entry->n_segments, 4);
    for (uint32_t i = 0; i < entry->n_segments; i++)
        put_segment(w, &entry->segment[i]);
}

/* ---- a coding's number, by its address ---- */

struct coding_number {
    const struct weir_coding *coding;
    uint32_t number;
};

static int compare_codings(const void *a, const void *b)
{
    uintptr_t left = (uintptr_t)((const struct coding_number *)a)->coding;
    uintptr_t right = (uintptr_t)((const struct coding_number *)b)->coding;
    return (left > right) - (left < right);
}

static struct coding_number *number_codings(const struct index *ix)
{
    struct coding_number *numbers = calloc((size_t)ix->n_codings + 1, sizeof(numbers[0]));
    if (!numbers)
        return NULL;
    for (uint32_t i = 0; i < ix->n_codings; i++)
        numbers[i] = (struct coding_number){ix->coding[i], i};
    qsort(numbers, ix->n_codings, sizeof(numbers[0]), compare_codings);
    return numbers;
}

/* Little-endian hosts only, like all floats here. */
static void put_nearness(struct writer *w, const struct weir_nearness *near)
{
    put_bytes(w, &near->signal, sizeof(near->signal));
    put_bytes(w, &near->noise, sizeof(near->noise));
    put_bytes(w, &near->largest, sizeof(near->largest));
    put_bytes(w, &near->step, sizeof(near->step));
}

static void put_object(struct writer *w, const struct weir_object *object,
                       const struct coding_number *numbers, uint32_t n_codings)
{
    uint32_t number = object->is_reference ? REFERENCE : NO_CODING;
    if (object->coding) {
        struct coding_number key = {object->coding, 0};
        const struct coding_number *found =
            bsearch(&key, numbers, n_codings, sizeof(key), compare_codings);
        w->bad |= !found;
        number = found ? found->number : NO_CODING;
    }
    put(w, object->bytes, 8);
    put(w, number, 4);
    if (weir_object_needs_base(object)) {
        put(w, object->base_object, 4);
        put(w, object->base_at, 8);
    }
    if (object->coding && object->coding->transform.near)
        put_nearness(w, &object->nearness);
}

/* ---- the whole ---- */

static void put_index(struct writer *w, const struct index *ix, const struct coding_number *numbers)
{
    if (index_features(ix) & WEIR_FEATURE_BASE)
        put_bytes(w, ix->base_digest, WEIR_DIGEST_BYTES);
    put(w, ix->n_codings, 4);
    put(w, ix->n_objects, 4);
    put(w, ix->n_extents, 4);
    put(w, ix->n_entries, 4);
    for (uint32_t i = 0; i < ix->n_codings; i++)
        put_coding(w, ix->coding[i]);
    for (uint32_t i = 0; i < ix->n_objects; i++)
        put_object(w, &ix->object[i], numbers, ix->n_codings);
    for (uint32_t i = 0; i < ix->n_extents; i++) {
        put(w, ix->extent[i].bytes, 4);
        put_bytes(w, ix->extent[i].sha256, WEIR_DIGEST_BYTES);
    }
    for (uint32_t i = 0; i < ix->n_entries; i++)
        put_entry(w, &ix->entry[i]);
}

weir_err index_write(const struct index *ix, uint8_t **out, size_t *out_bytes)
{
    struct coding_number *numbers = number_codings(ix);
    if (!numbers)
        return WEIR_ERR_NOMEM;
    weir_err err = WEIR_OK;
    uint8_t *bytes = NULL;
    struct writer w = {0};
    put_index(&w, ix, numbers);
    if (w.bad || w.n > WEIR_MAX_INDEX_BYTES) {
        err = WEIR_ERR_INVALID;
    } else {
        bytes = malloc((size_t)w.n);
        err = bytes ? WEIR_OK : WEIR_ERR_NOMEM;
    }
    if (!err) {
        w = (struct writer){.at = bytes};
        put_index(&w, ix, numbers);
        *out = bytes;
        *out_bytes = (size_t)w.n;
    }
    free(numbers);
    return err;
}
