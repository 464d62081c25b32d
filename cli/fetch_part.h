/* fetch_part.h - --tensors and --layers: which part of a store is to be fetched. */
#ifndef WEIR_CLI_FETCH_PART_H
#define WEIR_CLI_FETCH_PART_H

#include <stdbool.h>

#include "cmd.h"
#include "codec/part.h"

struct fetch_part {
    struct weir_part_wish wish;
    char *text; /* the patterns, one after the other */
    const char **glob;
};

/* From the command line.  *asked: for a part at all.  fetch_part_free() in any case.  false:
 * reported. */
bool fetch_part_take(struct fetch_part *part, const struct cli *cli, bool *asked);
void fetch_part_free(struct fetch_part *part); /* a zeroed one is fine */

#endif
