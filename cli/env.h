/* env.h - environment variables, as the Hugging Face tools read theirs. */
#ifndef WEIR_CLI_ENV_H
#define WEIR_CLI_ENV_H

#include <stdbool.h>

/* The first of `names`, which NULL ends, that is set and not empty.  NULL: none is. */
const char *env_first(const char *const *names);

/* 1, ON, YES or TRUE, in any case. */
bool env_is_true(const char *name);

#endif
