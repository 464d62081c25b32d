#include "born_text.h"

#include <stdio.h>

/* Bits of integers as large as those that the table has. */
static unsigned int_bits(const struct weir_part *part)
{
    enum { ZERO = 128, BITS = 8 }; /* the item of 0, and the bits of one */
    int most = 1;
    if (part->symbol_bits != BITS)
        return BITS;
    for (int j = 0; j < 256; j++) {
        const int number = (j ? part->base + j : 0) - ZERO;
        if (part->freq[j] && (number < 0 ? -number : number + 1) > most)
            most = number < 0 ? -number : number + 1;
    }
    unsigned bits = 1;
    while (1 << (bits - 1) < most)
        bits++;
    return bits;
}

const char *born_text(const struct weir_object *object, char buf[BORN_TEXT])
{
    const struct weir_coding *coding = object->coding;
    if (!coding || coding->transform.near)
        return NULL;
    const struct weir_transform *t = &coding->transform;
    const bool q8 = t->kind == WEIR_TRANSFORM_Q8_0;
    if (t->kind != WEIR_TRANSFORM_SCALE && !q8)
        return NULL;
    char number[sizeof("FP8 E4M3")];
    if (t->number == WEIR_NUMBER_INT)
        snprintf(number, sizeof(number), "int%u", t->item_bytes == 1 ? int_bits(coding->part) : 16);
    else
        snprintf(number, sizeof(number), "FP8 %s", t->number == WEIR_NUMBER_E4M3 ? "E4M3" : "E5M2");
    const uint64_t weights = object->bytes / coding->elem_bytes * (q8 ? WEIR_Q8_WEIGHTS : 1);
    const uint64_t rows = weights / t->row_elements;
    if (t->block_cols < t->row_elements)
        snprintf(buf, BORN_TEXT, "%s x %ux%u scales", number, t->block_rows, t->block_cols);
    else if (t->block_rows >= rows)
        snprintf(buf, BORN_TEXT, "%s x one scale", number);
    else if (t->block_rows == 1)
        snprintf(buf, BORN_TEXT, "%s x row scales", number);
    else
        snprintf(buf, BORN_TEXT, "%s x scales of %u rows", number, t->block_rows);
    return buf;
}
