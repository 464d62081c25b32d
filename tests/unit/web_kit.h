/* web_kit.h - a web server of one file on 127.0.0.1, in one thread; it allocates nothing, so that
 * failing allocations are the client's alone.  (What servers do wrong is tested from outside:
 * tests/fetch/.) */
#ifndef WEIR_TESTS_WEB_KIT_H
#define WEIR_TESTS_WEB_KIT_H

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WEB_MAX_ASKED = 256, WEB_MAX_CONNECTIONS = 32 };

static struct web {
    const uint8_t *bytes;
    size_t n;
    char url[64];
    _Atomic bool silent; /* takes requests and answers nothing */
    _Atomic bool drops;  /* takes requests and ends the connection */
    size_t flip_at;      /* this byte is another one, the first time it is sent; past n: none */
    size_t flip_after;   /* ... from this request on */
    bool flipped;
    size_t n_asked; /* ranges asked for, all counted, so many kept */
    struct {
        size_t first, last;
    } asked[WEB_MAX_ASKED];
    int listener;
    pthread_t thread;
} web;

static inline bool web_read_head(int fd, char *head, size_t room)
{
    size_t n = 0;
    while (n + 1 < room) {
        ssize_t got = recv(fd, head + n, 1, 0);
        if (got <= 0)
            return false;
        head[++n] = 0;
        if (n >= 4 && strcmp(head + n - 4, "\r\n\r\n") == 0)
            return true;
    }
    return false;
}

static inline void web_send(int fd, const void *bytes, size_t n)
{
    for (const char *from = bytes; n;) {
        ssize_t put = send(fd, from, n, MSG_NOSIGNAL);
        if (put <= 0)
            return;
        from += put;
        n -= (size_t)put;
    }
}

static inline void web_send_body(int fd, size_t first, size_t last)
{
    if (web.flipped || web.n_asked <= web.flip_after || web.flip_at < first || web.flip_at > last) {
        web_send(fd, web.bytes + first, last - first + 1);
        return;
    }
    uint8_t other = web.bytes[web.flip_at] ^ 0x20;
    web.flipped = true;
    web_send(fd, web.bytes + first, web.flip_at - first);
    web_send(fd, &other, 1);
    web_send(fd, web.bytes + web.flip_at + 1, last - web.flip_at);
}

static inline void web_answer(int fd, const char *head)
{
    const char *range = strstr(head, "bytes=");
    size_t first = 0, last = web.n - 1;
    if (range && range[6] == '-') {
        size_t tail = strtoul(range + 7, NULL, 10);
        first = tail < web.n ? web.n - tail : 0;
    } else if (range) {
        char *end;
        first = strtoul(range + 6, &end, 10);
        last = strtoul(end + 1, NULL, 10);
        last = last < web.n ? last : web.n - 1;
    }
    if (web.n_asked < WEB_MAX_ASKED) {
        web.asked[web.n_asked].first = first;
        web.asked[web.n_asked].last = last;
    }
    web.n_asked++;
    char text[256];
    int n = snprintf(text, sizeof(text),
                     "HTTP/1.1 206 x\r\nContent-Range: bytes %zu-%zu/%zu\r\nContent-Length: %zu\r\n"
                     "ETag: \"x\"\r\n\r\n",
                     first, last, web.n, last - first + 1);
    web_send(fd, text, (size_t)n);
    web_send_body(fd, first, last);
}

/* One request of a connection.  false: it is over. */
static inline bool web_serve_one(int fd)
{
    char head[4096];
    if (!web_read_head(fd, head, sizeof(head)) || web.drops)
        return false;
    if (!web.silent)
        web_answer(fd, head);
    return true;
}

static inline int web_accept(void)
{
    const int yes = 1; /* a head and a body are two sends: the second must not wait */
    int fd = accept(web.listener, NULL, NULL);
    if (fd >= 0)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    return fd;
}

static inline void *web_serve(void *self)
{
    struct pollfd at[1 + WEB_MAX_CONNECTIONS] = {{.fd = web.listener, .events = POLLIN}};
    nfds_t n = 1;
    (void)self;
    while (poll(at, n, -1) > 0) {
        for (nfds_t i = n; i-- > 1;)
            if (at[i].revents && !web_serve_one(at[i].fd)) {
                (void)close(at[i].fd);
                at[i] = at[--n];
            }
        if (!at[0].revents || n > WEB_MAX_CONNECTIONS)
            continue;
        at[n] = (struct pollfd){.fd = web_accept(), .events = POLLIN};
        if (at[n].fd < 0)
            break;
        n++;
    }
    while (n-- > 1)
        (void)close(at[n].fd);
    return NULL;
}

/* `bytes` stay where they are. */
static inline void web_start(const void *bytes, size_t n_bytes)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(at);
    web.bytes = bytes;
    web.n = n_bytes;
    web.flip_at = SIZE_MAX;
    web.silent = web.drops = false;
    web.listener = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(web.listener, (struct sockaddr *)&at, n), 0);
    cr_assert_eq(listen(web.listener, 16), 0);
    cr_assert_eq(getsockname(web.listener, (struct sockaddr *)&at, &n), 0);
    snprintf(web.url, sizeof(web.url), "http://127.0.0.1:%u/file", (unsigned)ntohs(at.sin_port));
    cr_assert_eq(pthread_create(&web.thread, NULL, web_serve, NULL), 0);
}

/* When the clients are gone, and their connections with them. */
static inline void web_stop(void)
{
    (void)shutdown(web.listener, SHUT_RDWR);
    (void)pthread_join(web.thread, NULL);
    (void)close(web.listener);
}

#endif
