/* What is measured for plans: rates that make sense, and nothing left behind where it fails. */
#include "infer/measure.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fail_alloc.h"

enum { BYTES = 2 << 20, MADE = BYTES + (512 << 10) }; /* in pieces of 512 KiB, and one more */

static bool makes_sense(const struct weir_rate *r)
{
    return r->one > 1e6 && r->one < 1e13 && r->all > 1e6 && r->all < 1e13;
}

Test(measure, rates_make_sense, .timeout = 60)
{
    char name[] = "measure.XXXXXX";
    struct weir_measured m;
    struct stat st;
    int fd = mkstemp(name);
    cr_assert_geq(fd, 0);
    (void)unlink(name);
    cr_assert_eq(weir_measure(2, BYTES, fd, &m), WEIR_OK);
    cr_assert(makes_sense(&m.plain) && makes_sense(&m.resident));
    cr_assert(makes_sense(&m.store) && makes_sense(&m.files));
    cr_assert(m.round_seconds > 0 && m.round_seconds < 1);
    cr_assert(m.row_seconds >= 0 && m.row_seconds < 1e-3);
    cr_assert_eq(m.threads, 2);
    cr_assert_not_null(m.kernels);
    /* plain tiles, and the same ones smaller */
    cr_assert(fstat(fd, &st) == 0 && st.st_size > MADE && st.st_size < (off_t)2 * MADE);
    (void)close(fd);
}

Test(measure, fails_without_a_trace)
{
    struct weir_measured m = {.threads = 77};
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    cr_assert_eq(weir_measure(1, BYTES, fd, &m), WEIR_ERR_IO);
    (void)close(fd);
    for (int n = 0; n < 12; n++) { /* the first of all that is allocated; then it takes its time */
        fail_alloc_at(n);
        weir_err err = weir_measure(2, BYTES, -1, &m);
        fail_alloc_at(-1);
        cr_assert_eq(err, WEIR_ERR_NOMEM, "allocation %d", n);
    }
    cr_assert(m.threads == 77 && m.plain.one == 0 && m.plain.all == 0);
}
