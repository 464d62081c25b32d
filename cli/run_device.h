/* run_device.h - what `weir run` computes on: the processor, or a GPU that its models share. */
#ifndef WEIR_CLI_RUN_DEVICE_H
#define WEIR_CLI_RUN_DEVICE_H

#include <jansson.h>

#include "cmd_run.h"
#include "infer/device.h"
#include "infer/measure_device.h"

struct run_job;

enum run_device_kind { RUN_ON_WHAT_THERE_IS, RUN_ON_CPU, RUN_ON_CUDA };

struct run_device {
    /* by the options */
    enum run_device_kind wanted;
    int number;    /* of the GPU */
    uint64_t vram; /* 0: what is free */
    struct weir_device_rules rules;
    /* opened */
    bool tried;
    struct weir_device *device; /* NULL: the processor */
    struct weir_device_info info;
    struct weir_device_measured measured; /* what rules.crossing is of */
};

/* false: reported. */
bool run_device_options(struct run_device *d, const struct cli *cli);

/* Opens the GPU if it was asked for by name or by an option.  false: reported, *code is set. */
bool run_device_open(struct run_device *d, const struct cli *cli, int *code);

/* Chooses for a job whose model is open, and says so on standard error: job->on_gpu.  What opening
 * the device ends with, unless another will do. */
WEIR_MUST_CHECK weir_err run_device_choose(struct run_device *d, struct run_job *job,
                                           struct weir_diag *diag);
void run_device_close(struct run_device *d); /* after all graphs; a zeroed one is fine */

/* The graph could not be made on the GPU, with `err`.  true: nobody has asked for the GPU, so the
 * processor takes the job, and that is said; *diag is empty then. */
bool run_device_give_up(struct run_job *job, weir_err err, struct weir_diag *diag);

/* Device memory that there may be: what is free but for a margin, and --vram at most. */
uint64_t run_device_budget(const struct run_device *d);

/* The job's graph, on the GPU.  `bytes`: of its memory; 0: what the limit leaves. */
WEIR_MUST_CHECK weir_err run_device_graph(struct run_job *job, uint64_t bytes,
                                          struct weir_diag *diag);

/* ---- what is said about it: run_device_report.c ---- */

const char *run_tier_name(enum weir_tier tier);

/* "cpu", "cuda:0". */
enum { RUN_DEVICE_NAME = 24 };
const char *run_device_name(char buf[RUN_DEVICE_NAME], const struct run_job *job);

/* Adds its keys to a report, NULL included; takes *o over if there is no memory for them. */
json_t *run_device_report(const struct run_job *job, json_t *o);

/* "device cpu", "device cuda:0, fused; VRAM 1.70 GB". */
enum { RUN_DEVICE_LINE = 96 };
const char *run_device_line(char buf[RUN_DEVICE_LINE], const struct run_job *job);

#endif
