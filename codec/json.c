#include "json.h"

#include <string.h>

enum {
    MAX_DEPTH = 32,
};

struct json json_read_start(char *text, size_t n)
{
    return (struct json){text, text + n, false, false};
}

static bool fail(struct json *j)
{
    j->bad = true;
    j->at = j->end;
    return false;
}

static size_t left(const struct json *j)
{
    return (size_t)(j->end - j->at);
}

/* The next byte, white space included, is one of `set`: pass it. */
static bool pass(struct json *j, const char *set)
{
    if (j->at == j->end || !*j->at || !strchr(set, *j->at))
        return false;
    j->at++;
    return true;
}

/* The next byte that is not white space, or 0 at the end. */
static char peek(struct json *j)
{
    while (pass(j, " \t\n\r"))
        ;
    if (j->at == j->end)
        return 0;
    return *j->at;
}

static bool expect(struct json *j, char c)
{
    if (j->bad || peek(j) != c)
        return fail(j);
    j->at++;
    return true;
}

bool json_read_open(struct json *j, char bracket)
{
    j->first = true;
    return expect(j, bracket);
}

bool json_read_item(struct json *j, char bracket)
{
    if (!j->bad && peek(j) == bracket) {
        j->at++;
        j->first = false;
        return false;
    }
    if (!j->first && !expect(j, ','))
        return false;
    j->first = false;
    return !j->bad;
}

/* ---- strings ---- */

/* Bytes of the well-formed UTF-8 sequence at s, of which n > 0 are there; 0 if there is none. */
static size_t utf8_bytes(const char *text, size_t n)
{
    const unsigned char *s = (const unsigned char *)text;
    if (s[0] < 0x80)
        return 1;
    size_t len = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || n < len)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
    bool beyond = (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf4 && s[1] > 0x8f);
    return overlong || beyond ? 0 : len;
}

static char *utf8_put(char *to, uint32_t c)
{
    if (c < 0x80) {
        *to++ = (char)c;
        return to;
    }
    if (c < 0x800) {
        *to++ = (char)(0xc0 | c >> 6);
    } else if (c < 0x10000) {
        *to++ = (char)(0xe0 | c >> 12);
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
    } else {
        *to++ = (char)(0xf0 | c >> 18);
        *to++ = (char)(0x80 | (c >> 12 & 0x3f));
        *to++ = (char)(0x80 | (c >> 6 & 0x3f));
    }
    *to++ = (char)(0x80 | (c & 0x3f));
    return to;
}

/* The four digits of \uXXXX. */
static bool hex4(struct json *j, uint32_t *out)
{
    uint32_t v = 0;
    if (left(j) < 4)
        return fail(j);
    for (int i = 0; i < 4; i++) {
        uint32_t c = (unsigned char)*j->at++;
        uint32_t low = c | 0x20;
        if (c >= '0' && c <= '9')
            v = v << 4 | (c - '0');
        else if (low >= 'a' && low <= 'f')
            v = v << 4 | (low - 'a' + 10);
        else
            return fail(j);
    }
    *out = v;
    return true;
}

static bool unicode_escape(struct json *j, char **to)
{
    uint32_t c;
    uint32_t low;
    if (!hex4(j, &c))
        return false;
    if (c >= 0xd800 && c <= 0xdbff) {
        if (left(j) < 2 || j->at[0] != '\\' || j->at[1] != 'u')
            return fail(j);
        j->at += 2;
        if (!hex4(j, &low) || low < 0xdc00 || low > 0xdfff)
            return fail(j);
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    } else if (c == 0 || (c >= 0xdc00 && c <= 0xdfff)) {
        return fail(j);
    }
    *to = utf8_put(*to, c);
    return true;
}

/* What follows a backslash. */
static bool escape(struct json *j, char **to)
{
    static const char name[] = "\"\\/bfnrt";
    static const char value[] = "\"\\/\b\f\n\r\t";
    if (pass(j, "u"))
        return unicode_escape(j, to);
    const char *at = j->at;
    if (!pass(j, name))
        return fail(j);
    *(*to)++ = value[strchr(name, *at) - name];
    return true;
}

char *json_read_string(struct json *j)
{
    if (!expect(j, '"'))
        return NULL;
    char *begin = j->at;
    char *to = begin; /* never passes j->at: an escape is longer than what it stands for */
    while (j->at < j->end && *j->at != '"') {
        if (*j->at == '\\') {
            j->at++;
            if (!escape(j, &to))
                return NULL;
            continue;
        }
        size_t n = (unsigned char)*j->at < 0x20 ? 0 : utf8_bytes(j->at, left(j));
        if (n == 0) {
            fail(j);
            return NULL;
        }
        memmove(to, j->at, n);
        to += n;
        j->at += n;
    }
    if (j->at == j->end) {
        fail(j);
        return NULL;
    }
    j->at++;
    *to = 0;
    return begin;
}

char *json_read_key(struct json *j)
{
    char *key = json_read_string(j);
    return key && expect(j, ':') ? key : NULL;
}

/* ---- numbers and the rest ---- */

/* At least one digit; how many. */
static size_t digits(struct json *j)
{
    size_t n = 0;
    while (j->at < j->end && *j->at >= '0' && *j->at <= '9') {
        j->at++;
        n++;
    }
    if (n == 0)
        fail(j);
    return n;
}

/* -?(0|[1-9][0-9]*), the sign passed already. */
static bool whole(struct json *j)
{
    const char *begin = j->at;
    size_t n = digits(j);
    if (n == 0 || (n > 1 && *begin == '0'))
        return fail(j);
    return true;
}

bool json_read_u64(struct json *j, uint64_t *out)
{
    uint64_t v = 0;
    peek(j);
    const char *begin = j->at;
    if (j->bad || !whole(j))
        return fail(j);
    for (const char *c = begin; c < j->at; c++) {
        uint64_t digit = (uint64_t)(*c - '0');
        if (v > (UINT64_MAX - digit) / 10)
            return fail(j);
        v = v * 10 + digit;
    }
    *out = v;
    return true;
}

static bool skip_number(struct json *j)
{
    (void)pass(j, "-");
    if (!whole(j))
        return false;
    if (pass(j, ".") && digits(j) == 0)
        return false;
    if (pass(j, "eE")) {
        (void)pass(j, "+-");
        return digits(j) > 0;
    }
    return true;
}

static bool skip_word(struct json *j, const char *word)
{
    size_t n = strlen(word);
    if (left(j) < n || memcmp(j->at, word, n) != 0)
        return fail(j);
    j->at += n;
    return true;
}

static bool skip_value(struct json *j, int depth);

static bool skip_items(struct json *j, char open, int depth)
{
    char close = open == '{' ? '}' : ']';
    if (depth == MAX_DEPTH || !json_read_open(j, open))
        return fail(j);
    while (json_read_item(j, close))
        if ((open == '{' && !json_read_key(j)) || !skip_value(j, depth + 1))
            return false;
    return !j->bad;
}

static bool skip_value(struct json *j, int depth)
{
    char c = peek(j);
    switch (c) {
    case '{':
    case '[':
        return skip_items(j, c, depth);
    case '"':
        return json_read_string(j) != NULL;
    case 't':
        return skip_word(j, "true");
    case 'f':
        return skip_word(j, "false");
    case 'n':
        return skip_word(j, "null");
    default:
        return skip_number(j);
    }
}

bool json_read_skip(struct json *j)
{
    return !j->bad && skip_value(j, 0);
}

bool json_read_done(struct json *j)
{
    return !j->bad && peek(j) == 0 && j->at == j->end;
}
