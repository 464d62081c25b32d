#include "client.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "env.h"
#include "interrupt.h"

static bool stop(void *self)
{
    (void)self;
    return interrupted();
}

/* "FOLDER/NAME"; "": there is no folder, or it does not fit. */
static void join(char *buf, size_t bytes, const char *folder, const char *name)
{
    int n = folder[0] ? snprintf(buf, bytes, "%s/%s", folder, name) : 0;
    if (n <= 0 || (size_t)n >= bytes)
        buf[0] = 0;
}

/* As a shell has it: ~ and ~/... are the home. */
static void expand(char buf[CLIENT_MAX_TEXT], const char *path)
{
    const char *home = getenv("HOME");
    if (home && path[0] == '~' && path[1] == '/')
        join(buf, CLIENT_MAX_TEXT, home, path + 2);
    else if (strlen(path) < CLIENT_MAX_TEXT)
        memcpy(buf, path, strlen(path) + 1);
    else
        buf[0] = 0;
}

static void hf_home(char buf[CLIENT_MAX_TEXT])
{
    static const char *const own[] = {"HF_HOME", NULL};
    static const char *const caches[] = {"XDG_CACHE_HOME", NULL};
    const char *name = env_first(own);
    const char *cache = env_first(caches);
    char folder[CLIENT_MAX_TEXT];
    if (name) {
        expand(buf, name);
        return;
    }
    expand(folder, cache ? cache : "~/.cache");
    join(buf, CLIENT_MAX_TEXT, folder[0] == '~' ? "" : folder, "huggingface");
}

/* ---- the token ---- */

/* Without blanks and line ends around it.  What cannot stand in a header is no token. */
static bool take_token(const char *text, char token[CLIENT_MAX_TEXT])
{
    text += strspn(text, " \t\r\n");
    size_t n = strlen(text);
    while (n && strchr(" \t\r\n", text[n - 1]))
        n--;
    for (size_t i = 0; i < n; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    if (n == 0 || n >= CLIENT_MAX_TEXT)
        return false;
    memcpy(token, text, n);
    token[n] = 0;
    return true;
}

static bool read_token(const char *name, char token[CLIENT_MAX_TEXT])
{
    char text[CLIENT_MAX_TEXT];
    int fd = name[0] ? open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC) : -1;
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        (void)close(fd);
    text[n < 0 ? 0 : n] = 0;
    return take_token(text, token);
}

static bool find_token(char token[CLIENT_MAX_TEXT])
{
    static const char *const path[] = {"HF_TOKEN_PATH", NULL};
    char home[CLIENT_MAX_TEXT], name[CLIENT_MAX_TEXT];
    const char *given = getenv("HF_TOKEN");
    if (env_is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN"))
        return false;
    if (given && take_token(given, token))
        return true;
    const char *file = env_first(path);
    if (file) {
        expand(name, file);
    } else {
        hf_home(home);
        join(name, sizeof(name), home, "token");
    }
    return read_token(name, token);
}

/* ---- what others ask for ---- */

void client_options(struct weir_http_options *options, struct client_text *text)
{
    static const char *const authorities[] = {"SSL_CERT_FILE", "CURL_CA_BUNDLE", NULL};
    options->ca_file = env_first(authorities);
    options->token = find_token(text->token) ? text->token : NULL;
    options->token_url = client_endpoint(text->endpoint);
    options->stop = stop;
}

char *client_endpoint(char buf[CLIENT_MAX_TEXT])
{
    static const char *const own[] = {"HF_ENDPOINT", NULL};
    const char *given = env_first(own);
    snprintf(buf, CLIENT_MAX_TEXT, "%s", given ? given : "https://huggingface.co");
    for (size_t n = strlen(buf); n && buf[n - 1] == '/'; n--)
        buf[n - 1] = 0;
    return buf;
}

bool client_is_offline(void)
{
    return env_is_true("HF_HUB_OFFLINE");
}

bool client_hub_cache(char buf[CLIENT_MAX_TEXT])
{
    static const char *const own[] = {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", NULL};
    const char *given = env_first(own);
    char home[CLIENT_MAX_TEXT];
    if (given) {
        expand(buf, given);
    } else {
        hf_home(home);
        join(buf, CLIENT_MAX_TEXT, home, "hub");
    }
    for (size_t n = strlen(buf); n > 1 && buf[n - 1] == '/'; n--)
        buf[n - 1] = 0;
    return buf[0] != 0;
}
