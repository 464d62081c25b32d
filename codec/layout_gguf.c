/* GGUF v2 and v3, little-endian: header, key-value pairs, tensor infos, padding, tensors' bytes.
 *
 * The header is walked through a small window, for its vocabulary can be megabytes of strings that
 * nobody here needs.  The tensor infos are walked twice: once to check them and to add up what
 * their names take, once to keep them. */
#include <stdlib.h>
#include <string.h>

#include "dtype.h"
#include "layout_private.h"

enum {
    WINDOW_BYTES = 1 << 16,
    MAX_ARRAY_DEPTH = 4,
    MAX_GGUF_DIMS = 4,
    DEFAULT_ALIGNMENT = 32,
};

/* Types of values, as numbered in the file. */
enum {
    VALUE_UINT32 = 4,
    VALUE_STRING = 8,
    VALUE_ARRAY = 9,
    N_VALUES = 13,
};

static const uint8_t value_bytes[N_VALUES] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

/* The header's bytes in order.  Once something is wrong, `bad` stays set and numbers read as 0. */
struct window {
    const struct weir_source *src;
    uint64_t at;    /* of the next byte, from the start of the file */
    uint64_t limit; /* where the header must have ended */
    uint8_t *buf;   /* WINDOW_BYTES */
    uint64_t buf_at;
    size_t n_buf;
    bool bad;
    weir_err err; /* a failed read */
};

struct header {
    uint64_t n_tensors, n_pairs;
    uint64_t alignment;
    bool has_alignment;
};

static bool window_skip(struct window *w, uint64_t n)
{
    if (w->bad || n > w->limit - w->at) {
        w->bad = true;
        return false;
    }
    w->at += n;
    return true;
}

static bool window_fill(struct window *w)
{
    uint64_t left = w->limit - w->at;
    w->buf_at = w->at;
    w->n_buf = left < WINDOW_BYTES ? (size_t)left : WINDOW_BYTES;
    w->err = weir_source_read(w->src, w->buf_at, w->buf, w->n_buf);
    if (w->err) {
        w->bad = true;
        w->n_buf = 0;
    }
    return !w->err;
}

static bool window_copy(struct window *w, void *dst, size_t n)
{
    uint8_t *to = dst;
    if (w->bad || n > w->limit - w->at) {
        w->bad = true;
        return false;
    }
    while (n) {
        if (w->at < w->buf_at || w->at - w->buf_at >= w->n_buf) {
            if (!window_fill(w))
                return false;
        }
        size_t from = (size_t)(w->at - w->buf_at);
        size_t step = w->n_buf - from < n ? w->n_buf - from : n;
        memcpy(to, w->buf + from, step);
        to += step;
        w->at += step;
        n -= step;
    }
    return true;
}

static uint64_t window_uint(struct window *w, size_t n)
{
    uint8_t raw[8];
    uint64_t v = 0;
    if (!window_copy(w, raw, n))
        return 0;
    while (n-- > 0)
        v = v << 8 | raw[n];
    return v;
}

/* ---- key-value pairs ---- */

static bool skip_string(struct window *w)
{
    uint64_t n = window_uint(w, 8);
    return window_skip(w, n);
}

static bool skip_array(struct window *w, int depth)
{
    uint64_t type = window_uint(w, 4);
    uint64_t n = window_uint(w, 8);
    if (w->bad || type >= N_VALUES || depth == MAX_ARRAY_DEPTH)
        return false;
    if (value_bytes[type]) {
        if (n > w->limit / value_bytes[type])
            return false;
        return window_skip(w, n * value_bytes[type]);
    }
    /* Each string or array takes bytes, so a huge n ends at the limit. */
    for (uint64_t i = 0; i < n; i++) {
        bool fine = type == VALUE_STRING ? skip_string(w) : skip_array(w, depth + 1);
        if (!fine)
            return false;
    }
    return true;
}

static bool skip_value(struct window *w, uint64_t type)
{
    if (type >= N_VALUES)
        return false;
    if (type == VALUE_STRING)
        return skip_string(w);
    return type == VALUE_ARRAY ? skip_array(w, 0) : window_skip(w, value_bytes[type]);
}

/* The specification wants multiples of 8, GGML takes any power of two: either will do. */
static bool read_alignment(struct window *w, uint64_t type, struct header *head)
{
    uint64_t a = type == VALUE_UINT32 && !head->has_alignment ? window_uint(w, 4) : 0;
    head->alignment = a;
    head->has_alignment = true;
    return a && (a % 8 == 0 || (a & (a - 1)) == 0);
}

static bool read_pair(struct window *w, struct header *head)
{
    static const char alignment[] = "general.alignment";
    char key[sizeof(alignment) - 1];
    uint64_t n = window_uint(w, 8);
    bool is_alignment = false;
    if (n == sizeof(key)) {
        is_alignment = window_copy(w, key, sizeof(key)) && !memcmp(key, alignment, sizeof(key));
    } else if (!window_skip(w, n)) {
        return false;
    }
    uint64_t type = window_uint(w, 4);
    if (w->bad)
        return false;
    return is_alignment ? read_alignment(w, type, head) : skip_value(w, type);
}

static bool read_header(struct window *w, struct header *head)
{
    uint64_t magic = window_uint(w, 4);
    uint64_t version = window_uint(w, 4);
    head->n_tensors = window_uint(w, 8);
    head->n_pairs = window_uint(w, 8);
    head->alignment = DEFAULT_ALIGNMENT;
    if (w->bad || magic != 0x46554747 || (version != 2 && version != 3)) /* "GGUF" */
        return false;
    for (uint64_t i = 0; i < head->n_pairs; i++)
        if (!read_pair(w, head))
            return false;
    return head->n_tensors <= LAYOUT_MAX_TENSORS;
}

/* ---- tensors ---- */

/* Dimensions are innermost first in the file, and blocks lie along the innermost one. */
static bool read_form(struct window *w, uint64_t n_dims, struct weir_layout_part *part)
{
    struct weir_tensor *t = &part->tensor;
    for (uint64_t i = n_dims; i-- > 0;)
        t->dim[i] = window_uint(w, 8);
    const struct dtype *type = dtype_by_ggml((uint32_t)window_uint(w, 4));
    part->offset = window_uint(w, 8);
    if (w->bad || !type)
        return false;
    t->n_dims = (uint8_t)n_dims;
    t->dtype = type->text;
    part->is_tensor = true;
    part->elements = dtype_elements(type);
    uint64_t row = n_dims ? t->dim[n_dims - 1] : 1;
    return row % type->items == 0 && dtype_tensor_bytes(type, t->dim, t->n_dims, &part->bytes);
}

/* One tensor info.  part->offset stays relative to the data.
 *
 * name    `room` bytes for the name and a NUL, or NULL: the name is passed over
 * n_name  set to the bytes of the name, without NUL */
static bool read_info(struct window *w, char *name, size_t room, size_t *n_name,
                      struct weir_layout_part *part)
{
    uint64_t n = window_uint(w, 8);
    if (w->bad || n > LAYOUT_MAX_NAME)
        return false;
    if (name) {
        if (n >= room || !window_copy(w, name, (size_t)n) || memchr(name, 0, (size_t)n))
            return false;
        name[n] = 0;
    } else if (!window_skip(w, n)) {
        return false;
    }
    *n_name = (size_t)n;
    part->tensor.name = name;
    uint64_t n_dims = window_uint(w, 4);
    return !w->bad && n_dims <= MAX_GGUF_DIMS && read_form(w, n_dims, part);
}

/* Bytes of all names with their NULs, and on the way whether the infos make sense at all. */
static bool measure_names(struct window *w, uint64_t n_tensors, size_t *bytes)
{
    *bytes = 0;
    for (uint64_t i = 0; i < n_tensors; i++) {
        struct weir_layout_part part = {0};
        size_t n;
        if (!read_info(w, NULL, 0, &n, &part))
            return false;
        *bytes += n + 1;
    }
    return true;
}

/* Into draft->part and draft->strings, which have room for what was measured; the file may have
 * changed since.  `data`: where the tensors' bytes begin. */
static bool keep_tensors(struct window *w, const struct header *head, uint64_t data, size_t room,
                         struct layout_draft *draft)
{
    char *name = draft->strings;
    for (uint64_t i = 0; i < head->n_tensors; i++) {
        struct weir_layout_part *part = &draft->part[i];
        size_t n;
        if (!read_info(w, name, room, &n, part))
            return false;
        if (part->offset % head->alignment || part->offset > UINT64_MAX - data)
            return false;
        part->offset += data;
        name += n + 1;
        room -= n + 1;
        draft->n_parts++;
    }
    return true;
}

static bool read_tensors(struct window *w, const struct header *head, struct layout_draft *draft)
{
    uint64_t begin = w->at;
    size_t n_strings;
    if (!measure_names(w, head->n_tensors, &n_strings))
        return false;
    uint64_t data = (w->at + head->alignment - 1) / head->alignment * head->alignment;
    if (head->n_tensors == 0)
        return true;

    /* Only now, when that many infos have been seen: the count alone could be anything. */
    draft->part = calloc((size_t)head->n_tensors, sizeof(draft->part[0]));
    draft->strings = malloc(n_strings);
    if (!draft->part || !draft->strings) {
        draft->err = WEIR_ERR_NOMEM;
        return false;
    }
    w->at = begin;
    return keep_tensors(w, head, data, n_strings, draft);
}

bool layout_read_gguf(const struct weir_source *src, struct layout_draft *draft)
{
    struct window w = {.src = src, .buf = malloc(WINDOW_BYTES)};
    struct header head = {0};
    w.limit = src->size < WEIR_LAYOUT_MAX_HEADER ? src->size : WEIR_LAYOUT_MAX_HEADER;
    if (!w.buf) {
        draft->err = WEIR_ERR_NOMEM;
        return false;
    }
    bool fine = read_header(&w, &head) && read_tensors(&w, &head, draft);
    if (w.err)
        draft->err = w.err;
    free(w.buf);
    return fine;
}
