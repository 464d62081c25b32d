/* read_ops.c - bytes for the kernel: answers to reads, and what is stored before it is asked for.
 */
#define FUSE_USE_VERSION 312
#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdio.h>

#include "answer.h"
#include "inode.h"
#include "log.h"
#include "mounted.h"
#include "reader.h"
#include "special.h"
#include "tree.h"
#include "xattr.h"

#define NEWS_OF_STORE (UINT64_MAX - 1) /* for log_is_news(); tiles have smaller numbers */

/* The one place where a weir_err becomes an errno. */
static int errno_of(weir_err err)
{
    switch (err) {
    case WEIR_OK:
        return 0;
    case WEIR_ERR_INVALID:
        return EINVAL;
    case WEIR_ERR_NOT_FOUND:
        return ENOENT;
    case WEIR_ERR_UNSUPPORTED:
        return EOPNOTSUPP;
    case WEIR_ERR_NOMEM:
        return ENOMEM;
    case WEIR_ERR_CANCELLED:
        return EINTR;
    case WEIR_ERR_ABSENT:
        return ENODATA;
    case WEIR_ERR_IO:
    case WEIR_ERR_CHANGED:
    case WEIR_ERR_CORRUPT:
    case WEIR_ERR_MISMATCH:
    case WEIR_ERR_NETWORK:
        break;
    }
    return EIO;
}

/* Who reads a store here reads it as a file that never changes: the bytes that it had when it was
 * mounted, or none. */
static weir_err read_store(struct mount *m, struct reader_worker *worker,
                           const struct answer_job *job)
{
    struct weir_diag diag = {""};
    weir_err err = weir_store_read_stored(worker->cursor, job->at, worker->buffer, job->n, &diag);
    if (err && log_is_news(m->log, NEWS_OF_STORE)) {
        log_explain(m->log, err, &diag);
        log_line(m->log, WEIR_MOUNT_LOG_ERROR, ".weir/store: %s",
                 diag.text[0] ? diag.text : weir_err_text(err));
    }
    return err;
}

static void answer_store(struct mount *m, struct reader_worker *worker,
                         const struct answer_job *job)
{
    weir_err err = read_store(m, worker, job);
    if (err)
        (void)fuse_reply_err(job->request, errno_of(err));
    else
        (void)fuse_reply_buf(job->request, (const char *)worker->buffer, job->n);
}

static void answer_status(struct mount *m, const struct answer_job *job)
{
    char status[STATUS_BYTES];
    status_write(m, status);
    (void)fuse_reply_buf(job->request, status + job->at, job->n);
}

static void answer_file(struct mount *m, struct reader_worker *worker, const struct answer_job *job)
{
    const struct reader_range range = {m->tree->node[job->node].entry, job->at, job->n, true};
    struct reader_view view;
    weir_err err = reader_view(m->reader, worker, &range, READER_MAX_PARTS, &view);
    atomic_fetch_add(&m->n_reads, 1);
    if (err) {
        atomic_fetch_add(&m->n_errors, 1);
        (void)fuse_reply_err(job->request, errno_of(err));
        return;
    }
    atomic_fetch_add(&m->read_bytes, job->n);
    if (view.n == 1) /* which allocates nothing */
        (void)fuse_reply_buf(job->request, view.part[0].iov_base, view.part[0].iov_len);
    else
        (void)fuse_reply_iov(job->request, view.part, (int)view.n);
    reader_end_view(m->reader, &view);
}

void mount_answer(void *self, unsigned thread, const struct answer_job *job)
{
    struct mount *m = self;
    struct reader_worker *worker = reader_worker(m->reader, thread);
    if (atomic_load(&m->stops))
        (void)fuse_reply_err(job->request, EIO);
    else if (!is_special(m, job->node))
        answer_file(m, worker, job);
    else if (special_of(m, job->node) == SPECIAL_STORE)
        answer_store(m, worker, job);
    else
        answer_status(m, job);
}

void mount_answer_ratio(void *self, unsigned thread, const struct answer_job *job)
{
    (void)thread;
    struct mount *m = self;
    const struct weir_entry *file = m->tree->node[job->node].entry;
    uint64_t stored = 0;
    weir_err err = reader_stored_bytes(m->reader, reader_worker(m->reader, m->slow_worker), file,
                                       &m->stops, &stored);
    if (err) {
        (void)fuse_reply_err(job->request, errno_of(err));
        return;
    }
    char text[XATTR_MAX_BYTES];
    int n = snprintf(text, sizeof(text), "%.3f", stored ? (double)file->size / (double)stored : 1);
    xattr_reply(job->request, job->room, text, (size_t)n);
}

/* What the kernel says does not matter: an inode that it has forgotten needs no pages. */
void mount_store(void *self, uint32_t file, uint64_t at, const uint8_t *bytes, size_t n)
{
    struct mount *m = self;
    struct fuse_bufvec buffer = FUSE_BUFVEC_INIT(n);
    buffer.buf[0].mem = (void *)(uintptr_t)bytes; /* only read */
    (void)fuse_lowlevel_notify_store(m->session, inode_of(m, file), (off_t)at, &buffer, 0);
}
