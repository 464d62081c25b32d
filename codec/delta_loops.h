/* delta_loops.h - differences from a base's elements, and back, for one element width; included
 * once per width, with
 *     ITEM          the element as an unsigned number, uint8_t to uint64_t
 *     DIFF, UNDIFF  the names of the two functions to define
 * defined before and undefined here.  Each kernels_*.c includes it for all four widths, as lanes.h.
 *
 * An element's place among all numbers of its width: m(u) = ~u where the sign is set, else u with
 * the sign set.  So floats that are neighbours are neighbours, and -0 comes before +0.  An item is
 * the difference of two places, zigzag: 0, -1, 1, -2, ... are 0, 1, 2, 3, ... */

/* The elements become items. */
static void DIFF(const uint8_t *restrict base, size_t n, uint8_t *restrict elements)
{
    enum { TOP = 8 * sizeof(ITEM) - 1 };
    const ITEM top = (ITEM)((ITEM)1 << TOP);
    for (size_t i = 0; i < n; i++) {
        ITEM from, to;
        memcpy(&from, base + i * sizeof(from), sizeof(from));
        memcpy(&to, elements + i * sizeof(to), sizeof(to));
        from = (ITEM)(from ^ (ITEM)((ITEM)(0 - (from >> TOP)) | top));
        to = (ITEM)(to ^ (ITEM)((ITEM)(0 - (to >> TOP)) | top));
        ITEM d = (ITEM)(to - from);
        d = (ITEM)((ITEM)(d << 1) ^ (ITEM)(0 - (d >> TOP)));
        memcpy(elements + i * sizeof(d), &d, sizeof(d));
    }
}

/* The base's elements become the tensor's. */
static void UNDIFF(const uint8_t *restrict items, size_t n, uint8_t *restrict elements)
{
    enum { TOP = 8 * sizeof(ITEM) - 1 };
    const ITEM top = (ITEM)((ITEM)1 << TOP);
    for (size_t i = 0; i < n; i++) {
        ITEM d, u;
        memcpy(&d, items + i * sizeof(d), sizeof(d));
        memcpy(&u, elements + i * sizeof(u), sizeof(u));
        u = (ITEM)(u ^ (ITEM)((ITEM)(0 - (u >> TOP)) | top));
        d = (ITEM)((ITEM)(d >> 1) ^ (ITEM)(0 - (d & 1)));
        u = (ITEM)(u + d);
        u = (ITEM)(u ^ (ITEM)((ITEM)((u >> TOP) - 1) | top));
        memcpy(elements + i * sizeof(u), &u, sizeof(u));
    }
}

#undef ITEM
#undef DIFF
#undef UNDIFF
