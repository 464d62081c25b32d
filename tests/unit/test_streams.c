#include "fs/streams.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "fail_alloc.h"

enum { N_PAGES = 65536 }; /* of the file */

static const uint64_t KI = 1 << 10, MI = 1 << 20, PAGE = WEIR_STREAMS_PAGE, TILE = 128 << 10,
                      FILE_BYTES = 256 << 20, GUARD = 2 << 20;

/* A file of tensors of equal size, and what has become of its pages. */
struct sim {
    struct weir_streams *streams;
    uint64_t tensor_bytes;
    uint32_t page[N_PAGES]; /* how often it was read or work */
};

static struct sim *new_sim(uint64_t tensor_bytes, uint64_t ahead_bytes)
{
    struct sim *sim = calloc(1, sizeof(*sim));
    cr_assert(sim);
    const struct weir_streams_options options = {
        .n = 32, .ahead_bytes = ahead_bytes, .guard_bytes = GUARD};
    cr_assert_eq(weir_streams_new(&options, &sim->streams), WEIR_OK);
    sim->tensor_bytes = tensor_bytes;
    return sim;
}

static void free_sim(struct sim *sim)
{
    weir_streams_free(sim->streams);
    free(sim);
}

static bool saw_how(struct sim *sim, uint64_t at, uint64_t n, bool is_direct)
{
    uint64_t unit = (at + n - 1) / sim->tensor_bytes * sim->tensor_bytes;
    const struct weir_streams_read read = {
        .file = 7,
        .at = at,
        .n = n,
        .is_direct = is_direct,
        .unit_from = unit,
        .unit_to = unit + sim->tensor_bytes,
        .file_bytes = FILE_BYTES,
    };
    for (uint64_t page = at / PAGE; page < (at + n) / PAGE; page++)
        sim->page[page]++;
    return weir_streams_saw(sim->streams, &read);
}

static bool saw(struct sim *sim, uint64_t at, uint64_t n)
{
    return saw_how(sim, at, n, false);
}

static uint64_t cut(void *self, uint32_t file, uint64_t from)
{
    (void)self;
    cr_assert_eq(file, 7);
    return (from / TILE + 1) * TILE;
}

static bool next(struct sim *sim, struct weir_streams_piece *piece)
{
    if (!weir_streams_next(sim->streams, cut, sim, piece))
        return false;
    cr_assert(piece->from % PAGE == 0 && piece->to % PAGE == 0);
    cr_assert(piece->from < piece->to && piece->to <= FILE_BYTES);
    cr_assert_leq(piece->to - piece->from, TILE);
    for (uint64_t at = piece->from; at < piece->to; at += PAGE)
        sim->page[at / PAGE]++;
    return true;
}

/* Does all the work there is; the bytes of it. */
static uint64_t work(struct sim *sim)
{
    struct weir_streams_piece piece;
    uint64_t bytes = 0;
    while (next(sim, &piece)) {
        weir_streams_done(sim->streams, &piece, piece.to - piece.from);
        bytes += piece.to - piece.from;
    }
    return bytes;
}

/* Whether every page of [from, to) was read or work. */
static bool is_done(const struct sim *sim, uint64_t from, uint64_t to)
{
    for (uint64_t at = from; at < to; at += PAGE)
        if (!sim->page[at / PAGE])
            return false;
    return true;
}

static struct weir_streams_counts counts(const struct sim *sim)
{
    return weir_streams_counts(sim->streams);
}

Test(streams, are_made_of_a_sensible_number)
{
    struct weir_streams *streams = NULL;
    struct weir_streams_options options = {.n = 0};
    cr_expect_eq(weir_streams_new(&options, &streams), WEIR_ERR_INVALID);
    options.n = 65537;
    cr_expect_eq(weir_streams_new(&options, &streams), WEIR_ERR_INVALID);
    options.n = 1;
    fail_alloc_at(0);
    cr_expect_eq(weir_streams_new(&options, &streams), WEIR_ERR_NOMEM);
    fail_alloc_at(-1);
    cr_expect_null(streams);
    weir_streams_free(NULL);
}

Test(streams, two_reads_that_adjoin_make_one)
{
    struct sim *sim = new_sim(FILE_BYTES, 64 * MI);
    cr_expect(!saw(sim, 0, TILE));
    cr_expect_eq(work(sim), 0);
    cr_expect(saw(sim, TILE, TILE));
    cr_expect_eq(work(sim), WEIR_STREAMS_FIRST_WINDOW - PAGE);
    cr_expect_eq(counts(sim).n_streams, 1);
    /* The first page behind the reads is left out, the rest of the window is there. */
    cr_expect_eq(sim->page[2 * TILE / PAGE], 0);
    cr_expect(is_done(sim, 2 * TILE + PAGE, 2 * TILE + WEIR_STREAMS_FIRST_WINDOW));
    free_sim(sim);
}

Test(streams, random_reads_make_none)
{
    static const uint64_t sizes[] = {PAGE, TILE};
    for (size_t k = 0; k < 2; k++) {
        struct sim *sim = new_sim(FILE_BYTES, 64 * MI);
        uint64_t seed = 1, bytes = 0;
        for (int i = 0; i < 20000; i++) {
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
            saw(sim, (seed >> 20) % (FILE_BYTES / PAGE - 64) * PAGE, sizes[k]);
            bytes += work(sim);
        }
        /* Chance makes some reads adjoin; they are to cost less than the reads themselves. */
        cr_expect_lt(bytes, 2000 * TILE, "%llu", (unsigned long long)bytes);
        free_sim(sim);
    }
}

Test(streams, a_read_in_which_a_tensor_begins_makes_one)
{
    static const struct {
        uint64_t at, n;
        bool known;
    } rows[] = {
        {48 * MI, TILE, true},           /* from its first byte */
        {48 * MI - 64 * KI, TILE, true}, /* around it, as a page fault reads */
        {48 * MI, PAGE, false},          /* a look */
        {49 * MI, TILE, false},          /* in the middle */
        {48 * MI - TILE, TILE, false},   /* up to it */
        {0, TILE, false},                /* a file's header may be all that is wanted */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct sim *sim = new_sim(16 * MI, 64 * MI);
        cr_expect_eq(saw(sim, rows[i].at, rows[i].n), rows[i].known, "row %zu", i);
        free_sim(sim);
    }
}

Test(streams, stays_in_its_tensor_until_it_is_seen_in_the_next)
{
    struct sim *sim = new_sim(16 * MI, 64 * MI);
    uint64_t at = 16 * MI;
    for (; at < 32 * MI; at += TILE) { /* the kernel's read-ahead goes on for a while */
        saw(sim, at, TILE);
        work(sim);
    }
    cr_expect(is_done(sim, 31 * MI, 32 * MI - PAGE));
    for (; at < 32 * MI + 512 * KI; at += TILE) {
        saw(sim, at, TILE);
        work(sim);
    }
    for (uint64_t page = 48 * MI / PAGE; page < N_PAGES; page++)
        cr_assert_eq(sim->page[page], 0, "page %llu", (unsigned long long)page);
    for (; at < 47 * MI; at += TILE) {
        saw(sim, at, TILE);
        work(sim);
    }
    cr_expect(is_done(sim, 48 * MI, 48 * MI + 256 * KI), "does not go on into the third");
    free_sim(sim);
}

/* Reads as a program does through a page cache: what was work is not asked for. */
static void read_cached(struct sim *sim, uint64_t from, uint64_t to, uint64_t *n_reads)
{
    for (uint64_t at = from; at < to; at += PAGE) {
        if (sim->page[at / PAGE])
            continue;
        uint64_t n = PAGE;
        while (n < TILE && at + n < to && !sim->page[(at + n) / PAGE])
            n += PAGE;
        saw(sim, at, n);
        ++*n_reads;
        work(sim);
    }
}

Test(streams, read_to_the_end_waste_nothing_and_ask_seldom)
{
    struct sim *sim = new_sim(FILE_BYTES, 64 * MI);
    uint64_t n_reads = 0;
    read_cached(sim, 0, FILE_BYTES, &n_reads);
    for (size_t page = 0; page < N_PAGES; page++)
        cr_assert_eq(sim->page[page], 1, "page %zu is read %u times", page, sim->page[page]);
    struct weir_streams_counts c = counts(sim);
    cr_expect_eq(c.hit_bytes, c.ahead_bytes);
    cr_expect_eq(c.waste_bytes, 0);
    cr_expect_gt(c.ahead_bytes, FILE_BYTES / 100 * 99);
    cr_expect_lt(n_reads, 40, "%llu", (unsigned long long)n_reads);
    free_sim(sim);
}

Test(streams, count_what_they_leave_behind)
{
    struct sim *sim = new_sim(FILE_BYTES, 64 * MI);
    saw(sim, 0, TILE);
    saw(sim, TILE, TILE);
    uint64_t bytes = work(sim);
    for (uint64_t i = 1; i <= 32; i++) /* others make it go */
        saw(sim, i * 7 * MI, PAGE);
    struct weir_streams_counts c = counts(sim);
    cr_expect_eq(c.ahead_bytes, bytes);
    cr_expect_eq(c.hit_bytes, 0);
    cr_expect_eq(c.waste_bytes, bytes);
    free_sim(sim);
}

Test(streams, many_read_at_once)
{
    struct sim *sim = new_sim(FILE_BYTES, 64 * MI);
    for (uint64_t at = 0; at < 4 * MI; at += TILE)
        for (uint64_t reader = 0; reader < 16; reader++) {
            saw(sim, reader * 16 * MI + at, TILE);
            work(sim);
        }
    cr_expect_eq(counts(sim).n_streams, 16);
    for (uint64_t reader = 0; reader < 16; reader++)
        cr_expect(is_done(sim, reader * 16 * MI + 3 * MI, reader * 16 * MI + 3 * MI + TILE));
    free_sim(sim);
}

Test(streams, windows_grow_to_their_share)
{
    static const struct {
        uint64_t ahead, least, most; /* work that comes of one read */
    } rows[] = {
        {512 * MI, 7 * MI, WEIR_STREAMS_MAX_WINDOW}, {6 * MI, 1 * MI, 4 * MI}, {512 * KI, 0, 0}};
    for (size_t i = 0; i < 3; i++) {
        struct sim *sim = new_sim(FILE_BYTES, rows[i].ahead);
        uint64_t most = 0;
        for (uint64_t at = 0; at < 128 * MI; at += TILE) {
            saw(sim, at, TILE);
            uint64_t bytes = work(sim);
            most = bytes > most ? bytes : most;
        }
        cr_expect_leq(most, rows[i].most, "row %zu: %llu", i, (unsigned long long)most);
        cr_expect_geq(most, rows[i].least, "row %zu: %llu", i, (unsigned long long)most);
        free_sim(sim);
    }
}

Test(streams, nothing_is_stored_where_somebody_may_ask)
{
    struct sim *sim = new_sim(FILE_BYTES, 64 * MI);
    struct weir_streams_piece piece;
    uint64_t pos = 0, n_stored = 0;
    for (int round = 0; round < 64; round++) {
        saw(sim, pos, 2 * TILE);
        pos += 2 * TILE;
        while (next(sim, &piece)) {
            if (!weir_streams_may_store(sim->streams, &piece))
                continue;
            n_stored++;
            /* Behind a page that is left out, and further than the kernel reads beyond that. */
            uint64_t at = piece.from - GUARD;
            while (at >= pos && sim->page[at / PAGE])
                at -= PAGE;
            cr_expect_geq(at, pos, "%llu while at %llu", (unsigned long long)piece.from,
                          (unsigned long long)pos);
        }
    }
    cr_expect_gt(n_stored, 0);
    /* Nor where another stream is. */
    do
        saw(sim, pos, 2 * TILE);
    while (pos += 2 * TILE, !next(sim, &piece));
    while (!weir_streams_may_store(sim->streams, &piece))
        cr_assert(next(sim, &piece));
    saw(sim, piece.from - 2 * TILE, TILE);
    saw(sim, piece.from - TILE, TILE);
    cr_expect(!weir_streams_may_store(sim->streams, &piece));
    free_sim(sim);
}

Test(streams, direct_reads_are_never_stored_for)
{
    struct sim *sim = new_sim(FILE_BYTES, 64 * MI);
    struct weir_streams_piece piece;
    for (uint64_t at = 0; at < 8 * MI; at += TILE) {
        saw_how(sim, at, TILE, true);
        while (next(sim, &piece))
            cr_assert(!weir_streams_may_store(sim->streams, &piece));
    }
    cr_expect(!saw_how(sim, 8 * MI, TILE, false), "the page cache's reader is another");
    free_sim(sim);
}

Test(streams, stop_when_a_piece_fails)
{
    struct sim *sim = new_sim(FILE_BYTES, 64 * MI);
    struct weir_streams_piece piece;
    saw(sim, 0, TILE);
    saw(sim, TILE, TILE);
    cr_assert(next(sim, &piece));
    weir_streams_stop(sim->streams, &piece);
    cr_expect(!next(sim, &piece));
    cr_expect(saw(sim, 2 * TILE, TILE), "goes on behind it");
    free_sim(sim);
}

Test(streams, tell_once_what_they_will_want)
{
    struct sim *sim = new_sim(64 * MI, 64 * MI);
    struct weir_streams_range range;
    saw(sim, MI, TILE);
    cr_expect(!weir_streams_expects(sim->streams, &range), "no stream yet");
    saw(sim, MI + TILE, TILE);
    cr_assert(weir_streams_expects(sim->streams, &range));
    cr_expect(range.file == 7 && range.from == MI + 2 * TILE);
    cr_expect_geq(range.to, MI + WEIR_STREAMS_EXPECTS);
    cr_expect(!weir_streams_expects(sim->streams, &range), "said before");
    uint64_t end = range.to, pos = MI + 2 * TILE;
    for (; pos + TILE <= 64 * MI; pos += TILE) {
        saw(sim, pos, TILE);
        if (!weir_streams_expects(sim->streams, &range))
            continue;
        cr_expect_eq(range.from, end, "without gaps");
        cr_expect_geq(range.to - range.from, MI < 64 * MI - end ? MI : 64 * MI - end);
        end = range.to;
    }
    cr_expect_eq(end, 64 * MI, "to the end of the tensor, and no further: %llu",
                 (unsigned long long)end);
    free_sim(sim);
}
