#include "chat_read.h"

#include <stdlib.h>
#include <string.h>

#include "gguf.h"

enum {
    MAX_CONFIG = 16 << 20,
    MAX_GGUF_HEADER = 32 << 20,
};

/* n bytes and a NUL that does not count, in place of what is there. */
static weir_err replace(struct weir_text *text, const char *bytes, size_t n)
{
    text->n = 0;
    weir_err err = weir_text_add(text, bytes, n);
    if (!err)
        err = weir_text_add(text, "", 1);
    if (!err)
        text->n = n;
    return err;
}

static weir_err read_files(const struct weir_checkpoint *ck, struct weir_chat_config *out,
                           struct weir_diag *diag)
{
    struct weir_diag none;
    char *bytes = NULL;
    size_t n;
    weir_err err = weir_checkpoint_read_file(ck, "tokenizer_config.json", UINT64_MAX, MAX_CONFIG,
                                             &bytes, &n, diag);
    if (!err)
        err = weir_chat_config_read(bytes, n, out, diag);
    else if (err == WEIR_ERR_NOT_FOUND)
        err = WEIR_OK;
    free(bytes);
    bytes = NULL;
    if (err)
        return err;
    err = weir_checkpoint_read_file(ck, "chat_template.jinja", UINT64_MAX, MAX_CONFIG, &bytes, &n,
                                    &none);
    if (!err)
        err = replace(&out->chat_template, bytes, n);
    else if (err == WEIR_ERR_NOT_FOUND)
        err = WEIR_OK;
    else
        weir_diag_set(diag, "%s", none.text);
    free(bytes);
    return err;
}

/* The text of the token whose id is under `key`; nothing if there is none. */
static weir_err copy_token(const struct gguf *g, const char *key, struct weir_text *out)
{
    const struct gguf_pair *tokens = gguf_find(g, "tokenizer.ggml.tokens");
    uint64_t id;
    if (!tokens || tokens->type != GGUF_ARRAY || tokens->items != GGUF_STRING ||
        !gguf_count(gguf_find(g, key), &id) || id >= tokens->n)
        return WEIR_OK;
    const uint8_t *at = tokens->at; /* each string has its length in front of it */
    uint64_t length;
    for (memcpy(&length, at, sizeof(length)); id > 0; id--) {
        at += sizeof(length) + length;
        memcpy(&length, at, sizeof(length));
    }
    return replace(out, (const char *)at + sizeof(length), (size_t)length);
}

static weir_err read_header(const uint8_t *header, size_t n, struct weir_chat_config *out,
                            struct weir_diag *diag)
{
    struct gguf g;
    weir_err err = gguf_read(header, n, &g, diag);
    if (err)
        return err;
    const struct gguf_pair *p = gguf_find(&g, "tokenizer.chat_template");
    if (p && p->type == GGUF_STRING)
        err = replace(&out->chat_template, (const char *)p->at, (size_t)p->n);
    if (!err)
        err = copy_token(&g, "tokenizer.ggml.bos_token_id", &out->bos);
    if (!err)
        err = copy_token(&g, "tokenizer.ggml.eos_token_id", &out->eos);
    gguf_free(&g);
    return err;
}

weir_err weir_chat_read(const struct weir_checkpoint *ck, struct weir_chat_config *out,
                        struct weir_diag *diag)
{
    const char *gguf = weir_checkpoint_gguf(ck);
    char *header = NULL;
    size_t n;
    *out = (struct weir_chat_config){0};
    weir_err err;
    if (gguf) {
        err = weir_checkpoint_read_file(ck, gguf, weir_checkpoint_gguf_header_bytes(ck),
                                        MAX_GGUF_HEADER, &header, &n, diag);
        if (!err)
            err = read_header((const uint8_t *)header, n, out, diag);
        free(header);
    } else {
        err = read_files(ck, out, diag);
    }
    if (err)
        weir_chat_config_free(out);
    return err;
}
