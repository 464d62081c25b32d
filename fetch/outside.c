#include "outside.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "extent_file.h"

enum { PART_BYTES = 64 << 10 };

struct walk {
    int fd;
    bool (*take)(const struct walk *walk, uint64_t at, const uint8_t *bytes, size_t n);
    bool ended; /* take() said so */
};

static weir_err walk_run(struct walk *w, const struct weir_source *src, uint64_t at, uint64_t end)
{
    uint8_t part[PART_BYTES];
    while (at < end && !w->ended) {
        size_t n = end - at < sizeof(part) ? (size_t)(end - at) : sizeof(part);
        weir_err err = weir_source_read(src, at, part, n);
        if (err)
            return err;
        w->ended = !w->take(w, at, part, n);
        at += n;
    }
    return WEIR_OK;
}

static weir_err walk_outside(struct walk *w, const struct weir_remote *remote,
                             struct weir_diag *diag)
{
    const struct weir_store *store = weir_remote_store(remote);
    const struct weir_source *src = weir_remote_source(remote);
    uint32_t n = weir_store_info(store)->n_extents;
    struct weir_extent last = {.at = WEIR_ALIGN};
    if (n)
        last = weir_store_extent(store, n - 1);
    weir_err err = walk_run(w, src, 0, WEIR_ALIGN);
    if (!err)
        err = walk_run(w, src, last.at + last.bytes, src->size);
    if (err)
        weir_diag_set(diag, "the store's index: %s", weir_err_text(err));
    return err;
}

static bool write_part(const struct walk *w, uint64_t at, const uint8_t *bytes, size_t n)
{
    return extents_write(w->fd, at, bytes, n);
}

static bool compare_part(const struct walk *w, uint64_t at, const uint8_t *bytes, size_t n)
{
    uint8_t have[PART_BYTES];
    return pread(w->fd, have, n, (off_t)at) == (ssize_t)n && memcmp(have, bytes, n) == 0;
}

weir_err outside_check(const struct weir_remote *remote, struct weir_diag *diag)
{
    if (!weir_store_is_part(weir_remote_store(remote)))
        return WEIR_OK;
    weir_diag_set(diag, "what is at this URL is itself a part of a store; fetch it from where the "
                        "whole store is");
    return WEIR_ERR_ABSENT;
}

weir_err outside_write(const struct weir_remote *remote, int fd, struct weir_diag *diag)
{
    struct walk w = {fd, write_part, false};
    weir_err err = walk_outside(&w, remote, diag);
    return !err && w.ended ? WEIR_ERR_IO : err;
}

weir_err outside_compare(const struct weir_remote *remote, int fd, bool *same,
                         struct weir_diag *diag)
{
    struct walk w = {fd, compare_part, false};
    weir_err err = walk_outside(&w, remote, diag);
    *same = !w.ended;
    return err;
}
