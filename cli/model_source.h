/* model_source.h - a model by the name that a user gives it, as a checkpoint.
 *
 * A store (a file, a URL), a directory of plain files, a file of weights in one (.safetensors,
 * .gguf), or where a store is mounted: of a mount the store behind it is read, not the plain view.
 */
#ifndef WEIR_CLI_MODEL_SOURCE_H
#define WEIR_CLI_MODEL_SOURCE_H

#include "infer/checkpoint.h"
#include "opened.h"

struct model_source {
    struct weir_checkpoint *checkpoint;
    const char *name; /* for messages; set in any case */
    /* its own */
    struct opened store; /* store.store NULL: plain files */
    char *store_path;    /* of a mount, the store behind it */
    size_t n_files;
    struct weir_source *source;
    struct weir_checkpoint_file *file;
};

/* base   of a store that is one of differences: see opened_base()
 * dir    in a store, the directory of the model; NULL: the only one that has a config.json or a
 *        GGUF file
 * On error *m is closed.  What opening ends with; WEIR_ERR_NOT_FOUND: no model there, or several.
 */
WEIR_MUST_CHECK weir_err model_source_open(struct model_source *m, const char *name,
                                           const char *base, const char *dir,
                                           struct weir_diag *diag);
void model_source_close(struct model_source *m); /* once more does no harm */

#endif
