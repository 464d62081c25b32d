/* plan_rate.h - how long a token would take, from what `weir doctor` has measured.  Arithmetic
 * only.
 *
 * A token needs all weights once, the keys and values of the tokens before it, and some rounds in
 * which work is handed out to the threads.  What is needed comes one after the other: nothing here
 * runs while something else waits. */
#ifndef WEIR_CLI_PLAN_RATE_H
#define WEIR_CLI_PLAN_RATE_H

#include <stdbool.h>
#include <stdint.h>

#include "doctor.h"

/* What a token needs.  Bytes; weights are counted plain. */
struct plan_load {
    uint64_t resident, plain; /* weights in memory, by form */
    uint64_t streamed;        /* that come from a file each time */
    bool from_store;          /* ... and have to be decoded */
    uint64_t stored;          /* as which they lie in the file */
    bool from_disk;           /* which the page cache cannot hold */
    uint64_t kept;            /* keys and values that are looked at */
    uint64_t rows;            /* of all its matrices */
    uint32_t rounds;
    unsigned threads;
};

enum plan_part {              /* of a token's time */
                 PLAN_MEMORY, /* weights in memory, multiplied */
                 PLAN_DECODE, /* weights of a store: read, decoded, multiplied */
                 PLAN_COPY,   /* weights of plain files: read, multiplied */
                 PLAN_DISK,
                 PLAN_ATTENTION,
                 PLAN_ROWS,   /* beginning and ending rows */
                 PLAN_ROUNDS, /* handing out and waiting */
                 PLAN_PARTS,
};

extern const char *const plan_part_names[PLAN_PARTS];

/* Seconds of each part.  What weights in memory take is in resident and plain, too. */
struct plan_time {
    double part[PLAN_PARTS];
    double resident, plain;
};

/* So many threads as are measured together have the rate of them all; fewer of them that of one,
 * times their number, and never more than all. */
struct plan_time plan_foresee(const struct plan_load *load, const struct doctor *machine);

double plan_seconds(const struct plan_time *time);

/* The part that takes longest. */
enum plan_part plan_limit(const struct plan_time *time);

#endif
