#include "bpe.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    FEW_SYMBOLS = 24, /* a word; measured: beyond 32 the heap is faster */
    FIRST_SYMBOLS = 256,
    JOINS_PER_SYMBOL = 2, /* in the heap: one for each pair, and one more after each join */
};

struct bpe_join {
    uint64_t order; /* rank << 32 | index of the left symbol: smaller is earlier */
    uint32_t id;    /* what becomes of the two */
};

weir_err bpe_reserve(struct bpe *b, size_t n)
{
    if (n <= b->room)
        return WEIR_OK;
    size_t room = b->room ? b->room : FIRST_SYMBOLS;
    while (room < n)
        room *= 2;
    struct bpe_symbol *grown = realloc(b->symbol, room * sizeof(*grown));
    if (!grown)
        return WEIR_ERR_NOMEM;
    b->symbol = grown;
    b->room = room;
    return WEIR_OK;
}

/* What two neighbours become, and when; false: nothing. */
static inline bool joins(const struct bpe_rules *rules, const char *text,
                         const struct bpe_symbol *left, const struct bpe_symbol *right,
                         struct merge *out)
{
    if (rules->merges) {
        const struct merge *m = merges_find(rules->merges, left->id, right->id);
        if (!m)
            return false;
        *out = *m;
        return true;
    }
    uint32_t id = vocab_find(rules->vocab, text + left->at, left->n + right->n);
    if (id == VOCAB_NONE)
        return false;
    *out = (struct merge){.rank = rules->rank[id], .id = id};
    return true;
}

/* ---- a few symbols ---- */

static void join_few(struct bpe *b, const struct bpe_rules *rules, const char *text)
{
    struct bpe_symbol *s = b->symbol;
    uint64_t rank[FEW_SYMBOLS]; /* of each symbol with the next; UINT64_MAX: they do not join */
    uint32_t id[FEW_SYMBOLS];
    size_t n = b->n;
    struct merge m;
    for (size_t i = 0; i + 1 < n; i++) {
        bool joined = joins(rules, text, &s[i], &s[i + 1], &m);
        rank[i] = joined ? m.rank : UINT64_MAX;
        id[i] = joined ? m.id : VOCAB_NONE;
    }
    while (n > 1) {
        size_t first = 0;
        for (size_t i = 1; i + 1 < n; i++)
            first = rank[i] < rank[first] ? i : first;
        if (rank[first] == UINT64_MAX)
            break;
        s[first].id = id[first];
        s[first].n += s[first + 1].n;
        n--;
        memmove(&s[first + 1], &s[first + 2], (n - first - 1) * sizeof(*s));
        memmove(&rank[first], &rank[first + 1], (n - first - 1) * sizeof(*rank));
        memmove(&id[first], &id[first + 1], (n - first - 1) * sizeof(*id));
        for (size_t i = first ? first - 1 : 0; i <= first && i + 1 < n; i++) {
            bool joined = joins(rules, text, &s[i], &s[i + 1], &m);
            rank[i] = joined ? m.rank : UINT64_MAX;
            id[i] = joined ? m.id : VOCAB_NONE;
        }
    }
    b->n = n;
}

/* ---- many ---- */

static void push(struct bpe *b, struct bpe_join join)
{
    size_t i = b->heap_n++;
    while (i > 0 && b->heap[(i - 1) / 2].order > join.order) {
        b->heap[i] = b->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    b->heap[i] = join;
}

static struct bpe_join pop(struct bpe *b)
{
    struct bpe_join top = b->heap[0], last = b->heap[--b->heap_n];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < b->heap_n; i = child) {
        if (child + 1 < b->heap_n && b->heap[child + 1].order < b->heap[child].order)
            child++;
        if (b->heap[child].order >= last.order)
            break;
        b->heap[i] = b->heap[child];
    }
    b->heap[i] = last;
    return top;
}

static void push_pair(struct bpe *b, const struct bpe_rules *rules, const char *text, int32_t left)
{
    const struct bpe_symbol *s = &b->symbol[left];
    struct merge m;
    if (s->right < 0 || !joins(rules, text, s, &b->symbol[s->right], &m))
        return;
    push(b, (struct bpe_join){(uint64_t)m.rank << 32 | (uint32_t)left, m.id});
}

/* Two symbols span what they spanned when they were pushed if they still become the same: a
 * boundary between symbols only ever goes away. */
static bool is_current(const struct bpe *b, const struct bpe_rules *rules, const char *text,
                       struct bpe_join join)
{
    const struct bpe_symbol *s = &b->symbol[(uint32_t)join.order];
    struct merge m;
    return s->n > 0 && s->right >= 0 && joins(rules, text, s, &b->symbol[s->right], &m) &&
           m.id == join.id;
}

static weir_err reserve_heap(struct bpe *b)
{
    size_t room = JOINS_PER_SYMBOL * b->n;
    if (room <= b->heap_room)
        return WEIR_OK;
    free(b->heap);
    b->heap_room = 0;
    b->heap = malloc(room * sizeof(*b->heap));
    if (!b->heap)
        return WEIR_ERR_NOMEM;
    b->heap_room = room;
    return WEIR_OK;
}

static void keep_what_is_left(struct bpe *b)
{
    size_t n = 0;
    for (int32_t i = 0; i >= 0; i = b->symbol[i].right)
        b->symbol[n++] = b->symbol[i];
    b->n = n;
}

static weir_err join_many(struct bpe *b, const struct bpe_rules *rules, const char *text)
{
    struct bpe_symbol *s = b->symbol;
    weir_err err = reserve_heap(b);
    if (err)
        return err;
    b->heap_n = 0;
    for (size_t i = 0; i < b->n; i++) {
        s[i].left = (int32_t)i - 1;
        s[i].right = i + 1 < b->n ? (int32_t)i + 1 : -1;
    }
    for (size_t i = 0; i < b->n; i++)
        push_pair(b, rules, text, (int32_t)i);
    while (b->heap_n > 0) {
        struct bpe_join join = pop(b);
        if (!is_current(b, rules, text, join))
            continue;
        int32_t left = (int32_t)(uint32_t)join.order, right = s[left].right;
        s[left].id = join.id;
        s[left].n += s[right].n;
        s[left].right = s[right].right;
        s[right].n = 0;
        if (s[left].right >= 0)
            s[s[left].right].left = left;
        push_pair(b, rules, text, left);
        if (s[left].left >= 0)
            push_pair(b, rules, text, s[left].left);
    }
    keep_what_is_left(b);
    return WEIR_OK;
}

weir_err bpe_join(struct bpe *b, const struct bpe_rules *rules, const char *text)
{
    if (b->n <= 1)
        return WEIR_OK;
    if (b->n > FEW_SYMBOLS)
        return join_many(b, rules, text);
    join_few(b, rules, text);
    return WEIR_OK;
}

void bpe_free(struct bpe *b)
{
    free(b->symbol);
    free(b->heap);
    *b = (struct bpe){0};
}
