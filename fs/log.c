#include "log.h"

#include <stdio.h>
#include <string.h>

void log_init(struct log *log, const struct weir_mount_events *events)
{
    memset(log, 0, sizeof(*log));
    log->events = *events;
    pthread_mutex_init(&log->lock, NULL);
}

void log_end(struct log *log)
{
    pthread_mutex_destroy(&log->lock);
}

static void make_printable(char *line)
{
    size_t n = strlen(line);
    while (n > 0 && line[n - 1] == '\n')
        line[--n] = 0;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
}

void log_explain(const struct log *log, weir_err err, struct weir_diag *diag)
{
    if (log->events.explain)
        log->events.explain(log->events.self, err, diag);
}

void log_vline(struct log *log, enum weir_mount_log level, const char *format, va_list args)
{
    char line[LOG_LINE_BYTES];
    vsnprintf(line, sizeof(line), format, args);
    make_printable(line);
    if (level == WEIR_MOUNT_LOG_ERROR) {
        pthread_mutex_lock(&log->lock);
        memcpy(log->last_error, line, sizeof(line));
        pthread_mutex_unlock(&log->lock);
    }
    if (log->events.log)
        log->events.log(log->events.self, level, line);
}

void log_line(struct log *log, enum weir_mount_log level, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_vline(log, level, format, args);
    va_end(args);
}

bool log_is_news(struct log *log, uint64_t key)
{
    bool known = false;
    pthread_mutex_lock(&log->lock);
    for (unsigned i = 0; i < LOG_RECENT && !known; i++)
        known = log->recent[i] == key + 1;
    if (!known) {
        log->recent[log->next] = key + 1;
        log->next = (log->next + 1) % LOG_RECENT;
    }
    pthread_mutex_unlock(&log->lock);
    return !known;
}
