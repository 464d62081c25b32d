/* How much memory of the host may be pinned. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu_weights_private.h"

enum {
    KIBI = 1024,
    SHARE = 2, /* of what is available, one part */
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
static uint64_t number_in(const char *path, uint64_t otherwise)
{
    char line[64], *end = line;
    uint64_t n = otherwise;
    FILE *f = fopen(path, "re");
    if (f && fgets(line, sizeof(line), f))
        n = strtoull(line, &end, 10);
    if (f)
        (void)fclose(f);
    return end == line ? otherwise : n;
}

uint64_t gpu_host_bytes(const struct weir_device_rules *rules)
{
    if (rules->host_bytes)
        return rules->host_bytes;
    uint64_t bytes = available();
    const uint64_t most = number_in("/sys/fs/cgroup/memory.max", UINT64_MAX);
    const uint64_t used = number_in("/sys/fs/cgroup/memory.current", 0);
    if (most != UINT64_MAX && (most > used ? most - used : 0) < bytes)
        bytes = most > used ? most - used : 0;
    return bytes / SHARE;
}
