#include "reply.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Decimal digits at *text, at least one and no more than fit; moves *text behind them. */
static bool take_number(const char **text, uint64_t *out)
{
    const char *c = *text;
    uint64_t v = 0;
    for (; *c >= '0' && *c <= '9'; c++) {
        uint64_t digit = (uint64_t)(*c - '0');
        if (v > (UINT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    bool any = c != *text;
    *text = c;
    *out = v;
    return any;
}

static const char *skip_blanks(const char *text)
{
    return text + strspn(text, " \t");
}

static bool take_word(const char **text, const char *word)
{
    size_t n = strlen(word);
    if (strncasecmp(*text, word, n) != 0)
        return false;
    *text += n;
    return true;
}

bool content_range_parse(const char *text, struct content_range *out)
{
    *out = (struct content_range){0};
    text = skip_blanks(text);
    if (!take_word(&text, "bytes") || (*text != ' ' && *text != '\t'))
        return false;
    text = skip_blanks(text);
    out->unsatisfied = take_word(&text, "*");
    if (!out->unsatisfied && (!take_number(&text, &out->first) || !take_word(&text, "-") ||
                              !take_number(&text, &out->last)))
        return false;
    if (!take_word(&text, "/"))
        return false;
    out->has_total = !take_word(&text, "*");
    if (out->has_total && !take_number(&text, &out->total))
        return false;
    if (*skip_blanks(text) != 0 || (out->unsatisfied && !out->has_total))
        return false;
    return out->unsatisfied ||
           (out->first <= out->last && (!out->has_total || out->last < out->total));
}

static uint32_t cap_wait(uint64_t seconds)
{
    return seconds < REPLY_MAX_WAIT ? (uint32_t)seconds : (uint32_t)REPLY_MAX_WAIT;
}

bool retry_after_parse(const char *text, int64_t now, uint32_t *seconds)
{
    text = skip_blanks(text);
    const char *digits = text;
    uint64_t v;
    if (*digits >= '0' && *digits <= '9') {
        if (take_number(&digits, &v) && *skip_blanks(digits) == 0) {
            *seconds = cap_wait(v);
            return true;
        }
        return false;
    }
    int64_t then = *text ? (int64_t)curl_getdate(text, NULL) : -1;
    if (then < 0)
        return false;
    *seconds = then > now ? cap_wait((uint64_t)(then - now)) : 0;
    return true;
}

bool rate_limit_parse(const char *text, uint32_t *seconds)
{
    /* Parameters begin behind ';' or ','; what stands in quotes is a name. */
    bool quoted = false;
    bool starts = true;
    for (; *text; text++) {
        quoted = quoted != (*text == '"');
        const char *value = text;
        uint64_t v;
        if (!quoted && starts && (take_word(&value, "t=") || take_word(&value, "reset=")) &&
            take_number(&value, &v) && strchr(" \t;,", *value)) {
            *seconds = cap_wait(v);
            return true;
        }
        starts = *text == ';' || *text == ',' || (starts && (*text == ' ' || *text == '\t'));
    }
    return false;
}

/* The next word of a parameter list that *text is at: what stands between blanks, or in quotes. */
static size_t take_value(const char **text, const char **value)
{
    bool quoted = **text == '"';
    const char *from = *text + quoted;
    size_t n = strcspn(from, quoted ? "\"" : " \t;,");
    *value = from;
    *text = from + n + (quoted && from[n] == '"');
    return n;
}

/* Whether the blank-separated words of `value` (n bytes) have `word` among them, in any case. */
static bool has_word(const char *value, size_t n, const char *word)
{
    size_t length = strlen(word);
    for (size_t at = 0; at + length <= n; at++) {
        bool begins = at == 0 || strchr(" \t", value[at - 1]);
        bool ends = at + length == n || strchr(" \t", value[at + length]);
        if (begins && ends && strncasecmp(value + at, word, length) == 0)
            return true;
    }
    return false;
}

/* The parameters behind a link, up to the comma that ends it: whether one is rel=next. */
static bool take_link_parameters(const char **text)
{
    bool is_next = false, has_rel = false;
    for (;;) {
        *text = skip_blanks(*text);
        if (!take_word(text, ";"))
            return is_next;
        *text = skip_blanks(*text);
        bool rel = take_word(text, "rel") && strchr(" \t=", **text) && **text;
        *text += strcspn(*text, "=;,");
        if (!take_word(text, "="))
            continue;
        const char *value;
        *text = skip_blanks(*text);
        size_t n = take_value(text, &value);
        if (rel && !has_rel)
            is_next = has_word(value, n, "next");
        has_rel = has_rel || rel;
        *text += strcspn(*text, ";,"); /* what nobody knows */
    }
}

bool link_next_parse(const char *text, char *out, size_t room)
{
    for (;;) {
        text += strspn(text, " \t,");
        if (!take_word(&text, "<"))
            return false;
        const char *target = text;
        size_t n = strcspn(text, ">");
        text += n;
        if (!take_word(&text, ">"))
            return false;
        if (!take_link_parameters(&text))
            continue;
        if (n == 0 || n >= room)
            return false;
        memcpy(out, target, n);
        out[n] = 0;
        return true;
    }
}

/* "HTTP/1.1 206 Partial Content", "HTTP/2 206" */
static bool take_status(struct reply *r, const char *line, size_t head_bytes)
{
    if (strncmp(line, "HTTP/", 5) != 0)
        return false;
    const char *code = strchr(line, ' ');
    uint64_t status = 0;
    if (!code || (code++, !take_number(&code, &status)) || status > 999)
        status = 0;
    *r = (struct reply){.status = (unsigned)status, .head_bytes = head_bytes};
    return true;
}

static void keep(char *to, size_t room, const char *value)
{
    size_t n = strlen(value);
    if (n < room)
        memcpy(to, value, n + 1);
    else
        to[0] = 0;
}

/* Words that are shown to people: letters and digits, or nothing. */
static void keep_word(char *to, size_t room, const char *value)
{
    static const char fine[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    keep(to, room, value[strspn(value, fine)] ? "" : value);
}

/* An entity tag without what is around it: W/"x" and "x" become x. */
static void keep_tag(char *to, size_t room, const char *value)
{
    keep(to, room, value + (strncmp(value, "W/", 2) == 0 ? 2 : 0));
    size_t n = strlen(to);
    if (n < 2 || to[0] != '"' || to[n - 1] != '"')
        return;
    memmove(to, to + 1, n - 2);
    to[n - 2] = 0;
}

static void take_wait(struct reply *r, bool fine, uint32_t wait)
{
    r->has_wait = r->has_wait || fine;
    if (fine)
        r->wait = wait;
}

/* What only the Hub, and its API, sends. */
static void take_hub_field(struct reply *r, const char *name, const char *value)
{
    if (strcasecmp(name, "link") == 0 && !r->next[0]) {
        if (!link_next_parse(value, r->next, sizeof(r->next)))
            r->next[0] = 0;
    } else if (strcasecmp(name, "x-error-code") == 0) {
        keep_word(r->error_code, sizeof(r->error_code), value);
    } else if (strcasecmp(name, "x-linked-etag") == 0) {
        keep_tag(r->linked_etag, sizeof(r->linked_etag), value);
    }
}

static void take_field(struct reply *r, const char *name, const char *value, int64_t now)
{
    uint32_t wait = 0;
    if (strcasecmp(name, "content-range") == 0) {
        r->bad_range = r->has_range || !content_range_parse(value, &r->range);
        r->has_range = true;
    } else if (strcasecmp(name, "content-length") == 0) {
        const char *digits = value;
        r->has_length = take_number(&digits, &r->length) && *digits == 0;
    } else if (strcasecmp(name, "etag") == 0) {
        keep(r->etag, sizeof(r->etag), value);
    } else if (strcasecmp(name, "last-modified") == 0) {
        keep(r->modified, sizeof(r->modified), value);
    } else if (strcasecmp(name, "content-encoding") == 0) {
        r->encoded = *value && strcasecmp(value, "identity") != 0;
    } else if (strcasecmp(name, "content-type") == 0) {
        r->multipart = strncasecmp(value, "multipart/", 10) == 0;
    } else if (strcasecmp(name, "retry-after") == 0) {
        bool fine = retry_after_parse(value, now, &wait);
        take_wait(r, fine, wait);
    } else if (strcasecmp(name, "ratelimit") == 0) {
        bool fine = !r->has_wait && rate_limit_parse(value, &wait);
        take_wait(r, fine, wait);
    } else {
        take_hub_field(r, name, value);
    }
}

bool reply_line(struct reply *r, const char *line, size_t n, int64_t now)
{
    enum { LINE_BYTES = 4096 }; /* none of the fields that we read is longer */
    if (n > REPLY_MAX_HEAD_BYTES - r->head_bytes)
        return false;
    r->head_bytes += n;
    char text[LINE_BYTES];
    if (n >= sizeof(text) || memchr(line, 0, n))
        return true;
    memcpy(text, line, n);
    while (n && strchr(" \t\r\n", text[n - 1]))
        n--;
    text[n] = 0;
    if (take_status(r, text, r->head_bytes))
        return true;
    char *colon = strchr(text, ':');
    if (!colon)
        return true;
    *colon = 0;
    take_field(r, text, skip_blanks(colon + 1), now);
    return true;
}
