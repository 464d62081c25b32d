/* probe_special.c - extended attributes, what the kernel keeps, and what a mount says of itself. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "probe.h"

enum {
    MAX_VALUE_BYTES = 4096,
    MAX_STATUS_BYTES = 1 << 16,
    CHUNK_BYTES = 1 << 20,
};

int forget_main(int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        struct file f = open_file(argv[i], 0);
        int error = posix_fadvise(f.fd, 0, 0, POSIX_FADV_DONTNEED);
        (void)close(f.fd);
        if (error)
            return 1;
    }
    return 0;
}

/* ---- extended attributes ---- */

/* The value as text; NULL: errno says why.  Asks first for its length, as getfattr does. */
static const char *value_of(const char *path, const char *name)
{
    static char value[MAX_VALUE_BYTES + 1];
    ssize_t n = getxattr(path, name, NULL, 0);
    if (n < 0)
        return NULL;
    if (n > 1 && (getxattr(path, name, value, (size_t)n - 1) >= 0 || errno != ERANGE)) {
        errno = EPROTO; /* a buffer that is too small: neither refused nor too small */
        return NULL;
    }
    ssize_t got = getxattr(path, name, value, MAX_VALUE_BYTES);
    if (got != n) {
        errno = EPROTO;
        return NULL;
    }
    value[got] = 0;
    return value;
}

int xattr_main(int argc, char **argv)
{
    if (argc == 2) {
        const char *value = value_of(argv[0], argv[1]);
        puts(value ? value : strerrorname_np(errno));
        return !value;
    }
    if (argc != 1)
        return 2;
    char names[MAX_VALUE_BYTES];
    ssize_t n = listxattr(argv[0], names, sizeof(names));
    if (n < 0 || listxattr(argv[0], NULL, 0) != n)
        die(argv[0]);
    for (const char *name = names; name < names + n; name += strlen(name) + 1) {
        const char *value = value_of(argv[0], name);
        printf("%s=%s\n", name, value ? value : strerrorname_np(errno));
    }
    return 0;
}

/* ---- a warm read ---- */

/* From its start, by the descriptor that is open. */
static void print_status(const struct file *status)
{
    static char text[MAX_STATUS_BYTES];
    size_t n = 0;
    for (ssize_t got = 1; got > 0; n += (size_t)got) {
        got = pread(status->fd, text + n, sizeof(text) - n, (off_t)n);
        if (got < 0)
            die("status");
    }
    (void)fwrite(text, 1, n, stdout);
}

static void read_all(const struct file *f)
{
    static uint8_t buffer[CHUNK_BYTES];
    size_t at = 0;
    for (ssize_t got = 1; got > 0; at += (size_t)got) {
        got = pread(f->fd, buffer, sizeof(buffer), (off_t)at);
        if (got < 0)
            die("read");
    }
    if (at != f->bytes)
        die("the file's length");
}

static void touch_all(const struct file *f)
{
    const uint8_t *map = map_file(f, MAP_SHARED);
    volatile uint8_t sum = 0;
    for (size_t at = 0; at < f->bytes; at += PAGE_BYTES)
        sum = sum ^ map[at];
    if (map)
        (void)munmap((void *)map, f->bytes);
}

int warm_main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    struct file status = open_file(argv[0], 0), file = open_file(argv[1], 0);
    read_all(&file);
    nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL); /* other programs' releases */
    print_status(&status);
    puts("\n----");
    read_all(&file);
    touch_all(&file);
    print_status(&status);
    putchar('\n');
    return 0;
}
