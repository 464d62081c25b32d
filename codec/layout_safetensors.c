/* safetensors: u64 header length, that many bytes of JSON, then the tensors' bytes. */
#include <stdlib.h>
#include <string.h>

#include "dtype.h"
#include "json.h"
#include "layout_private.h"

enum {
    LENGTH_BYTES = 8,
    FIRST_ROOM = 64, /* tensors */
};

/* A tensor's object, its fields as far as they have been seen. */
struct entry {
    struct weir_tensor tensor; /* dtype NULL: not seen */
    bool has_shape, has_offsets;
    uint64_t begin, end; /* from the end of the header */
};

static bool read_shape(struct json *j, struct entry *e)
{
    struct weir_tensor *t = &e->tensor;
    if (e->has_shape || !json_read_open(j, '['))
        return false;
    while (json_read_item(j, ']')) {
        if (t->n_dims == WEIR_MAX_DIMS || !json_read_u64(j, &t->dim[t->n_dims]))
            return false;
        t->n_dims++;
    }
    e->has_shape = true;
    return !j->bad;
}

static bool read_offsets(struct json *j, struct entry *e)
{
    if (e->has_offsets || !json_read_open(j, '['))
        return false;
    if (!json_read_item(j, ']') || !json_read_u64(j, &e->begin))
        return false;
    if (!json_read_item(j, ']') || !json_read_u64(j, &e->end))
        return false;
    e->has_offsets = true;
    return !json_read_item(j, ']') && !j->bad && e->begin <= e->end;
}

static bool read_dtype(struct json *j, struct entry *e)
{
    if (e->tensor.dtype)
        return false;
    const char *text = json_read_string(j);
    e->tensor.dtype = text;
    return text && *text && strlen(text) <= DTYPE_MAX_TEXT;
}

static bool read_entry(struct json *j, struct entry *e)
{
    if (!json_read_open(j, '{'))
        return false;
    while (json_read_item(j, '}')) {
        const char *key = json_read_key(j);
        bool fine;
        if (!key)
            return false;
        if (strcmp(key, "dtype") == 0)
            fine = read_dtype(j, e);
        else if (strcmp(key, "shape") == 0)
            fine = read_shape(j, e);
        else if (strcmp(key, "data_offsets") == 0)
            fine = read_offsets(j, e);
        else
            fine = json_read_skip(j);
        if (!fine)
            return false;
    }
    return !j->bad && e->tensor.dtype && e->has_shape && e->has_offsets;
}

/* Makes room for one more part. */
static bool grow(struct layout_draft *draft, size_t *room)
{
    if (draft->n_parts == LAYOUT_MAX_TENSORS)
        return false;
    if (draft->n_parts < *room)
        return true;
    size_t wanted = *room ? *room * 2 : FIRST_ROOM;
    struct weir_layout_part *part = realloc(draft->part, wanted * sizeof(*part));
    if (!part) {
        draft->err = WEIR_ERR_NOMEM;
        return false;
    }
    draft->part = part;
    *room = wanted;
    return true;
}

/* `data`: where the header ends and the tensors' bytes begin. */
static bool add(struct layout_draft *draft, const struct entry *e, uint64_t data)
{
    const struct dtype *type = dtype_by_text(e->tensor.dtype);
    uint64_t bytes = e->end - e->begin;
    uint64_t wanted = bytes;
    if (strlen(e->tensor.name) > LAYOUT_MAX_NAME || e->begin > UINT64_MAX - data)
        return false;
    if (type && !dtype_tensor_bytes(type, e->tensor.dim, e->tensor.n_dims, &wanted))
        return false;
    if (bytes != wanted)
        return false;
    draft->part[draft->n_parts++] = (struct weir_layout_part){
        .offset = data + e->begin,
        .bytes = bytes,
        .is_tensor = true,
        .tensor = e->tensor,
        .elements = dtype_elements(type),
    };
    return true;
}

static bool read_header(struct json *j, uint64_t data, struct layout_draft *draft)
{
    size_t room = 0;
    bool has_metadata = false;
    if (!json_read_open(j, '{'))
        return false;
    while (json_read_item(j, '}')) {
        struct entry e = {.tensor.name = json_read_key(j)};
        if (!e.tensor.name)
            return false;
        if (strcmp(e.tensor.name, "__metadata__") == 0) {
            if (has_metadata || !json_read_skip(j))
                return false;
            has_metadata = true;
            continue;
        }
        if (!read_entry(j, &e) || !grow(draft, &room) || !add(draft, &e, data))
            return false;
    }
    return json_read_done(j);
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
    struct json j = json_read_start(draft->strings, (size_t)n);
    return read_header(&j, LENGTH_BYTES + n, draft);
}
