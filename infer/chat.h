/* chat.h - a conversation as the text that a model was trained on.
 *
 * Models bring a template, a program in Jinja.  Here the published ones are known by their exact
 * text and written out in C; any other is refused, because nearly right is wrong in a way that
 * nobody sees.  The text is what transformers' apply_chat_template() gives (without tools),
 * byte for byte, and what a template refuses is refused.  Roles are "system", "user" and
 * "assistant".  Thread-safe; nothing here is ever freed. */
#ifndef WEIR_INFER_CHAT_H
#define WEIR_INFER_CHAT_H

#include <stdbool.h>
#include <stddef.h>

#include "codec/err.h"
#include "infer/text.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_chat; /* a template */

/* `text`: n bytes of a template, from tokenizer_config.json, chat_template.jinja or GGUF.
 * WEIR_ERR_UNSUPPORTED: not a known one; `diag` says what a user can do. */
WEIR_MUST_CHECK weir_err weir_chat_recognise(const char *text, size_t n,
                                             const struct weir_chat **out, struct weir_diag *diag);

/* NULL: no such name. */
const struct weir_chat *weir_chat_named(const char *name);

/* The i-th name, such as "llama3.1"; NULL: there are no more. */
const char *weir_chat_name(size_t i);

/* What a tokenizer_config.json says about all this. */
struct weir_chat_config {
    struct weir_text chat_template; /* of several the one named "default"; empty: none */
    struct weir_text bos, eos;      /* the tokens' texts; empty: none.  A NUL behind each */
};

/* `out` is freed with weir_chat_config_free().
 * WEIR_ERR_CORRUPT: not JSON, or not text where there should be; WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err weir_chat_config_read(const char *json, size_t n,
                                               struct weir_chat_config *out,
                                               struct weir_diag *diag);
void weir_chat_config_free(struct weir_chat_config *config); /* zeroes it; NULL is fine */

struct weir_chat_message {
    const char *role;
    const char *content; /* n bytes */
    size_t n;
};

/* All may be NULL or false. */
struct weir_chat_around {
    const char *bos, *eos;      /* the texts of the tokenizer's tokens; NULL: empty */
    const char *date;           /* for Llama 3.1 and 3.2, such as "26 Jul 2024", which is what NULL
                                   means; transformers gives 3.2 today's */
    bool add_generation_prompt; /* the beginning of an answer behind the last message */
    bool no_thinking;           /* of Qwen3: enable_thinking=False */
};

/* Adds the text of n messages to `out`.  Encode it with parse_special, and with add_special only if
 * it does not begin with bos.
 * WEIR_ERR_INVALID: no messages, or an order or role that the template refuses (`diag` says which);
 * WEIR_ERR_NOMEM.  On error `out` is as it was. */
WEIR_MUST_CHECK weir_err weir_chat_render(const struct weir_chat *chat,
                                          const struct weir_chat_around *around,
                                          const struct weir_chat_message *messages, size_t n,
                                          struct weir_text *out, struct weir_diag *diag);

#ifdef __cplusplus
}
#endif

#endif
