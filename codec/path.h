/* path.h - the rules for paths and link targets inside a store (docs/format.md, 3.4). */
#ifndef WEIR_CODEC_PATH_H
#define WEIR_CODEC_PATH_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Components of 1 to 255 bytes, none of them "." or "..", 4095 bytes at most. */
bool weir_path_is_valid(const char *path);

/* `target`, seen from the directory of the link at `path`, never leaves the root: ".." only before
 * the first name, and no more of them than there are directories.  (After a name, which may be a
 * link to elsewhere, ".." could lead anywhere.) */
bool weir_path_target_stays_inside(const char *path, const char *target);

#ifdef __cplusplus
}
#endif

#endif
