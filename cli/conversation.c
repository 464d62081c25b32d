#include "conversation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FIRST_ROOM = 16,
    MAX_NAMES = 400, /* bytes: of all templates, in a message */
};

/* ---- the template ---- */

static weir_err no_such_template(const char *name, struct weir_diag *diag)
{
    char names[MAX_NAMES] = "";
    size_t n = 0;
    const char *one;
    for (size_t i = 0; (one = weir_chat_name(i)) && n + strlen(one) + 3 < sizeof(names); i++)
        n += (size_t)snprintf(names + n, sizeof(names) - n, "%s%s", i ? ", " : "", one);
    weir_diag_set(diag, "no chat template '%.32s'; there are %s", name, names);
    return WEIR_ERR_UNSUPPORTED;
}

static weir_err choose(struct conversation *c, const char *name, struct weir_diag *diag)
{
    const struct weir_text *text = &c->config.chat_template;
    if (name) {
        c->chat = weir_chat_named(name);
        return c->chat ? WEIR_OK : no_such_template(name, diag);
    }
    if (text->n)
        return weir_chat_recognise(text->bytes, text->n, &c->chat, diag);
    weir_diag_set(diag, "this model says nothing of conversations; choose a template with "
                        "--chat-template NAME, or go without one with --raw");
    return WEIR_ERR_UNSUPPORTED;
}

weir_err conversation_open(struct conversation *c, const struct weir_checkpoint *ck,
                           const char *name, bool raw, struct weir_diag *diag)
{
    *c = (struct conversation){0};
    weir_err err = weir_chat_read(ck, &c->config, diag);
    return err || raw ? err : choose(c, name, diag);
}

/* ---- what is said ---- */

void conversation_take_back(struct conversation *c)
{
    c->n--;
    free((char *)c->message[c->n].content);
}

void conversation_close(struct conversation *c)
{
    while (c->n)
        conversation_take_back(c);
    free(c->message);
    weir_chat_config_free(&c->config);
    *c = (struct conversation){0};
}

weir_err conversation_add(struct conversation *c, const char *role, const char *content, size_t n)
{
    if (c->n == c->room) {
        size_t room = c->room ? 2 * c->room : FIRST_ROOM;
        struct weir_chat_message *more = realloc(c->message, room * sizeof(*more));
        if (!more)
            return WEIR_ERR_NOMEM;
        c->message = more;
        c->room = room;
    }
    char *copy = malloc(n + 1);
    if (!copy)
        return WEIR_ERR_NOMEM;
    if (n)
        memcpy(copy, content, n);
    copy[n] = 0;
    c->message[c->n++] = (struct weir_chat_message){role, copy, n};
    return WEIR_OK;
}

bool conversation_forget(struct conversation *c)
{
    const size_t first = c->n && strcmp(c->message[0].role, "system") == 0;
    if (c->n < first + 3) /* a question, its answer, and another question */
        return false;
    free((char *)c->message[first].content);
    free((char *)c->message[first + 1].content);
    c->n -= 2;
    memmove(&c->message[first], &c->message[first + 2], (c->n - first) * sizeof(*c->message));
    return true;
}

/* ---- ids ---- */

static struct weir_chat_around around(const struct conversation *c)
{
    const struct weir_chat_config *o = &c->config;
    return (struct weir_chat_around){.bos = o->bos.n ? o->bos.bytes : NULL,
                                     .eos = o->eos.n ? o->eos.bytes : NULL,
                                     .add_generation_prompt = true};
}

static weir_err write_out(const struct conversation *c, struct weir_text *out,
                          struct weir_diag *diag)
{
    weir_err err = WEIR_OK;
    const struct weir_chat_around a = around(c);
    if (c->chat)
        return weir_chat_render(c->chat, &a, c->message, c->n, out, diag);
    for (size_t i = 0; i < c->n && !err; i++)
        err = weir_text_add(out, c->message[i].content, c->message[i].n);
    return err;
}

weir_err conversation_ids(const struct conversation *c, const struct weir_tokenizer *t,
                          struct weir_ids *ids, struct weir_diag *diag)
{
    struct weir_text text = {0};
    const struct weir_text *bos = &c->config.bos;
    ids->n = 0;
    weir_err err = write_out(c, &text, diag);
    bool begun = !err && bos->n && text.n >= bos->n && memcmp(text.bytes, bos->bytes, bos->n) == 0;
    const struct weir_encoding how = {.add_special = !begun, .parse_special = true};
    if (!err)
        err = weir_tokenizer_encode(t, text.n ? text.bytes : "", text.n, how, ids, diag);
    weir_text_free(&text);
    return err;
}

weir_err conversation_end(const struct conversation *c, const struct weir_tokenizer *t,
                          uint32_t *id, bool *found, struct weir_diag *diag)
{
    static const char mark[] = "an answer";
    const struct weir_chat_message sample[] = {{"user", "a question", strlen("a question")},
                                               {"assistant", mark, strlen(mark)}};
    const struct weir_encoding how = {.parse_special = true};
    struct weir_chat_around a = around(c);
    struct weir_text text = {0};
    struct weir_ids ids = {0};
    *found = false;
    if (!c->chat)
        return WEIR_OK;
    a.add_generation_prompt = false;
    weir_err err = weir_chat_render(c->chat, &a, sample, 2, &text, diag);
    const char *at = err ? NULL : memmem(text.bytes, text.n, mark, strlen(mark));
    if (at) {
        at += strlen(mark);
        err = weir_tokenizer_encode(t, at, text.n - (size_t)(at - text.bytes), how, &ids, diag);
    }
    for (size_t i = 0; i < ids.n && !*found; i++) {
        *id = ids.id[i];
        *found = weir_tokenizer_is_special(t, ids.id[i]);
    }
    weir_ids_free(&ids);
    weir_text_free(&text);
    return err;
}
