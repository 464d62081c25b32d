/* index_bytes.h - the records of an index, written by hand from docs/format.md, 3. */
#ifndef WEIR_TESTS_INDEX_BYTES_H
#define WEIR_TESTS_INDEX_BYTES_H

#include "bytes.h"

#define NONE UINT32_MAX /* no coding, no object */

static inline void put_entry(struct bytes *b, unsigned kind, unsigned mode, const char *path)
{
    bytes_number(b, kind, 1);
    bytes_number(b, 0, 1);
    bytes_number(b, mode, 2);
    bytes_text(b, path, 2);
}

static inline void put_file(struct bytes *b, const char *path, uint64_t size, uint32_t n_segments)
{
    put_entry(b, 0, 0644, path);
    bytes_number(b, size, 8);
    for (unsigned i = 0; i < 32; i++)
        bytes_number(b, 0xa0 + i, 1);
    bytes_number(b, n_segments, 4);
}

static inline void put_segment(struct bytes *b, uint64_t n, uint32_t object, const char *tensor)
{
    bytes_number(b, n, 8);
    bytes_number(b, object, 4);
    bytes_number(b, tensor != NULL, 1);
    if (!tensor)
        return;
    bytes_text(b, tensor, 2);
    bytes_text(b, "BF16", 1);
    bytes_number(b, 2, 1);
    bytes_number(b, 5, 8);
    bytes_number(b, n / 10, 8);
}

static inline void put_counts(struct bytes *b, uint32_t codings, uint32_t objects, uint32_t extents,
                              uint32_t entries)
{
    bytes_number(b, codings, 4);
    bytes_number(b, objects, 4);
    bytes_number(b, extents, 4);
    bytes_number(b, entries, 4);
}

static inline void put_part(struct bytes *b, unsigned offset, unsigned count, unsigned item_bytes,
                            unsigned flags)
{
    bytes_number(b, offset, 2);
    bytes_number(b, count, 2);
    bytes_number(b, item_bytes, 1);
    bytes_number(b, flags, 1);
    bytes_number(b, 0, 1);   /* drop */
    bytes_number(b, 7, 1);   /* symbol bits */
    bytes_number(b, 100, 2); /* base */
    bytes_number(b, 1, 1);   /* first */
    bytes_number(b, 3, 1);   /* last */
    bytes_number(b, 4000, 2);
    bytes_number(b, 0, 2);
    bytes_number(b, 96, 2);
}

static inline void put_coding(struct bytes *b, unsigned element_bytes, unsigned n_parts)
{
    bytes_number(b, element_bytes, 2);
    bytes_number(b, n_parts, 1);
    bytes_number(b, 0, 1);
}

#endif
