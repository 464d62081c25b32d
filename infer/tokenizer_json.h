/* tokenizer_json.h - the parts of a tokenizer.json, each into a tokenizer. */
#ifndef WEIR_INFER_TOKENIZER_JSON_PRIVATE_H
#define WEIR_INFER_TOKENIZER_JSON_PRIVATE_H

#include "codec/jsontree.h"
#include "tokenizer_private.h"

struct loading {
    struct weir_tokenizer *t;
    json_t *root;
    struct weir_diag *diag;
    char *spelling; /* room for the longest spelling of the file */
};

/* "SECTION NAME is not supported" */
weir_err loading_unsupported(struct loading *l, const char *section, const char *name);
/* "SECTION: WHAT" */
weir_err loading_corrupt(struct loading *l, const char *section, const char *what);

/* The part's "type"; "(no type)" if it has none. */
const char *loading_type(const json_t *part);
bool loading_flag(const json_t *part, const char *name, bool missing);

/* All return WEIR_OK, WEIR_ERR_UNSUPPORTED, WEIR_ERR_CORRUPT or WEIR_ERR_NOMEM, with l->diag. */
WEIR_MUST_CHECK weir_err load_normalizer(struct loading *l);
WEIR_MUST_CHECK weir_err load_pre_tokenizer(struct loading *l);
WEIR_MUST_CHECK weir_err load_decoder(struct loading *l);
WEIR_MUST_CHECK weir_err load_post_processor(struct loading *l);
/* Needs the pre-tokenizer. */
WEIR_MUST_CHECK weir_err load_model(struct loading *l);
/* Needs the model and the normalizer. */
WEIR_MUST_CHECK weir_err load_added(struct loading *l);

typedef weir_err load_part(struct loading *l, const json_t *part);
/* `part`, or each of its parts if it is a Sequence of `list`; JSON's null has none. */
WEIR_MUST_CHECK weir_err load_sequence(struct loading *l, const json_t *part, const char *list,
                                       load_part *load);

#endif
