/* beneath.h - names beneath a folder: looked up one component at a time and never through a link,
 * so that neither a hostile path nor a planted link leads out of it.
 *
 * Knows nothing of stores.  Errors are in errno: what they mean to people is the caller's. */
#ifndef WEIR_CODEC_BENEATH_H
#define WEIR_CODEC_BENEATH_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Opens (O_PATH) the folder that `path`, a path of a store's entry, lies in, beneath the folder
 * `root`.  *leaf becomes the last component, which points into `path`.  The caller closes what is
 * returned; -1 and errno: ELOOP or ENOTDIR where a link or a file is in the way. */
int weir_beneath_parent(int root, const char *path, const char **leaf);

/* Renames `temp` in the folder `from` to `name` in the folder `to`, in one step.  Without `replace`
 * something that has the name already stays, and the call fails with EEXIST.  0, or -1 and errno.
 */
int weir_beneath_place(int from, const char *temp, int to, const char *name, bool replace);

#ifdef __cplusplus
}
#endif

#endif
