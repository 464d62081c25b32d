#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/mount.h"
#include "mount_table.h"
#include "unmount.h"

extern char **environ;

/* ---- which one ---- */

/* Asks nothing of what is mounted at the last component: its process may be dead or hang. */
static bool resolve(const char *path, char out[PATH_MAX])
{
    char parent[PATH_MAX];
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    if (n == 0 || n >= sizeof(parent))
        return false;
    memcpy(parent, path, n);
    parent[n] = 0;
    char *slash = strrchr(parent, '/');
    const char *name = slash ? slash + 1 : path;
    size_t name_bytes = slash ? strlen(name) : n;
    bool is_dots = strncmp(name, "..", name_bytes) == 0; /* "", "." and ".." as well */
    char link[2];
    if (is_dots || readlink(parent, link, sizeof(link)) >= 0)
        return realpath(parent, out) != NULL;
    char above[PATH_MAX];
    if (slash)
        slash[slash == parent] = 0;
    if (!realpath(slash ? parent : ".", above))
        return false;
    name = path + n - name_bytes;
    int written = snprintf(out, PATH_MAX, "%s/%.*s", above[1] ? above : "", (int)name_bytes, name);
    return written > 0 && written < PATH_MAX;
}

/* ---- how ---- */

/* What the child says on stderr, in one line. */
static void read_words(int from, char *text, size_t limit)
{
    size_t got = 0;
    for (ssize_t n = 1; n > 0 && got<limit - 1; got += n> 0 ? (size_t)n : 0) {
        do
            n = read(from, text + got, limit - 1 - got);
        while (n < 0 && errno == EINTR);
    }
    text[got] = 0;
    text[strcspn(text, "\n")] = 0;
}

static int wait_for(pid_t child)
{
    int status = -1;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return status;
}

static weir_err ask_fusermount(const char *path, bool lazy, struct weir_diag *diag)
{
    int pipes[2];
    posix_spawn_file_actions_t actions;
    if (pipe(pipes) != 0 || posix_spawn_file_actions_init(&actions) != 0) {
        weir_diag_set(diag, "%s: %s", path, strerror(errno));
        return WEIR_ERR_IO;
    }
    (void)posix_spawn_file_actions_adddup2(&actions, pipes[1], STDERR_FILENO);
    (void)posix_spawn_file_actions_addclose(&actions, pipes[0]);
    (void)posix_spawn_file_actions_addclose(&actions, pipes[1]);
    char program[] = "fusermount3", flags[] = "-uz", dashes[] = "--", where[PATH_MAX];
    snprintf(where, sizeof(where), "%s", path);
    flags[2] = lazy ? 'z' : 0;
    char *argv[] = {program, flags, dashes, where, NULL};
    pid_t child;
    int why = posix_spawnp(&child, program, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    (void)close(pipes[1]);
    char words[sizeof(diag->text) / 2] = "";
    if (!why)
        read_words(pipes[0], words, sizeof(words));
    (void)close(pipes[0]);
    if (why) {
        weir_diag_set(diag, "%s: cannot start fusermount3: %s", path, strerror(why));
        return WEIR_ERR_IO;
    }
    if (wait_for(child) == 0)
        return WEIR_OK;
    weir_diag_set(diag, "%s: %s", path, words[0] ? words : "fusermount3 failed");
    return WEIR_ERR_IO;
}

/* `name`: what the caller calls the path. */
static weir_err unmount(const char *path, const char *name, bool lazy, struct weir_diag *diag)
{
    if (umount2(path, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0)
        return WEIR_OK;
    if (errno == EPERM)
        return ask_fusermount(path, lazy, diag);
    weir_diag_set(diag, "%s: %s", name, strerror(errno));
    return WEIR_ERR_IO;
}

/* The uppermost mount at `path`; device NULL: any of ours. */
static weir_err find(const char *path, const char *name, const char *device, struct weir_diag *diag)
{
    struct mount_place place;
    enum mount_found found = mount_table_find(path, &place);
    if (found == MOUNT_FOUND && (device ? strcmp(place.device, device) == 0 : place.is_weir))
        return WEIR_OK;
    if (found == MOUNT_NO_TABLE)
        weir_diag_set(diag, "/proc/self/mountinfo: %s", strerror(errno));
    else
        weir_diag_set(diag, "%s: no weir mount", name);
    return found == MOUNT_NO_TABLE ? WEIR_ERR_IO : WEIR_ERR_NOT_FOUND;
}

bool own_mount_lives(const struct own_mount *own)
{
    struct pollfd fd = {.fd = own->fd};
    return own->device[0] && poll(&fd, 1, 0) >= 0 && !(fd.revents & POLLERR);
}

weir_err own_mount_end(const struct own_mount *own, bool lazy, struct weir_diag *diag)
{
    if (!own_mount_lives(own))
        return WEIR_ERR_NOT_FOUND;
    weir_err err = find(own->path, own->path, own->device, diag);
    return err ? err : unmount(own->path, own->path, lazy, diag);
}

weir_err weir_mount_end(const char *mountpoint, bool lazy, struct weir_diag *diag)
{
    char path[PATH_MAX];
    if (!resolve(mountpoint, path)) {
        weir_diag_set(diag, "%s: no weir mount", mountpoint);
        return WEIR_ERR_NOT_FOUND;
    }
    weir_err err = find(path, mountpoint, NULL, diag);
    return err ? err : unmount(path, mountpoint, lazy, diag);
}
