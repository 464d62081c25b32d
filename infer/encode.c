/* Text to ids: added tokens are found, the text between them is normalised, added tokens are found
 * in that too, what is left is cut into pieces, and the symbols of each are joined. */
#include <stdlib.h>
#include <string.h>

#include "bpe.h"
#include "tokenizer_private.h"
#include "utf8.h"

enum {
    FIRST_IDS = 64,
};

struct encoder {
    const struct weir_tokenizer *t;
    struct weir_encoding how;
    struct weir_ids *ids;
    struct weir_diag *diag;
    struct normer norm, front;
    struct cutter cutter;
    struct bpe bpe;
};

void weir_ids_free(struct weir_ids *ids)
{
    if (!ids)
        return;
    free(ids->id);
    *ids = (struct weir_ids){0};
}

static weir_err add_id(struct encoder *e, uint32_t id)
{
    struct weir_ids *ids = e->ids;
    if (ids->most && ids->n >= ids->most) {
        weir_diag_set(e->diag, "the text has more than %zu tokens", ids->most);
        return WEIR_ERR_INVALID;
    }
    if (ids->n == ids->room) {
        size_t room = ids->room ? 2 * ids->room : FIRST_IDS;
        uint32_t *grown = realloc(ids->id, room * sizeof(*grown));
        if (!grown)
            return WEIR_ERR_NOMEM;
        ids->id = grown;
        ids->room = room;
    }
    ids->id[ids->n++] = id;
    return WEIR_OK;
}

/* ---- symbols of a piece ---- */

static weir_err no_token(struct encoder *e, uint8_t byte)
{
    weir_diag_set(e->diag,
                  "the vocabulary has no token for the byte 0x%02x, and none for what it "
                  "does not know",
                  byte);
    return WEIR_ERR_UNSUPPORTED;
}

static void put(struct bpe *b, uint32_t id, size_t at, size_t n)
{
    b->symbol[b->n++] = (struct bpe_symbol){.id = id, .at = (uint32_t)at, .n = (uint32_t)n};
}

static weir_err put_bytes(struct encoder *e, const char *piece, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t id = e->t->of_byte[(uint8_t)piece[i]];
        if (id == VOCAB_NONE)
            return no_token(e, (uint8_t)piece[i]);
        put(&e->bpe, id, i, 1);
    }
    return WEIR_OK;
}

/* A character that is no word: its bytes, or the unknown token.  `again`: the character in front
 * was unknown too. */
static weir_err put_unknown(struct encoder *e, const char *piece, size_t at, size_t n, bool *again)
{
    const struct weir_tokenizer *t = e->t;
    bool has_bytes = true;
    for (size_t i = at; i < at + n; i++)
        has_bytes = has_bytes && t->of_byte[(uint8_t)piece[i]] != VOCAB_NONE;
    if (has_bytes) {
        for (size_t i = at; i < at + n; i++)
            put(&e->bpe, t->of_byte[(uint8_t)piece[i]], i, 1);
        *again = false;
        return WEIR_OK;
    }
    if (t->unknown == VOCAB_NONE)
        return no_token(e, (uint8_t)piece[at]);
    if (*again && t->fuse_unknown)
        e->bpe.symbol[e->bpe.n - 1].n += (uint32_t)n;
    else
        put(&e->bpe, t->unknown, at, n);
    *again = true;
    return WEIR_OK;
}

/* By ranks an unknown character is a symbol of its own: it may be part of a longer word. */
static weir_err put_characters(struct encoder *e, const char *piece, size_t n)
{
    const struct weir_tokenizer *t = e->t;
    bool was_unknown = false;
    for (size_t at = 0; at < n;) {
        struct utf8 c = utf8_next(piece + at, n - at);
        size_t length = c.good ? c.n : 1;
        uint32_t id = length == 1 && c.good ? t->of_ascii[c.point]
                                            : vocab_find(&t->vocab, piece + at, length);
        weir_err err = WEIR_OK;
        if (id == VOCAB_NONE && !t->rank) {
            err = put_unknown(e, piece, at, length, &was_unknown);
        } else {
            put(&e->bpe, id, at, length);
            was_unknown = false;
        }
        if (err)
            return err;
        at += length;
    }
    return WEIR_OK;
}

/* What joining by ranks has left without an id. */
static weir_err add_unjoined(struct encoder *e, const char *piece, const struct bpe_symbol *s)
{
    const struct weir_tokenizer *t = e->t;
    weir_err err = WEIR_OK;
    for (uint32_t i = s->at; !err && i < s->at + s->n; i++) {
        uint32_t id = t->of_byte[(uint8_t)piece[i]];
        if (id == VOCAB_NONE)
            return t->unknown == VOCAB_NONE ? no_token(e, (uint8_t)piece[i])
                                            : add_id(e, t->unknown);
        err = add_id(e, id);
    }
    return err;
}

static weir_err add_symbols(struct encoder *e, const char *piece)
{
    weir_err err = WEIR_OK;
    for (size_t i = 0; !err && i < e->bpe.n; i++) {
        const struct bpe_symbol *s = &e->bpe.symbol[i];
        err = s->id == VOCAB_NONE ? add_unjoined(e, piece, s) : add_id(e, s->id);
    }
    return err;
}

static weir_err encode_piece(struct encoder *e, const char *piece, size_t n)
{
    const struct weir_tokenizer *t = e->t;
    struct bpe_rules rules = {&t->vocab, t->rank ? NULL : &t->merges, t->rank};
    if (n > WEIR_TOKENIZER_MAX_PIECE) {
        weir_diag_set(e->diag, "a word of more than %d bytes", WEIR_TOKENIZER_MAX_PIECE);
        return WEIR_ERR_INVALID;
    }
    if (t->ignore_merges) {
        uint32_t id = vocab_find(&t->vocab, piece, n);
        if (id != VOCAB_NONE)
            return add_id(e, id);
    }
    weir_err err = bpe_reserve(&e->bpe, n);
    if (err)
        return err;
    e->bpe.n = 0;
    err = t->by_bytes ? put_bytes(e, piece, n) : put_characters(e, piece, n);
    if (!err)
        err = bpe_join(&e->bpe, &rules, piece);
    return err ? err : add_symbols(e, piece);
}

/* ---- text between added tokens ---- */

/* Text that is normalised and has no added tokens.  `at_start`: of the whole text. */
static weir_err encode_words(struct encoder *e, const char *text, size_t n, bool at_start)
{
    const struct weir_tokenizer *t = e->t;
    struct weir_text front;
    weir_err err = norm_text(t->front, t->n_fronts, text, n, at_start, &e->front, &front);
    if (err)
        return err;
    err = cut_text(t->cut, t->n_cuts, front.bytes, front.n, &e->cutter);
    if (err == WEIR_ERR_UNSUPPORTED)
        weir_diag_set(e->diag, "the text is too hard to cut into words");
    for (size_t i = 0; !err && i < e->cutter.found.n; i++)
        err = encode_piece(e, front.bytes + e->cutter.found.span[i].at, e->cutter.found.span[i].n);
    return err;
}

typedef weir_err encode_between(struct encoder *e, const char *text, size_t n, bool at_start);

/* `between` for the text around the tokens of `set`. */
static weir_err encode_around(struct encoder *e, const struct added_set *set, const char *text,
                              size_t n, bool at_start, encode_between *between)
{
    size_t done = 0;
    while (done < n) {
        struct added_match m = added_next(set, text, n, done, e->how.parse_special);
        weir_err err = WEIR_OK;
        if (m.at > done)
            err = between(e, text + done, m.at - done, at_start && done == 0);
        if (!err && m.token)
            err = add_id(e, m.token->id);
        if (err)
            return err;
        done = m.end;
    }
    return WEIR_OK;
}

static weir_err encode_raw(struct encoder *e, const char *text, size_t n, bool at_start)
{
    const struct weir_tokenizer *t = e->t;
    struct weir_text normal;
    weir_err err = norm_text(t->norm, t->n_norms, text, n, at_start, &e->norm, &normal);
    if (err == WEIR_ERR_UNSUPPORTED)
        weir_diag_set(e->diag, "the normalizer makes the text more than %d times as long",
                      NORM_MAX_TIMES);
    if (err)
        return err;
    return encode_around(e, &t->added_normalized, normal.bytes, normal.n, at_start, encode_words);
}

static weir_err encode_all(struct encoder *e, const char *text, size_t n)
{
    const struct weir_tokenizer *t = e->t;
    weir_err err = WEIR_OK;
    for (size_t i = 0; !err && e->how.add_special && i < t->n_before; i++)
        err = add_id(e, t->before[i]);
    if (!err)
        err = encode_around(e, &t->added, text, n, true, encode_raw);
    for (size_t i = 0; !err && e->how.add_special && i < t->n_behind; i++)
        err = add_id(e, t->behind[i]);
    return err;
}

static bool has_pattern(const struct weir_tokenizer *t)
{
    for (size_t i = 0; i < t->n_cuts; i++)
        if (t->cut[i].pattern)
            return true;
    return false;
}

weir_err weir_tokenizer_encode(const struct weir_tokenizer *t, const char *text, size_t n,
                               struct weir_encoding how, struct weir_ids *ids,
                               struct weir_diag *diag)
{
    struct encoder e = {.t = t, .how = how, .ids = ids, .diag = diag};
    size_t before = ids->n;
    if (n > WEIR_TOKENIZER_MAX_TEXT) {
        weir_diag_set(diag, "a text of more than %d bytes", WEIR_TOKENIZER_MAX_TEXT);
        return WEIR_ERR_INVALID;
    }
    if (has_pattern(t)) {
        e.cutter.matcher = matcher_new();
        if (!e.cutter.matcher)
            return WEIR_ERR_NOMEM;
    }
    weir_err err = encode_all(&e, text, n);
    if (err)
        ids->n = before;
    matcher_free(e.cutter.matcher);
    cutter_free(&e.cutter);
    normer_free(&e.norm);
    normer_free(&e.front);
    bpe_free(&e.bpe);
    return err;
}
