#include "url.h"

#include <criterion/criterion.h>
#include <string.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

Test(url, compares_origins)
{
    static const struct {
        const char *a, *b;
        bool same;
    } rows[] = {
        {"https://h/a", "https://h/b?c#d", true},
        {"https://h/", "https://h:443", true},
        {"http://h/", "http://h:80/x", true},
        {"HTTPS://H.example/", "https://h.EXAMPLE/", true},
        {"https://[::1]:8/", "https://[::1]:8/x", true},
        {"https://h/", "http://h/", false},
        {"https://h/", "https://h:444/", false},
        {"http://h:443/", "https://h:443/", false},
        {"https://h/", "https://h.evil/", false},
        {"https://h/", "https://evil/h/", false},
        {"https://h/", "https://h@evil/", false},
        {"https://h/", "https://evil/?https://h/", false},
        {"https://h/", "https://evil#h", false},
        {"https://h/", "https://h.", false},
        {"https://sub.h/", "https://h/", false},
        {"", "", false},
        {"https://", "https://", false},
        {"h", "h", false},
        {"https://h:99999/", "https://h:99999/", false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        cr_expect_eq(url_same_origin(rows[i].a, rows[i].b), rows[i].same, "%s %s", rows[i].a,
                     rows[i].b);
        cr_expect_eq(url_same_origin(rows[i].b, rows[i].a), rows[i].same, "%s %s", rows[i].b,
                     rows[i].a);
    }
}

Test(url, takes_http_and_nothing_else)
{
    static const struct {
        const char *url;
        weir_err err;
    } rows[] = {
        {"http://h", WEIR_OK},
        {"https://h:8443/a/b.weir?sig=x", WEIR_OK},
        {"HTTP://h/", WEIR_OK},
        {"ftp://h/x", WEIR_ERR_INVALID},
        {"file:///etc/passwd", WEIR_ERR_INVALID},
        {"gopher://h/", WEIR_ERR_INVALID},
        {"https://user:secret@h/", WEIR_ERR_INVALID},
        {"https://user@h/", WEIR_ERR_INVALID},
        {"https://", WEIR_ERR_INVALID},
        {"model.weir", WEIR_ERR_INVALID},
        {"", WEIR_ERR_INVALID},
        {"http://h o/", WEIR_ERR_INVALID},
        {"http://h\n/", WEIR_ERR_INVALID},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_diag diag = {""};
        cr_expect_eq(url_check(rows[i].url, &diag), rows[i].err, "%s: %s", rows[i].url, diag.text);
        cr_expect_eq(diag.text[0] != 0, rows[i].err != WEIR_OK, "%s", rows[i].url);
        cr_expect_null(strstr(diag.text, "secret"));
        cr_expect_eq(url_check(rows[i].url, NULL), rows[i].err);
    }
}

Test(url, shows_no_secrets)
{
    static const struct {
        const char *url, *shown;
    } rows[] = {
        {"https://h/a/b.weir?X-Signature=secret#f", "https://h/a/b.weir"},
        {"https://user:secret@h:8443/a", "https://h:8443/a"},
        {"http://h:80", "http://h/"},
        {"https://h:80/", "https://h:80/"},
        {"not a url secret", "(no URL)"},
    };
    char buf[64], small[8];
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        cr_expect_str_eq(url_shown(rows[i].url, buf, sizeof(buf)), rows[i].shown);
    cr_expect_str_eq(url_shown(rows[0].url, small, sizeof(small)), "https:/");
}
