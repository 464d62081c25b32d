/* tokenizer.json: what is done to a text before and after the model. */
#include <string.h>

#include "tokenizer_json.h"

static const char lower_one[] = "\u2581";

static bool is_text(const json_t *text, const char *wanted)
{
    return json_is_string(text) && strcmp(json_string_value(text), wanted) == 0;
}

/* 1 to `most` bytes of it.  false: something else. */
static bool copy_short(const json_t *text, char *to, size_t most, size_t *n)
{
    *n = json_string_length(text);
    if (!json_is_string(text) || *n == 0 || *n > most)
        return false;
    memcpy(to, json_string_value(text), *n);
    return true;
}

/* ---- normalizer ---- */

/* NULL: too many. */
static struct norm *add_norm(struct norm *norms, size_t *n)
{
    return *n < MAX_NORMS ? &norms[(*n)++] : NULL;
}

static weir_err load_norm(struct loading *l, const json_t *part)
{
    const char *type = loading_type(part);
    struct norm *norm = add_norm(l->t->norm, &l->t->n_norms);
    bool fits = norm != NULL;
    if (!fits)
        return loading_unsupported(l, "a normalizer of", "so many parts");
    if (strcmp(type, "NFC") == 0) {
        norm->kind = NORM_NFC;
    } else if (strcmp(type, "Prepend") == 0) {
        norm->kind = NORM_PREPEND;
        fits = copy_short(json_object_get(part, "prepend"), norm->to, NORM_MAX_STRING, &norm->n_to);
    } else if (strcmp(type, "Replace") == 0) {
        const json_t *from = json_object_get(json_object_get(part, "pattern"), "String");
        const json_t *to = json_object_get(part, "content");
        norm->kind = NORM_REPLACE;
        fits = copy_short(from, norm->from, NORM_MAX_STRING, &norm->n_from) &&
               copy_short(to, norm->to, NORM_MAX_STRING, &norm->n_to);
    } else {
        return loading_unsupported(l, "the normalizer", type);
    }
    return fits ? WEIR_OK
                : loading_unsupported(l, "the pattern or content of the normalizer", type);
}

weir_err load_normalizer(struct loading *l)
{
    return load_sequence(l, json_object_get(l->root, "normalizer"), "normalizers", load_norm);
}

/* ---- pre-tokenizer ---- */

static weir_err add_pattern(struct loading *l, const char *text, enum cut_keep keep)
{
    struct cut *cut = tokenizer_add_cut(l->t);
    if (!cut)
        return loading_unsupported(l, "a pre-tokenizer of", "so many parts");
    cut->keep = keep;
    weir_err err = pattern_new(text, &cut->pattern);
    return err == WEIR_ERR_UNSUPPORTED ? loading_unsupported(l, "the pattern", text) : err;
}

static weir_err load_split(struct loading *l, const json_t *part)
{
    static const struct {
        const char *name;
        enum cut_keep keep;
    } behaviours[] = {
        {"Isolated", CUT_ISOLATED},
        {"MergedWithPrevious", CUT_WITH_PREVIOUS},
        {"MergedWithNext", CUT_WITH_NEXT},
        {"Contiguous", CUT_CONTIGUOUS},
    };
    const json_t *pattern = json_object_get(part, "pattern");
    const char *regex = json_string_value(json_object_get(pattern, "Regex"));
    const json_t *name = json_object_get(part, "behavior");
    bool invert = loading_flag(part, "invert", false);
    /* Keeping only the matches is no different where a pattern matches everything; ours do. */
    if (regex && invert && is_text(name, "Removed"))
        return add_pattern(l, regex, CUT_ISOLATED);
    for (size_t i = 0; !invert && i < sizeof(behaviours) / sizeof(behaviours[0]); i++) {
        if (!is_text(name, behaviours[i].name))
            continue;
        if (regex)
            return add_pattern(l, regex, behaviours[i].keep);
        struct cut *cut = tokenizer_add_cut(l->t);
        if (!cut)
            return loading_unsupported(l, "a pre-tokenizer of", "so many parts");
        cut->keep = behaviours[i].keep;
        if (copy_short(json_object_get(pattern, "String"), cut->string, CUT_MAX_STRING, &cut->n))
            return WEIR_OK;
        return loading_unsupported(l, "the pattern of", "a Split");
    }
    return loading_unsupported(l, "the behavior of", "a Split");
}

/* In front of the text, which may not be cut yet. */
static weir_err add_front(struct loading *l, struct norm front)
{
    struct norm *norm = add_norm(l->t->front, &l->t->n_fronts);
    if (!norm || l->t->n_cuts > 0)
        return loading_unsupported(l, "a pre-tokenizer that changes text", "behind others");
    *norm = front;
    return WEIR_OK;
}

static weir_err load_byte_level(struct loading *l, const json_t *part)
{
    weir_err err = WEIR_OK;
    if (loading_flag(part, "add_prefix_space", true))
        err = add_front(l, (struct norm){.kind = NORM_PREPEND_MISSING, .to = " ", .n_to = 1});
    if (!err && loading_flag(part, "use_regex", true))
        err = add_pattern(l, pattern_text("gpt2"), CUT_ISOLATED);
    l->t->by_bytes = true;
    return err;
}

/* "always", "first" or "never"; older files have a flag. */
static const char *prepend_scheme(const json_t *part)
{
    const char *scheme = json_string_value(json_object_get(part, "prepend_scheme"));
    if (scheme)
        return scheme;
    return loading_flag(part, "add_prefix_space", true) ? "always" : "never";
}

static weir_err load_metaspace(struct loading *l, const json_t *part)
{
    const char *scheme = prepend_scheme(part);
    size_t n = strlen(lower_one);
    struct norm replace = {.kind = NORM_REPLACE, .from = " ", .n_from = 1, .n_to = n};
    struct norm prepend = {.kind = NORM_PREPEND_MISSING, .n_to = n};
    memcpy(replace.to, lower_one, n);
    memcpy(prepend.to, lower_one, n);
    if (!is_text(json_object_get(part, "replacement"), lower_one))
        return loading_unsupported(l, "the replacement of", "Metaspace");
    if (strcmp(scheme, "first") == 0)
        prepend.kind = NORM_PREPEND_FIRST;
    else if (strcmp(scheme, "always") != 0 && strcmp(scheme, "never") != 0)
        return loading_unsupported(l, "the prepend_scheme", scheme);
    weir_err err = add_front(l, replace);
    if (!err && strcmp(scheme, "never") != 0)
        err = add_front(l, prepend);
    if (err || !loading_flag(part, "split", true))
        return err;
    struct cut *cut = tokenizer_add_cut(l->t);
    if (!cut)
        return loading_unsupported(l, "a pre-tokenizer of", "so many parts");
    memcpy(cut->string, lower_one, n);
    cut->n = n;
    cut->keep = CUT_WITH_NEXT;
    return WEIR_OK;
}

static weir_err load_cut(struct loading *l, const json_t *part)
{
    const char *type = loading_type(part);
    if (l->t->by_bytes)
        return loading_unsupported(l, "behind ByteLevel, the pre-tokenizer", type);
    if (strcmp(type, "ByteLevel") == 0)
        return load_byte_level(l, part);
    if (strcmp(type, "Split") == 0)
        return load_split(l, part);
    if (strcmp(type, "Metaspace") == 0)
        return load_metaspace(l, part);
    if (strcmp(type, "Digits") != 0)
        return loading_unsupported(l, "the pre-tokenizer", type);
    bool each = loading_flag(part, "individual_digits", false);
    return add_pattern(l, pattern_text(each ? "digit" : "digits"), CUT_ISOLATED);
}

weir_err load_pre_tokenizer(struct loading *l)
{
    return load_sequence(l, json_object_get(l->root, "pre_tokenizer"), "pretokenizers", load_cut);
}

/* ---- decoder ---- */

static bool is_lower_one_to_space(const json_t *part)
{
    const json_t *from = json_object_get(json_object_get(part, "pattern"), "String");
    return is_text(from, lower_one) && is_text(json_object_get(part, "content"), " ");
}

static bool strips_one_space(const json_t *part)
{
    return is_text(json_object_get(part, "content"), " ") &&
           json_integer_value(json_object_get(part, "start")) == 1 &&
           json_integer_value(json_object_get(part, "stop")) == 0;
}

/* Of SentencePiece: these, in this order, the first of them always.  Where one is missing, what it
 * does is not done; only Strip needs Fuse, without which it is done to every token. */
static weir_err load_decoders(struct loading *l, const json_t *parts)
{
    static const char *const order[] = {"Replace", "ByteFallback", "Fuse", "Strip"};
    enum { REPLACE, BYTE_FALLBACK, FUSE, STRIP, N_KINDS };
    struct decoding *d = &l->t->decoding;
    size_t next = REPLACE;
    bool fused = false;
    for (size_t i = 0; i < json_array_size(parts); i++) {
        const json_t *part = json_array_get(parts, i);
        while (next < N_KINDS && strcmp(loading_type(part), order[next]) != 0)
            next++;
        bool fine = next < N_KINDS && (i > 0 || next == REPLACE);
        if (next == REPLACE)
            fine = fine && is_lower_one_to_space(part);
        if (next == STRIP)
            fine = fine && fused && strips_one_space(part);
        if (!fine)
            return loading_unsupported(l, "in this place, the decoder", loading_type(part));
        d->byte_tokens = d->byte_tokens || next == BYTE_FALLBACK;
        fused = fused || next == FUSE;
        d->strip = d->strip || next == STRIP;
        next++;
    }
    return next > REPLACE ? WEIR_OK : loading_unsupported(l, "a decoder", "without parts");
}

weir_err load_decoder(struct loading *l)
{
    const json_t *part = json_object_get(l->root, "decoder");
    const char *type = loading_type(part);
    struct decoding *d = &l->t->decoding;
    d->bytes = strcmp(type, "ByteLevel") == 0;
    if (d->bytes != l->t->by_bytes)
        return loading_unsupported(l, "for this pre-tokenizer, the decoder", type);
    if (d->bytes)
        return WEIR_OK;
    if (strcmp(type, "Sequence") == 0)
        return load_decoders(l, json_object_get(part, "decoders"));
    if (strcmp(type, "Metaspace") != 0)
        return loading_unsupported(l, "the decoder", type);
    d->first_bare = strcmp(prepend_scheme(part), "never") != 0;
    return WEIR_OK;
}

/* ---- post-processor ---- */

static bool add_around(struct loading *l, const json_t *id, bool behind)
{
    size_t *n = behind ? &l->t->n_behind : &l->t->n_before;
    json_int_t value = json_integer_value(id);
    if (!json_is_integer(id) || value < 0 || !vocab_has(&l->t->vocab, (uint64_t)value) ||
        *n == MAX_AROUND)
        return false;
    (behind ? l->t->behind : l->t->before)[(*n)++] = (uint32_t)value;
    return true;
}

static weir_err load_template(struct loading *l, const json_t *part)
{
    const json_t *single = json_object_get(part, "single");
    const json_t *specials = json_object_get(part, "special_tokens");
    size_t n_texts = 0;
    for (size_t i = 0; i < json_array_size(single); i++) {
        const json_t *piece = json_array_get(single, i);
        const json_t *special = json_object_get(piece, "SpecialToken");
        const char *name = json_string_value(json_object_get(special, "id"));
        const json_t *ids = json_object_get(name ? json_object_get(specials, name) : NULL, "ids");
        if (!special) {
            n_texts++;
            if (!json_object_get(piece, "Sequence"))
                return loading_corrupt(l, "TemplateProcessing",
                                       "a piece is neither text nor token");
            continue;
        }
        if (json_array_size(ids) == 0)
            return loading_corrupt(l, "TemplateProcessing", "a special token has no ids");
        for (size_t k = 0; k < json_array_size(ids); k++)
            if (!add_around(l, json_array_get(ids, k), n_texts > 0))
                return loading_corrupt(l, "TemplateProcessing", "an id is wrong, or too many");
    }
    if (n_texts != 1)
        return loading_unsupported(l, "a TemplateProcessing", "without the text, or with two");
    return WEIR_OK;
}

static weir_err load_processor(struct loading *l, const json_t *part)
{
    const char *type = loading_type(part);
    if (strcmp(type, "ByteLevel") == 0)
        return WEIR_OK; /* it moves offsets, which nobody asks for here */
    if (strcmp(type, "TemplateProcessing") != 0)
        return loading_unsupported(l, "the post-processor", type);
    if (l->t->n_before + l->t->n_behind > 0)
        return loading_unsupported(l, "more than one", type);
    return load_template(l, part);
}

weir_err load_post_processor(struct loading *l)
{
    return load_sequence(l, json_object_get(l->root, "post_processor"), "processors",
                         load_processor);
}
