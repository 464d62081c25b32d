/* born_text.h - words for what the elements of an object are made of. */
#ifndef WEIR_CLI_BORN_TEXT_H
#define WEIR_CLI_BORN_TEXT_H

#include "codec/store.h"

enum { BORN_TEXT = 64 };

/* "FP8 E4M3 x 128x128 scales", "int8 x row scales", "int8 x one scale"; NULL for an object whose
 * elements are coded as they are, or are not what was packed.  Returns buf. */
const char *born_text(const struct weir_object *object, char buf[BORN_TEXT]);

#endif
