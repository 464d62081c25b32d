/* cmd_doctor_infer.c - `weir doctor`: measures, says, and remembers. */
#include <stdlib.h>

#include "doctor.h"
#include "fail.h"
#include "output.h"

static const double MICRO = 1e6, NANO = 1e9; /* of a second */

static void print_rate(FILE *out, const char *name, const struct weir_rate *rate, const char *what)
{
    char one[HUMAN_BYTES], all[HUMAN_BYTES];
    fprintf(out, "%-11s %s/s, one thread %s/s: %s\n", name, human_bytes(all, rate->all),
            human_bytes(one, rate->one), what);
}

static void print(const struct cli *cli, const struct doctor *d, const char *path)
{
    const struct weir_measured *m = &d->measured;
    char disk[HUMAN_BYTES];
    fprintf(cli->out,
            "processors  %u\n"
            "threads     %u, %.1f us to hand out work; %.0f ns a row\n"
            "kernels     %s; tiles %s\n",
            d->processors, m->threads, m->round_seconds * MICRO, m->row_seconds * NANO, d->kernels,
            d->decoder);
    print_rate(cli->out, "plain", &m->plain, "BF16 weights in memory");
    print_rate(cli->out, "resident", &m->resident, "of them in 12 bits");
    print_rate(cli->out, "store", &m->store, "decoded from a store");
    print_rate(cli->out, "files", &m->files, "read from plain files");
    fprintf(cli->out,
            "disk        %s/s\n"
            "GPU         not looked for\n",
            human_bytes(disk, d->disk));
    if (!cli->quiet)
        fprintf(stderr, "kept in %s\n", path);
}

int doctor_run(struct cli *cli)
{
    struct weir_diag diag = {""};
    struct doctor d;
    char *path = NULL;
    weir_err err = doctor_measure(cli->n_operands ? cli->operand[0] : NULL, &d, &diag);
    if (!err)
        err = doctor_write(&d, &path, &diag);
    int code = EXIT_FINE;
    if (err)
        code = fail(cli, err, NULL, &diag);
    else if (cli->json)
        code = print_json(cli, doctor_json(&d));
    else
        print(cli, &d, path);
    free(path);
    return code;
}
