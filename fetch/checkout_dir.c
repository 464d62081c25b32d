/* checkout_dir.c - files of a repository under a directory of the user's. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "checkout_items.h"
#include "marks.h"

/* Where the file system has no locks on folders, those of the files are left. */
static weir_err lock_dir(const char *dir, int *fd, struct weir_diag *diag)
{
    *fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0)
        return fail_errno(diag, dir);
    if (flock(*fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
        return WEIR_OK;
    weir_diag_set(diag, "%.400s: another 'weir fetch' is fetching into it; wait for it, or end it",
                  dir);
    return WEIR_ERR_IO;
}

static bool ends_with(const char *text, const char *ending)
{
    size_t n = strlen(text), n_ending = strlen(ending);
    return n >= n_ending && strcmp(text + n - n_ending, ending) == 0;
}

static weir_err name_targets(struct checkout_item *items, size_t n, const char *dir,
                             struct weir_diag *diag)
{
    bool slash = ends_with(dir, "/");
    for (size_t i = 0; i < n; i++) {
        const char *path = items[i].file->path;
        /* They would take the place of what we keep beside another file. */
        if (ends_with(path, ".weir-partial") || ends_with(path, ".weir-fetch")) {
            weir_diag_set(diag,
                          "%.300s: ends like what weir keeps beside a file that it fetches; "
                          "leave it out with --exclude",
                          path);
            return WEIR_ERR_UNSUPPORTED;
        }
        items[i].target = checkout_text("%s%s%s", dir, slash ? "" : "/", path);
        if (!items[i].target)
            return WEIR_ERR_NOMEM;
    }
    return WEIR_OK;
}

weir_err weir_checkout_dir(struct weir_http *http, const struct weir_hub *hub, const char *dir,
                           const struct weir_checkout_options *options,
                           struct weir_checkout_result *result, struct weir_diag *diag)
{
    struct checkout_item *items = NULL;
    size_t n = 0;
    int fd = -1;
    *result = (struct weir_checkout_result){0};
    weir_err err = checkout_items_new(hub, options, &items, &n, diag);
    if (!err)
        err = name_targets(items, n, dir, diag);
    if (!err)
        err = checkout_folders(items[0].target, diag);
    if (!err)
        err = lock_dir(dir, &fd, diag);
    if (!err)
        err = checkout_items_fetch(http, items, n, options, result, diag);
    if (fd >= 0)
        (void)close(fd);
    checkout_items_free(items, n);
    return err;
}
