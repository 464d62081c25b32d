#include "opened.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tiny.h"

enum { MAX_PATH = 4096 };

void opened_check(weir_err err, const struct weir_diag *diag, const char *what)
{
    if (err) {
        fprintf(stderr, "%s: %s: %s\n", what, weir_err_text(err), diag->text);
        exit(1);
    }
}

static void add_file(struct opened *o, const char *folder, const char *name)
{
    struct weir_diag diag = {""};
    char path[MAX_PATH];
    struct stat st;
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode) || o->n == OPENED_MAX_FILES)
        return;
    opened_check(weir_source_open_file(path, &o->source[o->n], &diag), &diag, path);
    (void)snprintf(o->name[o->n], sizeof(o->name[0]), "%s", name);
    o->file[o->n] = (struct weir_checkpoint_file){o->name[o->n], &o->source[o->n]};
    o->n++;
}

static void add_memory(struct opened *o, const char *name, struct tiny_bytes b)
{
    weir_source_from_memory(b.at, b.n, &o->source[o->n]);
    (void)snprintf(o->name[o->n], sizeof(o->name[0]), "%s", name);
    o->file[o->n] = (struct weir_checkpoint_file){o->name[o->n], &o->source[o->n]};
    o->memory[o->n++] = b.at;
}

static bool has(const char *folder, const char *name)
{
    char path[MAX_PATH];
    struct stat st;
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    return stat(path, &st) == 0;
}

static void add_folder(struct opened *o, const char *folder)
{
    if (has(folder, "tensors.txt")) {
        struct tiny_bytes list = tiny_read(folder, "tensors.txt");
        add_memory(o, "config.json", tiny_read(folder, "config.json"));
        add_memory(o, "model.safetensors", tiny_safetensors(&list, "BF16", ""));
        free(list.at);
        return;
    }
    DIR *dir = opendir(folder);
    struct dirent *e;
    while (dir && (e = readdir(dir)))
        add_file(o, folder, e->d_name);
    if (dir)
        closedir(dir);
}

static struct weir_store *open_store(struct opened *o, const char *src)
{
    struct weir_diag diag = {""};
    struct weir_store *store = NULL;
    struct weir_source *source = &o->source[o->n++];
    opened_check(weir_source_open_file(src, source, &diag), &diag, src);
    opened_check(weir_store_open(source, &store, &diag), &diag, src);
    return store;
}

/* src: "STORE" or "STORE,BASE" */
static void open_stores(struct opened *o, const char *src)
{
    struct weir_diag diag = {""};
    const char *comma = strchr(src, ',');
    char *name = strndup(src, comma ? (size_t)(comma - src) : strlen(src));
    opened_check(name ? WEIR_OK : WEIR_ERR_NOMEM, &diag, src);
    o->store = open_store(o, name);
    free(name);
    if (!comma)
        return;
    o->base = open_store(o, comma + 1);
    opened_check(weir_store_set_base(o->store, o->base, &diag), &diag, src);
}

void opened_model(struct opened *o, const char *src)
{
    struct weir_diag diag = {""};
    struct weir_model_config config;
    const size_t n = strlen(src);
    if (n > 5 && strcmp(src + n - 5, ".weir") == 0) {
        open_stores(o, src);
        opened_check(weir_checkpoint_from_store(o->store, "", NULL, &o->ck, &diag), &diag, src);
    } else {
        add_folder(o, src);
        opened_check(weir_checkpoint_from_files(o->file, o->n, NULL, &o->ck, &diag), &diag, src);
    }
    opened_check(weir_model_config_read(o->ck, &config, &diag), &diag, src);
    opened_check(weir_model_open(o->ck, &config, &o->model, &diag), &diag, src);
}

void opened_close(struct opened *o)
{
    weir_model_free(o->model);
    weir_checkpoint_free(o->ck);
    weir_store_free(o->store);
    weir_store_free(o->base);
    for (size_t i = 0; i < o->n; i++) {
        weir_source_close(&o->source[i]);
        free(o->memory[i]);
    }
}
