/* opened.h - a model opened for a test: from a store ("STORE.weir", "STORE.weir,BASE.weir"), a
 * folder of plain files, or a folder of golden/ (its weights are made up in memory, as BF16).
 * Errors end the program. */
#ifndef WEIR_TESTS_OPENED_H
#define WEIR_TESTS_OPENED_H

#include "infer/model.h"

enum { OPENED_MAX_FILES = 64 };

struct opened {
    struct weir_source source[OPENED_MAX_FILES];
    struct weir_checkpoint_file file[OPENED_MAX_FILES];
    char name[OPENED_MAX_FILES][256];
    void *memory[OPENED_MAX_FILES];
    size_t n;
    struct weir_store *store; /* NULL: plain files */
    struct weir_store *base;  /* NULL: it needs none */
    struct weir_checkpoint *ck;
    struct weir_model *model;
};

void opened_check(weir_err err, const struct weir_diag *diag, const char *what);
void opened_model(struct opened *o, const char *src);
void opened_close(struct opened *o);

#endif
