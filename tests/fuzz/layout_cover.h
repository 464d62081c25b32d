/* layout_cover.h - what must hold of every layout, whatever the file (codec/layout.h). */
#ifndef WEIR_TESTS_LAYOUT_COVER_H
#define WEIR_TESTS_LAYOUT_COVER_H

#include <string.h>

#include "codec/layout.h"

/* Parts tile the element; floats have an exponent that fits. */
static inline bool layout_elements_fit(const struct weir_elements *e)
{
    size_t at = 0;
    for (uint8_t i = 0; i < e->n_parts; i++) {
        uint8_t item = e->part[i].item_bytes;
        bool power = item == 1 || item == 2 || item == 4 || item == 8;
        bool exponent = e->part[i].exponent_bits > 0 && e->part[i].exponent_bits < 8 * item;
        if (!power || e->part[i].count == 0 || e->part[i].offset != at)
            return false;
        if (e->part[i].is_float != exponent)
            return false;
        at += (size_t)e->part[i].count * item;
    }
    return e->n_parts >= 1 && e->n_parts <= WEIR_MAX_PARTS && at == e->elem_bytes &&
           at <= WEIR_MAX_ELEM_BYTES;
}

static inline bool layout_tensor_fits(const struct weir_layout_part *part)
{
    const struct weir_tensor *t = &part->tensor;
    if (!t->name || strlen(t->name) > 65535 || !t->dtype || t->n_dims > WEIR_MAX_DIMS)
        return false;
    if (strlen(t->dtype) < 1 || strlen(t->dtype) > 31 || !layout_elements_fit(&part->elements))
        return false;
    return part->bytes % part->elements.elem_bytes == 0;
}

/* NULL, or which rule `layout` of a file of `size` bytes breaks. */
static inline const char *layout_broken_rule(const struct weir_layout *layout, uint64_t size)
{
    uint64_t at = 0;
    size_t n_tensors = 0;
    for (size_t i = 0; i < layout->n_parts; i++) {
        const struct weir_layout_part *part = &layout->part[i];
        if (part->offset != at)
            return "a gap or an overlap";
        if (part->bytes > size - at)
            return "a part past the end";
        if (part->is_tensor ? !layout_tensor_fits(part)
                            : part->bytes == 0 || part->elements.elem_bytes != 0)
            return "a part that makes no sense";
        at += part->bytes;
        n_tensors += part->is_tensor;
    }
    if (at != size)
        return "the end is not covered";
    if (strcmp(layout->format, "opaque") == 0)
        return n_tensors || layout->n_parts > 1 ? "an opaque file with more than one part" : NULL;
    return strcmp(layout->format, "gguf") == 0 || strcmp(layout->format, "safetensors") == 0
               ? NULL
               : "an unknown format";
}

#endif
