/* The base of a store of differences: opened by its name, or found beside the store by its digest.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "opened.h"
#include "output.h"

static const char ending[] = ".weir";

/* The folder that a path's last component lies in, malloc'ed. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return strdup(".");
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

/* Looks at the last bytes of a file and nothing else; whoever opens it checks the rest. */
static bool ends_with_digest(int folder, const char *name, const uint8_t *digest)
{
    uint8_t end[WEIR_STORE_END_BYTES];
    struct stat st;
    /* A pipe of that name must not keep us. */
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    bool fits =
        fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > (off_t)sizeof(end) &&
        pread(fd, end, sizeof(end), st.st_size - (off_t)sizeof(end)) == (ssize_t)sizeof(end) &&
        weir_store_end_names(end, digest);
    (void)close(fd);
    return fits;
}

/* The path of a store with that digest in the folder, malloc'ed; NULL: there is none. */
static char *find_in(const char *folder, const uint8_t *digest)
{
    char *found = NULL;
    DIR *dir = opendir(folder);
    const struct dirent *e;
    while (dir && !found && (e = readdir(dir))) {
        size_t n = strlen(e->d_name);
        if (n < sizeof(ending) || strcmp(e->d_name + n + 1 - sizeof(ending), ending) != 0 ||
            !ends_with_digest(dirfd(dir), e->d_name, digest))
            continue;
        if (asprintf(&found, "%s/%s", folder, e->d_name) < 0)
            found = NULL;
    }
    if (dir)
        (void)closedir(dir);
    return found;
}

static char *find_beside(const struct opened *o)
{
    if (o->remote)
        return NULL;
    char *folder = folder_of(o->name);
    char *found = folder ? find_in(folder, weir_store_info(o->store)->base_digest) : NULL;
    free(folder);
    return found;
}

static weir_err give(struct opened *o, struct weir_diag *diag)
{
    return o->remote ? remote_set_base(o->remote, o->base->store, diag)
                     : weir_store_set_base(o->file_store, o->base->store, diag);
}

static weir_err open_named(struct opened *o, const char *name, const struct remote_options *options,
                           struct weir_diag *diag)
{
    struct weir_diag detail = {""};
    struct opened *base = calloc(1, sizeof(*base));
    if (!base)
        return WEIR_ERR_NOMEM;
    weir_err err = opened_open(base, name, options, &detail);
    if (err) {
        char hex[HEX_DIGEST];
        weir_diag_set(diag, "its base sha256:%s, %.120s: %.240s",
                      hex_digest(hex, weir_store_info(o->store)->base_digest), base->name,
                      detail.text[0] ? detail.text : weir_err_text(err));
        opened_close(base);
        free(base);
        return err;
    }
    o->base = base;
    err = give(o, &detail);
    if (err == WEIR_ERR_MISMATCH)
        weir_diag_set(diag, "%.300s; name that one with --base", detail.text);
    else if (err)
        weir_diag_set(diag, "%s", detail.text);
    return err;
}

weir_err opened_base(struct opened *o, const char *base, const struct remote_options *options,
                     struct weir_diag *diag)
{
    const struct weir_store_info *info = weir_store_info(o->store);
    if (!(info->features & WEIR_FEATURE_BASE))
        return WEIR_OK;
    char *found = base ? NULL : find_beside(o);
    if (!base && !found) {
        char hex[HEX_DIGEST];
        weir_diag_set(diag,
                      "it needs its base, the store sha256:%s, which does not lie beside it; name "
                      "it with --base",
                      hex_digest(hex, info->base_digest));
        return WEIR_ERR_ABSENT;
    }
    weir_err err = open_named(o, base ? base : found, options, diag);
    free(found);
    return err;
}

weir_err opened_open_whole(struct opened *o, const char *name, const char *base,
                           const struct remote_options *options, struct weir_diag *diag)
{
    weir_err err = opened_open(o, name, options, diag);
    if (err)
        return err;
    err = opened_base(o, base, options, diag);
    if (err)
        opened_close(o);
    return err;
}
