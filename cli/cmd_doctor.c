/* cmd_doctor.c - what this machine can do. */
#include "doctor.h"

const struct cmd cmd_doctor = {
    .name = "doctor",
    .operands = "[FILE]",
    .summary = "Measure memory, decoding, disk and GPU, for plans",
    .text =
        "How fast weights are multiplied with by one thread and by all of them: in memory as they "
        "are\n"
        "and in 12 bits, from a store and from plain files; how fast FILE is read from the disk, "
        "or "
        "else\n"
        "the file of 110 MB that is made in the current directory in any case. Takes some seconds, "
        "and "
        "0.5 GB\n"
        "of memory, 2 GB where the caches are large. Of a GPU: how fast it copies, to it and back, "
        "decodes\n"
        "and multiplies, and from how many vectors on it is better to unpack a matrix for cuBLAS "
        "(1.2 GB\n"
        "of its memory; not with WEIR_DEVICE=cpu). What it finds is kept in "
        "$XDG_CACHE_HOME/weir/doctor.json,\n"
        "where 'weir run' looks it up, for --plan and on a GPU.\n",
    .examples = "  weir doctor llama.weir\n"
                "  weir run llama.weir --plan --ram 1G\n",
    .min_operands = 0,
    .max_operands = 1,
    .run = doctor_run,
};
