#include <string.h>

#include "tokenizer_private.h"
#include "utf8.h"

static const char lower_one[] = "\u2581";
static const char replacement[] = "\ufffd";

enum {
    LOWER_ONE_BYTES = sizeof(lower_one) - 1,
};

_Static_assert((int)WEIR_DETOK_HELD >= (int)UTF8_MAX, "a character is held");

/* The first `n` held bytes go out; they are a character if `good`. */
static weir_err let_go(struct weir_detok *d, uint8_t n, bool good, struct weir_text *out)
{
    weir_err err = good || !d->only_utf8 ? weir_text_add(out, d->held, n)
                                         : weir_text_add(out, replacement, sizeof(replacement) - 1);
    d->n_held = (uint8_t)(d->n_held - n);
    memmove(d->held, d->held + n, d->n_held);
    return err;
}

static weir_err add_byte(struct weir_detok *d, char byte, struct weir_text *out)
{
    if (d->tokenizer->decoding.strip && !d->begun && !d->goes_on) {
        d->begun = true;
        if (byte == ' ')
            return WEIR_OK;
    }
    d->held[d->n_held++] = byte;
    weir_err err = WEIR_OK;
    while (!err && d->n_held > 0) {
        struct utf8 c = utf8_next(d->held, d->n_held);
        if (c.cut)
            break;
        err = let_go(d, c.n, c.good, out);
    }
    return err;
}

static weir_err add_bytes(struct weir_detok *d, const char *bytes, size_t n, struct weir_text *out)
{
    weir_err err = WEIR_OK;
    for (size_t i = 0; !err && i < n; i++)
        err = add_byte(d, bytes[i], out);
    return err;
}

/* A spelling in which U+2581 is a space, or nothing if `bare`. */
static weir_err add_spelling(struct weir_detok *d, const char *spelling, size_t n, bool bare,
                             struct weir_text *out)
{
    weir_err err = WEIR_OK;
    while (!err && n > 0) {
        const char *hit = memmem(spelling, n, lower_one, LOWER_ONE_BYTES);
        size_t plain = hit ? (size_t)(hit - spelling) : n;
        err = add_bytes(d, spelling, plain, out);
        if (!hit)
            break;
        if (!err && !bare)
            err = add_byte(d, ' ', out);
        spelling += plain + LOWER_ONE_BYTES;
        n -= plain + LOWER_ONE_BYTES;
    }
    return err;
}

static weir_err add_token(struct weir_detok *d, uint32_t id, struct weir_text *out)
{
    const struct weir_tokenizer *t = d->tokenizer;
    const char *spelling = vocab_spelling(&t->vocab, id);
    size_t n = t->vocab.length[id];
    uint8_t byte;
    if (t->decoding.bytes)
        return add_bytes(d, spelling, n, out);
    bool bare = t->decoding.first_bare && !d->begun && !d->goes_on;
    if (t->decoding.first_bare)
        d->begun = true;
    if (t->decoding.byte_tokens && t->vocab.flags[id] & VOCAB_BYTE &&
        tokenizer_is_byte_name(spelling, n, &byte))
        return add_byte(d, (char)byte, out);
    return add_spelling(d, spelling, n, bare, out);
}

weir_err weir_detok_push(struct weir_detok *d, uint32_t id, struct weir_text *out)
{
    const struct weir_tokenizer *t = d->tokenizer;
    if (!vocab_has(&t->vocab, id))
        return WEIR_ERR_INVALID;
    if (!d->with_special && t->vocab.flags[id] & VOCAB_SPECIAL)
        return WEIR_OK;
    struct weir_detok before = *d;
    size_t n = out->n;
    weir_err err = add_token(d, id, out);
    if (err) {
        *d = before;
        out->n = n;
    }
    return err;
}

weir_err weir_detok_end(struct weir_detok *d, struct weir_text *out)
{
    struct weir_detok before = *d;
    size_t n = out->n;
    weir_err err = WEIR_OK;
    while (!err && d->n_held > 0) {
        struct utf8 c = utf8_next(d->held, d->n_held);
        err = let_go(d, c.n, c.good, out);
    }
    if (err) {
        *d = before;
        out->n = n;
    }
    return err;
}
