/* A loop of our own in place of libfuse's: that one cancels its threads in the end, and a thread
 * that is cancelled with a request in its hands leaves the request unanswered. */
#define FUSE_USE_VERSION 312
#include "hear.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>

enum { STOP_POLL_MS = 5, NS_OF_MS = 1000000 };

/* Waits for a request; signals come in here and nowhere else, so that none comes between a look at
 * whether it has ended and the wait.  False: there is none yet. */
static bool wait_for_request(struct fuse_session *session, const sigset_t *let_in,
                             const struct timespec *limit)
{
    struct pollfd fd = {.fd = fuse_session_fd(session), .events = POLLIN};
    return ppoll(&fd, 1, limit, let_in) > 0;
}

/* 0; 1: the mount is gone; or -errno. */
static int hear_one(struct fuse_session *session, struct fuse_buf *buffer)
{
    int n = fuse_session_receive_buf(session, buffer);
    if (n == -EINTR || n == -EAGAIN)
        return 0;
    if (n <= 0)
        /* ECONNABORTED is what the kernel says, instead of the ENODEV that libfuse takes for the
         * end, in the moment of unmounting. */
        return n == 0 || n == -ECONNABORTED ? 1 : n;
    fuse_session_process_buf(session, buffer);
    return 0;
}

static void take_signals(sigset_t *before)
{
    sigset_t ours;
    sigemptyset(&ours);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGTERM);
    sigaddset(&ours, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &ours, before);
}

int hear(struct fuse_session *session, const bool *enough)
{
    struct fuse_buf buffer = {.mem = NULL};
    int fd = fuse_session_fd(session);
    /* Whoever waits in read() does not see that it has ended. */
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0)
        return errno;
    sigset_t before;
    take_signals(&before);
    int status = 0;
    while (!status && !fuse_session_exited(session) && !(enough && *enough))
        if (wait_for_request(session, &before, NULL))
            status = hear_one(session, &buffer);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    free(buffer.mem);
    return status < 0 ? -status : 0;
}

void hear_until(struct fuse_session *session, bool (*done)(void *self), void *self)
{
    struct fuse_buf buffer = {.mem = NULL};
    const struct timespec limit = {.tv_nsec = (long)STOP_POLL_MS * NS_OF_MS};
    sigset_t before;
    take_signals(&before);
    fuse_session_reset(session); /* or it would throw away what it reads */
    while (!done(self)) {
        bool gone = wait_for_request(session, &before, &limit) && hear_one(session, &buffer) != 0;
        if (gone) /* nobody can be waiting for an answer any more */
            (void)poll(NULL, 0, STOP_POLL_MS);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    free(buffer.mem);
}
