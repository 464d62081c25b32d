/* Prompts of a .jsonl file, and those that several models answer. */
#include <stdlib.h>
#include <string.h>

#include "codec/jsontree.h"
#include "options.h"
#include "run_job.h"

static weir_err add(struct run_prompts *p, const char *bytes, size_t n, size_t line)
{
    if (p->n == p->room) {
        size_t room = p->room ? 2 * p->room : 16;
        struct run_prompt *more = realloc(p->at, room * sizeof(*more));
        if (!more)
            return WEIR_ERR_NOMEM;
        p->at = more;
        p->room = room;
    }
    p->at[p->n] = (struct run_prompt){.line = line};
    return weir_text_add(&p->at[p->n++].text, bytes, n);
}

void run_prompts_free(struct run_prompts *p)
{
    for (size_t i = 0; i < p->n; i++)
        weir_text_free(&p->at[i].text);
    free(p->at);
    *p = (struct run_prompts){0};
}

/* ---- lines of JSON ---- */

static weir_err bad_line(size_t number, const char *why, struct weir_diag *diag)
{
    weir_diag_set(diag,
                  "line %zu: %s; it is a text in quotes, or an object with one under "
                  "\"prompt\"",
                  number, why);
    return WEIR_ERR_INVALID;
}

static weir_err read_line(struct run_prompts *p, const char *line, size_t n, size_t number,
                          struct weir_diag *diag)
{
    struct weir_jsontree tree = {0};
    char *wrapped = NULL; /* a text alone is no document to every reader: it becomes an object */
    int length = -1;
    size_t blank = 0;
    while (blank < n && (line[blank] == ' ' || line[blank] == '\t'))
        blank++;
    if (blank < n && line[blank] == '"') {
        length = asprintf(&wrapped, "{\"prompt\":%.*s}", (int)n, line);
        if (length < 0)
            return WEIR_ERR_NOMEM;
        line = wrapped;
        n = (size_t)length;
    }
    weir_err err = weir_jsontree_read_reals(line, n, WEIR_JSONTREE_USUAL, &tree);
    const json_t *prompt = err ? NULL : json_object_get(tree.root, "prompt");
    if (err == WEIR_ERR_CORRUPT)
        err = bad_line(number, "not JSON", diag);
    else if (!err && !json_is_string(prompt))
        err = bad_line(number, "no prompt", diag);
    else if (!err)
        err = add(p, json_string_value(prompt), json_string_length(prompt), number);
    weir_jsontree_free(&tree);
    free(wrapped);
    return err;
}

weir_err run_prompts_read(const char *path, struct run_prompts *out, struct weir_diag *diag)
{
    struct weir_text file = {0};
    size_t number = 0;
    weir_err err = run_job_read_file(path, &file, diag);
    for (size_t at = 0; at < file.n && !err;) {
        const char *line = file.bytes + at, *end = memchr(line, '\n', file.n - at);
        size_t n = end ? (size_t)(end - line) : file.n - at;
        at += n + 1;
        number++;
        while (n > 0 && (line[n - 1] == '\r' || line[n - 1] == ' '))
            n--;
        if (n > 0)
            err = read_line(out, line, n, number, diag);
    }
    weir_text_free(&file);
    return err;
}

/* ---- of the command line ---- */

bool run_prompts_are_lines(const char *path)
{
    const char *dot = path ? strrchr(path, '.') : NULL;
    return dot && strcmp(dot, ".jsonl") == 0;
}

weir_err run_prompts_given(const struct cli *cli, struct run_prompts *out, struct weir_diag *diag)
{
    const char *path = cli->value[RUN_FILE], *text;
    struct weir_text whole = {0};
    weir_err err = WEIR_OK;
    if (run_prompts_are_lines(path))
        return run_prompts_read(path, out, diag);
    for (size_t i = 0; (text = option_nth(cli, RUN_PROMPT, i)) && !err; i++)
        err = add(out, text, strlen(text), i + 1);
    if (path)
        err = run_job_read_file(path, &whole, diag);
    if (path && !err)
        err = add(out, whole.n ? whole.bytes : "", whole.n, 1);
    weir_text_free(&whole);
    return err;
}
