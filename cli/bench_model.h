/* bench_model.h - what compressing a model's linear layers would give, layer by layer, in memory.
 */
#ifndef WEIR_CLI_BENCH_MODEL_H
#define WEIR_CLI_BENCH_MODEL_H

#include "cmd.h"
#include "nearness.h"

/* `name`: a directory, a safetensors or GGUF file, a store or its URL.  Reports what goes wrong;
 * returns the exit code. */
struct bench_model_how {
    const struct near_wish *wish;
    const struct weir_kernels *kernels;
    unsigned threads;
};
int bench_model(const struct cli *cli, const char *name, const struct bench_model_how *how);

#endif
