#include "infer/text.h"

#include <stdlib.h>
#include <string.h>

enum {
    FIRST_BYTES = 256,
};

weir_err weir_text_add(struct weir_text *text, const char *bytes, size_t n)
{
    if (n > WEIR_TEXT_MAX_BYTES - text->n)
        return WEIR_ERR_NOMEM;
    if (n == 0)
        return WEIR_OK;
    if (text->n + n > text->room) {
        size_t room = text->room ? text->room : FIRST_BYTES;
        while (room < text->n + n)
            room *= 2;
        char *grown = realloc(text->bytes, room);
        if (!grown)
            return WEIR_ERR_NOMEM;
        text->bytes = grown;
        text->room = room;
    }
    memcpy(text->bytes + text->n, bytes, n);
    text->n += n;
    return WEIR_OK;
}

void weir_text_free(struct weir_text *text)
{
    if (!text)
        return;
    free(text->bytes);
    *text = (struct weir_text){0};
}
