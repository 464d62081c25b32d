#include "behind.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "place.h"

/* What the child tells the parent, once. */
struct report {
    weir_err err; /* WEIR_OK: it is ready */
    int about;
    struct weir_diag diag;
    off_t told; /* bytes of the words that the diag has */
};

int behind_fd_of(const char *path)
{
    static const char *const folder[] = {"/dev/fd/", "/proc/self/fd/"};
    for (size_t i = 0; i < sizeof(folder) / sizeof(folder[0]); i++) {
        int fd, end = 0;
        size_t n = strlen(folder[i]);
        if (strncmp(path, folder[i], n) == 0 && sscanf(path + n, "%9d%n", &fd, &end) == 1 &&
            !path[n + (size_t)end] && fd >= 0)
            return fd;
    }
    return -1;
}

void behind_close_inherited(int a, int b)
{
    const int keep[] = {a < b ? a : b, a < b ? b : a};
    unsigned from = STDERR_FILENO + 1;
    for (size_t i = 0; i < 2; i++) {
        if (keep[i] < (int)from)
            continue;
        if (keep[i] > (int)from)
            (void)close_range(from, (unsigned)keep[i] - 1, 0);
        from = (unsigned)keep[i] + 1;
    }
    (void)close_range(from, UINT_MAX, 0);
}

static void close_words(struct behind *b)
{
    if (b->words >= 0)
        (void)close(b->words);
    b->words = -1;
}

weir_err behind_fork(struct behind *b, struct weir_diag *diag)
{
    int ends[2] = {-1, -1};
    b->child = -1;
    (void)fflush(NULL); /* or the child prints it again */
    b->words = memfd_create("stderr", MFD_CLOEXEC);
    if (pipe2(ends, O_CLOEXEC) == 0)
        b->child = fork();
    if (b->child < 0) {
        weir_diag_set(diag, "cannot start the mount's process: %s; try -f", strerror(errno));
        for (size_t i = 0; i < 2 && ends[i] >= 0; i++)
            (void)close(ends[i]);
        close_words(b);
        return WEIR_ERR_NOMEM;
    }
    int mine = b->child == 0;
    (void)close(ends[!mine]);
    b->pipe = ends[mine];
    if (mine && b->words >= 0)
        (void)dup2(b->words, STDERR_FILENO);
    return WEIR_OK;
}

static bool read_report(int from, struct report *report)
{
    size_t got = 0;
    while (got < sizeof(*report)) {
        ssize_t n = read(from, (char *)report + got, sizeof(*report) - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        got += (size_t)n;
    }
    report->diag.text[sizeof(report->diag.text) - 1] = 0;
    return true;
}

static void print_words(int words, off_t from)
{
    char text[4096];
    for (ssize_t n = 1; words >= 0 && n > 0; from += n) {
        n = pread(words, text, sizeof(text), from);
        if (n > 0 && !write_all(STDERR_FILENO, text, (size_t)n))
            return;
    }
}

weir_err behind_wait(struct behind *b, int *about, struct weir_diag *diag)
{
    struct report report = {.err = WEIR_ERR_IO, .about = *about};
    int status = 0;
    if (!read_report(b->pipe, &report)) {
        (void)waitpid(b->child, &status, 0);
        weir_diag_set(&report.diag, "the mount's process died (status %d); try -f", status);
        report.err = WEIR_ERR_IO;
        report.about = *about;
    } else if (report.err) {
        (void)waitpid(b->child, NULL, 0);
    }
    (void)close(b->pipe);
    b->pipe = -1;
    print_words(b->words, report.told);
    close_words(b);
    if (report.err) {
        *about = report.about;
        *diag = report.diag;
    }
    return report.err;
}

static bool tell(struct behind *b, const struct report *report)
{
    bool told = write_all(b->pipe, report, sizeof(*report));
    (void)close(b->pipe);
    b->pipe = -1;
    return told;
}

bool behind_ready(struct behind *b, int keep)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd < 3 && null >= 0; fd++)
        if (fd != keep)
            (void)dup2(null, fd);
    if (null > 2)
        (void)close(null);
    (void)setsid();
    close_words(b);
    int left = chdir("/"); /* where it fails, what holds the old one is only busy for longer */
    (void)left;
    return tell(b, &(struct report){.err = WEIR_OK});
}

/* Its first line into `line`; how many bytes that is. */
static off_t read_words(int words, char *line, size_t limit)
{
    ssize_t n = words >= 0 ? pread(words, line, limit - 1, 0) : 0;
    line[n > 0 ? n : 0] = 0;
    size_t length = strcspn(line, "\n");
    off_t bytes = (off_t)length + (line[length] == '\n');
    line[length] = 0;
    return bytes;
}

void behind_failed(struct behind *b, weir_err err, int about, struct weir_diag *diag)
{
    if (b->pipe < 0)
        return;
    char line[200];
    struct report report = {
        .err = err, .about = about, .told = read_words(b->words, line, sizeof(line))};
    size_t n = strlen(diag->text);
    if (line[0])
        snprintf(diag->text + n, sizeof(diag->text) - n, "%s%s%s", n ? " (" : "", line,
                 n ? ")" : "");
    report.diag = *diag;
    (void)tell(b, &report);
    close_words(b);
}
