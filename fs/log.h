/* log.h - lines for the caller's log callback.  Safe from any thread. */
#ifndef WEIR_FS_LOG_PRIVATE_H
#define WEIR_FS_LOG_PRIVATE_H

#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>

#include "fs/mount.h"

enum {
    LOG_LINE_BYTES = 1024, /* with the NUL; the rest of a longer line is cut */
    LOG_RECENT = 64,
};

struct log {
    struct weir_mount_events events;
    pthread_mutex_t lock;
    char last_error[LOG_LINE_BYTES]; /* last line of level ERROR; under lock */
    uint64_t recent[LOG_RECENT];     /* ring of keys, each + 1; 0: free; under lock */
    unsigned next;                   /* in the ring; under lock */
};

void log_init(struct log *log, const struct weir_mount_events *events);
void log_end(struct log *log);

/* printf-style.  Control characters become '?', a newline at the end is dropped. */
void log_line(struct log *log, enum weir_mount_log level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void log_vline(struct log *log, enum weir_mount_log level, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));

/* Adds to *diag what only the source knows of an error. */
void log_explain(const struct log *log, weir_err err, struct weir_diag *diag);

/* Whether `key` is not among the last LOG_RECENT keys asked about: the kernel asks for a bad tile
 * page by page, but one line about it is enough. */
bool log_is_news(struct log *log, uint64_t key);

#endif
