#include "mount_options.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "cache_options.h"

enum { MAX_TIMEOUT_IO = 999999 }; /* seconds; eleven days */

/* ---- values ---- */

/* All of `text` as a number without a sign. */
static bool read_number(const char *text, int base, uint64_t max, uint64_t *out)
{
    char *end = NULL;
    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    unsigned long long v = strtoull(text, &end, base);
    if (errno || *end || v > max)
        return false;
    *out = v;
    return true;
}

/* As mount(8) and tmpfs have it: k, M and G are powers of 1024; "Mi" and "MiB" are the same. */
static bool read_bytes(const char *text, uint64_t *out)
{
    static const char letters[] = "kmgt";
    char number[32];
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n >= sizeof(number))
        return false;
    memcpy(number, text, n);
    number[n] = 0;
    const char *unit = text + n;
    unsigned shift = 0;
    const char *known = *unit ? strchr(letters, *unit | 0x20) : NULL;
    if (known) {
        shift = 10 * (unsigned)(known - letters + 1);
        unit++;
        unit += *unit == 'i';
    }
    unit += *unit == 'B';
    uint64_t v;
    if (*unit || !read_number(number, 10, UINT64_MAX >> shift, &v))
        return false;
    *out = v << shift;
    return true;
}

static int hex_value(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c | 0x20 : c) : NULL;
    return at ? (int)(at - digits) : -1;
}

static weir_err bad(struct weir_diag *diag, const char *text, const char *value)
{
    weir_diag_set(diag, "%s, not '%.100s'", text, value);
    return WEIR_ERR_INVALID;
}

/* ---- one function per option ---- */

static weir_err set_allow_other(struct mount_settings *s, const char *value, struct weir_diag *diag)
{
    (void)value, (void)diag;
    s->allow_other = true;
    return WEIR_OK;
}

/* Ids: all but the last, which means "nobody said" to the kernel. */
static weir_err set_uid(struct mount_settings *s, const char *value, struct weir_diag *diag)
{
    uint64_t n;
    const struct passwd *user = NULL;
    if (!read_number(value, 10, UINT32_MAX - 1, &n)) {
        user = getpwnam(value);
        if (!user)
            return bad(diag, "uid is a user's number or name", value);
    }
    s->uid = user ? user->pw_uid : (uid_t)n;
    s->has_uid = true;
    return WEIR_OK;
}

static weir_err set_gid(struct mount_settings *s, const char *value, struct weir_diag *diag)
{
    uint64_t n;
    const struct group *group = NULL;
    if (!read_number(value, 10, UINT32_MAX - 1, &n)) {
        group = getgrnam(value);
        if (!group)
            return bad(diag, "gid is a group's number or name", value);
    }
    s->gid = group ? group->gr_gid : (gid_t)n;
    s->has_gid = true;
    return WEIR_OK;
}

static weir_err set_umask(struct mount_settings *s, const char *value, struct weir_diag *diag)
{
    uint64_t n;
    if (!read_number(value, 8, 0777, &n))
        return bad(diag, "umask is an octal number up to 777", value);
    s->umask = (mode_t)n;
    return WEIR_OK;
}

static weir_err set_timeout(struct mount_settings *s, const char *value, struct weir_diag *diag)
{
    uint64_t n;
    if (!read_number(value, 10, INT_MAX, &n))
        return bad(diag, "timeout is a number of seconds", value);
    s->idle_seconds = (unsigned)n;
    return WEIR_OK;
}

static weir_err set_timeout_io(struct mount_settings *s, const char *value, struct weir_diag *diag)
{
    uint64_t n;
    if (!read_number(value, 10, MAX_TIMEOUT_IO, &n) || n == 0)
        return bad(diag, "timeout_io is a number of seconds from 1 to 999999", value);
    s->timeout_io = (unsigned)n;
    return WEIR_OK;
}

static weir_err set_subdir(struct mount_settings *s, const char *value, struct weir_diag *diag)
{
    (void)diag;
    const char *from = value + strspn(value, "/");
    size_t n = strlen(from);
    while (n > 0 && from[n - 1] == '/')
        n--;
    char *subdir = n ? strndup(from, n) : NULL;
    if (n && !subdir)
        return WEIR_ERR_NOMEM;
    free(s->subdir);
    s->subdir = subdir;
    return WEIR_OK;
}

static weir_err set_cache(struct mount_settings *s, const char *value, struct weir_diag *diag)
{
    uint64_t n;
    if (!read_bytes(value, &n))
        return bad(diag, "cache is a size such as 64M or 1G", value);
    if (n < WEIR_TILE_BYTES)
        return bad(diag, "cache is at least 128Ki, one tile", value);
    s->cache_bytes = n < SIZE_MAX ? (size_t)n : SIZE_MAX;
    return WEIR_OK;
}

static weir_err set_cache_dir(struct mount_settings *s, const char *value, struct weir_diag *diag)
{
    (void)diag;
    char *dir = strdup(value);
    if (!dir)
        return WEIR_ERR_NOMEM;
    free(s->cache_dir);
    s->cache_dir = dir;
    return WEIR_OK;
}

static weir_err set_base(struct mount_settings *s, const char *value, struct weir_diag *diag)
{
    (void)diag;
    char *base = strdup(value);
    if (!base)
        return WEIR_ERR_NOMEM;
    free(s->base);
    s->base = base;
    return WEIR_OK;
}

static weir_err set_cache_size(struct mount_settings *s, const char *value, struct weir_diag *diag)
{
    uint64_t n;
    if (!read_bytes(value, &n))
        return bad(diag, "cache_size is a size such as 512M or 2G", value);
    if (n < CACHE_MIN_BYTES)
        return bad(diag, "cache_size is at least 16M", value);
    s->cache_size = n;
    return WEIR_OK;
}

bool mount_settings_is_bytes(const char *text)
{
    uint64_t n;
    return read_bytes(text, &n);
}

static weir_err set_threads(struct mount_settings *s, const char *value, struct weir_diag *diag)
{
    uint64_t n;
    if (!read_number(value, 10, WEIR_MOUNT_MAX_THREADS, &n) || n == 0) {
        weir_diag_set(diag, "threads is a number from 1 to %d, not '%.100s'",
                      WEIR_MOUNT_MAX_THREADS, value);
        return WEIR_ERR_INVALID;
    }
    s->n_threads = (unsigned)n;
    return WEIR_OK;
}

static weir_err set_digest(struct mount_settings *s, const char *value, struct weir_diag *diag)
{
    static const char scheme[] = "sha256:";
    const char *hex = value;
    if (strncmp(hex, scheme, sizeof(scheme) - 1) == 0)
        hex += sizeof(scheme) - 1;
    uint8_t digest[WEIR_DIGEST_BYTES];
    bool fine = strlen(hex) == 2 * sizeof(digest);
    for (size_t i = 0; fine && i < sizeof(digest); i++) {
        int high = hex_value(hex[2 * i]), low = hex_value(hex[2 * i + 1]);
        fine = high >= 0 && low >= 0;
        digest[i] = (uint8_t)(fine ? high << 4 | low : 0);
    }
    if (!fine)
        return bad(diag, "digest is a SHA-256, 64 hex digits", value);
    memcpy(s->digest, digest, sizeof(digest));
    s->has_digest = true;
    return WEIR_OK;
}

static weir_err set_loglevel(struct mount_settings *s, const char *value, struct weir_diag *diag)
{
    static const char *const name[] = {[WEIR_MOUNT_LOG_ERROR] = "error",
                                       [WEIR_MOUNT_LOG_WARNING] = "warning",
                                       [WEIR_MOUNT_LOG_INFO] = "info",
                                       [WEIR_MOUNT_LOG_DEBUG] = "debug"};
    for (size_t i = 0; i < sizeof(name) / sizeof(name[0]); i++) {
        if (strcmp(value, name[i]) != 0)
            continue;
        s->loglevel = (enum weir_mount_log)i;
        s->has_loglevel = true;
        return WEIR_OK;
    }
    return bad(diag, "loglevel is error, warning, info or debug", value);
}

static weir_err set_syslog(struct mount_settings *s, const char *value, struct weir_diag *diag)
{
    (void)value, (void)diag;
    s->to_syslog = true;
    return WEIR_OK;
}

static weir_err set_noexec(struct mount_settings *s, const char *value, struct weir_diag *diag)
{
    (void)value, (void)diag;
    s->noexec = true;
    return WEIR_OK;
}

static weir_err set_exec(struct mount_settings *s, const char *value, struct weir_diag *diag)
{
    (void)value, (void)diag;
    s->noexec = false;
    return WEIR_OK;
}

/* ---- the table ---- */

static const struct known {
    const char *name;
    const char *arg; /* what its value is called; NULL: it takes none */
    const char *help;
    weir_err (*set)(struct mount_settings *s, const char *value, struct weir_diag *diag);
} known[] = {
    {"allow_other", NULL, "other users may look, too", set_allow_other},
    {"noexec", NULL, "nothing there can be executed; user, users, owner, group mean it, too",
     set_noexec},
    {"exec", NULL, "the opposite, if it comes later", set_exec},
    {"uid", "N|NAME", "owner of everything (default: you)", set_uid},
    {"gid", "N|NAME", "group of everything (default: yours)", set_gid},
    {"umask", "OCTAL", "permission bits that nothing gets (default: 0)", set_umask},
    {"timeout", "SECONDS", "unmount when unused for so long (default: 0, never)", set_timeout},
    {"timeout_io", "SECONDS",
     "of a URL: reads wait so long for a server that is gone (default: 60)", set_timeout_io},
    {"subdir", "PATH", "show only this directory of the store", set_subdir},
    {"base", "STORE|URL", "that a store of differences differs from (default: beside it)",
     set_base},
    {"cache", "BYTES", "of decoded tiles in memory (default: 64M; M is 1024 k, k 1024)", set_cache},
    {"cache_dir", "DIR", "of a URL: keep what was fetched there, for later and for others",
     set_cache_dir},
    {"cache_size", "BYTES", "how much is kept in cache_dir (default: 2G)", set_cache_size},
    {"threads", "N", "that answer requests (default: one per processor, 4 at least)", set_threads},
    {"digest", "HEX", "refuse any other store; 'weir verify' prints a store's", set_digest},
    {"loglevel", "LEVEL", "error, warning, info (default) or debug", set_loglevel},
    {"syslog", NULL, "log to syslog, in the foreground too", set_syslog},
};

enum { N_KNOWN = sizeof(known) / sizeof(known[0]) };

static bool is_one_of(const char *name, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(name, words[i]) == 0)
            return true;
    return false;
}

/* Whoever may mount it is not to run what is in it, as mount(8) has it. */
static bool means_noexec(const char *name)
{
    static const char *const word[] = {"user", "users", "owner", "group"};
    return is_one_of(name, word, sizeof(word) / sizeof(word[0]));
}

/* Said by fstab and mount(8) to others than us, or true anyway. */
static bool is_ignored(const char *name)
{
    static const char *const word[] = {
        "ro",       "defaults",   "auto",     "noauto",     "nouser",        "nofail",
        "_netdev",  "dev",        "nodev",    "suid",       "nosuid",        "atime",
        "noatime",  "diratime",   "relatime", "nodiratime", "norelatime",    "strictatime",
        "lazytime", "nolazytime", "sync",     "async",      "nostrictatime", "comment",
    };
    if ((name[0] == 'x' || name[0] == 'X') && name[1] == '-')
        return true;
    return is_one_of(name, word, sizeof(word) / sizeof(word[0]));
}

static const struct known *find(const char *name)
{
    for (size_t i = 0; i < N_KNOWN; i++)
        if (strcmp(known[i].name, name) == 0)
            return &known[i];
    return NULL;
}

weir_err mount_settings_set(struct mount_settings *s, const char *name, const char *value,
                            struct weir_diag *diag)
{
    const struct known *k = find(name);
    if (!k) {
        weir_diag_set(diag, "unknown mount option '%.200s'", name);
        return WEIR_ERR_INVALID;
    }
    if (k->arg && (!value || !*value)) {
        weir_diag_set(diag, "mount option '%s' needs a value: %s=%s", name, name, k->arg);
        return WEIR_ERR_INVALID;
    }
    if (!k->arg && value) {
        weir_diag_set(diag, "mount option '%s' takes no value", name);
        return WEIR_ERR_INVALID;
    }
    return k->set(s, value, diag);
}

/* ---- the list ---- */

static bool is_octal(const char *s)
{
    return s[0] >= '0' && s[0] <= '3' && s[1] >= '0' && s[1] <= '7' && s[2] >= '0' && s[2] <= '7';
}

/* The item at *at, without its escapes; *at goes on to the next. */
static char *cut_item(char **at)
{
    char *item = *at, *to = item, *from = item;
    while (*from && *from != ',') {
        if (from[0] != '\\' || !from[1]) {
            *to++ = *from++;
        } else if (is_octal(from + 1)) {
            *to++ = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
            from += 4;
        } else {
            *to++ = from[1];
            from += 2;
        }
    }
    *at = from + (*from == ',');
    *to = 0;
    return item;
}

static weir_err take_item(struct mount_settings *s, char *item, unsigned tolerance,
                          struct weir_diag *diag)
{
    char *value = strchr(item, '=');
    if (value)
        *value++ = 0;
    if (means_noexec(item))
        s->noexec = true;
    if (means_noexec(item) || is_ignored(item))
        return WEIR_OK;
    if (strcmp(item, "rw") == 0) {
        if (tolerance & MOUNT_TAKES_RW)
            return WEIR_OK;
        weir_diag_set(diag, "mount option 'rw': what a store holds cannot be changed, use ro");
        return WEIR_ERR_INVALID;
    }
    if ((tolerance & MOUNT_SLOPPY) && !find(item))
        return WEIR_OK;
    return mount_settings_set(s, item, value, diag);
}

weir_err mount_settings_add(struct mount_settings *s, const char *list, unsigned tolerance,
                            struct weir_diag *diag)
{
    char *copy = strdup(list);
    if (!copy)
        return WEIR_ERR_NOMEM;
    weir_err err = WEIR_OK;
    for (char *at = copy; *at && !err;) {
        char *item = cut_item(&at);
        if (*item)
            err = take_item(s, item, tolerance, diag);
    }
    free(copy);
    return err;
}

void mount_settings_free(struct mount_settings *s)
{
    free(s->subdir);
    free(s->cache_dir);
    free(s->base);
    s->subdir = s->cache_dir = s->base = NULL;
}

void mount_settings_help(FILE *to)
{
    fputs("\nMount options (-o):\n", to);
    for (size_t i = 0; i < N_KNOWN; i++) {
        char left[64];
        snprintf(left, sizeof(left), "%s%s%s", known[i].name, known[i].arg ? "=" : "",
                 known[i].arg ? known[i].arg : "");
        fprintf(to, "  %-24s %s\n", left, known[i].help);
    }
    fputs("  ro                       as it always is\n"
          "Ignored: x-*, comment= and what fstab says to others, such as nofail and _netdev.\n",
          to);
}
