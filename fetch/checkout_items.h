/* checkout_items.h - files fetched, wherever they go: what a directory and the cache share. */
#ifndef WEIR_FETCH_CHECKOUT_ITEMS_H
#define WEIR_FETCH_CHECKOUT_ITEMS_H

#include "fetch/checkout.h"

struct checkout_item {
    const struct weir_hub_file *file;
    char *target; /* its folders are made as needed */
    char *lock;   /* a file that others lock, too, while they make the target; NULL: none */
};

/* Room for an item of each wanted file of `hub`, `file` set, targets to be set; freed with
 * checkout_items_free().  WEIR_ERR_NOT_FOUND: none is wanted; WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err checkout_items_new(const struct weir_hub *hub,
                                            const struct weir_checkout_options *options,
                                            struct checkout_item **out, size_t *n,
                                            struct weir_diag *diag);
void checkout_items_free(struct checkout_item *items, size_t n); /* NULL is fine */

/* printf into memory of its own; NULL: out of memory. */
char *checkout_text(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Makes the folders that the file `target` is to be in.  WEIR_ERR_IO, WEIR_ERR_NOMEM */
WEIR_MUST_CHECK weir_err checkout_folders(const char *target, struct weir_diag *diag);

/* Fetches them.  Errors as of weir_checkout_dir(). */
WEIR_MUST_CHECK weir_err checkout_items_fetch(struct weir_http *http,
                                              const struct checkout_item *items, size_t n,
                                              const struct weir_checkout_options *options,
                                              struct weir_checkout_result *result,
                                              struct weir_diag *diag);

#endif
