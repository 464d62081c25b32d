/* memory.h - what this process takes of the machine's memory, and what it may take. */
#ifndef WEIR_CLI_MEMORY_H
#define WEIR_CLI_MEMORY_H

#include <stdint.h>

#include "infer/graph.h"

/* The most that was ever resident (VmHWM), in bytes; 0: the system does not tell. */
uint64_t memory_peak(void);

/* What the machine could give without swapping (MemAvailable), in bytes; UINT64_MAX: unknown. */
uint64_t memory_available(void);

/* What a run takes besides the weights that it keeps. */
uint64_t memory_fixed(const struct weir_model *model, const struct weir_graph_options *options);

/* Fits a graph into `most` bytes of resident memory (0: what the machine has to spare): sets
 * options->keep_bytes, unless it is 0, to what is left for weights, and makes the chunk smaller
 * where the rest does not fit otherwise.
 *
 * WEIR_ERR_NOMEM   `most` is not enough even so; *diag says what would be */
WEIR_MUST_CHECK weir_err memory_fit(uint64_t most, const struct weir_model *model,
                                    struct weir_graph_options *options, struct weir_diag *diag);

#endif
