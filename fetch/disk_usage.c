#include "disk_usage.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BLOCK_BYTES = 4096,
    FIRST_FILES = 1024,
    MAX_FILES = 1 << 22, /* 16 TiB of full extents */
};

struct kept {
    struct timespec read; /* when it was last */
    uint64_t bytes;
    char name[DISK_NAME_CHARS + 1];
};

struct list {
    struct kept *file;
    size_t n, room;
    uint64_t bytes; /* of all, and of what is being written */
};

uint64_t disk_usage_of(uint64_t n)
{
    return (n + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
}

bool disk_usage_parse(const uint8_t *bytes, size_t n, uint64_t *count)
{
    uint64_t value = 0, complement = 0;
    if (n != DISK_USAGE_BYTES)
        return false;
    for (unsigned i = 0; i < 8; i++) {
        value |= (uint64_t)bytes[i] << 8 * i;
        complement |= (uint64_t)bytes[8 + i] << 8 * i;
    }
    if (value != ~complement)
        return false;
    *count = value;
    return true;
}

void disk_usage_write(uint64_t count, uint8_t bytes[DISK_USAGE_BYTES])
{
    for (unsigned i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(count >> 8 * i);
        bytes[8 + i] = (uint8_t)(~count >> 8 * i);
    }
}

bool disk_name_is(const char *name, bool part)
{
    size_t n = strspn(name, "0123456789abcdef");
    return n == DISK_NAME_CHARS && strcmp(name + n, part ? ".part" : "") == 0;
}

/* Who writes it has it locked. */
static bool is_left_behind(int folder, const char *name)
{
    int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool left = flock(fd, LOCK_EX | LOCK_NB) == 0;
    if (left)
        (void)unlinkat(folder, name, 0);
    (void)close(fd);
    return left;
}

static bool add(struct list *list, const char *name, const struct stat *st)
{
    if (list->n == list->room) {
        size_t room = list->room ? 2 * list->room : FIRST_FILES;
        struct kept *file = room <= MAX_FILES ? realloc(list->file, room * sizeof(*file)) : NULL;
        if (!file)
            return false;
        list->file = file;
        list->room = room;
    }
    struct kept *k = &list->file[list->n++];
    k->read = st->st_mtim;
    k->bytes = disk_usage_of((uint64_t)st->st_size);
    memcpy(k->name, name, sizeof(k->name));
    list->bytes += k->bytes;
    return true;
}

static bool take(struct list *list, int folder, const char *name)
{
    struct stat st;
    bool part = disk_name_is(name, true);
    if ((!part && !disk_name_is(name, false)) ||
        fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
        return true;
    if (!part)
        return add(list, name, &st);
    if (!is_left_behind(folder, name))
        list->bytes += disk_usage_of((uint64_t)st.st_size);
    return true;
}

static bool look_through(struct list *list, int folder)
{
    int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (!dir) {
        if (fd >= 0)
            (void)close(fd);
        return false;
    }
    bool fine = true;
    for (const struct dirent *e; fine && (e = readdir(dir));)
        fine = take(list, folder, e->d_name);
    (void)closedir(dir);
    return fine;
}

static int by_time(const void *a, const void *b)
{
    const struct timespec *x = &((const struct kept *)a)->read;
    const struct timespec *y = &((const struct kept *)b)->read;
    if (x->tv_sec != y->tv_sec)
        return x->tv_sec < y->tv_sec ? -1 : 1;
    return x->tv_nsec < y->tv_nsec ? -1 : x->tv_nsec > y->tv_nsec;
}

bool disk_usage_trim(int folder, uint64_t limit, uint64_t *left)
{
    struct list list = {0};
    bool fine = look_through(&list, folder);
    if (fine && list.n)
        qsort(list.file, list.n, sizeof(list.file[0]), by_time);
    for (size_t i = 0; fine && i < list.n && list.bytes > limit; i++)
        if (unlinkat(folder, list.file[i].name, 0) == 0)
            list.bytes -= list.file[i].bytes;
    free(list.file);
    if (fine)
        *left = list.bytes;
    return fine;
}
