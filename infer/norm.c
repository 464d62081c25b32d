#include "norm.h"

#include <string.h>

static weir_err replace(const struct norm *norm, const char *text, size_t n, size_t most,
                        struct weir_text *out)
{
    const char *end = text + n;
    weir_err err = WEIR_OK;
    while (!err && text < end) {
        if (out->n > most)
            return WEIR_ERR_UNSUPPORTED;
        const char *hit = memmem(text, (size_t)(end - text), norm->from, norm->n_from);
        err = weir_text_add(out, text, (size_t)((hit ? hit : end) - text));
        if (!err && hit)
            err = weir_text_add(out, norm->to, norm->n_to);
        text = hit ? hit + norm->n_from : end;
    }
    return err;
}

static weir_err prepend(const struct norm *norm, const char *text, size_t n, bool at_start,
                        struct weir_text *out)
{
    bool there = n >= norm->n_to && memcmp(text, norm->to, norm->n_to) == 0;
    bool wanted = n > 0;
    if (norm->kind != NORM_PREPEND)
        wanted = wanted && !there;
    if (norm->kind == NORM_PREPEND_FIRST)
        wanted = wanted && at_start;
    weir_err err = wanted ? weir_text_add(out, norm->to, norm->n_to) : WEIR_OK;
    return err ? err : weir_text_add(out, text, n);
}

weir_err norm_text(const struct norm *norms, size_t n_norms, const char *text, size_t n,
                   bool at_start, struct normer *normer, struct weir_text *out)
{
    size_t most = NORM_MAX_TIMES * n + NORM_MORE;
    *out = (struct weir_text){.bytes = (char *)text, .n = n};
    for (size_t i = 0; i < n_norms; i++) {
        struct weir_text *to = &normer->spare;
        weir_err err;
        to->n = 0;
        if (norms[i].kind == NORM_NFC)
            err = norm_nfc(out->bytes, out->n, to);
        else if (norms[i].kind == NORM_REPLACE)
            err = replace(&norms[i], out->bytes, out->n, most, to);
        else
            err = prepend(&norms[i], out->bytes, out->n, at_start, to);
        if (!err && to->n > most)
            err = WEIR_ERR_UNSUPPORTED;
        if (err)
            return err;
        struct weir_text done = normer->spare;
        normer->spare = normer->text;
        normer->text = done;
        *out = done;
    }
    return WEIR_OK;
}

void normer_free(struct normer *normer)
{
    weir_text_free(&normer->text);
    weir_text_free(&normer->spare);
}
