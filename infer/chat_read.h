/* chat_read.h - what a checkpoint says about conversations: chat_template.jinja and
 * tokenizer_config.json, or the keys of its GGUF header. */
#ifndef WEIR_INFER_CHAT_READ_H
#define WEIR_INFER_CHAT_READ_H

#include "chat.h"
#include "checkpoint.h"
#include "codec/err.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What is not said is empty.  Freed with weir_chat_config_free().
 * WEIR_ERR_CORRUPT, WEIR_ERR_UNSUPPORTED (a file too large), WEIR_ERR_NOMEM, and what reading ends
 * with. */
WEIR_MUST_CHECK weir_err weir_chat_read(const struct weir_checkpoint *ck,
                                        struct weir_chat_config *out, struct weir_diag *diag);

#ifdef __cplusplus
}
#endif

#endif
