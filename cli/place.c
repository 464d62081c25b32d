#include "place.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "interrupt.h"

bool write_all(int fd, const void *bytes, size_t n)
{
    const uint8_t *from = bytes;
    while (n) {
        ssize_t put = write(fd, from, n);
        if (put < 0 && errno == EINTR && !interrupted())
            continue;
        if (put < 0)
            return false;
        from += put;
        n -= (size_t)put;
    }
    return true;
}

bool write_pipe(int fd, const void *bytes, size_t n)
{
    enum { WAIT_MS = 100 };
    const uint8_t *from = bytes;
    while (n) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        int ready = poll(&p, 1, WAIT_MS);
        if (interrupted())
            errno = EINTR;
        if (interrupted() || (ready < 0 && errno != EINTR))
            return false;
        if (ready <= 0)
            continue;
        /* As much as surely fits when there is room at all. */
        size_t part = n < PIPE_BUF ? n : PIPE_BUF;
        if (!write_all(fd, from, part))
            return false;
        from += part;
        n -= part;
    }
    return true;
}

void diag_errno(struct weir_diag *diag, const char *name)
{
    const char *advice =
        errno == ENOSPC || errno == EDQUOT ? "; free some space or choose another place"
        : errno == EACCES || errno == EPERM || errno == EROFS ? "; choose a place you may write to"
                                                              : "";
    weir_diag_set(diag, "%s: %s%s", name, strerror(errno), advice);
}
