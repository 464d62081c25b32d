#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "probe.h"

void die(const char *what)
{
    perror(what);
    exit(2);
}

struct file open_file(const char *path, int flags)
{
    struct file f = {.fd = open(path, O_RDONLY | flags)};
    struct stat st;
    if (f.fd < 0 || fstat(f.fd, &st) != 0)
        die(path);
    f.bytes = (size_t)st.st_size;
    return f;
}

const uint8_t *map_file(const struct file *f, int flags)
{
    if (f->bytes == 0)
        return NULL;
    void *map = mmap(NULL, f->bytes, PROT_READ, flags, f->fd, 0);
    if (map == MAP_FAILED)
        die("mmap");
    return map;
}

size_t next_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (size_t)(*seed >> 20);
}

double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
