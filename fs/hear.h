/* hear.h - the one thread that hears the kernel's requests. */
#ifndef WEIR_FS_HEAR_PRIVATE_H
#define WEIR_FS_HEAR_PRIVATE_H

#include <stdbool.h>

struct fuse_session;

/* Hears requests and answers them (or has them answered) until the mount is gone, a signal that
 * fuse_set_signal_handlers() took says that it is to end, or *enough (NULL: never) is true after a
 * request.  0, or an errno. */
int hear(struct fuse_session *session, const bool *enough);

/* The same, although it has ended, until done(self) is true. */
void hear_until(struct fuse_session *session, bool (*done)(void *self), void *self);

#endif
