/* safetensors: u64 header length, that many bytes of JSON, then the tensors' bytes.
 *
 * Peak of the worst header: 96 MiB (its text 16, the tree 68, the parts of 65,536 tensors 12). */
#include <stdlib.h>
#include <string.h>

#include "codec/jsontree.h"
#include "dtype.h"
#include "layout_private.h"

enum {
    LENGTH_BYTES = 8,
    MAX_TENSORS = 65536, /* of a file; a shard has some hundreds */
};

/* A tensor's object. */
struct entry {
    struct weir_tensor tensor; /* its strings are the tree's */
    uint64_t begin, end;       /* from the end of the header */
};

/* JSON's integers have a sign and 63 bits here; no file is longer. */
static bool read_u64(const json_t *value, uint64_t *out)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *out = (uint64_t)json_integer_value(value);
    return true;
}

static bool read_shape(const json_t *shape, struct weir_tensor *t)
{
    size_t n = json_array_size(shape);
    if (!json_is_array(shape) || n > WEIR_MAX_DIMS)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!read_u64(json_array_get(shape, i), &t->dim[i]))
            return false;
    t->n_dims = (uint8_t)n;
    return true;
}

static bool read_offsets(const json_t *offsets, struct entry *e)
{
    return json_array_size(offsets) == 2 && read_u64(json_array_get(offsets, 0), &e->begin) &&
           read_u64(json_array_get(offsets, 1), &e->end) && e->begin <= e->end;
}

/* Other keys may be there: they mean nothing here. */
static bool read_entry(const char *name, const json_t *object, struct entry *e)
{
    const char *dtype = json_string_value(json_object_get(object, "dtype"));
    if (!dtype || !*dtype || strlen(dtype) > DTYPE_MAX_TEXT || strlen(name) > LAYOUT_MAX_NAME)
        return false;
    e->tensor = (struct weir_tensor){.name = name, .dtype = dtype};
    return read_shape(json_object_get(object, "shape"), &e->tensor) &&
           read_offsets(json_object_get(object, "data_offsets"), e);
}

/* `data`: where the header ends and the tensors' bytes begin. */
static bool make_part(const struct entry *e, uint64_t data, struct weir_layout_part *part)
{
    const struct dtype *type = dtype_by_text(e->tensor.dtype);
    uint64_t bytes = e->end - e->begin;
    uint64_t wanted = bytes;
    if (type && !dtype_tensor_bytes(type, e->tensor.dim, e->tensor.n_dims, &wanted))
        return false;
    if (bytes != wanted)
        return false;
    *part = (struct weir_layout_part){
        .offset = data + e->begin,
        .bytes = bytes,
        .is_tensor = true,
        .tensor = e->tensor,
        .elements = dtype_elements(type),
    };
    return true;
}

/* Copies a string to *at and passes it. */
static const char *keep(const char *text, char **at)
{
    char *kept = *at;
    size_t n = strlen(text) + 1;
    memcpy(kept, text, n);
    *at += n;
    return kept;
}

/* The strings go where the header's text was: each was longer there, by a quote at least. */
static bool read_header(json_t *root, uint64_t data, struct layout_draft *draft)
{
    char *strings = draft->strings;
    const char *name;
    json_t *value;
    size_t n = json_object_size(root);
    if (n > MAX_TENSORS + 1)
        return false;
    draft->part = calloc(n ? n : 1, sizeof(*draft->part));
    if (!draft->part) {
        draft->err = WEIR_ERR_NOMEM;
        return false;
    }
    json_object_foreach(root, name, value)
    {
        struct weir_layout_part *part = &draft->part[draft->n_parts];
        struct entry e;
        if (strcmp(name, "__metadata__") == 0)
            continue;
        if (!read_entry(name, value, &e) || !make_part(&e, data, part))
            return false;
        part->tensor.name = keep(name, &strings);
        part->tensor.dtype = keep(e.tensor.dtype, &strings);
        draft->n_parts++;
    }
    return draft->n_parts <= MAX_TENSORS;
}

bool layout_read_safetensors(const struct weir_source *src, struct layout_draft *draft)
{
    uint8_t raw[LENGTH_BYTES];
    uint64_t n = 0;
    if (src->size < LENGTH_BYTES)
        return false;
    draft->err = weir_source_read(src, 0, raw, LENGTH_BYTES);
    if (draft->err)
        return false;
    for (int i = LENGTH_BYTES; i-- > 0;)
        n = n << 8 | raw[i];
    if (n == 0 || n > src->size - LENGTH_BYTES || n > WEIR_LAYOUT_MAX_HEADER)
        return false;

    draft->strings = malloc((size_t)n);
    if (!draft->strings) {
        draft->err = WEIR_ERR_NOMEM;
        return false;
    }
    draft->err = weir_source_read(src, LENGTH_BYTES, draft->strings, (size_t)n);
    if (draft->err)
        return false;
    struct weir_jsontree tree = {0};
    weir_err err = weir_jsontree_read(draft->strings, (size_t)n, WEIR_JSONTREE_USUAL, &tree);
    if (err == WEIR_ERR_NOMEM)
        draft->err = err;
    bool fine =
        !err && json_is_object(tree.root) && read_header(tree.root, LENGTH_BYTES + n, draft);
    weir_jsontree_free(&tree);
    return fine;
}
