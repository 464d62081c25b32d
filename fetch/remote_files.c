#include "remote_files.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "file_hash.h"

enum {
    MAX_QUEUED = 256,        /* expected ranges that wait for room; more are forgotten */
    WORTH_BYTES = 128 << 10, /* a request of fewer would save fewer bytes than it costs time */
    MAX_TRIES = 3,           /* to get a small file whose hash is right */
    STALE_USES = 512,        /* a piece half read and not touched for so many reads is given up */
    MAX_AHEAD = 4 << 20,     /* of a reader who goes on and on without announcing it */
    FIRST_AHEAD = 256 << 10, /* ... at first; then twice as much each time */
    HEADS_AHEAD = 8,         /* files whose begin is fetched with that of the one before them */
};

enum state { LOADING, READY, FAILED };

struct file {
    struct remote_files *all;
    const struct weir_hub_file *about; /* borrowed */
    struct weir_http_file *remote;
    uint64_t next, ahead; /* under lock: where the last read ended, how much to fetch at a miss */
};

/* A run of bytes that is here or on its way; under lock but for the bytes of one in use. */
struct piece {
    struct piece *next;
    struct file *file;
    uint64_t at;
    size_t n, n_got;
    enum state state;
    bool expected;      /* and not read since */
    bool consumed;      /* its last byte was read */
    unsigned n_users;   /* who wait or copy */
    unsigned n_bad;     /* times that its hash was another */
    uint64_t last_used; /* by the count of uses */
    weir_err err;       /* FAILED */
    uint8_t bytes[];
};

struct wish {
    struct file *file;
    uint64_t at, n;
};

struct remote_files {
    size_t n, max_bytes;
    struct file *file;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct piece *pieces; /* all below is under lock */
    size_t used_bytes;
    unsigned n_loading;
    uint64_t n_uses;
    struct wish queue[MAX_QUEUED]; /* they are read in about the order of their coming */
    unsigned n_queued;
    weir_err err; /* of the last piece that failed */
    struct weir_diag why;
};

/* ---- pieces; all with the lock held ---- */

static struct piece *find(struct remote_files *all, const struct file *file, uint64_t at)
{
    for (struct piece *p = all->pieces; p; p = p->next)
        /* A failure that nobody waits for any more is over: the next one tries anew. */
        if (p->file == file && at >= p->at && at - p->at < p->n &&
            (p->state != FAILED || p->n_users))
            return p;
    return NULL;
}

/* Straight from the system, and back at once: a heap keeps what is freed between pieces of other
 * lengths (16 MiB of it, on a repository of 4 GB). */
static struct piece *new_piece(size_t n)
{
    void *p = mmap(NULL, sizeof(struct piece) + n, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void free_piece(struct piece *piece)
{
    (void)munmap(piece, sizeof(*piece) + piece->n);
}

static void drop(struct remote_files *all, struct piece *piece)
{
    struct piece **at = &all->pieces;
    while (*at != piece)
        at = &(*at)->next;
    *at = piece->next;
    all->used_bytes -= piece->n;
    free_piece(piece);
}

/* How dear a piece is: 0 may go at any time, 3 cannot. */
static int dearness(const struct remote_files *all, const struct piece *p)
{
    if (p->n_users || p->state == LOADING)
        return 3;
    if (p->consumed || p->state == FAILED)
        return 0;
    if (p->expected)
        return 2;
    return all->n_uses - p->last_used > STALE_USES ? 0 : 1;
}

/* Room for n bytes, at the expense of pieces that are no dearer than `most`. */
static bool make_room(struct remote_files *all, size_t n, int most)
{
    while (all->used_bytes &&
           n > all->max_bytes -
                   (all->used_bytes < all->max_bytes ? all->used_bytes : all->max_bytes)) {
        struct piece *least = NULL;
        for (struct piece *p = all->pieces; p; p = p->next) {
            int dear = dearness(all, p);
            int best = least ? dearness(all, least) : most + 1;
            if (dear < best || (dear == best && least && p->last_used < least->last_used))
                least = p;
        }
        if (!least)
            return false;
        drop(all, least);
    }
    return true;
}

static weir_err piece_data(void *self, const void *bytes, size_t n)
{
    struct piece *p = self;
    if (n > p->n - p->n_got)
        return WEIR_ERR_NETWORK; /* the client lets nothing like that through */
    memcpy(p->bytes + p->n_got, bytes, n);
    p->n_got += n;
    return WEIR_OK;
}

static weir_err check_whole(const struct piece *p, struct weir_diag *diag)
{
    const struct weir_hub_file *about = p->file->about;
    if (p->n != about->size)
        return WEIR_OK; /* verified when all of it is packed */
    struct file_hash hash = {0};
    bool same = false;
    weir_err err = file_hash_begin(&hash, about);
    if (!err)
        err = file_hash_add(&hash, p->bytes, p->n);
    if (!err)
        err = file_hash_end(&hash, about, &same);
    file_hash_free(&hash);
    if (err || same)
        return err;
    weir_diag_set(diag, "%.300s: its %s is not what the Hub promises", about->path,
                  file_hash_name(about));
    return WEIR_ERR_MISMATCH;
}

static void pump(struct remote_files *all);
static weir_err start(struct piece *p);

static void piece_done(void *self, weir_err err, const struct weir_diag *diag)
{
    struct piece *p = self;
    struct remote_files *all = p->file->all;
    struct weir_diag why = {""};
    if (err)
        weir_diag_set(&why, "%.100s: %.400s", p->file->about->path,
                      diag->text[0] ? diag->text : weir_err_text(err));
    else
        err = check_whole(p, &why);
    pthread_mutex_lock(&all->lock);
    all->n_loading--;
    if (err == WEIR_ERR_MISMATCH && ++p->n_bad < MAX_TRIES)
        err = start(p);
    else
        p->state = err ? FAILED : READY;
    if (err) {
        p->state = FAILED;
        p->err = all->err = err;
        all->why = why;
    }
    pump(all);
    pthread_cond_broadcast(&all->changed);
    pthread_mutex_unlock(&all->lock);
}

static weir_err start(struct piece *p)
{
    const struct weir_http_range range = {p->at, p->n, p, piece_data, piece_done};
    p->state = LOADING;
    p->n_got = 0;
    weir_err err = weir_http_start(p->file->remote, &range);
    if (!err)
        p->file->all->n_loading++;
    return err;
}

/* Begins to load [at, at + n) of the file, n as many as a piece may have. */
static weir_err begin(struct file *file, uint64_t at, size_t n, struct piece **out)
{
    struct remote_files *all = file->all;
    struct piece *p = new_piece(n);
    if (!p)
        return WEIR_ERR_NOMEM;
    *p = (struct piece){.next = all->pieces, .file = file, .at = at, .n = n, .expected = true};
    p->last_used = all->n_uses;
    weir_err err = start(p);
    if (err) {
        free_piece(p);
        return err;
    }
    all->pieces = p;
    all->used_bytes += n;
    *out = p;
    return WEIR_OK;
}

/* The next part of a wish that is not here nor on its way, as long as a piece; what is here is
 * expected from now on.  false: nothing is left of it. */
static bool next_part(struct remote_files *all, struct wish *w, size_t *n)
{
    if (w->file->about->size <= REMOTE_FILES_PIECE_BYTES) { /* all or nothing */
        w->n = w->n ? w->file->about->size : 0;
        w->at = 0;
    }
    while (w->n) {
        struct piece *p = find(all, w->file, w->at);
        if (!p)
            break;
        uint64_t left = p->n - (w->at - p->at);
        p->expected = true;
        p->consumed = false;
        w->at += left < w->n ? left : w->n;
        w->n -= left < w->n ? left : w->n;
    }
    uint64_t most = w->n < REMOTE_FILES_PIECE_BYTES ? w->n : REMOTE_FILES_PIECE_BYTES;
    for (const struct piece *p = all->pieces; p; p = p->next)
        if (p->file == w->file && p->at > w->at && p->at - w->at < most &&
            p->at - w->at >= WORTH_BYTES && p->state != FAILED)
            most = p->at - w->at;
    *n = (size_t)most;
    return w->n > 0;
}

static void forget(struct remote_files *all, unsigned i)
{
    memmove(&all->queue[i], &all->queue[i + 1], (--all->n_queued - i) * sizeof(all->queue[0]));
}

/* Starts what is expected, as far as there is room. */
static void pump(struct remote_files *all)
{
    while (all->n_queued) {
        struct wish *w = &all->queue[0];
        size_t n;
        struct piece *piece;
        if (next_part(all, w, &n)) {
            if (!make_room(all, n, 0))
                return;
            if (begin(w->file, w->at, n, &piece) == WEIR_OK) {
                w->at += n;
                w->n -= n;
                continue;
            }
        }
        forget(all, 0);
    }
}

/* The last word counts: an older wish for some of it would fetch again what was read meanwhile. */
static void expect(struct file *file, uint64_t at, uint64_t n)
{
    struct remote_files *all = file->all;
    for (unsigned i = all->n_queued; i-- > 0;) {
        const struct wish *w = &all->queue[i];
        if (w->file == file && w->at < at + n && at < w->at + w->n)
            forget(all, i);
    }
    if (all->n_queued < MAX_QUEUED)
        all->queue[all->n_queued++] = (struct wish){file, at, n};
}

/* A read of n bytes that are not here: their piece, on its way, and more where that is likely to
 * be wanted. */
static weir_err miss(struct file *file, uint64_t at, size_t n, struct piece **out)
{
    struct remote_files *all = file->all;
    uint64_t left = file->about->size - at;
    uint64_t want = n;
    file->ahead = at && at == file->next ? 2 * file->ahead : 0;
    if (at && at == file->next && file->ahead < FIRST_AHEAD)
        file->ahead = FIRST_AHEAD;
    if (file->ahead > MAX_AHEAD)
        file->ahead = MAX_AHEAD;
    if (want < file->ahead)
        want = file->ahead;
    if (at == 0 && want < REMOTE_FILES_HEAD_BYTES)
        want = REMOTE_FILES_HEAD_BYTES;
    struct wish w = {file, at, want < left ? want : left};
    size_t part;
    (void)next_part(all, &w, &part);
    (void)make_room(all, part, 2);
    weir_err err = begin(file, w.at, part, out);
    if (!err && w.n > part)
        expect(file, w.at + part, w.n - part);
    for (size_t i = 1; !err && at == 0 && i <= HEADS_AHEAD; i++)
        if (file + i < all->file + all->n && file[i].about->size)
            expect(file + i, 0,
                   file[i].about->size < REMOTE_FILES_HEAD_BYTES ? file[i].about->size
                                                                 : REMOTE_FILES_HEAD_BYTES);
    pump(all);
    return err;
}

/* ---- as a source ---- */

/* Some bytes of one piece: *n of them, at most as many as *n says. */
static weir_err read_some(struct file *file, uint64_t at, void *dst, size_t *n)
{
    struct remote_files *all = file->all;
    pthread_mutex_lock(&all->lock);
    struct piece *p = find(all, file, at);
    weir_err err = p ? WEIR_OK : miss(file, at, *n, &p);
    if (err) {
        pthread_mutex_unlock(&all->lock);
        return err;
    }
    p->n_users++;
    while (p->state == LOADING)
        pthread_cond_wait(&all->changed, &all->lock);
    err = p->state == FAILED ? p->err : WEIR_OK;
    pthread_mutex_unlock(&all->lock);

    size_t offset = (size_t)(at - p->at);
    if (*n > p->n - offset)
        *n = p->n - offset;
    if (!err)
        memcpy(dst, p->bytes + offset, *n);

    pthread_mutex_lock(&all->lock);
    p->n_users--;
    p->last_used = ++all->n_uses;
    p->expected = false;
    p->consumed |= offset + *n == p->n;
    file->next = at + *n;
    pump(all);
    pthread_mutex_unlock(&all->lock);
    return err;
}

static weir_err files_read(void *self, uint64_t at, void *dst, size_t n)
{
    uint8_t *to = dst;
    while (n) {
        size_t got = n;
        weir_err err = read_some(self, at, to, &got);
        if (err)
            return err;
        at += got;
        to += got;
        n -= got;
    }
    return WEIR_OK;
}

static void files_expect(void *self, uint64_t at, uint64_t n)
{
    struct file *file = self;
    pthread_mutex_lock(&file->all->lock);
    expect(file, at, n);
    pump(file->all);
    pthread_mutex_unlock(&file->all->lock);
}

void remote_files_source(struct remote_files *files, size_t i, struct weir_source *out)
{
    struct file *file = &files->file[i];
    *out = (struct weir_source){
        .self = file, .size = file->about->size, .read = files_read, .expect = files_expect};
}

weir_err remote_files_why(struct remote_files *files, struct weir_diag *diag)
{
    pthread_mutex_lock(&files->lock);
    weir_err err = files->err;
    if (err)
        *diag = files->why;
    pthread_mutex_unlock(&files->lock);
    return err;
}

/* ---- all of them ---- */

static weir_err open_files(struct remote_files *files, struct weir_http *http,
                           const struct weir_hub_file *const *file, struct weir_diag *diag)
{
    weir_err err = WEIR_OK;
    for (size_t i = 0; !err && i < files->n; i++) {
        char hex[FILE_HASH_HEX];
        const char *etag = file[i]->has_lfs ? file_hash_hex(file[i], hex) : NULL;
        files->file[i].all = files;
        files->file[i].about = file[i];
        err = weir_http_file_new(http, file[i]->url, file[i]->size, etag, &files->file[i].remote,
                                 diag);
    }
    return err;
}

weir_err remote_files_new(struct weir_http *http, const struct weir_hub_file *const *file, size_t n,
                          size_t max_bytes, struct remote_files **out, struct weir_diag *diag)
{
    struct remote_files *files = calloc(1, sizeof(*files));
    if (!files)
        return WEIR_ERR_NOMEM;
    files->n = n;
    files->max_bytes = max_bytes;
    pthread_mutex_init(&files->lock, NULL);
    pthread_cond_init(&files->changed, NULL);
    files->file = calloc(n + 1, sizeof(files->file[0]));
    weir_err err = files->file ? open_files(files, http, file, diag) : WEIR_ERR_NOMEM;
    if (err)
        remote_files_free(files);
    else
        *out = files;
    return err;
}

void remote_files_forget(struct remote_files *files)
{
    pthread_mutex_lock(&files->lock);
    files->n_queued = 0;
    while (files->n_loading)
        pthread_cond_wait(&files->changed, &files->lock);
    while (files->pieces)
        drop(files, files->pieces);
    pthread_mutex_unlock(&files->lock);
}

void remote_files_free(struct remote_files *files)
{
    if (!files)
        return;
    remote_files_forget(files);
    for (size_t i = 0; files->file && i < files->n; i++)
        weir_http_file_free(files->file[i].remote);
    free(files->file);
    pthread_cond_destroy(&files->changed);
    pthread_mutex_destroy(&files->lock);
    free(files);
}
