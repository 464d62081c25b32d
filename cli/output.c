#include "output.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmd.h"
#include "fail.h"

char *human_bytes(char buf[HUMAN_BYTES], double bytes)
{
    static const char *const unit[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    size_t u = 0;
    /* 999.5 and not 1000: "%.3g" would round it up to 1e+03. */
    while (bytes >= 999.5 && u + 1 < sizeof(unit) / sizeof(unit[0])) {
        bytes /= 1000;
        u++;
    }
    int decimals = u == 0 || bytes >= 99.95 ? 0 : bytes >= 9.995 ? 1 : 2;
    snprintf(buf, HUMAN_BYTES, "%.*f %s", decimals, bytes, unit[u]);
    return buf;
}

char *human_time(char buf[HUMAN_BYTES], double seconds)
{
    /* Past a thousand hours nobody reads the figure. */
    unsigned s = seconds < 3.6e6 ? (unsigned)(seconds + 0.5) : 3600000U;
    if (s >= 3600)
        snprintf(buf, HUMAN_BYTES, "%u:%02u:%02u", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(buf, HUMAN_BYTES, "%u:%02u", s / 60, s % 60);
    return buf;
}

char *hex_digest(char buf[HEX_DIGEST], const uint8_t digest[WEIR_DIGEST_BYTES])
{
    for (size_t i = 0; i < WEIR_DIGEST_BYTES; i++)
        snprintf(buf + 2 * i, 3, "%02x", digest[i]);
    return buf;
}

/* Bytes of the well-formed UTF-8 character at s; 0 if there is none.  The terminating NUL is no
 * continuation byte, so nothing past it is read. */
static size_t utf8_length(const char *s)
{
    const unsigned char *b = (const unsigned char *)s;
    if (b[0] < 0x80)
        return 1;
    size_t n = b[0] >= 0xf0 ? 4 : b[0] >= 0xe0 ? 3 : 2;
    if (b[0] < 0xc2 || b[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((b[i] & 0xc0) != 0x80)
            return 0;
    /* Overlong forms, surrogates, and what lies past U+10FFFF. */
    if ((b[0] == 0xe0 && b[1] < 0xa0) || (b[0] == 0xed && b[1] > 0x9f) ||
        (b[0] == 0xf0 && b[1] < 0x90) || (b[0] == 0xf4 && b[1] > 0x8f))
        return 0;
    return n;
}

static bool is_control(const char *s, size_t n)
{
    const unsigned char *b = (const unsigned char *)s;
    return n == 1 ? b[0] < 0x20 || b[0] == 0x7f : n == 2 && b[0] == 0xc2 && b[1] < 0xa0;
}

void print_escaped(FILE *to, const char *text)
{
    while (*text) {
        size_t n = utf8_length(text);
        if (n == 0 || is_control(text, n)) {
            fprintf(to, "\\x%02x", (unsigned char)*text++);
            continue;
        }
        fputs(*text == '\\' ? "\\" : "", to);
        fwrite(text, 1, n, to);
        text += n;
    }
}

void print_name(FILE *to, const char *name)
{
    if (isatty(fileno(to)))
        print_escaped(to, name);
    else
        fputs(name, to);
}

json_t *json_text(const char *text)
{
    size_t n = strlen(text);
    char *clean = n < SIZE_MAX / 3 ? malloc(3 * n + 1) : NULL;
    if (!clean)
        return NULL;
    char *to = clean;
    while (*text) {
        size_t step = utf8_length(text);
        memcpy(to, step ? text : "\xef\xbf\xbd", step ? step : 3);
        to += step ? step : 3;
        text += step ? step : 1;
    }
    json_t *s = json_stringn(clean, (size_t)(to - clean));
    free(clean);
    return s;
}

double ratio_of(uint64_t plain, uint64_t stored)
{
    return stored ? (double)plain / (double)stored : 0;
}

int print_json(const struct cli *cli, json_t *o)
{
    if (!o)
        return fail(cli, WEIR_ERR_NOMEM, NULL, NULL);
    int bad = json_dumpf(o, cli->out, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
    fputc('\n', cli->out);
    json_decref(o);
    struct weir_diag diag = {"standard output: cannot write"};
    return bad ? fail(cli, WEIR_ERR_IO, NULL, &diag) : EXIT_FINE;
}

double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
