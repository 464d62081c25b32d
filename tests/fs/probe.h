/* probe.h - what the probe's ways of looking at a mounted file share.  Every one of them ends the
 * process when something is wrong that is not what it looks for (exit code 2). */
#ifndef WEIR_TESTS_PROBE_PRIVATE_H
#define WEIR_TESTS_PROBE_PRIVATE_H

#include <stddef.h>
#include <stdint.h>

enum { PAGE_BYTES = 4096 };

struct file {
    int fd;
    size_t bytes;
    const uint8_t *map; /* set by whoever maps it */
};

/* perror() and exit code 2. */
_Noreturn void die(const char *what);

/* Read-only, with `flags`. */
struct file open_file(const char *path, int flags);

/* All of it, PROT_READ; NULL for an empty one. */
const uint8_t *map_file(const struct file *f, int flags);

/* The same numbers for the same seed, everywhere; 44 bits. */
size_t next_random(uint64_t *seed);

double seconds_now(void);

/* probe WAY ARGUMENT...: what main() hands on, argv[0] being the first argument.  They return the
 * exit code. */
int compare_main(const char *how, int argc, char **argv);
int pages_main(int argc, char **argv);
int storm_main(int argc, char **argv);
int drain_main(int argc, char **argv);
int load_main(int argc, char **argv);
int forget_main(int argc, char **argv);
int xattr_main(int argc, char **argv);
int warm_main(int argc, char **argv);

#endif
