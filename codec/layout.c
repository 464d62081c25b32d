#include "codec/layout.h"

#include <stdlib.h>
#include <string.h>

#include "layout_private.h"

static int compare_numbers(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int compare_names(const void *a, const void *b)
{
    const struct weir_layout_part *x = a;
    const struct weir_layout_part *y = b;
    return strcmp(x->tensor.name, y->tensor.name);
}

/* Empty tensors come before the one that starts where they are; names make the order total. */
static int compare_places(const void *a, const void *b)
{
    const struct weir_layout_part *x = a;
    const struct weir_layout_part *y = b;
    int by_offset = compare_numbers(x->offset, y->offset);
    int by_bytes = compare_numbers(x->bytes, y->bytes);
    return by_offset ? by_offset : by_bytes ? by_bytes : compare_names(a, b);
}

/* Two tensors of one name: no reader could tell them apart. */
static bool has_twins(struct weir_layout_part *part, size_t n)
{
    qsort(part, n, sizeof(*part), compare_names);
    for (size_t i = 1; i < n; i++)
        if (strcmp(part[i - 1].tensor.name, part[i].tensor.name) == 0)
            return true;
    return false;
}

/* Sorts the tensors and counts the runs of bytes between them.  False if two share a byte or one
 * passes the end.  An empty tensor inside another is moved behind it: it has no bytes to lose. */
static bool place(struct weir_layout_part *part, size_t n, uint64_t size, size_t *n_gaps)
{
    uint64_t at = 0;
    *n_gaps = 0;
    if (n)
        qsort(part, n, sizeof(*part), compare_places);
    for (size_t i = 0; i < n; i++) {
        if (part[i].offset > size || part[i].bytes > size - part[i].offset)
            return false;
        if (part[i].offset < at) {
            if (part[i].bytes)
                return false;
            part[i].offset = at;
        }
        *n_gaps += part[i].offset > at;
        at = part[i].offset + part[i].bytes;
    }
    *n_gaps += at < size;
    return true;
}

/* Spreads n placed tensors, from the last to the first, so that the gaps fit between them.  There
 * is room for n_gaps more. */
static void fill_gaps(struct weir_layout_part *part, size_t n, size_t n_gaps, uint64_t size)
{
    struct weir_layout_part *to = part + n + n_gaps;
    uint64_t next = size; /* where the part at `to` begins */
    while (n-- > 0) {
        struct weir_layout_part tensor = part[n];
        uint64_t end = tensor.offset + tensor.bytes;
        if (end < next)
            *--to = (struct weir_layout_part){.offset = end, .bytes = next - end};
        *--to = tensor;
        next = tensor.offset;
    }
    if (next)
        *--to = (struct weir_layout_part){.bytes = next};
}

/* From tensors in any order to parts that cover the file.  False: draft->err, or an odd file. */
static bool cover(struct layout_draft *draft, uint64_t size)
{
    size_t n_gaps;
    if (draft->n_parts && has_twins(draft->part, draft->n_parts))
        return false;
    if (!place(draft->part, draft->n_parts, size, &n_gaps))
        return false;
    if (n_gaps == 0)
        return true;
    size_t n = draft->n_parts + n_gaps;
    struct weir_layout_part *part = realloc(draft->part, n * sizeof(*part));
    if (!part) {
        draft->err = WEIR_ERR_NOMEM;
        return false;
    }
    fill_gaps(part, draft->n_parts, n_gaps, size);
    draft->part = part;
    draft->n_parts = n;
    return true;
}

static bool ends_with(const char *path, const char *ending)
{
    size_t n = strlen(path);
    size_t n_ending = strlen(ending);
    return n >= n_ending && strcmp(path + n - n_ending, ending) == 0;
}

/* The magic goes before the name: read as a length, it is more than any safetensors header has. */
static weir_err find_format(const struct weir_source *src, const char *path, const char **format)
{
    char magic[4] = {0};
    size_t n = src->size < sizeof(magic) ? (size_t)src->size : sizeof(magic);
    weir_err err = weir_source_read(src, 0, magic, n);
    if (err)
        return err;
    if (memcmp(magic, "GGUF", 4) == 0)
        *format = "gguf";
    else if (ends_with(path, ".safetensors"))
        *format = "safetensors";
    return WEIR_OK;
}

static void draft_clear(struct layout_draft *draft)
{
    free(draft->part);
    free(draft->strings);
    *draft = (struct layout_draft){0};
}

static weir_err fill(struct weir_layout *layout, const struct weir_source *src, const char *path)
{
    struct layout_draft draft = {0};
    const char *format = "opaque";
    weir_err err = find_format(src, path, &format);
    if (err)
        return err;
    bool fine = false;
    if (strcmp(format, "gguf") == 0)
        fine = layout_read_gguf(src, &draft);
    else if (strcmp(format, "safetensors") == 0)
        fine = layout_read_safetensors(src, &draft);
    fine = fine && cover(&draft, src->size);
    if (!fine && !draft.err) {
        draft_clear(&draft);
        format = "opaque";
        fine = cover(&draft, src->size);
    }
    if (!fine) {
        err = draft.err;
        draft_clear(&draft);
        return err;
    }
    *layout = (struct weir_layout){format, draft.n_parts, draft.part, draft.strings};
    return WEIR_OK;
}

weir_err weir_layout_find(const struct weir_source *src, const char *path, struct weir_layout **out)
{
    struct weir_layout *layout = calloc(1, sizeof(*layout));
    if (!layout)
        return WEIR_ERR_NOMEM;
    weir_err err = fill(layout, src, path);
    if (err) {
        weir_layout_free(layout);
        return err;
    }
    *out = layout;
    return WEIR_OK;
}

void weir_layout_free(struct weir_layout *layout)
{
    if (!layout)
        return;
    free(layout->part);
    free(layout->strings);
    free(layout);
}
