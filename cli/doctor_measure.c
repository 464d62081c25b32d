#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "codec/tile.h"
#include "doctor.h"
#include "output.h"
#include "place.h"

enum {
    DOT_BYTES = 256 << 20,
    DISK_BYTES = 256 << 20, /* read at most */
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
    *rate = taken > 0 ? (double)sum / taken : 0;
    if (n < 0)
        diag_errno(diag, name);
    free(piece);
    return n < 0 ? WEIR_ERR_IO : WEIR_OK;
}

static weir_err measure_disk(const char *name, struct doctor *d, struct weir_diag *diag)
{
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        diag_errno(diag, name);
        return errno == ENOENT ? WEIR_ERR_NOT_FOUND : WEIR_ERR_IO;
    }
    weir_err err = read_file(fd, name, &d->disk, diag);
    (void)close(fd);
    return err;
}

/* With `made`, an empty file; -1: there is none. */
static weir_err measure(const char *file, int made, const char *name, struct doctor *out,
                        struct weir_diag *diag)
{
    weir_err err = weir_measure(0, DOT_BYTES, made, &out->measured);
    if (err == WEIR_ERR_IO)
        diag_errno(diag, name);
    if (!err && file)
        err = measure_disk(file, out, diag);
    else if (!err)
        err = read_file(made, name, &out->disk, diag);
    return err;
}

weir_err doctor_measure(const char *file, struct doctor *out, struct weir_diag *diag)
{
    char name[] = ".weir-doctor.XXXXXX";
    int made = mkstemp(name);
    *out = (struct doctor){.processors = (unsigned)sysconf(_SC_NPROCESSORS_ONLN)};
    if (made < 0 && !file) {
        diag_errno(diag, name);
        return WEIR_ERR_IO;
    }
    if (made >= 0)
        (void)unlink(name);
    weir_err err = measure(file, made, name, out, diag);
    if (made >= 0)
        (void)close(made);
    (void)snprintf(out->kernels, sizeof(out->kernels), "%s", err ? "" : out->measured.kernels);
    (void)snprintf(out->decoder, sizeof(out->decoder), "%s",
                   weir_kernels_name(weir_kernels_best()));
    return err;
}
