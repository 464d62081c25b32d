#include "codec/jsontree.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

enum {
    ALIGNMENT = _Alignof(max_align_t),
    FIRST_BYTES = 4096,
    /* Most that a byte of text has been seen to take is 80 ("{}," a hundred thousand times). */
    BYTES_PER_BYTE = 128,
};

/* What jansson allocates while a text is read.  Nothing in it is given back before all of it. */
struct block {
    char *at;
    size_t left;  /* bytes, whole multiples of ALIGNMENT */
    jmp_buf full; /* where to go when it is */
};

/* jansson has one pair of allocation functions for the whole process.  Ours are malloc() and
 * free(), which it begins with, but on a thread that is reading a text: what it allocates and frees
 * then is its tree's alone.  So they may be set at any time, whoever else uses jansson.  Nobody
 * here sets others. */
static pthread_once_t hooked = PTHREAD_ONCE_INIT;
static _Thread_local struct block *reading;

/* Never returns NULL to the parser, which does not survive it.  Its frames own nothing but memory
 * of the block, so it may be left by a jump. */
static void *block_malloc(size_t n)
{
    struct block *b = reading;
    if (!b)
        return malloc(n);
    if (n > b->left)
        longjmp(b->full, 1);
    char *p = b->at;
    size_t taken = (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    b->at += taken;
    b->left -= taken;
    return p;
}

static void block_free(void *p)
{
    if (!reading)
        free(p);
}

static void hook(void)
{
    json_set_alloc_funcs(block_malloc, block_free);
}

/* NULL: not what is wanted, or the block is full. */
static json_t *read_text(const char *text, size_t n, struct block *b)
{
    json_t *volatile root = NULL;
    reading = b;
    if (setjmp(b->full) == 0)
        root = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
    reading = NULL;
    return root;
}

weir_err weir_jsontree_read(const char *text, size_t n, struct weir_jsontree *out)
{
    size_t room = WEIR_JSONTREE_MAX_BYTES;
    /* jansson passes over a NUL behind a number or a word. */
    if (memchr(text, 0, n))
        return WEIR_ERR_CORRUPT;
    if (n < (WEIR_JSONTREE_MAX_BYTES - FIRST_BYTES) / BYTES_PER_BYTE)
        room = FIRST_BYTES + n * BYTES_PER_BYTE;
    char *bytes = malloc(room); /* pages that are not used cost nothing */
    if (!bytes || pthread_once(&hooked, hook) != 0) {
        free(bytes);
        return WEIR_ERR_NOMEM;
    }
    struct block b = {.at = bytes, .left = room};
    json_t *root = read_text(text, n, &b);
    if (!root) {
        free(bytes);
        return WEIR_ERR_CORRUPT;
    }
    *out = (struct weir_jsontree){root, bytes};
    return WEIR_OK;
}

void weir_jsontree_free(struct weir_jsontree *tree)
{
    free(tree->block);
    *tree = (struct weir_jsontree){0};
}
