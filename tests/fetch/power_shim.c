/* power_shim.c - notes what a program asks of the disk, in order, for power_cuts.py: preloaded
 * (LD_PRELOAD) it logs every call that changes a file below $POWER_DIR, an absolute name.
 *
 * $POWER_LOG gets a line per call, $POWER_LOG.bytes what was written:
 *   O INODE PATH         a file was made           W INODE AT N    written; its bytes come next
 *   T INODE SIZE         cut, or made longer       B INODE, E INODE a sync begins; is over, and
 * fine R FROM TO, L FROM TO renamed, linked           U PATH          its name is gone M PATH a
 * folder was made What is written through a mapping, copy_file_range() or stdio is not seen.  Paths
 * hold no blanks. $POWER_HASTE makes the clock run so many times as fast, so that what is due now
 * and then comes often. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES = 2 * PATH_MAX + 64 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* a call and its line are one */
static int log_fd = -1, bytes_fd = -1;
static const char *folder;
static long haste = 1;

static void set_up(void)
{
    char name[PATH_MAX];
    folder = getenv("POWER_DIR");
    const char *log_name = getenv("POWER_LOG");
    const char *times = getenv("POWER_HASTE");
    haste = times ? strtol(times, NULL, 10) : 1;
    if (!folder || !log_name)
        return;
    snprintf(name, sizeof(name), "%s.bytes", log_name);
    const int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC;
    log_fd = (int)syscall(SYS_openat, AT_FDCWD, log_name, flags, 0666);
    bytes_fd = (int)syscall(SYS_openat, AT_FDCWD, name, flags, 0666);
}

static bool is_watched(const char *path)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, set_up);
    size_t n = folder && log_fd >= 0 ? strlen(folder) : 0;
    return n && strncmp(path, folder, n) == 0 && (path[n] == '/' || path[n] == 0);
}

static bool is_watched_fd(int fd)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof(path) - 1);
    if (n <= 0)
        return false;
    path[n] = 0;
    return is_watched(path);
}

static void note(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void note(const char *format, ...)
{
    char line[LINE_BYTES];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (syscall(SYS_write, log_fd, line, (size_t)n) != n)
        abort();
}

static unsigned long inode(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? (unsigned long)st.st_ino : 0;
}

/* The next function of this name: libc's. */
static void *next(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found)
        abort();
    return found;
}

/* The names that libc's headers give to parameters are not for us to use. */
/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */

/* ---- files ---- */

static int open_noted(const char *path, int flags, mode_t mode)
{
    struct stat st;
    pthread_mutex_lock(&lock);
    bool fresh = (flags & O_CREAT) && is_watched(path) && lstat(path, &st) != 0;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    int why = errno;
    if (fd >= 0 && fresh)
        note("O %lu %s\n", inode(fd), path);
    if (fd >= 0 && (flags & O_TRUNC) && !fresh && is_watched(path))
        note("T %lu 0\n", inode(fd));
    errno = why;
    pthread_mutex_unlock(&lock);
    return fd;
}

/* With 64-bit offsets these are open64(), pwrite64() and ftruncate64(), as they are in weir. */
int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return open_noted(path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    if (dir == AT_FDCWD || path[0] == '/')
        return open_noted(path, flags, mode);
    return (int)syscall(SYS_openat, dir, path, flags, mode);
}

static ssize_t write_noted(int fd, const void *bytes, size_t n, off_t at)
{
    bool watched = is_watched_fd(fd);
    pthread_mutex_lock(&lock);
    off_t where = at >= 0 ? at : lseek(fd, 0, SEEK_CUR);
    ssize_t put =
        at >= 0 ? syscall(SYS_pwrite64, fd, bytes, n, at) : syscall(SYS_write, fd, bytes, n);
    int why = errno;
    if (watched && put > 0) {
        note("W %lu %lld %zd\n", inode(fd), (long long)where, put);
        if (syscall(SYS_write, bytes_fd, bytes, (size_t)put) != put)
            abort();
    }
    errno = why;
    pthread_mutex_unlock(&lock);
    return put;
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at)
{
    return write_noted(fd, bytes, n, at);
}

ssize_t write(int fd, const void *bytes, size_t n)
{
    return is_watched_fd(fd) ? write_noted(fd, bytes, n, -1) : syscall(SYS_write, fd, bytes, n);
}

static int truncate_noted(int fd, off_t size)
{
    bool watched = is_watched_fd(fd);
    pthread_mutex_lock(&lock);
    int answer = (int)syscall(SYS_ftruncate, fd, size);
    int why = errno;
    if (watched && answer == 0)
        note("T %lu %lld\n", inode(fd), (long long)size);
    errno = why;
    pthread_mutex_unlock(&lock);
    return answer;
}

int ftruncate(int fd, off_t size)
{
    return truncate_noted(fd, size);
}

/* Others write meanwhile: whether that reaches the disk is open. */
static int sync_noted(int fd, long number)
{
    bool watched = is_watched_fd(fd);
    if (watched)
        note("B %lu\n", inode(fd));
    int answer = (int)syscall(number, fd);
    int why = errno;
    if (watched && answer == 0)
        note("E %lu\n", inode(fd));
    errno = why;
    return answer;
}

int fsync(int fd)
{
    return sync_noted(fd, SYS_fsync);
}

int fdatasync(int fd)
{
    return sync_noted(fd, SYS_fdatasync);
}

/* ---- names ---- */

int rename(const char *from, const char *to)
{
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    pthread_mutex_lock(&lock);
    int answer = (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
    int why = errno;
    if (answer == 0 && is_watched(from) && is_watched(to))
        note("R %s %s\n", from, to);
    errno = why;
    pthread_mutex_unlock(&lock);
    return answer;
}

int link(const char *from, const char *to)
{
    int (*real)(const char *, const char *) = (int (*)(const char *, const char *))next("link");
    pthread_mutex_lock(&lock);
    int answer = real(from, to);
    int why = errno;
    if (answer == 0 && is_watched(to))
        note("L %s %s\n", from, to);
    errno = why;
    pthread_mutex_unlock(&lock);
    return answer;
}

int unlink(const char *path)
{
    pthread_mutex_lock(&lock);
    int answer = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    int why = errno;
    if (answer == 0 && is_watched(path))
        note("U %s\n", path);
    errno = why;
    pthread_mutex_unlock(&lock);
    return answer;
}

int mkdir(const char *path, mode_t mode)
{
    pthread_mutex_lock(&lock);
    int answer = (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    int why = errno;
    if (answer == 0 && is_watched(path))
        note("M %s\n", path);
    errno = why;
    pthread_mutex_unlock(&lock);
    return answer;
}

/* ---- time ---- */

int clock_gettime(clockid_t clock, struct timespec *out)
{
    static const long long second = 1000000000;
    int answer = (int)syscall(SYS_clock_gettime, clock, out);
    if (answer == 0 && clock == CLOCK_MONOTONIC && haste > 1) {
        long long ns = (out->tv_sec * second + out->tv_nsec) * haste;
        out->tv_sec = ns / second;
        out->tv_nsec = ns % second;
    }
    return answer;
}

/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
