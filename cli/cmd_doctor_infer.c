/* cmd_doctor_infer.c - `weir doctor`: measures, says, and remembers. */
#include <stdlib.h>

#include "doctor.h"
#include "fail.h"
#include "output.h"

static void print(const struct cli *cli, const struct doctor *d, const char *path)
{
    char plain[HUMAN_BYTES], resident[HUMAN_BYTES], decode[HUMAN_BYTES], disk[HUMAN_BYTES];
    fprintf(cli->out,
            "processors  %u\n"
            "kernels     %s; tiles %s\n"
            "plain       %s/s of BF16 weights in memory, %u threads\n"
            "resident    %s/s of them in 12 bits\n"
            "decode      %s/s out of tiles\n"
            "disk        %s/s\n"
            "GPU         not looked for\n",
            d->processors, d->kernels, d->decoder, human_bytes(plain, d->plain), d->threads,
            human_bytes(resident, d->resident), human_bytes(decode, d->decode),
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
