/* chat_private.h - what a template is: a way to write, and texts that make the way theirs. */
#ifndef WEIR_INFER_CHAT_PRIVATE_H
#define WEIR_INFER_CHAT_PRIVATE_H

#include <stdint.h>

#include "infer/chat.h"

/* A conversation that is being written.  The first error stays, and nothing is added after it. */
struct chat_writer {
    const struct weir_chat *chat;
    const struct weir_chat_around *around;
    const struct weir_chat_message *message; /* n of them, n > 0 */
    size_t n;
    struct weir_text *out;
    struct weir_diag *diag;
    weir_err err;
};

typedef void chat_write(struct chat_writer *w);

struct weir_chat {
    const char *name;
    chat_write *write;
    const char *system; /* said if the conversation does not begin with a system message, or NULL */
    const char *user, *assistant, *end; /* see the way of writing */
    bool begins;                        /* bos comes first */
};

chat_write chat_write_llama2, chat_write_llama3, chat_write_llama31;
chat_write chat_write_chatml, chat_write_qwen3;
chat_write chat_write_mistral, chat_write_mistral_v1, chat_write_mistral_v3;
chat_write chat_write_gemma, chat_write_gemma3;
chat_write chat_write_tagged, chat_write_phi3, chat_write_prompted, chat_write_phi4;

/* ---- to write with ---- */

/* What is refused, as the template says it; nothing is written any more. */
void chat_refuse(struct chat_writer *w, weir_err err, const char *why);
void chat_say(struct chat_writer *w, const char *text); /* NULL: nothing */
void chat_say_bytes(struct chat_writer *w, const char *bytes, size_t n);
/* Without white space around it, as Python's str.strip() has it. */
void chat_say_stripped(struct chat_writer *w, const struct weir_chat_message *m);
static inline void chat_say_content(struct chat_writer *w, const struct weir_chat_message *m)
{
    chat_say_bytes(w, m->content, m->n);
}

bool chat_is(const struct weir_chat_message *m, const char *role);
/* "user" and "assistant" in turns from message `from` on; else refused, with `why`. */
bool chat_alternates(struct chat_writer *w, size_t from, const char *why);

/* ---- known texts ---- */

struct chat_text {
    size_t n;      /* bytes, without one newline at the end, which Jinja drops */
    uint64_t hash; /* FNV-1a */
    const char *name;
};

/* The i-th; its name is NULL behind the last. */
const struct chat_text *chat_known(size_t i);

#endif
