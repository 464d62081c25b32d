/* cmd_doctor.c - what this machine can do. */
#include "doctor.h"

const struct cmd cmd_doctor = {
    .name = "doctor",
    .operands = "[FILE]",
    .summary = "Measure memory, decoding and disk, for plans",
    .text =
        "How fast weights that lie in memory are multiplied with, as they are and in 12 bits; how "
        "fast\n"
        "tiles of a store are decoded; how fast FILE is read, or else a file of 64 MB made for "
        "that in the\n"
        "current directory. Takes some seconds, and 0.5 GB of memory. What it finds is kept in\n"
        "$XDG_CACHE_HOME/weir/doctor.json, where 'weir run --plan' looks it up.\n",
    .examples = "  weir doctor llama.weir\n"
                "  weir run llama.weir --plan --ram 1G\n",
    .min_operands = 0,
    .max_operands = 1,
    .run = doctor_run,
};
