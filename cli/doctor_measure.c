#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "codec/tile.h"
#include "doctor.h"
#include "memory.h"
#include "output.h"
#include "place.h"

enum {
    LEAST_DOT_BYTES = 256 << 20,
    MOST_DOT_BYTES = 1 << 30,
    SHARE = 8,  /* of the memory that there is; the whole takes twice as much */
    CACHES = 8, /* as large as that many L3 caches: these keep some of what goes round in them */
    DISK_BYTES = 256 << 20,     /* read at most */
    LEAST_DISK_BYTES = 4 << 20, /* of less it is no rate */
    PIECE = 4 << 20,
};

/* What the page cache holds of it is dropped first, where the system does that. */
static weir_err read_file(int fd, const char *name, double *rate, struct weir_diag *diag)
{
    uint64_t sum = 0;
    ssize_t n = 1;
    uint8_t *piece = malloc(PIECE);
    if (!piece)
        return WEIR_ERR_NOMEM;
    (void)fdatasync(fd);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    double began = now_seconds();
    while (sum < DISK_BYTES && n > 0) {
        n = pread(fd, piece, PIECE, (off_t)sum);
        sum += n > 0 ? (uint64_t)n : 0;
    }
    double taken = now_seconds() - began;
    *rate = taken > 0 && sum >= LEAST_DISK_BYTES ? (double)sum / taken : 0;
    if (n < 0)
        diag_errno(diag, name);
    free(piece);
    return n < 0 ? WEIR_ERR_IO : WEIR_OK;
}

static size_t dot_bytes(void)
{
    long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
    size_t n = cache > 0 && cache < MOST_DOT_BYTES / CACHES ? (size_t)cache * CACHES
               : cache > 0                                  ? MOST_DOT_BYTES
                                                            : 0;
    const uint64_t most = memory_available() / SHARE;
    n = n < most ? n : (size_t)most;
    return n < LEAST_DOT_BYTES ? LEAST_DOT_BYTES : n;
}

static weir_err could_not(const char *name, struct weir_diag *diag)
{
    diag_errno(diag, name);
    return errno == ENOENT ? WEIR_ERR_NOT_FOUND : WEIR_ERR_IO;
}

/* made: an empty file; -1: there is none, but `file`. */
static weir_err measure(int made, int file, const char *name, struct doctor *out,
                        struct weir_diag *diag)
{
    weir_err err = weir_measure(0, dot_bytes(), made, &out->measured);
    if (err == WEIR_ERR_IO)
        diag_errno(diag, name);
    return err ? err : read_file(file >= 0 ? file : made, name, &out->disk, diag);
}

weir_err doctor_measure(const char *file, struct doctor *out, struct weir_diag *diag)
{
    char name[] = ".weir-doctor.XXXXXX";
    *out = (struct doctor){.processors = (unsigned)sysconf(_SC_NPROCESSORS_ONLN)};
    int given = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
    if (file && given < 0)
        return could_not(file, diag);
    int made = mkstemp(name);
    if (made < 0 && !file)
        return could_not(name, diag);
    if (made >= 0)
        (void)unlink(name);
    weir_err err = measure(made, given, file ? file : name, out, diag);
    if (made >= 0)
        (void)close(made);
    if (given >= 0)
        (void)close(given);
    (void)snprintf(out->kernels, sizeof(out->kernels), "%s", err ? "" : out->measured.kernels);
    (void)snprintf(out->decoder, sizeof(out->decoder), "%s",
                   weir_kernels_name(weir_kernels_best()));
    return err;
}
