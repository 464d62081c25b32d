/* cache_options.h - --cache and --cache-size, of all commands that read what a URL names. */
#ifndef WEIR_CLI_CACHE_OPTIONS_H
#define WEIR_CLI_CACHE_OPTIONS_H

#include <stdbool.h>

#include "cmd.h"
#include "remote.h"

enum { CACHE_MIN_BYTES = 16 << 20 };

/* Options number `folder` (a DIR) and `size` (BYTES) of the command.  What is wrong with the cache
 * goes to stderr later on.  false: they make no sense, which has been reported. */
bool cache_options(const struct cli *cli, int folder, int size, struct remote_options *out);

#endif
