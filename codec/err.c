#include "codec/err.h"

#include <stdarg.h>
#include <stdio.h>

void weir_diag_set(struct weir_diag *diag, const char *format, ...)
{
    if (!diag)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(diag->text, sizeof(diag->text), format, args);
    va_end(args);
}

const char *weir_err_text(weir_err err)
{
    static const char *const text[] = {
        [WEIR_OK] = "ok",
        [WEIR_ERR_INVALID] = "invalid argument",
        [WEIR_ERR_IO] = "input/output error",
        [WEIR_ERR_NOT_FOUND] = "not found",
        [WEIR_ERR_CHANGED] = "the input changed while it was read",
        [WEIR_ERR_CORRUPT] = "corrupt",
        [WEIR_ERR_MISMATCH] = "does not match",
        [WEIR_ERR_UNSUPPORTED] = "unsupported",
        [WEIR_ERR_NETWORK] = "network error",
        [WEIR_ERR_NOMEM] = "out of memory",
        [WEIR_ERR_CANCELLED] = "cancelled",
        [WEIR_ERR_ABSENT] = "was not fetched",
    };
    if ((unsigned)err >= sizeof(text) / sizeof(text[0]))
        return "unknown error";
    return text[err];
}
