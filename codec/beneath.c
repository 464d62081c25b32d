#include "codec/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PART_BYTES = 256 }; /* a component is no longer (docs/format.md, 3.4) */

int weir_beneath_parent(int root, const char *path, const char **leaf)
{
    int at = fcntl(root, F_DUPFD_CLOEXEC, 0);
    while (at >= 0) {
        const char *slash = strchr(path, '/');
        if (!slash) {
            *leaf = path;
            return at;
        }
        char part[PART_BYTES] = "";
        size_t n = (size_t)(slash - path);
        memcpy(part, path, n < sizeof(part) ? n : 0);
        int next = openat(at, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int why = errno;
        (void)close(at);
        errno = why;
        at = next;
        path = slash + 1;
    }
    return -1;
}

int weir_beneath_place(int from, const char *temp, int to, const char *name, bool replace)
{
    if (replace)
        return renameat(from, temp, to, name);
    if (renameat2(from, temp, to, name, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    /* A file system without the flag (NFS): a hard link refuses an existing name too. */
    if (linkat(from, temp, to, name, 0) != 0)
        return -1;
    return unlinkat(from, temp, 0);
}
