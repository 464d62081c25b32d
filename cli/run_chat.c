/* Answers: one question of the command line, or those of standard input, one a line. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conversation.h"
#include "fail.h"
#include "interrupt.h"
#include "options.h"
#include "output.h"
#include "run_job.h"

enum { DEFAULT_CONTEXT = 4096 };

struct chat {
    struct run_job *job;
    struct conversation said;
    struct weir_ids ids;  /* of what has been said */
    struct weir_ids held; /* what the graph has */
    uint32_t context;
    bool once;    /* one question */
    bool stopped; /* by a signal that means the program */
};

/* ---- an answer ---- */

/* The ids of what has been said, with room for an answer. */
static weir_err fit(struct chat *c, struct weir_diag *diag)
{
    for (;;) {
        weir_err err = conversation_ids(&c->said, c->job->tokenizer, &c->ids, diag);
        if (err || (c->ids.n < c->context && c->ids.n > 0))
            return err;
        if (c->ids.n == 0 || !conversation_forget(&c->said)) {
            weir_diag_set(diag, "the question has %zu tokens, the context room for %u; make it %s",
                          c->ids.n, c->context, c->ids.n ? "shorter" : "longer");
            return WEIR_ERR_INVALID;
        }
        if (!c->job->cli->quiet)
            fprintf(stderr, "weir run: the context is full; the first question is forgotten\n");
    }
}

/* How many of the ids the graph has; at least the last is to be computed. */
static size_t known(const struct chat *c)
{
    size_t n = 0;
    while (n + 1 < c->ids.n && n < c->held.n && c->ids.id[n] == c->held.id[n])
        n++;
    return n;
}

/* The graph has as many of the ids and the answer as it is long. */
static weir_err remember(struct chat *c, const struct weir_ids *answer)
{
    const size_t n = weir_graph_length(c->job->graph, 0);
    weir_err err = WEIR_OK;
    c->held.n = 0;
    for (size_t i = 0; i < n && i < c->ids.n + answer->n && !err; i++)
        err = add_id(&c->held, i < c->ids.n ? c->ids.id[i] : answer->id[i - c->ids.n]);
    return err;
}

static weir_err say_result(const struct chat *c, struct generation *g, struct weir_diag *diag)
{
    const struct cli *cli = c->job->cli;
    if (cli->json) {
        weir_err err = print_json(cli, run_report_json(c->job, g)) ? WEIR_ERR_NOMEM : WEIR_OK;
        if (!err && fflush(cli->out) == 0)
            return WEIR_OK;
    } else if (fputc('\n', cli->out) != EOF && fflush(cli->out) == 0) {
        if (!cli->quiet)
            run_report_line(c->job, g);
        return WEIR_OK;
    }
    weir_diag_set(diag, "standard output: %s", strerror(errno));
    return WEIR_ERR_IO;
}

static weir_err answer(struct chat *c, struct weir_diag *diag)
{
    struct run_job *job = c->job;
    struct generation g = {.rules = &job->rules, .graph = job->graph, .context = c->context};
    weir_err err = fit(c, diag);
    if (err)
        return err;
    g.prompt = c->ids.id;
    g.n_prompt = c->ids.n;
    g.n_known = known(c);
    weir_graph_cut(job->graph, 0, (uint32_t)g.n_known);
    err = generation_begin(&g, diag);
    if (!err)
        err = generate(&g, job->graph_options.chunk, diag);
    /* What ended the answer is over; whatever comes from here on ends the program. */
    if (!c->once && interrupted() && !interrupt_forget())
        c->stopped = true;
    if (!err)
        err = say_result(c, &g, diag);
    if (!err)
        err = remember(c, &g.ids);
    if (!err)
        err = conversation_add(&c->said, "assistant", g.text.bytes, g.text.n);
    generation_free(&g);
    return err;
}

/* ---- questions ---- */

/* A question that cannot be answered is taken back, and the next one may be. */
static weir_err ask(struct chat *c, const char *line, size_t n, struct weir_diag *diag)
{
    weir_err err = conversation_add(&c->said, "user", line, n);
    if (!err)
        err = answer(c, diag);
    if (err != WEIR_ERR_INVALID)
        return err;
    (void)fail(c->job->cli, err, NULL, diag);
    conversation_take_back(&c->said);
    return WEIR_OK;
}

/* false: a signal came instead.  stdin has no buffer, so nothing waits in it unseen. */
static bool wait_for_input(void)
{
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    sigset_t stops, before;
    sigemptyset(&stops);
    sigaddset(&stops, SIGINT);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGHUP);
    (void)pthread_sigmask(SIG_BLOCK, &stops, &before);
    while (!interrupted() && ppoll(&in, 1, NULL, &before) < 0 && errno == EINTR)
        ;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return !interrupted();
}

static weir_err ask_lines(struct chat *c, struct weir_diag *diag)
{
    const bool shows = isatty(STDIN_FILENO) && !c->job->cli->json;
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    weir_err err = WEIR_OK;
    (void)setvbuf(stdin, NULL, _IONBF, 0);
    while (!err && !c->stopped) {
        if (shows)
            fputs("> ", stderr);
        if (!wait_for_input())
            break;
        n = getline(&line, &room, stdin);
        if (n < 0)
            break;
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
            n--;
        if (n == 0)
            continue;
        err = ask(c, line, (size_t)n, diag);
    }
    if (shows && !err)
        fputc('\n', stderr);
    free(line);
    return err;
}

/* ---- making ---- */

static weir_err begin(struct chat *c, struct weir_diag *diag)
{
    const struct cli *cli = c->job->cli;
    const char *sys = cli->value[RUN_SYS];
    struct weir_text text = {0};
    bool found;
    uint32_t end;
    weir_err err = conversation_open(&c->said, c->job->source.checkpoint, cli->value[RUN_TEMPLATE],
                                     c->job->raw, diag);
    if (!err)
        err = conversation_end(&c->said, c->job->tokenizer, &end, &found, diag);
    if (!err && found && !c->job->ignore_eos)
        c->job->end_id[c->job->rules.n_ends++] = end;
    if (!err && sys)
        err = conversation_add(&c->said, "system", sys, strlen(sys));
    if (err || !c->once)
        return err;
    err = run_job_text(c->job, &text, diag);
    if (!err)
        err = conversation_add(&c->said, "user", text.bytes, text.n);
    weir_text_free(&text);
    return err;
}

static weir_err make(struct chat *c, struct weir_diag *diag)
{
    struct weir_graph_options *o = &c->job->graph_options;
    const uint32_t most = c->job->model->config.context;
    weir_err err = WEIR_OK;
    c->context = o->context ? o->context : most < DEFAULT_CONTEXT ? most : DEFAULT_CONTEXT;
    if (c->once) {
        err = conversation_ids(&c->said, c->job->tokenizer, &c->ids, diag);
        if (!err)
            err = run_job_context(c->job, c->ids.n, &c->context, diag);
    }
    o->context = c->context;
    return err ? err : run_job_make(c->job, diag);
}

int run_chat(struct run_job *job)
{
    struct weir_diag diag = {""};
    struct chat c = {
        .job = job, .once = option_given(job->cli, RUN_PROMPT) || option_given(job->cli, RUN_FILE)};
    weir_err err = run_job_open(job, &diag);
    if (!err)
        err = begin(&c, &diag);
    if (!err)
        err = make(&c, &diag);
    if (!err)
        err = c.once ? answer(&c, &diag) : ask_lines(&c, &diag);
    weir_err ended = run_job_end_logits(job, err ? NULL : &diag);
    err = err ? err : ended;
    conversation_close(&c.said);
    weir_ids_free(&c.ids);
    weir_ids_free(&c.held);
    return err             ? fail(job->cli, err, job->source.name, &diag)
           : interrupted() ? EXIT_INTERRUPTED
                           : EXIT_FINE;
}
