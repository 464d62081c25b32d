#include <string.h>

#include "codec/jsontree.h"
#include "infer/chat.h"

/* Text, with a NUL behind it that does not count; nothing if there is none.
 * WEIR_ERR_CORRUPT: something else. */
static weir_err copy(const json_t *text, struct weir_text *out)
{
    if (!text || json_is_null(text))
        return WEIR_OK;
    if (!json_is_string(text))
        return WEIR_ERR_CORRUPT;
    size_t n = json_string_length(text);
    weir_err err = weir_text_add(out, json_string_value(text), n + 1);
    if (!err)
        out->n = n;
    return err;
}

/* A string, or an object with "content". */
static weir_err copy_token(const json_t *token, struct weir_text *out)
{
    return copy(json_is_object(token) ? json_object_get(token, "content") : token, out);
}

/* A string, or a list of {"name", "template"}. */
static weir_err copy_template(const json_t *chat, struct weir_text *out)
{
    if (!json_is_array(chat))
        return copy(chat, out);
    for (size_t i = 0; i < json_array_size(chat); i++) {
        const json_t *one = json_array_get(chat, i);
        const char *name = json_string_value(json_object_get(one, "name"));
        if (name && strcmp(name, "default") == 0)
            return copy(json_object_get(one, "template"), out);
    }
    return WEIR_OK;
}

weir_err weir_chat_config_read(const char *json, size_t n, struct weir_chat_config *out,
                               struct weir_diag *diag)
{
    struct weir_jsontree tree = {0};
    struct weir_chat_config config = {0};
    weir_err err = weir_jsontree_read_reals(json, n, WEIR_JSONTREE_USUAL, &tree);
    if (!err)
        err = copy_template(json_object_get(tree.root, "chat_template"), &config.chat_template);
    if (!err)
        err = copy_token(json_object_get(tree.root, "bos_token"), &config.bos);
    if (!err)
        err = copy_token(json_object_get(tree.root, "eos_token"), &config.eos);
    weir_jsontree_free(&tree);
    if (err == WEIR_ERR_CORRUPT)
        weir_diag_set(diag, "tokenizer_config.json: not JSON, or no text where there should be");
    if (err)
        weir_chat_config_free(&config);
    else
        *out = config;
    return err;
}

void weir_chat_config_free(struct weir_chat_config *config)
{
    if (!config)
        return;
    weir_text_free(&config->chat_template);
    weir_text_free(&config->bos);
    weir_text_free(&config->eos);
}
