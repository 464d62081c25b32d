#include "kernel_ahead.h"

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DEFAULT_BYTES = 128 << 10 }; /* of a kernel that nobody has told otherwise */

/* Puts the bytes back that /proc writes as \040. */
static void unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from; to++) {
        unsigned byte;
        if (sscanf(from, "\\%3o", &byte) == 1) {
            *to = (char)byte;
            from += 4;
        } else {
            *to = *from++;
        }
    }
    *to = 0;
}

/* "ID PARENT MAJOR:MINOR ROOT MOUNTPOINT ..." of the uppermost mount there. */
static bool find_device(const char *mountpoint, char device[32])
{
    FILE *mounts = fopen("/proc/self/mountinfo", "re");
    if (!mounts)
        return false;
    char *line = NULL;
    size_t room = 0;
    bool found = false;
    while (getline(&line, &room, mounts) > 0) {
        char *rest = NULL, number[32];
        int at = 0;
        if (sscanf(line, "%*d %*d %31s %*s %n", number, &at) != 1 || at == 0)
            continue;
        char *where = strtok_r(line + at, " ", &rest);
        if (!where)
            continue;
        unescape(where);
        if (strcmp(where, mountpoint) != 0)
            continue;
        memcpy(device, number, sizeof(number));
        found = true;
    }
    free(line);
    (void)fclose(mounts);
    return found;
}

static size_t read_kb(int fd)
{
    char text[32] = "";
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    return n > 0 ? strtoul(text, NULL, 10) << 10 : DEFAULT_BYTES;
}

size_t kernel_ahead_raise(const char *mountpoint, size_t bytes)
{
    char device[32], path[96], text[32];
    if (!find_device(mountpoint, device))
        return bytes; /* somebody else's mount, perhaps, who may have raised it */
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
