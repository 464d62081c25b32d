/* run_job.h - what `weir run` works with: how it was asked to run, the model, and the graph. */
#ifndef WEIR_CLI_RUN_JOB_H
#define WEIR_CLI_RUN_JOB_H

#include <jansson.h>

#include "cmd_run.h"
#include "generate.h"
#include "model_source.h"
#include "run_device.h"

enum {
    RUN_MOST_STOPS = 16,
    RUN_MOST_ENDS = WEIR_MAX_EOS + 1, /* and the token that ends an answer of a chat */
    RUN_STOP_BORDER = 0x1f,           /* between the texts of several --stop */
    RUN_NO_END = WEIR_MAX_CONTEXT,    /* rules.most: as many as there is room for */
    RUN_MOST_MODELS = 16,
};

struct run_job {
    const struct cli *cli;
    const char *name;          /* of the model, as it was given */
    struct run_device *device; /* borrowed; opened by the first job that may use it */
    /* by the options */
    struct weir_graph_options graph_options; /* context 0: by the prompt */
    struct generation_rules rules;
    uint64_t ram; /* 0: what the machine has to spare */
    uint32_t n_batch;
    bool ignore_eos, chats, raw;
    char *stops; /* what rules.stop points into */
    const char *stop[RUN_MOST_STOPS];
    /* by the model */
    struct model_source source;
    struct weir_model *model;
    struct weir_tokenizer *tokenizer;
    uint32_t end_id[RUN_MOST_ENDS];
    bool on_gpu;
    bool shares; /* its device with other models of this run */
    /* ready to run */
    uint64_t fixed_bytes; /* of memory, besides kept weights; on the processor */
    struct weir_graph *graph;
    double load_seconds;
};

/* run_options.c: of model number `number`.  false: reported. */
bool run_job_options(struct run_job *job, const struct cli *cli, size_t number);

/* run_job.c: reads the model and its tokenizer, and chooses its device. */
WEIR_MUST_CHECK weir_err run_job_open(struct run_job *job, struct weir_diag *diag);
void run_job_close(struct run_job *job); /* a zeroed one is fine */

/* Adds the ids of a text to *ids, with what the model's texts begin with. */
WEIR_MUST_CHECK weir_err run_job_encode(const struct run_job *job, const char *text, size_t n,
                                        struct weir_ids *ids, struct weir_diag *diag);

/* The text of -p or -f as ids; WEIR_ERR_INVALID: it is empty. */
WEIR_MUST_CHECK weir_err run_job_prompt(const struct run_job *job, struct weir_ids *ids,
                                        struct weir_diag *diag);

/* A file ("-": standard input), or its text of -p or -f. */
WEIR_MUST_CHECK weir_err run_job_read_file(const char *path, struct weir_text *out,
                                           struct weir_diag *diag);
WEIR_MUST_CHECK weir_err run_job_text(const struct run_job *job, struct weir_text *out,
                                      struct weir_diag *diag);

/* ---- several prompts: run_prompts.c ---- */

struct run_prompt {
    struct weir_text text;
    size_t line; /* where it was, from 1 */
};

struct run_prompts {
    struct run_prompt *at;
    size_t n, room;
};

/* Adds those of a .jsonl file, one a line.  Freed with run_prompts_free(), also after an error. */
WEIR_MUST_CHECK weir_err run_prompts_read(const char *path, struct run_prompts *out,
                                          struct weir_diag *diag);
/* Those of -f, or of each -p. */
WEIR_MUST_CHECK weir_err run_prompts_given(const struct cli *cli, struct run_prompts *out,
                                           struct weir_diag *diag);
void run_prompts_free(struct run_prompts *p); /* a zeroed one is fine */

/* Whether -f names a file of prompts; NULL: no. */
bool run_prompts_are_lines(const char *path);

/* ---- the graph ---- */

/* How many tokens there is room for with a prompt of n.  The prompt and one more must fit:
 * WEIR_ERR_INVALID. */
WEIR_MUST_CHECK weir_err run_job_context(const struct run_job *job, size_t n, uint32_t *context,
                                         struct weir_diag *diag);

/* Makes the graph, within the memory that there may be; opens --logits. */
WEIR_MUST_CHECK weir_err run_job_make(struct run_job *job, struct weir_diag *diag);

/* Only the graph, within `bytes` of the device's memory or `ram` of this machine's; 0: what there
 * is. */
WEIR_MUST_CHECK weir_err run_job_graph(struct run_job *job, uint64_t bytes, uint64_t ram,
                                       struct weir_diag *diag);

/* Closes --logits.  WEIR_ERR_IO: not all of it could be written. */
WEIR_MUST_CHECK weir_err run_job_end_logits(struct run_job *job, struct weir_diag *diag);

/* ---- what is done; each returns an exit code ---- */

int run_text(struct run_job *job);        /* run_text.c: goes on with a text */
int run_chat(struct run_job *job);        /* run_chat.c: answers */
int run_batch(struct run_job *job);       /* run_batch.c: several texts */
int run_perplexity(struct run_job *job);  /* run_perplexity.c */
int run_plan(struct run_job *job);        /* run_plan.c: says what would be */
int run_device_plan(struct run_job *job); /* run_device_plan.c: the same, on a GPU */

/* run_models.c: several models or prompts, in turn.  The jobs have their options and names. */
int run_models(struct run_job *jobs, size_t n);

/* ---- what is said about it: run_report.c ---- */

json_t *run_report_json(const struct run_job *job, struct generation *g);
void run_report_line(const struct run_job *job, const struct generation *g);
json_t *run_report_ids(const struct weir_ids *ids);
json_t *run_report_text(struct weir_text *text); /* NULs and all */
enum { RUN_HASH = 17 };
const char *run_report_hash(char buf[RUN_HASH], const struct weir_logits_hash *hash);
double run_rate(double n, double seconds); /* 0: no time has gone by */

#endif
