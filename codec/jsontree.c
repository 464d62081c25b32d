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
    BLOCK_BYTES = 1 << 20,
    ALONE_BYTES = 64 << 10, /* bigger requests get a block of their own: little is left unused */
};

struct block {
    struct block *next;
    _Alignas(ALIGNMENT) char bytes[];
};

/* What jansson allocates while a text is read.  Nothing in it is given back before all of it. */
struct reader {
    struct block *blocks;
    char *at;       /* in the block that small requests are served from */
    size_t left;    /* of it; whole multiples of ALIGNMENT */
    size_t may_add; /* of the ceiling, bytes */
    weir_err error; /* why the jump */
    jmp_buf full;
};

/* jansson has one pair of allocation functions for the whole process.  Ours are malloc() and
 * free(), which it begins with, but on a thread that is reading a text: what it allocates and frees
 * then is its tree's alone.  So they may be set at any time, whoever else uses jansson.  Nobody
 * here sets others. */
static pthread_once_t hooked = PTHREAD_ONCE_INIT;
static _Thread_local struct reader *reading;

/* NULL, and why in r->error. */
static char *add_block(struct reader *r, size_t n)
{
    if (n > r->may_add || r->may_add - n < sizeof(struct block)) {
        r->error = WEIR_ERR_CORRUPT;
        return NULL;
    }
    struct block *b = malloc(sizeof(*b) + n);
    if (!b) {
        r->error = WEIR_ERR_NOMEM;
        return NULL;
    }
    r->may_add -= sizeof(*b) + n;
    b->next = r->blocks;
    r->blocks = b;
    return b->bytes;
}

static void *take(struct reader *r, size_t n)
{
    if (n > r->may_add + r->left) { /* so that rounding up does not wrap */
        r->error = WEIR_ERR_CORRUPT;
        return NULL;
    }
    size_t taken = (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (taken > r->left) {
        if (taken > ALONE_BYTES)
            return add_block(r, taken);
        size_t room = r->may_add < BLOCK_BYTES + sizeof(struct block) ? taken : BLOCK_BYTES;
        char *bytes = add_block(r, room);
        if (!bytes)
            return NULL;
        r->at = bytes;
        r->left = room;
    }
    char *p = r->at;
    r->at += taken;
    r->left -= taken;
    return p;
}

/* Never returns NULL to the parser, which does not survive it.  Its frames own nothing but memory
 * of the blocks, so it may be left by a jump. */
static void *reader_malloc(size_t n)
{
    if (!reading)
        return malloc(n);
    void *p = take(reading, n);
    if (!p)
        longjmp(reading->full, 1);
    return p;
}

static void reader_free(void *p)
{
    if (!reading)
        free(p);
}

static void hook(void)
{
    json_set_alloc_funcs(reader_malloc, reader_free);
}

/* NULL: not what is wanted, or no room; r->error says which. */
static json_t *read_text(const char *text, size_t n, size_t flags, struct reader *r)
{
    json_t *volatile root = NULL;
    reading = r;
    if (setjmp(r->full) == 0)
        root = json_loadb(text, n, JSON_REJECT_DUPLICATES | flags, NULL);
    reading = NULL;
    return root;
}

static void free_blocks(struct block *b)
{
    while (b) {
        struct block *next = b->next;
        free(b);
        b = next;
    }
}

static weir_err read_tree(const char *text, size_t n, size_t most_bytes, size_t flags,
                          struct weir_jsontree *out)
{
    struct reader r = {.may_add = most_bytes, .error = WEIR_ERR_CORRUPT};
    size_t room = BLOCK_BYTES;
    /* jansson passes over a NUL behind a number or a word. */
    if (memchr(text, 0, n))
        return WEIR_ERR_CORRUPT;
    if (n < (BLOCK_BYTES - FIRST_BYTES) / BYTES_PER_BYTE)
        room = FIRST_BYTES + n * BYTES_PER_BYTE;
    if (pthread_once(&hooked, hook) != 0)
        return WEIR_ERR_NOMEM;
    r.at = add_block(&r, room / ALIGNMENT * ALIGNMENT);
    if (!r.at)
        return r.error;
    r.left = room / ALIGNMENT * ALIGNMENT;
    json_t *root = read_text(text, n, flags, &r);
    if (!root) {
        free_blocks(r.blocks);
        return r.error;
    }
    *out = (struct weir_jsontree){root, r.blocks};
    return WEIR_OK;
}

static weir_err keep_object(struct weir_jsontree *tree, struct weir_jsontree *out)
{
    if (!json_is_object(tree->root)) {
        weir_jsontree_free(tree);
        return WEIR_ERR_CORRUPT;
    }
    *out = *tree;
    return WEIR_OK;
}

weir_err weir_jsontree_read(const char *text, size_t n, size_t most_bytes,
                            struct weir_jsontree *out)
{
    struct weir_jsontree tree = {0};
    weir_err err = read_tree(text, n, most_bytes, 0, &tree);
    return err ? err : keep_object(&tree, out);
}

weir_err weir_jsontree_read_any(const char *text, size_t n, size_t most_bytes,
                                struct weir_jsontree *out)
{
    return read_tree(text, n, most_bytes, 0, out);
}

weir_err weir_jsontree_read_reals(const char *text, size_t n, size_t most_bytes,
                                  struct weir_jsontree *out)
{
    struct weir_jsontree tree = {0};
    weir_err err = read_tree(text, n, most_bytes, JSON_DECODE_INT_AS_REAL, &tree);
    return err ? err : keep_object(&tree, out);
}

void weir_jsontree_free(struct weir_jsontree *tree)
{
    free_blocks(tree->blocks);
    *tree = (struct weir_jsontree){0};
}
