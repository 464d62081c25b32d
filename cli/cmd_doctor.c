/* cmd_doctor.c - what this machine can do. */
#include "doctor.h"

const struct cmd cmd_doctor = {
    .name = "doctor",
    .operands = "[FILE]",
    .summary = "Measure memory, decoding and disk, for plans",
    .text =
        "How fast weights are multiplied with by one thread and by all of them: in memory as they "
        "are\n"
        "and in 12 bits, from a store and from plain files; how fast FILE is read from the disk, "
        "or "
        "else\n"
        "the file of 110 MB that is made for this in the current directory. Takes some seconds, "
        "and "
        "0.5 GB\n"
        "of memory, 2 GB where the caches are large. What it finds is kept in "
        "$XDG_CACHE_HOME/weir/doctor.json, where 'weir run "
        "--plan'\n"
        "looks it up.\n",
    .examples = "  weir doctor llama.weir\n"
                "  weir run llama.weir --plan --ram 1G\n",
    .min_operands = 0,
    .max_operands = 1,
    .run = doctor_run,
};
