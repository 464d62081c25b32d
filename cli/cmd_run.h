/* cmd_run.h - what `weir run` is called, shared by the program with infer/ and the one without. */
#ifndef WEIR_CLI_CMD_RUN_H
#define WEIR_CLI_CMD_RUN_H

#include "cmd.h"

enum {
    RUN_PROMPT,
    RUN_FILE,
    RUN_N,
    RUN_CONTEXT,
    RUN_THREADS,
    RUN_CHUNK,
    RUN_TEMPERATURE,
    RUN_TOP_K,
    RUN_TOP_P,
    RUN_MIN_P,
    RUN_REPEAT_PENALTY,
    RUN_SEED,
    RUN_STOP,
    RUN_IGNORE_EOS,
    RUN_KV_BF16,
    RUN_TOKENS,
    RUN_LOGITS,
    RUN_DIR,
    RUN_BASE,
    RUN_RAM,
    RUN_MODEL,
    RUN_BATCH,
    RUN_CHAT,
    RUN_SYS,
    RUN_TEMPLATE,
    RUN_RAW,
    RUN_PERPLEXITY,
    RUN_PLAN,
    RUN_KEEP,
    RUN_KERNELS,
    RUN_DEVICE,
    RUN_DECODE,
    RUN_CACHE_LAYERS,
    RUN_VRAM,
    RUN_DEPTH,
};

/* Runs; in cmd_run_infer.c or cmd_run_off.c. */
int run_run(struct cli *cli);

#endif
