/* pattern.h - the published patterns that cut text into words, run by PCRE2.
 *
 * Only known texts are compiled.  They are written for Oniguruma; where the dialects differ (what
 * \s is) ours says what Oniguruma means.  A match has a limit, so that no text takes forever. */
#ifndef WEIR_INFER_PATTERN_PRIVATE_H
#define WEIR_INFER_PATTERN_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>

#include "codec/err.h"

struct pattern; /* compiled; shared by threads */
struct matcher; /* memory for matches; of one thread */

/* `text`: as a tokenizer.json has it.  WEIR_ERR_UNSUPPORTED: not a known one; WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err pattern_new(const char *text, struct pattern **out);

/* The text of a known one: "gpt2", "llama3", "qwen2", "qwen35", "gpt4", "gpt4o", "tekken"; "digit"
 * and "digits" for what files call otherwise. */
const char *pattern_text(const char *name);

void pattern_free(struct pattern *p); /* NULL is fine */

/* NULL: out of memory. */
struct matcher *matcher_new(void);
void matcher_free(struct matcher *m); /* NULL is fine */

struct pattern_match {
    size_t at, end;
    bool found;
};

/* The first match in n bytes of UTF-8 (checked by the caller) from `from` on.
 * WEIR_ERR_UNSUPPORTED: the limit was reached; WEIR_ERR_NOMEM. */
WEIR_MUST_CHECK weir_err pattern_next(const struct pattern *p, struct matcher *m, const char *text,
                                      size_t n, size_t from, struct pattern_match *out);

#endif
