/* tokenizer_read.h - the tokenizer of a checkpoint: its tokenizer.json, or its GGUF vocabulary. */
#ifndef WEIR_INFER_TOKENIZER_READ_H
#define WEIR_INFER_TOKENIZER_READ_H

#include "checkpoint.h"
#include "codec/err.h"
#include "tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Freed with weir_tokenizer_free().
 * WEIR_ERR_NOT_FOUND: there is none; else what reading ends with, weir_tokenizer_from_json() or
 * weir_tokenizer_from_gguf(). */
WEIR_MUST_CHECK weir_err weir_tokenizer_read(const struct weir_checkpoint *ck,
                                             struct weir_tokenizer **out, struct weir_diag *diag);

#ifdef __cplusplus
}
#endif

#endif
