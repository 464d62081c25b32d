/* How much memory of the host may be pinned. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu_weights_private.h"

enum {
    KIBI = 1024,
    SHARE = 2, /* of what is available, one part */
    PATH_ROOM = 256,
};

/* What the kernel could give to a new program. */
static uint64_t available(void)
{
    static const char key[] = "MemAvailable:";
    char line[256];
    uint64_t bytes = 0;
    FILE *f = fopen("/proc/meminfo", "re");
    while (f && fgets(line, sizeof(line), f))
        if (strncmp(line, key, sizeof(key) - 1) == 0)
            bytes = strtoull(line + sizeof(key) - 1, NULL, 10) * KIBI;
    if (f)
        (void)fclose(f);
    return bytes;
}

/* The number in a file of the control group; `otherwise` if there is none ("max"). */
static uint64_t number_in(const char *folder, const char *name, uint64_t otherwise)
{
    char path[PATH_ROOM], line[64], *end = line;
    uint64_t n = otherwise;
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *f = fopen(path, "re");
    if (f && fgets(line, sizeof(line), f))
        n = strtoull(line, &end, 10);
    if (f)
        (void)fclose(f);
    return end == line ? otherwise : n;
}

/* Bytes of the group that the kernel gives back before it refuses any: files that it keeps. */
static uint64_t reclaimable(const char *folder)
{
    static const char *const key[] = {"active_file ", "inactive_file "};
    char path[PATH_ROOM], line[128];
    uint64_t bytes = 0;
    (void)snprintf(path, sizeof(path), "%s/memory.stat", folder);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof(line), f))
        for (size_t i = 0; i < sizeof(key) / sizeof(key[0]); i++)
            if (strncmp(line, key[i], strlen(key[i])) == 0)
                bytes += strtoull(line + strlen(key[i]), NULL, 10);
    if (f)
        (void)fclose(f);
    return bytes;
}

uint64_t gpu_group_left(const char *folder)
{
    const uint64_t most = number_in(folder, "memory.max", UINT64_MAX);
    const uint64_t used = number_in(folder, "memory.current", 0), files = reclaimable(folder);
    if (most == UINT64_MAX)
        return most;
    const uint64_t held = used > files ? used - files : 0;
    return most > held ? most - held : 0;
}

uint64_t gpu_host_bytes(const struct weir_device_rules *rules)
{
    if (rules->host_bytes)
        return rules->host_bytes;
    const uint64_t bytes = available(), left = gpu_group_left("/sys/fs/cgroup");
    return (left < bytes ? left : bytes) / SHARE;
}
