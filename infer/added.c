#include "added.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "utf8.h"

weir_err added_start(struct added_set *set, size_t room, size_t n_bytes)
{
    *set = (struct added_set){.room = room, .bytes_room = n_bytes};
    set->token = calloc(room + 1, sizeof(*set->token));
    set->bytes = malloc(n_bytes + 1);
    return set->token && set->bytes ? WEIR_OK : WEIR_ERR_NOMEM;
}

bool added_put(struct added_set *set, struct added_token token, const char *text, size_t n)
{
    if (set->n == set->room || n == 0 || n > ADDED_MAX_BYTES || n > set->bytes_room - set->n_bytes)
        return false;
    token.at = (uint32_t)set->n_bytes;
    token.n = (uint32_t)n;
    memcpy(set->bytes + set->n_bytes, text, n);
    set->n_bytes += n;
    set->token[set->n++] = token;
    return true;
}

static int order(const char *a, size_t n_a, const char *b, size_t n_b)
{
    int d = memcmp(a, b, n_a < n_b ? n_a : n_b);
    return d ? d : (n_a > n_b) - (n_a < n_b);
}

static int order_of_tokens(const void *a, const void *b, void *bytes)
{
    const struct added_token *x = a, *y = b;
    return order((char *)bytes + x->at, x->n, (char *)bytes + y->at, y->n);
}

weir_err added_sort(struct added_set *set)
{
    qsort_r(set->token, set->n, sizeof(*set->token), order_of_tokens, set->bytes);
    for (size_t i = 0; i < set->n; i++) {
        set->begins[(uint8_t)set->bytes[set->token[i].at]] = true;
        if (i > 0 && order_of_tokens(&set->token[i - 1], &set->token[i], set->bytes) == 0)
            return WEIR_ERR_CORRUPT;
    }
    return WEIR_OK;
}

void added_free(struct added_set *set)
{
    free(set->token);
    free(set->bytes);
    *set = (struct added_set){0};
}

const struct added_token *added_find(const struct added_set *set, const char *text, size_t n)
{
    size_t low = 0, high = set->n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        const struct added_token *t = &set->token[mid];
        int d = order(set->bytes + t->at, t->n, text, n);
        if (d == 0)
            return t;
        if (d < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

/* The first of token[low .. high), all of which share `depth` bytes, whose next byte is at least
 * `byte`; a token that ends there has none, and comes first. */
static size_t first_from(const struct added_set *set, size_t low, size_t high, size_t depth,
                         int byte)
{
    while (low < high) {
        size_t mid = (low + high) / 2;
        const struct added_token *t = &set->token[mid];
        int its = depth < t->n ? (uint8_t)set->bytes[t->at + depth] : -1;
        if (its < byte)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* The longest token that n bytes begin with; NULL: none. */
static const struct added_token *longest(const struct added_set *set, const char *text, size_t n)
{
    const struct added_token *best = NULL;
    size_t low = 0, high = set->n;
    for (size_t depth = 0; low < high; depth++) {
        if (set->token[low].n == depth)
            best = &set->token[low++];
        if (depth == n)
            break;
        int byte = (uint8_t)text[depth];
        low = first_from(set, low, high, depth, byte);
        high = first_from(set, low, high, depth, byte + 1);
    }
    return best;
}

/* Letters, marks, digits, connectors and joiners: what Unicode's \w is, but for a few symbols. */
static bool is_word(uint32_t point)
{
    switch (utf8proc_category((utf8proc_int32_t)point)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default:
        return point == 0x200c || point == 0x200d;
    }
}

/* The character that ends at text[n]; bad if it is none. */
static struct utf8 before(const char *text, size_t n)
{
    for (size_t back = 1; back <= UTF8_MAX && back <= n; back++) {
        struct utf8 c = utf8_next(text + n - back, back);
        if (c.good && c.n == back)
            return c;
    }
    return (struct utf8){0};
}

static bool within_word(const char *text, size_t n, size_t at, size_t end)
{
    struct utf8 left = before(text, at);
    struct utf8 right = {0};
    if (end < n)
        right = utf8_next(text + end, n - end);
    return (left.good && is_word(left.point)) || (right.good && is_word(right.point));
}

/* `at` moved to the left over white space, not beyond `from`. */
static size_t spaces_before(const char *text, size_t from, size_t at)
{
    while (at > from) {
        struct utf8 c = before(text + from, at - from);
        if (!c.good || !utf8_is_space(c.point))
            break;
        at -= c.n;
    }
    return at;
}

static size_t spaces_behind(const char *text, size_t n, size_t end)
{
    while (end < n) {
        struct utf8 c = utf8_next(text + end, n - end);
        if (!c.good || !utf8_is_space(c.point))
            break;
        end += c.n;
    }
    return end;
}

struct added_match added_next(const struct added_set *set, const char *text, size_t n, size_t from,
                              bool parse_special)
{
    for (size_t at = from; at < n; at++) {
        if (!set->begins[(uint8_t)text[at]])
            continue;
        const struct added_token *t = longest(set, text + at, n - at);
        if (!t)
            continue;
        size_t end = at + t->n;
        if ((t->special && !parse_special) || (t->single_word && within_word(text, n, at, end))) {
            at = end - 1; /* what lies within it is not looked at */
            continue;
        }
        return (struct added_match){.token = t,
                                    .at = t->left ? spaces_before(text, from, at) : at,
                                    .end = t->right ? spaces_behind(text, n, end) : end};
    }
    return (struct added_match){.at = n, .end = n};
}
