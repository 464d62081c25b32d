/* Any records behind a journal's head: weir_pack() goes on from them, or begins anew, and what it
 * makes is a store, or it says that it is not.  The input is a list of records, each a byte of
 * kind, two of length, and its bytes; checksums are made here, or no change would ever be seen
 * behind them. */
#include "codec/pack.h"

#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "codec/extract.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum {
    N_FILES = 40, /* of a tile each: an extent, and a bit of one */
    FILE_BYTES = 50,
    HEAD_BYTES = 48,
    RECORD_BYTES = 16, /* but for its contents */
    ROOM = 1 << 20,
};

struct sandbox {
    struct weir_pack_entry entry[N_FILES];
    uint8_t bytes[N_FILES][FILE_BYTES];
    char path[N_FILES][4];
    uint8_t store[ROOM], journal[ROOM];
    size_t n_store, n_left, n_journal;
};

static struct sandbox box;

static weir_err open_file(void *self, struct weir_source *out, struct weir_diag *diag)
{
    (void)diag;
    weir_source_from_memory(self, FILE_BYTES, out);
    return WEIR_OK;
}

static void append_to(uint8_t *to, size_t *at, const void *bytes, size_t n)
{
    if (n > ROOM - *at)
        abort();
    memcpy(to + *at, bytes, n);
    *at += n;
}

static weir_err write_store(void *self, const void *bytes, size_t n)
{
    struct sandbox *b = self;
    append_to(b->store, &b->n_store, bytes, n);
    return WEIR_OK;
}

static weir_err read_store(void *self, uint64_t at, void *dst, size_t n)
{
    const struct sandbox *b = self;
    size_t there = b->n_store > b->n_left ? b->n_store : b->n_left;
    if (at > there || n > there - at)
        return WEIR_ERR_IO;
    memcpy(dst, b->store + at, n);
    return WEIR_OK;
}

static weir_err resume(void *self, uint64_t journal_bytes, uint64_t store_bytes)
{
    struct sandbox *b = self;
    if (journal_bytes > b->n_journal || store_bytes > b->n_left)
        abort();
    b->n_journal = (size_t)journal_bytes;
    b->n_store = b->n_left = (size_t)store_bytes;
    return WEIR_OK;
}

static weir_err append(void *self, const void *bytes, size_t n)
{
    struct sandbox *b = self;
    append_to(b->journal, &b->n_journal, bytes, n);
    return WEIR_OK;
}

static weir_err sync_some(void *self, bool *synced)
{
    (void)self;
    *synced = true;
    return WEIR_OK;
}

static weir_err pack(const uint8_t *left, size_t n_left, struct weir_diag *diag)
{
    struct weir_pack_journal journal = {
        .self = &box, .read = read_store, .resume = resume, .append = append, .sync = sync_some};
    const struct weir_output output = {&box, write_store};
    const struct weir_pack_options options = {
        .n_threads = 1, .window_bytes = 1, .journal = &journal};
    struct weir_pack_result result;
    weir_source_from_memory(left, n_left, &journal.left);
    box.n_store = 0;
    return weir_pack(box.entry, N_FILES, &output, &options, &result, diag);
}

/* The files, every fifth like the one before it, and what packing them leaves. */
static void set_up(uint8_t head[HEAD_BYTES], uint8_t *store, size_t *n_store)
{
    struct weir_diag diag = {""};
    for (size_t i = 0; i < N_FILES; i++) {
        for (size_t j = 0; j < FILE_BYTES; j++)
            box.bytes[i][j] = (uint8_t)((i - (i % 5 == 4)) * 31 + j * j);
        box.path[i][0] = (char)('a' + i / 20);
        box.path[i][1] = (char)('a' + i % 20);
        box.entry[i] = (struct weir_pack_entry){.path = box.path[i],
                                                .kind = WEIR_ENTRY_FILE,
                                                .mode = 0644,
                                                .self = box.bytes[i],
                                                .open = open_file};
    }
    box.n_journal = box.n_left = 0;
    if (pack(NULL, 0, &diag))
        abort();
    memcpy(head, box.journal, HEAD_BYTES);
    memcpy(store, box.store, box.n_store);
    *n_store = box.n_store;
}

static void put(uint8_t *to, uint64_t v, size_t n)
{
    for (size_t i = 0; i < n; i++, v >>= 8)
        to[i] = (uint8_t)v;
}

static size_t make_journal(const uint8_t *data, size_t n, uint8_t *to)
{
    size_t at = HEAD_BYTES;
    uint64_t xxh3 = 0;
    while (n >= 3) {
        size_t bytes = data[1] | (size_t)data[2] << 8;
        if (bytes > n - 3 || bytes > ROOM - at - RECORD_BYTES)
            break;
        put(to + at, data[0], 4);
        put(to + at + 4, bytes, 4);
        memcpy(to + at + 8, data + 3, bytes);
        xxh3 = XXH3_64bits_withSeed(to + at, 8 + bytes, xxh3);
        put(to + at + 8 + bytes, xxh3, 8);
        at += RECORD_BYTES + bytes;
        data += 3 + bytes;
        n -= 3 + bytes;
    }
    return at;
}

static void look_at_the_store(void)
{
    struct weir_source src;
    struct weir_store *store = NULL;
    struct weir_diag diag = {""};
    weir_source_from_memory(box.store, box.n_store, &src);
    weir_err err = weir_store_open(&src, &store, &diag);
    const struct weir_extract_options options = {.n_threads = 1};
    if (!err)
        err = weir_extract(store, NULL, &options, &diag);
    weir_store_free(store);
    if (err && (err != WEIR_ERR_CORRUPT || !diag.text[0]))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static uint8_t head[HEAD_BYTES], store[ROOM];
    static size_t n_store;
    if (!n_store)
        set_up(head, store, &n_store);
    uint8_t *journal = malloc(ROOM);
    if (!journal)
        return 0;
    memcpy(journal, head, HEAD_BYTES);
    size_t n_journal = make_journal(data, n, journal);
    uint8_t *left =
        malloc(n_journal); /* exactly as long: a sanitizer sees what is read behind it */
    if (left) {
        memcpy(left, journal, n_journal);
        memcpy(box.journal, journal, n_journal);
        memcpy(box.store, store, n_store);
        box.n_journal = n_journal;
        box.n_left = n_store;
        struct weir_diag diag = {""};
        weir_err err = pack(left, n_journal, &diag);
        if (err && err != WEIR_ERR_MISMATCH)
            abort();
        if (!err)
            look_at_the_store();
    }
    free(left);
    free(journal);
    return 0;
}
