#include "checkout_items.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "marks.h"

weir_err checkout_items_new(const struct weir_hub *hub, const struct weir_checkout_options *options,
                            struct checkout_item **out, size_t *n, struct weir_diag *diag)
{
    size_t n_files;
    const struct weir_hub_file *file = weir_hub_files(hub, &n_files);
    struct checkout_item *items = calloc(n_files + 1, sizeof(*items));
    if (!items)
        return WEIR_ERR_NOMEM;
    *n = 0;
    for (size_t i = 0; i < n_files; i++)
        if (!options->wants || options->wants(options->self, file[i].path))
            items[(*n)++].file = &file[i];
    if (*n == 0) {
        free(items);
        weir_diag_set(diag, n_files ? "no file of the repository is wanted; look at --include and "
                                      "--exclude"
                                    : "the repository has no files; check name and revision");
        return WEIR_ERR_NOT_FOUND;
    }
    *out = items;
    return WEIR_OK;
}

void checkout_items_free(struct checkout_item *items, size_t n)
{
    for (size_t i = 0; items && i < n; i++) {
        free(items[i].target);
        free(items[i].lock);
    }
    free(items);
}

char *checkout_text(const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    return n < 0 ? NULL : text;
}

weir_err checkout_folders(const char *target, struct weir_diag *diag)
{
    char *folder = strdup(target);
    weir_err err = folder ? WEIR_OK : WEIR_ERR_NOMEM;
    for (char *c = folder ? strchr(folder + 1, '/') : NULL; c && !err; c = strchr(c + 1, '/')) {
        *c = 0;
        if (mkdir(folder, 0777) != 0 && errno != EEXIST)
            err = fail_errno(diag, folder);
        *c = '/';
    }
    free(folder);
    return err;
}
