#include "model_source.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fail.h"
#include "place.h"

static bool ends_with(const char *name, const char *ending)
{
    size_t n = strlen(name), n_ending = strlen(ending);
    return n >= n_ending && strcmp(name + n - n_ending, ending) == 0;
}

/* A file that a checkpoint may want. */
static bool wanted(const char *name)
{
    return ends_with(name, ".safetensors") || ends_with(name, ".gguf") ||
           ends_with(name, ".json") || strcmp(name, "chat_template.jinja") == 0;
}

/* "A/B", malloc'ed. */
static char *joined(const char *a, const char *b)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s", a, b) < 0 ? NULL : path;
}

/* ---- stores ---- */

/* The directory part of a path, "" for none, malloc'ed. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return strndup(path, slash ? (size_t)(slash - path) : 0);
}

/* Whether a directory may be a model's: it has a config.json, or a GGUF file. */
static bool shows_model(const struct weir_entry *e)
{
    const char *slash = strrchr(e->path, '/');
    const char *name = slash ? slash + 1 : e->path;
    return e->kind == WEIR_ENTRY_FILE &&
           (strcmp(name, "config.json") == 0 || ends_with(name, ".gguf"));
}

static weir_err find_dir(const struct weir_store *store, char **out, struct weir_diag *diag)
{
    char *found = NULL;
    for (uint32_t i = 0; i < weir_store_info(store)->n_entries; i++) {
        const struct weir_entry *e = weir_store_entry(store, i);
        char *dir = shows_model(e) ? folder_of(e->path) : NULL;
        if (!dir)
            continue;
        bool other = found && strcmp(found, dir) != 0;
        if (other)
            weir_diag_set(diag, "models in '%s' and in '%s'; choose one with --dir", found, dir);
        free(found);
        found = dir;
        if (other) {
            free(found);
            return WEIR_ERR_NOT_FOUND;
        }
    }
    if (!found) {
        weir_diag_set(diag, "no model in it: neither a config.json nor a GGUF file");
        return WEIR_ERR_NOT_FOUND;
    }
    *out = found;
    return WEIR_OK;
}

static weir_err open_store(struct model_source *m, const char *name, const char *base,
                           const char *dir, struct weir_diag *diag)
{
    weir_err err = opened_open_whole(&m->store, name, base, NULL, diag);
    if (!m->store_path)
        m->name = m->store.name;
    if (err) {
        m->store.store = NULL;
        return err;
    }
    char *found = NULL;
    if (!dir)
        err = find_dir(m->store.store, &found, diag);
    if (!err)
        err = weir_checkpoint_from_store(m->store.store, dir ? dir : found, NULL, &m->checkpoint,
                                         diag);
    free(found);
    return err ? opened_explain(&m->store, err, diag) : WEIR_OK;
}

/* ---- plain files ---- */

static weir_err add_file(struct model_source *m, const char *folder, const char *name,
                         struct weir_diag *diag)
{
    char *path = joined(folder, name), *kept = strdup(name);
    struct stat st;
    weir_err err = path && kept ? WEIR_OK : WEIR_ERR_NOMEM;
    bool regular = !err && stat(path, &st) == 0 && S_ISREG(st.st_mode);
    if (regular)
        err = weir_source_open_file(path, &m->source[m->n_files], diag);
    free(path);
    if (err || !regular) {
        free(kept);
        return err;
    }
    m->file[m->n_files] = (struct weir_checkpoint_file){kept, &m->source[m->n_files]};
    m->n_files++;
    return WEIR_OK;
}

static weir_err add_folder(struct model_source *m, const char *folder, struct weir_diag *diag)
{
    DIR *dir = opendir(folder);
    if (!dir) {
        diag_errno(diag, folder);
        return errno == ENOENT ? WEIR_ERR_NOT_FOUND : WEIR_ERR_IO;
    }
    weir_err err = WEIR_OK;
    const struct dirent *e;
    while (!err && (e = readdir(dir))) {
        if (!wanted(e->d_name))
            continue;
        if (m->n_files == WEIR_MAX_CHECKPOINT_FILES) {
            weir_diag_set(diag, "%s: more files than a model has", folder);
            err = WEIR_ERR_UNSUPPORTED;
            break;
        }
        err = add_file(m, folder, e->d_name, diag);
    }
    (void)closedir(dir);
    return err;
}

/* weights: a file in the folder, or NULL. */
static weir_err open_folder(struct model_source *m, const char *folder, const char *weights,
                            struct weir_diag *diag)
{
    m->source = calloc(WEIR_MAX_CHECKPOINT_FILES, sizeof(*m->source));
    m->file = calloc(WEIR_MAX_CHECKPOINT_FILES, sizeof(*m->file));
    if (!m->source || !m->file)
        return WEIR_ERR_NOMEM;
    weir_err err = weights && ends_with(weights, ".gguf") ? add_file(m, folder, weights, diag)
                                                          : add_folder(m, folder, diag);
    if (!err)
        err = weir_checkpoint_from_files(m->file, m->n_files, weights, &m->checkpoint, diag);
    return err;
}

static weir_err open_weights(struct model_source *m, const char *path, struct weir_diag *diag)
{
    char *folder = folder_of(path);
    const char *slash = strrchr(path, '/');
    if (!folder)
        return WEIR_ERR_NOMEM;
    const char *in = slash == path ? "/" : slash ? folder : ".";
    weir_err err = open_folder(m, in, slash ? slash + 1 : path, diag);
    free(folder);
    return err;
}

static bool is_store_file(const char *path)
{
    struct stat st;
    return path && stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* Where a store is mounted the store behind it is read, or, if its base is not at hand, what is
 * shown. */
static weir_err open_mounted(struct model_source *m, const char *base, const char *dir,
                             struct weir_diag *diag)
{
    m->store_path = joined(m->name, ".weir/store");
    if (!is_store_file(m->store_path))
        return open_folder(m, m->name, NULL, diag);
    struct weir_diag detail = {""};
    const char *name = m->name;
    weir_err err = open_store(m, m->store_path, base, dir, &detail);
    if (err != WEIR_ERR_ABSENT || base || dir) {
        if (err)
            *diag = detail;
        return err;
    }
    m->name = name;
    return open_folder(m, name, NULL, diag);
}

weir_err model_source_open(struct model_source *m, const char *name, const char *base,
                           const char *dir, struct weir_diag *diag)
{
    struct stat st;
    weir_err err;
    *m = (struct model_source){.name = name};
    if (stat(name, &st) == 0 && S_ISDIR(st.st_mode)) {
        err = open_mounted(m, base, dir, diag);
    } else if (ends_with(name, ".gguf") || ends_with(name, ".safetensors")) {
        err = open_weights(m, name, diag);
    } else {
        err = open_store(m, name, base, dir, diag);
    }
    if (err)
        model_source_close(m);
    return err;
}

void model_source_close(struct model_source *m)
{
    weir_checkpoint_free(m->checkpoint);
    m->checkpoint = NULL;
    if (m->store.store)
        opened_close(&m->store);
    for (size_t i = 0; i < m->n_files; i++) {
        weir_source_close(&m->source[i]);
        free((char *)m->file[i].path);
    }
    m->n_files = 0;
    free(m->source);
    free(m->file);
    m->source = NULL;
    m->file = NULL;
    free(m->store_path);
    m->store_path = NULL;
}
