/* storm.h - one access of a storm: which bytes of which file, and what came of it. */
#ifndef WEIR_TESTS_STORM_PRIVATE_H
#define WEIR_TESTS_STORM_PRIVATE_H

#include <stddef.h>
#include <stdint.h>

#include "probe.h"

enum {
    STORM_MAX_BYTES = 1 << 20, /* of one access */
    STORM_MAX_OPS = 16,        /* kinds of access */
};

/* A file of the mount, open for the whole storm. */
struct storm_file {
    char *path;
    struct file reference, buffered, direct;
    const uint8_t *shared, *private; /* maps of all of it; NULL when it is empty */
};

struct storm_range {
    const struct storm_file *file;
    size_t at; /* at most the file's length */
    size_t n;  /* may pass the file's end */
};

/* One thread's. */
struct storm_thread {
    const struct storm_file *file;
    size_t n_files;
    uint64_t n_file_bytes; /* of all of them */
    uint64_t n_ops;        /* to do */
    double deadline;       /* seconds_now(); 0: none */
    uint64_t seed;
    uint8_t *buffer; /* STORM_MAX_BYTES and a page, aligned for O_DIRECT */
    struct storm_range stream;
    uint64_t n_done, n_bytes, n_different, n_short, n_errors;
    uint64_t n_of[STORM_MAX_OPS];
};

/* Makes one access, of a kind taken at random, and judges what it gave. */
void storm_access(struct storm_thread *t, struct storm_range range);

/* Of the kinds, in the order of n_of; NULL after the last. */
const char *storm_op_name(unsigned kind);

#endif
