/* cmd_fetch.h - what `weir fetch` is called, shared by the program with libcurl and the one
 * without. */
#ifndef WEIR_CLI_CMD_FETCH_H
#define WEIR_CLI_CMD_FETCH_H

#include "cmd.h"

enum {
    FETCH_CONNECTIONS,
    FETCH_FORCE,
    FETCH_SEED,
    FETCH_REPAIR,
    FETCH_PLAIN,
    FETCH_TENSORS,
    FETCH_LAYERS,
    FETCH_LIMIT_RATE,
    FETCH_SPEED_LIMIT,
    FETCH_SPEED_TIME,
    FETCH_RETRY,
    FETCH_INCLUDE,
    FETCH_EXCLUDE,
    FETCH_HF_CACHE,
    FETCH_PACK,
};

/* Fetches; in cmd_fetch_curl.c or cmd_fetch_off.c. */
int fetch_run(struct cli *cli);

#endif
