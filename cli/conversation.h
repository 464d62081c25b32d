/* conversation.h - what has been said, and the ids that a model is given of it. */
#ifndef WEIR_CLI_CONVERSATION_H
#define WEIR_CLI_CONVERSATION_H

#include <stdbool.h>

#include "infer/chat_read.h"
#include "infer/tokenizer.h"

struct conversation {
    const struct weir_chat *chat; /* NULL: no template, all that is said one behind the other */
    struct weir_chat_config config;
    size_t n, room;
    struct weir_chat_message *message; /* its own; roles are static */
};

/* name: of a template; NULL: the model's.  raw: none.  Zeroes *c; closed also after an error.
 * WEIR_ERR_UNSUPPORTED: no such name, no template, or one that is not known; what reading ends
 * with. */
WEIR_MUST_CHECK weir_err conversation_open(struct conversation *c, const struct weir_checkpoint *ck,
                                           const char *name, bool raw, struct weir_diag *diag);
void conversation_close(struct conversation *c); /* a zeroed one is fine */

/* WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err conversation_add(struct conversation *c, const char *role,
                                          const char *content, size_t n);

/* Forgets the last message. */
void conversation_take_back(struct conversation *c);

/* Forgets the first question with its answer.  false: there is only one question. */
bool conversation_forget(struct conversation *c);

/* Its ids, up to where an answer begins, in place of what *ids has.  WEIR_ERR_INVALID: a role or an
 * order that the template refuses; what encoding ends with. */
WEIR_MUST_CHECK weir_err conversation_ids(const struct conversation *c,
                                          const struct weir_tokenizer *t, struct weir_ids *ids,
                                          struct weir_diag *diag);

/* The token that the template puts behind an answer; *found: there is one. */
WEIR_MUST_CHECK weir_err conversation_end(const struct conversation *c,
                                          const struct weir_tokenizer *t, uint32_t *id, bool *found,
                                          struct weir_diag *diag);

#endif
