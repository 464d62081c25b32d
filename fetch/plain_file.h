/* plain_file.h - one file of a repository on its way: what of it is missing, what of it is hashed.
 *
 * First, what has its name already is hashed: if that is the file, all is done.  Otherwise its
 * parts come in any order; the hash follows what is there from the start on, reading it back, which
 * the page cache makes cheap.  Knows nothing of connections.  For one thread at a time. */
#ifndef WEIR_FETCH_PLAIN_FILE_H
#define WEIR_FETCH_PLAIN_FILE_H

#include "checkout_items.h"
#include "file_hash.h"
#include "parts.h"

struct plain_file {
    const struct checkout_item *item;
    struct weir_http *client;
    bool replace;
    struct weir_http_file *remote; /* NULL: nothing is to be fetched, yet */
    int lock;                      /* item->lock; -1: none */
    int there;                     /* what has the name already, while it is hashed; -1: nothing */
    struct parts parts;            /* if remote */
    struct file_hash hash;
    uint32_t n;        /* parts */
    uint32_t coming;   /* the first part that was never started */
    uint32_t n_hashed; /* parts from the start that are in the hash */
    uint32_t n_ahead;  /* parts that came in this run and are not in the hash */
    unsigned n_bad;    /* times that all of it came, and was not the file */
    uint64_t done;     /* bytes that are there */
    uint64_t resumed;  /* ... and were there from the start */
    bool was_there;    /* it is whole, and was before */
    bool finished;     /* it is whole, right, and has its name */
};

/* What has the item's name already: nothing, or what may be the file by its size, or what may be
 * replaced.  WEIR_ERR_IO: something else */
WEIR_MUST_CHECK weir_err plain_look(const struct checkout_item *item, bool replace, bool *same_size,
                                    struct weir_diag *diag);

/* item is borrowed.  plain_close() in any case.  WEIR_ERR_IO, WEIR_ERR_INVALID (its URL),
 * WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err plain_open(struct plain_file *f, struct weir_http *client,
                                    const struct checkout_item *item, bool replace,
                                    struct weir_diag *diag);

/* A part that is to be fetched now, which counts as started then.  false: there is none. */
bool plain_start(struct plain_file *f, uint32_t *part);

/* All of a part that was started is in f->parts.partial.data. */
void plain_landed(struct plain_file *f, uint32_t part);

/* Whether plain_work() has anything to do. */
bool plain_has_work(const struct plain_file *f);

/* Hashes a part, or finishes the file: gives it its name, or has all of it fetched once more.
 * buffer: PLAIN_BUFFER bytes.  Nothing of it is on its way when the last part is hashed.
 * WEIR_ERR_MISMATCH, WEIR_ERR_IO, WEIR_ERR_NOMEM */
enum { PLAIN_BUFFER = 1 << 20 };
WEIR_MUST_CHECK weir_err plain_work(struct plain_file *f, uint8_t *buffer, struct weir_diag *diag);

/* parts_sync() of a file that is being fetched. */
WEIR_MUST_CHECK weir_err plain_sync(struct plain_file *f, bool now, struct weir_diag *diag);

/* What is there stays for the next run.  Nothing of it may be on its way. */
void plain_close(struct plain_file *f);

#endif
