/* cmd_doctor.c - what this machine can do. */
#include "doctor.h"

const struct cmd cmd_doctor = {
    .name = "doctor",
    .operands = "[FILE]",
    .summary = "Measure memory, decoding, disk and GPU, for plans",
    .text =
        "How fast weights that lie in memory are multiplied with, as they are and in 12 bits; how "
        "fast\n"
        "tiles of a store are decoded; how fast FILE is read, or else a file of 64 MB made for "
        "that in the\n"
        "current directory. Takes some seconds, and 0.5 GB of memory. Of a GPU: how fast it "
        "copies, to\n"
        "it and back, decodes and multiplies, and from how many vectors on it is better to unpack "
        "a\n"
        "matrix for cuBLAS (1.2 GB of its memory; not with WEIR_DEVICE=cpu). What it finds is kept "
        "in\n"
        "$XDG_CACHE_HOME/weir/doctor.json, where 'weir run' looks it up, for --plan and on a "
        "GPU.\n",
    .examples = "  weir doctor llama.weir\n"
                "  weir run llama.weir --plan --ram 1G\n",
    .min_operands = 0,
    .max_operands = 1,
    .run = doctor_run,
};
