/* Any head of a reply, to any wish: it is taken apart and judged, and a body is taken only for the
 * very bytes that were asked for.  The first byte is the wish, the rest the head, line by line. */
#include <stdlib.h>
#include <string.h>

#include "judge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void expect_the_wish(const struct wish *wish, const struct verdict *v)
{
    uint64_t size = wish->tail ? v->seen.size : wish->known->size;
    uint64_t most = wish->tail && size < wish->n ? size : wish->n;
    if (v->n != most || v->at > size || v->n > size - v->at ||
        (wish->tail ? v->at + v->n != size : v->at != wish->at))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct validators known = {1000, "\"e\"", "Mon"};
    if (n == 0)
        return 0;
    const struct wish wish = {.tail = data[0] & 1,
                              .at = data[0] & 2 ? 0 : 500,
                              .n = data[0] & 4 ? 1000 : 100,
                              .known = data[0] & 1 ? NULL : &known,
                              .redirected = data[0] & 8};
    if (!wish.tail && wish.at + wish.n > known.size)
        return 0; /* nobody asks for what is not there */
    struct reply reply = {0};
    const char *line = (const char *)data + 1;
    const char *end = (const char *)data + n;
    while (line < end) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        const char *next = newline ? newline + 1 : end;
        if (!reply_line(&reply, line, (size_t)(next - line), data[0]))
            return 0;
        line = next;
    }
    struct verdict v;
    judge(&reply, &wish, &v);
    if (v.kind == VERDICT_TAKE)
        expect_the_wish(&wish, &v);
    else if (v.kind != VERDICT_FOLLOW && (v.err == WEIR_OK || !v.cause[0]))
        abort();
    return 0;
}
