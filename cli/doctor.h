/* doctor.h - what this machine can do, measured once and remembered for plans. */
#ifndef WEIR_CLI_DOCTOR_H
#define WEIR_CLI_DOCTOR_H

#include <jansson.h>
#include <stdbool.h>

#include "cmd.h"
#include "codec/err.h"
#include "infer/measure.h"

enum { DOCTOR_NAME = 32 };

struct doctor {
    unsigned processors;
    struct weir_measured measured; /* .kernels: not here but in `kernels` */
    char kernels[DOCTOR_NAME], decoder[DOCTOR_NAME];
    double disk; /* bytes a second; 0: not measured */
};

/* doctor_measure.c.  file: what is read to measure the disk; NULL: a file made in the current
 * directory.  WEIR_ERR_NOMEM, WEIR_ERR_IO. */
WEIR_MUST_CHECK weir_err doctor_measure(const char *file, struct doctor *out,
                                        struct weir_diag *diag);

/* doctor_file.c: $XDG_CACHE_HOME/weir/doctor.json, or ~/.cache's. */
json_t *doctor_json(const struct doctor *d); /* NULL: no memory */
/* *path, malloc'ed, is where it is. */
WEIR_MUST_CHECK weir_err doctor_write(const struct doctor *d, char **path, struct weir_diag *diag);
/* false: there is none that makes sense. */
bool doctor_read(struct doctor *out);

/* `weir doctor`, in cmd_doctor_infer.c or cmd_run_off.c. */
int doctor_run(struct cli *cli);

#endif
