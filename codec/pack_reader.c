#include "pack_plan.h"

/* Threads mostly read the same file, and there may be thousands: one open source for all of them,
 * counted, closed when the last one moves on. */

static weir_err hold(struct pack *p, uint32_t entry, struct weir_source *out,
                     struct weir_diag *diag)
{
    struct pack_file *file = &p->file[entry];
    weir_err err = WEIR_OK;
    pthread_mutex_lock(&p->lock); /* open is called from one thread at a time, too */
    if (!file->n_users)
        err = file->from->open(file->from->self, &file->src, diag);
    if (err && !diag->text[0])
        weir_diag_set(diag, "%s: %s", file->from->path, weir_err_text(err));
    if (!err && file->src.size != p->ix.entry[entry].size) {
        weir_diag_set(diag, "%s: its size changed while it was packed", file->from->path);
        weir_source_close(&file->src);
        err = WEIR_ERR_CHANGED;
    }
    if (!err) {
        file->n_users++;
        *out = file->src;
    }
    pthread_mutex_unlock(&p->lock);
    return err;
}

void pack_reader_release(struct pack_reader *r)
{
    if (r->entry == PACK_NO_ENTRY)
        return;
    struct pack_file *file = &r->pack->file[r->entry];
    pthread_mutex_lock(&r->pack->lock);
    if (--file->n_users == 0)
        weir_source_close(&file->src);
    pthread_mutex_unlock(&r->pack->lock);
    r->entry = PACK_NO_ENTRY;
}

static weir_err turn_to(struct pack_reader *r, uint32_t entry, struct weir_diag *diag)
{
    if (r->entry == entry)
        return WEIR_OK;
    pack_reader_release(r);
    weir_err err = hold(r->pack, entry, &r->src, diag);
    if (!err)
        r->entry = entry;
    return err;
}

void pack_expect(struct pack_reader *r, uint32_t entry, uint64_t at, uint64_t n)
{
    struct weir_diag ignored = {{0}};
    if (turn_to(r, entry, &ignored) == WEIR_OK)
        weir_source_expect(&r->src, at, n);
}

weir_err pack_read(struct pack_reader *r, uint32_t entry, uint64_t at, void *dst, size_t n,
                   struct weir_diag *diag)
{
    weir_err err = turn_to(r, entry, diag);
    if (err)
        return err;
    err = weir_source_read(&r->src, at, dst, n);
    if (!err)
        return WEIR_OK;
    weir_diag_set(diag, "%s: %s at byte %llu", r->pack->file[entry].from->path, weir_err_text(err),
                  (unsigned long long)at);
    pthread_mutex_lock(&r->pack->lock);
    r->pack->read_failed = true;
    pthread_mutex_unlock(&r->pack->lock);
    return err;
}
