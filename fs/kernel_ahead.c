#include "kernel_ahead.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { DEFAULT_BYTES = 128 << 10 }; /* of a kernel that nobody has told otherwise */

static size_t read_kb(int fd)
{
    char text[32] = "";
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    return n > 0 ? strtoul(text, NULL, 10) << 10 : DEFAULT_BYTES;
}

size_t kernel_ahead_raise(const char *device, size_t bytes)
{
    char path[96], text[32];
    snprintf(path, sizeof(path), "/sys/class/bdi/%s/read_ahead_kb", device);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
        int n = snprintf(text, sizeof(text), "%zu", bytes >> 10);
        (void)!write(fd, text, (size_t)n); /* what it is now is read below */
    } else {
        fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    size_t now = fd >= 0 ? read_kb(fd) : DEFAULT_BYTES;
    if (fd >= 0)
        (void)close(fd);
    return now;
}
