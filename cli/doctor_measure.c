#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "doctor.h"
#include "infer/measure.h"
#include "output.h"
#include "place.h"

enum {
    DOT_BYTES = 256 << 20,
    DECODE_BYTES = 64 << 20,
    DISK_BYTES = 256 << 20, /* read at most */
    MADE_BYTES = 64 << 20,  /* of the file that is made */
    PIECE = 4 << 20,
    N_TIMES = 3,
};

static weir_err measure_decode(struct doctor *d)
{
    struct bench_data data;
    struct bench_row row;
    const struct bench_plan plan = {
        .kind = BENCH_CODEC, .kernels = weir_kernels_best(), .threads = d->threads, .repeat = 1};
    weir_err err = bench_data_generate(&data, "bf16", DECODE_BYTES);
    if (err)
        return err;
    for (int i = 0; i < N_TIMES && !err; i++) { /* the least time: others are at work here, too */
        err = bench_measure(&data, &plan, &row);
        if (!err && row.decode_gbps * 1e9 > d->decode)
            d->decode = row.decode_gbps * 1e9;
    }
    bench_data_free(&data);
    (void)snprintf(d->decoder, sizeof(d->decoder), "%s", weir_kernels_name(plan.kernels));
    return err;
}

/* ---- disk ---- */

/* Bytes that compress to nothing nowhere. */
static weir_err fill_file(int fd, uint8_t *piece, const char *name, struct weir_diag *diag)
{
    uint64_t state = 1;
    for (size_t i = 0; i < PIECE; i += sizeof(state)) {
        state = state * 6364136223846793005U + 1442695040888963407U;
        memcpy(piece + i, &state, sizeof(state));
    }
    for (size_t at = 0; at < MADE_BYTES; at += PIECE)
        if (!write_all(fd, piece, PIECE)) {
            diag_errno(diag, name);
            return WEIR_ERR_IO;
        }
    return WEIR_OK;
}

/* What the page cache holds of it is dropped first, where the system does that. */
static weir_err read_file(int fd, uint8_t *piece, const char *name, double *rate,
                          struct weir_diag *diag)
{
    uint64_t sum = 0;
    (void)fdatasync(fd);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    double began = now_seconds();
    while (sum < DISK_BYTES) {
        ssize_t n = pread(fd, piece, PIECE, (off_t)sum);
        if (n < 0) {
            diag_errno(diag, name);
            return WEIR_ERR_IO;
        }
        if (n == 0)
            break;
        sum += (uint64_t)n;
    }
    double taken = now_seconds() - began;
    *rate = taken > 0 ? (double)sum / taken : 0;
    return WEIR_OK;
}

static int open_made(char name[], const char *file)
{
    if (file)
        return open(file, O_RDONLY | O_CLOEXEC);
    int fd = mkstemp(name);
    if (fd >= 0)
        (void)unlink(name);
    return fd;
}

static weir_err measure_disk(const char *file, struct doctor *d, struct weir_diag *diag)
{
    char made[] = ".weir-doctor.XXXXXX";
    const char *name = file ? file : made;
    uint8_t *piece = malloc(PIECE);
    if (!piece)
        return WEIR_ERR_NOMEM;
    int fd = open_made(made, file);
    weir_err err = WEIR_OK;
    if (fd < 0) {
        diag_errno(diag, name);
        err = errno == ENOENT ? WEIR_ERR_NOT_FOUND : WEIR_ERR_IO;
    }
    if (!err && !file)
        err = fill_file(fd, piece, name, diag);
    if (!err)
        err = read_file(fd, piece, name, &d->disk, diag);
    if (fd >= 0)
        (void)close(fd);
    free(piece);
    return err;
}

weir_err doctor_measure(const char *file, struct doctor *out, struct weir_diag *diag)
{
    struct weir_measured m;
    *out = (struct doctor){.processors = (unsigned)sysconf(_SC_NPROCESSORS_ONLN)};
    weir_err err = weir_measure(0, DOT_BYTES, &m);
    if (err)
        return err;
    out->threads = m.threads;
    out->plain = m.plain;
    out->resident = m.resident;
    (void)snprintf(out->kernels, sizeof(out->kernels), "%s", m.kernels);
    err = measure_decode(out);
    return err ? err : measure_disk(file, out, diag);
}
