/* Any bytes up to a NUL: a tokenizer.json.  What is behind it: a text, which is encoded, and comes
 * back as text.  Whatever the file, the ids have spellings, and streaming gives UTF-8. */
#include <stdlib.h>
#include <string.h>

#include "infer/chat.h"
#include "infer/tokenizer.h"

enum {
    MAX_TEXT = 4096,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Every way of encoding gives ids that are there; ids beyond the ceiling are refused. */
static void use(const struct weir_tokenizer *t, const char *text, size_t n)
{
    for (int how = 0; how < 4; how++) {
        struct weir_ids ids = {.most = MAX_TEXT};
        struct weir_text out = {0};
        struct weir_diag diag;
        struct weir_detok detok = {.tokenizer = t, .only_utf8 = how & 1, .with_special = how & 2};
        weir_err err = weir_tokenizer_encode(
            t, text, n, (struct weir_encoding){(how & 1) != 0, (how & 2) != 0}, &ids, &diag);
        if (err && ids.n > 0)
            abort();
        for (size_t i = 0; i < ids.n; i++) {
            size_t n_spelling;
            if (!weir_tokenizer_spelling(t, ids.id[i], &n_spelling) ||
                weir_detok_push(&detok, ids.id[i], &out) != WEIR_OK)
                abort();
        }
        if (weir_detok_end(&detok, &out) != WEIR_OK || ids.n > MAX_TEXT)
            abort();
        weir_ids_free(&ids);
        weir_text_free(&out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct weir_tokenizer *t = NULL;
    struct weir_chat_config config = {0};
    struct weir_diag diag;
    const uint8_t *end = len > 0 ? memchr(data, 0, len) : NULL;
    size_t n = end ? (size_t)(end - data) : len;
    size_t n_text = end ? len - n - 1 : 0;
    if (n_text > MAX_TEXT)
        n_text = MAX_TEXT;
    if (weir_tokenizer_from_json((const char *)data, n, &t, &diag) == WEIR_OK) {
        use(t, end ? (const char *)end + 1 : "", n_text);
        weir_tokenizer_free(t);
    }
    if (weir_chat_config_read((const char *)data, n, &config, &diag) == WEIR_OK)
        weir_chat_config_free(&config);
    return 0;
}
