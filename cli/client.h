/* client.h - what the environment says about talking to servers. */
#ifndef WEIR_CLI_CLIENT_H
#define WEIR_CLI_CLIENT_H

#include "fetch/http.h"

/* Fills in whom to trust, the token and where it goes, and ^C; leaves all else.  The strings are
 * the environment's. */
void client_options(struct weir_http_options *options);

#endif
