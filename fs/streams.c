#include "fs/streams.h"

#include <stdlib.h>

enum {
    MAX_STREAMS = 65536,
    PAGE = WEIR_STREAMS_PAGE,
    /* Reads adjoin with at most this between them: the kernel skips pages that it has. */
    GAP = 16 << 10,
    /* The kernel's own read-ahead goes this far past the end of what somebody wants. */
    SLACK = 1 << 20,
    /* Reads that are smaller are looks at something, unless many of them adjoin. */
    MIN_COPY_READ = 16 << 10,
    MIN_SMALL_READS = 4,
    MAX_WINDOWS = 3, /* of one stream at once */
    /* Who has read among the last so many reads is reading. */
    RECENT_READS = 24, /* 16 readers taking turns are */
};

struct stream {
    uint32_t file;
    uint32_t life; /* which of the streams that had this place, one after the other */
    bool is_known; /* else a suspicion: a read, or a few small ones */
    bool is_direct;
    uint32_t n_reads;
    uint64_t tick;        /* of its last read; 0: free */
    uint64_t pos;         /* end of what was read */
    uint64_t first_limit; /* end of the tensor that it was first known in */
    uint64_t limit;       /* where its windows end: the tensor's end, or the file's */
    uint64_t hole[2];     /* starts of the last two windows: pages that are left to be asked for */
    uint64_t end;         /* of the last window */
    uint64_t next, to;    /* work that was laid out and not taken yet */
    uint64_t bytes;       /* of the next window */
    uint64_t told;        /* end of what was said to be expected */
    uint32_t window;      /* number of the last window */
    uint64_t done[3]; /* bytes done and not come past: up to each hole, and in the last window */
};

struct weir_streams {
    struct weir_streams_options how;
    uint64_t tick;
    struct weir_streams_counts counts;
    size_t last; /* the stream that has read last */
    struct stream stream[];
};

static uint64_t page_floor(uint64_t at)
{
    return at - at % PAGE;
}

static uint64_t page_ceil(uint64_t at)
{
    return page_floor(at + PAGE - 1);
}

static uint64_t min_of(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t max_of(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* ---- finding the stream ---- */

static bool is_recent(const struct weir_streams *all, const struct stream *s)
{
    return s->tick && all->tick - s->tick < RECENT_READS;
}

/* A reader asks where it stopped, or for a page that was left out; while it is at it, also a bit
 * further on, and for what could not be stored. */
static bool goes_on(const struct weir_streams *all, const struct stream *s,
                    const struct weir_streams_read *read)
{
    uint64_t at = read->at;
    if (!s->tick || s->file != read->file || s->is_direct != read->is_direct)
        return false;
    bool is_near = at + PAGE >= s->pos && at <= s->pos + GAP;
    if (!s->is_known)
        return is_near && is_recent(all, s);
    return at == s->pos || at == s->hole[0] || at == s->hole[1] || at == s->end ||
           (is_recent(all, s) && (is_near || (at > s->pos && at < s->end)));
}

/* The one whose position is nearest: streams may run close to each other. */
static struct stream *find(struct weir_streams *all, const struct weir_streams_read *read)
{
    struct stream *best = NULL;
    uint64_t best_far = UINT64_MAX;
    for (size_t i = 0; i < all->how.n; i++) {
        struct stream *s = &all->stream[i];
        if (!goes_on(all, s, read))
            continue;
        uint64_t far = s->pos > read->at ? s->pos - read->at : read->at - s->pos;
        if (far < best_far) {
            best = s;
            best_far = far;
        }
    }
    return best;
}

static struct stream *begin(struct weir_streams *all, const struct weir_streams_read *read)
{
    struct stream *s = &all->stream[0];
    for (size_t i = 1; i < all->how.n; i++)
        if (all->stream[i].tick < s->tick)
            s = &all->stream[i];
    all->counts.waste_bytes += s->done[0] + s->done[1] + s->done[2];
    *s = (struct stream){
        .file = read->file,
        .life = s->life + 1,
        .is_direct = read->is_direct,
        .pos = read->at,
        .bytes = WEIR_STREAMS_FIRST_WINDOW,
    };
    return s;
}

/* ---- following it ---- */

/* Whether a tensor begins in what is read and goes on behind it. */
static bool starts_tensor(const struct weir_streams_read *read)
{
    return read->at > 0 && read->n >= MIN_COPY_READ && read->unit_from + PAGE > read->at &&
           read->unit_to > read->at + read->n;
}

static bool goes_forward(const struct stream *s, const struct weir_streams_read *read)
{
    return s->n_reads >= (read->n >= MIN_COPY_READ ? 2 : MIN_SMALL_READS);
}

/* Who reads up to `at` has come past, or will never need, everything before. */
static void come_past(struct weir_streams *all, struct stream *s, uint64_t at)
{
    const uint64_t mark[] = {s->hole[0], s->hole[1], s->end};
    for (int i = 0; i < 3 && at > mark[i]; i++) {
        all->counts.hit_bytes += s->done[i];
        s->done[i] = 0;
    }
}

/* Into the next tensors only when the reads have gone on into them for so long that it is not the
 * kernel's read-ahead that does it. */
static void set_limit(struct stream *s, const struct weir_streams_read *read)
{
    if (!s->first_limit)
        s->first_limit = read->unit_to;
    bool is_beyond = read->at > s->first_limit + SLACK;
    if (is_beyond && s->limit != read->file_bytes)
        s->bytes = WEIR_STREAMS_FIRST_WINDOW; /* carefully at first */
    s->limit = is_beyond ? read->file_bytes : max_of(s->limit, read->unit_to);
}

/* An equal share for all who are reading. */
static uint64_t max_window(const struct weir_streams *all)
{
    uint64_t n_readers = 1;
    for (size_t i = 0; i < all->how.n; i++)
        n_readers += all->stream[i].is_known && is_recent(all, &all->stream[i]);
    return min_of(all->how.ahead_bytes / MAX_WINDOWS / n_readers, WEIR_STREAMS_MAX_WINDOW);
}

/* The next window, from the end of the last one.  Its first page is left out, and the last page of
 * all: whoever reads it says that all before it was of use.  False: there is no room for one. */
static bool lay_out(const struct weir_streams *all, struct stream *s)
{
    uint64_t bytes = page_floor(min_of(s->bytes, max_window(all)));
    uint64_t from = max_of(s->end, page_ceil(s->pos));
    uint64_t stop = page_floor(s->limit - 1);
    if (bytes < WEIR_STREAMS_MIN_WINDOW || from + PAGE >= stop)
        return false;
    if (s->next >= s->to)
        s->next = from;
    s->hole[0] = s->window ? s->hole[1] : from; /* one window until it is seen to be of use */
    s->hole[1] = from;
    s->to = s->end = min_of(from + bytes, stop);
    s->window++;
    s->done[0] += s->done[1];
    s->done[1] = s->done[2];
    s->done[2] = 0;
    s->bytes = min_of(2 * bytes, WEIR_STREAMS_MAX_WINDOW);
    return true;
}

bool weir_streams_saw(struct weir_streams *all, const struct weir_streams_read *read)
{
    struct stream *s = find(all, read);
    if (!s)
        s = begin(all, read);
    all->last = (size_t)(s - all->stream);
    s->tick = ++all->tick;
    s->n_reads++;
    if (!s->is_known && (goes_forward(s, read) || starts_tensor(read))) {
        s->is_known = true;
        all->counts.n_streams++;
    }
    s->pos = max_of(s->pos, read->at + read->n);
    come_past(all, s, s->pos);
    if (!s->is_known)
        return false;
    set_limit(s, read);
    if (s->pos > s->next) /* the reader will have these pages without us */
        s->next = page_ceil(s->pos);
    while (s->pos > s->hole[0] && lay_out(all, s))
        continue;
    return s->next < s->to;
}

bool weir_streams_expects(struct weir_streams *all, struct weir_streams_range *out)
{
    struct stream *s = &all->stream[all->last];
    uint64_t from = max_of(s->told, s->pos);
    uint64_t to = min_of(max_of(s->end, s->pos) + WEIR_STREAMS_EXPECTS, s->limit);
    /* A little at a time is not worth it. */
    if (!s->is_known || from >= to || (to < s->limit && to - from < WEIR_STREAMS_FIRST_WINDOW))
        return false;
    *out = (struct weir_streams_range){s->file, from, to};
    s->told = to;
    return true;
}

/* ---- work ---- */

bool weir_streams_next(struct weir_streams *all,
                       uint64_t (*cut)(void *self, uint32_t file, uint64_t from), void *self,
                       struct weir_streams_piece *out)
{
    struct stream *s = NULL;
    for (size_t i = 0; i < all->how.n; i++) {
        struct stream *other = &all->stream[i];
        if (other->next < other->to && (!s || other->tick > s->tick))
            s = other;
    }
    if (!s)
        return false;
    bool after_hole = s->next == s->hole[0] || s->next == s->hole[1];
    if (after_hole)
        s->next += PAGE;
    uint64_t to = page_floor(cut(self, s->file, s->next));
    to = min_of(max_of(to, s->next + PAGE), s->to);
    for (int i = 0; i < 2; i++)
        if (s->next < s->hole[i])
            to = min_of(to, s->hole[i]);
    *out = (struct weir_streams_piece){
        .file = s->file,
        .from = s->next,
        .to = to,
        .is_whole = !after_hole && to != page_floor(s->limit - 1),
        .stream = (uint32_t)(s - all->stream),
        .life = s->life,
        .window = s->window,
    };
    s->next = to;
    return true;
}

/* The stream of a piece, if it is still the one that the piece was taken from. */
static bool is_current(const struct stream *s, const struct weir_streams_piece *piece)
{
    return s->life == piece->life;
}

/* Where the reader of a stream may ask next: from what it has read to the first page that was left
 * out ahead of it, and as far past that as the kernel reads ahead.  (That is why there are two such
 * pages: around the further one there is time.) */
static bool may_ask(const struct weir_streams *all, const struct stream *s,
                    const struct weir_streams_piece *piece)
{
    if (!s->is_known && !is_recent(all, s))
        return false;
    uint64_t reach = s->pos;
    if (s->pos <= s->hole[1])
        reach = s->pos <= s->hole[0] ? s->hole[0] : s->hole[1];
    return s->file == piece->file && piece->from < reach + all->how.guard_bytes &&
           piece->to > s->pos;
}

bool weir_streams_may_store(const struct weir_streams *all, const struct weir_streams_piece *piece)
{
    const struct stream *own = &all->stream[piece->stream];
    if (!is_current(own, piece) || own->is_direct || piece->to <= own->pos)
        return false;
    for (size_t i = 0; i < all->how.n; i++)
        if (may_ask(all, &all->stream[i], piece))
            return false;
    return true;
}

void weir_streams_done(struct weir_streams *all, const struct weir_streams_piece *piece, uint64_t n)
{
    struct stream *s = &all->stream[piece->stream];
    all->counts.ahead_bytes += n;
    if (!is_current(s, piece))
        all->counts.waste_bytes += n;
    else if (s->pos >= piece->to)
        all->counts.hit_bytes += n;
    else
        s->done[piece->window == s->window ? 2 : piece->window + 1 == s->window] += n;
}

void weir_streams_stop(struct weir_streams *all, const struct weir_streams_piece *piece)
{
    struct stream *s = &all->stream[piece->stream];
    if (is_current(s, piece))
        s->next = s->to;
}

struct weir_streams_counts weir_streams_counts(const struct weir_streams *all)
{
    return all->counts;
}

/* ---- birth and death ---- */

weir_err weir_streams_new(const struct weir_streams_options *options, struct weir_streams **out)
{
    if (options->n < 1 || options->n > MAX_STREAMS)
        return WEIR_ERR_INVALID;
    struct weir_streams *all = calloc(1, sizeof(*all) + options->n * sizeof(all->stream[0]));
    if (!all)
        return WEIR_ERR_NOMEM;
    all->how = *options;
    *out = all;
    return WEIR_OK;
}

void weir_streams_free(struct weir_streams *all)
{
    free(all);
}
