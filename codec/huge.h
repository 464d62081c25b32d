/* huge.h - memory for what is large and read from end to end again and again.
 *
 * Huge pages, where the system has them to give: fewer faults when it is filled, fewer misses of
 * the TLB when it is read.  Only whole huge pages inside are asked for, so that what is resident
 * does not grow beyond what was asked for. */
#ifndef WEIR_CODEC_HUGE_PRIVATE_H
#define WEIR_CODEC_HUGE_PRIVATE_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { HUGE_PAGE = 2 << 20, LINE = 64 };

/* n bytes that begin at a multiple of 64, not set, to be freed with free(); NULL: there are none.
 */
static inline void *huge_alloc(size_t n)
{
    const size_t align = n < HUGE_PAGE ? LINE : HUGE_PAGE;
    void *at = n > SIZE_MAX - align ? NULL : aligned_alloc(align, (n + align - 1) / align * align);
    if (at && n >= HUGE_PAGE)
        (void)madvise(at, n / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE); /* a hint: it may fail */
    return at;
}

#endif
