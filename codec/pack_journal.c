#include "pack_plan.h"

#include <stdlib.h>
#include <string.h>

#include "cursor.h"
#include "ends.h"

/* The records: docs/architecture.md, "Life of a pack that comes over the network". */
enum {
    MAGIC_BYTES = 8,
    VERSION = 2, /* also another one where pack would choose or write otherwise */
    HEAD_BYTES = MAGIC_BYTES + 8 + WEIR_DIGEST_BYTES,
    RECORD_HEAD_BYTES = 8,
    CHECK_BYTES = 8,

    SHARING = 1,
    EXTENT = 2,
    SYNCED = 3,

    EXTENT_BYTES = 4 + WEIR_DIGEST_BYTES,
    SHARING_BYTES = 16,
    MEASURED_BYTES = 16,
    MAX_RECORD_BYTES = SHARING_BYTES + PACK_MAX_MEASURED * MEASURED_BYTES + INDEX_MAX_CODING_BYTES,
};

static const uint8_t magic[MAGIC_BYTES] = {0x89, 'w', 'e', 'i', 'r', 'j', '\r', '\n'};

/* Its checksum goes on from that of the record before it, so that none can be left out. */
struct record {
    uint64_t at, end; /* in the journal */
    uint16_t kind;
    uint32_t n;
    uint8_t bytes[RECORD_HEAD_BYTES + MAX_RECORD_BYTES + CHECK_BYTES];
};

/* ---- what it is about ---- */

static weir_err hash_number(struct sha256 *hash, uint64_t v)
{
    uint8_t bytes[8];
    put_number(bytes, v, sizeof(bytes));
    return sha256_add(hash, bytes, sizeof(bytes));
}

static weir_err hash_entry(struct sha256 *hash, const struct weir_entry *e)
{
    weir_err err = sha256_add(hash, e->path, strlen(e->path) + 1);
    if (!err && e->kind == WEIR_ENTRY_LINK)
        err = sha256_add(hash, e->target, strlen(e->target) + 1);
    const uint64_t number[] = {(uint64_t)e->kind, e->mode, e->size, e->n_segments};
    for (size_t i = 0; !err && i < sizeof(number) / sizeof(number[0]); i++)
        err = hash_number(hash, number[i]);
    for (uint32_t i = 0; !err && i < e->n_segments; i++)
        err = hash_number(hash, e->segment[i].bytes << 1 | (e->segment[i].tensor != NULL));
    return err;
}

static weir_err hash_plan(const struct pack *p, struct sha256 *hash, uint8_t *out)
{
    weir_err err = sha256_begin(hash);
    if (!err)
        err = sha256_add(hash, p->journal->input, WEIR_DIGEST_BYTES);
    for (uint32_t i = 0; !err && i < p->ix.n_entries; i++)
        err = hash_entry(hash, &p->ix.entry[i]);
    return err ? err : sha256_end(hash, out);
}

/* Input and plan: what every record takes for granted. */
static weir_err make_head(const struct pack *p, uint8_t head[HEAD_BYTES])
{
    struct sha256 hash = {0};
    memset(head, 0, HEAD_BYTES);
    memcpy(head, magic, MAGIC_BYTES);
    put_number(head + MAGIC_BYTES, VERSION, 2);
    weir_err err = hash_plan(p, &hash, head + HEAD_BYTES - WEIR_DIGEST_BYTES);
    sha256_free(&hash);
    return err;
}

/* ---- writing ---- */

static weir_err append(struct pack *p, uint16_t kind, struct record *r)
{
    put_number(r->bytes, kind, 2);
    put_number(r->bytes + 2, 0, 2);
    put_number(r->bytes + 4, r->n, 4);
    size_t n = RECORD_HEAD_BYTES + r->n;
    p->journal_xxh3 = XXH3_64bits_withSeed(r->bytes, n, p->journal_xxh3);
    put_number(r->bytes + n, p->journal_xxh3, CHECK_BYTES);
    return p->journal->append(p->journal->self, r->bytes, n + CHECK_BYTES);
}

weir_err pack_journal_sharing(struct pack *p, const struct pack_sharing *s, struct weir_diag *diag)
{
    (void)diag; /* the caller's functions say what was wrong with them */
    if (!p->journal)
        return WEIR_OK;
    struct record r;
    uint8_t *to = r.bytes + RECORD_HEAD_BYTES;
    put_number(to, s->object, 4);
    put_number(to + 4, s->n_measured, 4);
    put_number(to + 8, s->sample_xxh3, 8);
    to += SHARING_BYTES;
    for (unsigned i = 0; i < s->n_measured; i++, to += MEASURED_BYTES) {
        put_number(to, s->measured[i].object, 4);
        put_number(to + 4, s->measured[i].dull, 4);
        put_number(to + 8, s->measured[i].least_bytes, 8);
    }
    if (s->object == p->ix.n_objects && s->coding)
        to += index_coding_write(s->coding, to);
    r.n = (uint32_t)(to - r.bytes - RECORD_HEAD_BYTES);
    return append(p, SHARING, &r);
}

weir_err pack_journal_extent(struct pack *p, const struct index_extent *extent,
                             struct weir_diag *diag)
{
    (void)diag;
    if (!p->journal)
        return WEIR_OK;
    struct record r;
    r.n = EXTENT_BYTES;
    put_number(r.bytes + RECORD_HEAD_BYTES, extent->bytes, 4);
    memcpy(r.bytes + RECORD_HEAD_BYTES + 4, extent->sha256, WEIR_DIGEST_BYTES);
    weir_err err = append(p, EXTENT, &r);
    bool synced = false;
    if (!err)
        err = p->journal->sync(p->journal->self, &synced);
    if (err || !synced)
        return err;
    r.n = 0;
    return append(p, SYNCED, &r);
}

/* ---- reading: hostile ---- */

/* The record behind *r; false: there is none that is whole, or memory or disk say no: *err. */
static bool next_record(const struct pack *p, struct record *r, uint64_t *xxh3)
{
    const struct weir_source *left = &p->journal->left;
    r->at = r->end;
    if (left->size - r->at < RECORD_HEAD_BYTES + CHECK_BYTES ||
        weir_source_read(left, r->at, r->bytes, RECORD_HEAD_BYTES))
        return false;
    struct cursor c = {r->bytes, RECORD_HEAD_BYTES, false};
    r->kind = cursor_u16(&c);
    uint16_t zero = cursor_u16(&c);
    r->n = cursor_u32(&c);
    if (zero || r->n > MAX_RECORD_BYTES ||
        left->size - r->at < RECORD_HEAD_BYTES + (uint64_t)r->n + CHECK_BYTES ||
        weir_source_read(left, r->at + RECORD_HEAD_BYTES, r->bytes + RECORD_HEAD_BYTES,
                         r->n + (size_t)CHECK_BYTES))
        return false;
    size_t n = RECORD_HEAD_BYTES + r->n;
    c = (struct cursor){r->bytes + n, CHECK_BYTES, false};
    uint64_t check = XXH3_64bits_withSeed(r->bytes, n, *xxh3);
    if (cursor_u64(&c) != check)
        return false;
    *xxh3 = check;
    r->end = r->at + n + CHECK_BYTES;
    return true;
}

/* A run with a journal has no base and makes nothing near; what floats were born as is a byte. */
static bool may_have_chosen(const struct weir_coding *coding)
{
    const struct weir_transform *t = &coding->transform;
    return !t->kind || (t->kind == WEIR_TRANSFORM_SCALE && !t->near && t->item_bytes == 1);
}

static bool take_sharing(struct pack *p, const struct record *r, weir_err *err)
{
    struct pack_sharing how = {0};
    struct cursor c = {r->bytes + RECORD_HEAD_BYTES, r->n, false};
    how.object = cursor_u32(&c);
    how.n_measured = cursor_u32(&c);
    how.sample_xxh3 = cursor_u64(&c);
    if (c.bad || how.n_measured > PACK_MAX_MEASURED)
        return false;
    for (unsigned i = 0; i < how.n_measured; i++) {
        how.measured[i].object = cursor_u32(&c);
        how.measured[i].dull = cursor_u32(&c) != 0;
        how.measured[i].least_bytes = cursor_u64(&c);
    }
    if (c.bad)
        return false;
    weir_err bad = c.left ? index_coding_parse(c.bytes, c.left, &how.coding) : WEIR_OK;
    if (bad == WEIR_ERR_NOMEM)
        *err = bad;
    bool fine = !bad && (!how.coding || may_have_chosen(how.coding)) && pack_share_again(p, &how);
    free(how.coding);
    return fine;
}

/* `stored`: room for an extent; NULL: it was brought to disk and need not be looked at now. */
static bool take_extent(struct pack *p, const struct record *r, uint8_t *stored, weir_err *err)
{
    uint32_t i = p->n_restored;
    uint64_t n_tiles = (uint64_t)(i + 1) * WEIR_EXTENT_TILES;
    /* The last one may be shorter, but then nothing is left to be shared, and little to be lost. */
    if (r->n != EXTENT_BYTES || n_tiles > p->ix.n_tiles || i == p->max_extents)
        return false;
    struct cursor c = {r->bytes + RECORD_HEAD_BYTES, EXTENT_BYTES, false};
    struct index_extent *e = &p->ix.extent[i];
    e->bytes = cursor_u32(&c);
    memcpy(e->sha256, cursor_take(&c, WEIR_DIGEST_BYTES), WEIR_DIGEST_BYTES);
    if (e->bytes == 0 || e->bytes > WEIR_MAX_EXTENT_BYTES)
        return false;
    uint64_t at = i ? p->stored_bytes : HEADER_BYTES;
    p->extent_at[i] = (at + WEIR_ALIGN - 1) / WEIR_ALIGN * WEIR_ALIGN;
    weir_err bad = stored ? pack_stored_check(p, i, stored) : WEIR_OK;
    if (bad == WEIR_ERR_NOMEM)
        *err = bad;
    if (bad)
        return false;
    p->stored_bytes = p->extent_at[i] + e->bytes;
    p->n_restored = p->n_written = i + 1;
    return true;
}

static bool take(struct pack *p, const struct record *r, uint8_t *stored, weir_err *err)
{
    if (r->kind == SHARING)
        return take_sharing(p, r, err);
    if (r->kind == EXTENT)
        return take_extent(p, r, stored, err);
    return r->kind == SYNCED && r->n == 0;
}

/* The end of the last record that says that all before it is on disk. */
static uint64_t find_synced(const struct pack *p, struct record *r)
{
    uint64_t xxh3 = 0;
    uint64_t synced = 0;
    r->end = HEAD_BYTES;
    while (next_record(p, r, &xxh3))
        if (r->kind == SYNCED)
            synced = r->end;
    return synced;
}

/* As many records as make sense.  p->journal_xxh3 is the last one's then, r->end its end. */
static weir_err replay(struct pack *p, struct record *r)
{
    uint64_t synced = find_synced(p, r);
    uint64_t xxh3 = 0;
    weir_err err = WEIR_OK;
    r->end = HEAD_BYTES;
    while (next_record(p, r, &xxh3)) {
        if (!take(p, r, r->at < synced ? NULL : p->slot[0].stored, &err)) {
            r->end = r->at;
            break;
        }
        p->journal_xxh3 = xxh3;
    }
    return err;
}

static bool has_header(const struct pack *p)
{
    uint8_t is[HEADER_BYTES], must[HEADER_BYTES];
    header_write(must);
    return p->journal->read(p->journal->self, 0, is, sizeof(is)) == WEIR_OK &&
           memcmp(is, must, sizeof(is)) == 0;
}

static bool is_ours(const struct pack *p, const uint8_t head[HEAD_BYTES])
{
    uint8_t is[HEAD_BYTES];
    return p->journal->left.size >= HEAD_BYTES &&
           weir_source_read(&p->journal->left, 0, is, sizeof(is)) == WEIR_OK &&
           memcmp(is, head, sizeof(is)) == 0 && has_header(p);
}

weir_err pack_journal_begin(struct pack *p, struct weir_diag *diag)
{
    (void)diag;
    const struct weir_pack_journal *journal = p->journal;
    if (!journal)
        return WEIR_OK;
    uint8_t head[HEAD_BYTES];
    weir_err err = make_head(p, head);
    if (err)
        return err;
    if (is_ours(p, head)) {
        struct record r;
        err = replay(p, &r);
        if (!err && p->n_written == 0)
            p->stored_bytes = HEADER_BYTES;
        return err ? err : journal->resume(journal->self, r.end, p->stored_bytes);
    }
    err = journal->resume(journal->self, 0, 0);
    return err ? err : journal->append(journal->self, head, sizeof(head));
}
