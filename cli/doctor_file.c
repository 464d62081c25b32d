#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codec/jsontree.h"
#include "doctor.h"
#include "env.h"
#include "place.h"

enum {
    MAX_BYTES = 1 << 16,
    MOST_THREADS = 1 << 16,
    VERSION = 2, /* 1 had fewer rates */
};

static const double GIGA = 1e9, MICRO = 1e-6, NANO = 1e-9;

/* "DIR/weir", malloc'ed; NULL: nowhere. */
static char *folder(void)
{
    static const char *const caches[] = {"XDG_CACHE_HOME", NULL}, *const homes[] = {"HOME", NULL};
    const char *cache = env_first(caches), *home = env_first(homes);
    char *path = NULL;
    if (!cache && !home)
        return NULL;
    int n = cache ? asprintf(&path, "%s/weir", cache) : asprintf(&path, "%s/.cache/weir", home);
    return n < 0 ? NULL : path;
}

/* GB of plain bytes a second: of one thread, of all. */
struct rate_key {
    const char *key;
    size_t at; /* in a struct weir_measured */
};

static const struct rate_key rates[] = {
    {"plain_gb_per_s", offsetof(struct weir_measured, plain)},
    {"resident_gb_per_s", offsetof(struct weir_measured, resident)},
    {"store_gb_per_s", offsetof(struct weir_measured, store)},
    {"files_gb_per_s", offsetof(struct weir_measured, files)},
};

enum { N_RATES = sizeof(rates) / sizeof(rates[0]) };

json_t *doctor_json(const struct doctor *d)
{
    const struct weir_measured *m = &d->measured;
    json_t *o = json_pack("{s:i,s:I,s:I,s:s,s:s,s:f,s:f,s:f,s:n}", "version", VERSION, "processors",
                          (json_int_t)d->processors, "threads", (json_int_t)m->threads, "kernels",
                          d->kernels, "decoder", d->decoder, "round_us", m->round_seconds / MICRO,
                          "row_ns", m->row_seconds / NANO, "disk_gb_per_s", d->disk / GIGA, "gpu");
    for (size_t i = 0; i < N_RATES && o; i++) {
        struct weir_rate r;
        memcpy(&r, (const char *)m + rates[i].at, sizeof(r));
        (void)json_object_set_new(o, rates[i].key, json_pack("[f,f]", r.one / GIGA, r.all / GIGA));
    }
    return o;
}

/* ---- writing ---- */

static weir_err write_beside(const char *path, const char *text, struct weir_diag *diag)
{
    char *beside = NULL;
    if (asprintf(&beside, "%s.XXXXXX", path) < 0)
        return WEIR_ERR_NOMEM;
    int fd = mkstemp(beside);
    bool fine = fd >= 0 && write_all(fd, text, strlen(text)) && fsync(fd) == 0;
    if (fd >= 0)
        fine = close(fd) == 0 && fine;
    fine = fine && rename(beside, path) == 0;
    if (!fine) {
        diag_errno(diag, path);
        if (fd >= 0)
            (void)unlink(beside);
    }
    free(beside);
    return fine ? WEIR_OK : WEIR_ERR_IO;
}

/* The directory and the one above it. */
static weir_err make_folder(const char *path, struct weir_diag *diag)
{
    char *above = strdup(path);
    if (!above)
        return WEIR_ERR_NOMEM;
    char *slash = strrchr(above, '/');
    if (slash)
        *slash = 0;
    bool fine =
        (mkdir(above, 0700) == 0 || errno == EEXIST) && (mkdir(path, 0700) == 0 || errno == EEXIST);
    if (!fine)
        diag_errno(diag, path);
    free(above);
    return fine ? WEIR_OK : WEIR_ERR_IO;
}

weir_err doctor_write(const struct doctor *d, char **path, struct weir_diag *diag)
{
    char *dir = folder(), *text = NULL;
    *path = NULL;
    if (!dir) {
        weir_diag_set(diag, "no place to remember it; set XDG_CACHE_HOME or HOME");
        return WEIR_ERR_IO;
    }
    weir_err err = make_folder(dir, diag);
    json_t *o = doctor_json(d);
    text = o ? json_dumps(o, JSON_INDENT(1)) : NULL;
    json_decref(o);
    if (!err && (!text || asprintf(path, "%s/doctor.json", dir) < 0))
        err = WEIR_ERR_NOMEM;
    if (!err)
        err = write_beside(*path, text, diag);
    free(text);
    free(dir);
    return err;
}

/* ---- reading ---- */

static bool real_of(const json_t *v, double unit, double *out)
{
    *out = json_number_value(v) * unit;
    return json_is_number(v) && *out >= 0;
}

static bool rate_of(const json_t *o, const struct rate_key *k, struct weir_measured *m)
{
    const json_t *v = json_object_get(o, k->key);
    struct weir_rate r;
    bool fine = real_of(json_array_get(v, 0), GIGA, &r.one) &&
                real_of(json_array_get(v, 1), GIGA, &r.all) && r.one > 0 && r.all > 0;
    if (fine)
        memcpy((char *)m + k->at, &r, sizeof(r));
    return fine;
}

static bool take(const json_t *o, struct doctor *d)
{
    const json_t *threads = json_object_get(o, "threads");
    const char *kernels = json_string_value(json_object_get(o, "kernels"));
    double n = json_number_value(threads);
    if (json_number_value(json_object_get(o, "version")) != VERSION ||
        !(n >= 1 && n <= MOST_THREADS) || !kernels)
        return false;
    d->measured.threads = (unsigned)n;
    (void)snprintf(d->kernels, sizeof(d->kernels), "%s", kernels);
    for (size_t i = 0; i < N_RATES; i++)
        if (!rate_of(o, &rates[i], &d->measured))
            return false;
    return real_of(json_object_get(o, "round_us"), MICRO, &d->measured.round_seconds) &&
           real_of(json_object_get(o, "row_ns"), NANO, &d->measured.row_seconds) &&
           real_of(json_object_get(o, "disk_gb_per_s"), GIGA, &d->disk);
}

bool doctor_read(struct doctor *out)
{
    struct weir_jsontree tree = {0};
    char *dir = folder(), *path = NULL, *text = NULL;
    bool fine = false;
    *out = (struct doctor){.processors = 0};
    FILE *f = dir && asprintf(&path, "%s/doctor.json", dir) >= 0 ? fopen(path, "rbe") : NULL;
    text = f ? malloc(MAX_BYTES) : NULL;
    size_t n = text ? fread(text, 1, MAX_BYTES, f) : 0;
    if (n && !weir_jsontree_read(text, n, WEIR_JSONTREE_USUAL, &tree)) {
        fine = take(tree.root, out);
        weir_jsontree_free(&tree);
    }
    if (f)
        (void)fclose(f);
    free(text);
    free(path);
    free(dir);
    return fine;
}
