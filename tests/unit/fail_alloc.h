/* fail_alloc.h - makes one chosen allocation of the code under test fail.
 *
 * Every unit test is linked with malloc, calloc, realloc and aligned_alloc wrapped.  Only calls
 * from our own objects are seen, not those inside shared libraries.  Counts across threads. */
#ifndef WEIR_TESTS_FAIL_ALLOC_H
#define WEIR_TESTS_FAIL_ALLOC_H

/* 0: the next allocation fails, 1: the one after it, ...; negative: none does. */
void fail_alloc_at(int n);

#endif
