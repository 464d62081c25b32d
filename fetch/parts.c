#include "parts.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "fetch/hub.h"

/* The sidecar's bitmap is three things: firm marks, a bit each; loose marks, a byte each; the boot
 * that these are of. */
static size_t firm_bytes(const struct parts *p)
{
    return ((size_t)p->n + 7) / 8;
}

static uint8_t *loose(const struct parts *p)
{
    return p->partial.marks.map + firm_bytes(p);
}

static uint8_t *boot_of(const struct parts *p)
{
    return loose(p) + p->n;
}

/* The kernel's name for this run of the machine; zeros where there is none. */
static void this_boot(uint8_t boot[PARTS_BOOT_BYTES])
{
    char text[64] = "";
    memset(boot, 0, PARTS_BOOT_BYTES);
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        (void)close(fd);
    unsigned digit = 0;
    for (ssize_t i = 0; i < n && digit < 2 * PARTS_BOOT_BYTES; i++) {
        const char *at = strchr("0123456789abcdef", text[i]);
        if (!at || !*at)
            continue;
        unsigned value = (unsigned)(*at >= 'a' ? *at - 'a' + 10 : *at - '0');
        boot[digit / 2] = (uint8_t)(boot[digit / 2] | value << (digit % 2 ? 0 : 4));
        digit++;
    }
}

/* Keeps the marks that count, and says which boot the loose ones are of. */
static weir_err sort_marks(struct parts *p, struct weir_diag *diag)
{
    static const uint8_t nowhere[PARTS_BOOT_BYTES];
    struct marks *m = &p->partial.marks;
    uint8_t now[PARTS_BOOT_BYTES];
    this_boot(now);
    bool same = memcmp(boot_of(p), now, sizeof(now)) == 0;
    if (!same || memcmp(now, nowhere, sizeof(now)) == 0)
        memset(loose(p), 0, p->n);
    for (uint32_t i = 0; i < p->n; i++)
        loose(p)[i] = loose(p)[i] || sidecar_has(m->map, i);
    memcpy(boot_of(p), now, sizeof(now));
    if (pwrite(m->fd, m->map, m->n_map, (off_t)m->at) != (ssize_t)m->n_map)
        return fail_errno(diag, m->name);
    m->n_map =
        firm_bytes(p); /* the rest is parts_note()'s to write, whose newest we may not have */
    return WEIR_OK;
}

weir_err parts_open(struct parts *p, const char *target, const uint8_t digest[WEIR_DIGEST_BYTES],
                    uint64_t size, struct weir_diag *diag)
{
    *p = (struct parts){.n = (uint32_t)((size + PARTS_BYTES - 1) / PARTS_BYTES)};
    struct sidecar about = {.store_bytes = size,
                            .n_extents = (uint32_t)(8 * (firm_bytes(p) + p->n + PARTS_BOOT_BYTES))};
    memcpy(about.digest, digest, sizeof(about.digest));
    weir_err err = partial_open_about(&p->partial, target, &about, diag);
    return err ? err : sort_marks(p, diag);
}

bool parts_has(const struct parts *p, uint32_t part)
{
    return loose(p)[part] != 0;
}

void parts_note(const struct parts *p, uint32_t part)
{
    static const uint8_t yes = 1;
    const struct marks *m = &p->partial.marks;
    /* An error costs a fetch of the part, if we are killed. */
    (void)!pwrite(m->fd, &yes, sizeof(yes), (off_t)(m->at + firm_bytes(p) + part));
}

void parts_mark(struct parts *p, uint32_t part)
{
    loose(p)[part] = 1;
    p->partial.marks.n_unsynced++;
}

/* The kernel tells of bytes that it lost only once: the next run does not take its word for what it
 * still has. */
static weir_err give_up_loose(struct parts *p, struct weir_diag *diag)
{
    static const uint8_t nowhere[PARTS_BOOT_BYTES];
    struct marks *m = &p->partial.marks;
    weir_err err = marks_break_off(m, p->partial.data_name, diag);
    (void)!pwrite(m->fd, nowhere, sizeof(nowhere), (off_t)(m->at + firm_bytes(p) + p->n));
    return err;
}

weir_err parts_sync(struct parts *p, bool now, struct weir_diag *diag)
{
    struct marks *m = &p->partial.marks;
    if (m->broken)
        return marks_still_broken(m, p->partial.data_name, diag);
    if (m->n_unsynced == 0 || (!now && !marks_are_due(m)))
        return WEIR_OK;
    if (fdatasync(p->partial.data) != 0)
        return give_up_loose(p, diag);
    for (uint32_t i = 0; i < p->n; i++)
        if (parts_has(p, i))
            sidecar_set(m->map, i);
    weir_err err = marks_write(m, m->map, diag);
    if (!err)
        m->n_unsynced = 0;
    return err;
}

size_t parts_bytes_of(uint64_t size, uint32_t part)
{
    uint64_t left = size - (uint64_t)part * PARTS_BYTES;
    return left < PARTS_BYTES ? (size_t)left : PARTS_BYTES;
}

uint64_t parts_bytes(const struct parts *p)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < p->n; i++)
        sum += parts_has(p, i) ? parts_bytes_of(p->partial.about.store_bytes, i) : 0;
    return sum;
}

void parts_close(struct parts *p)
{
    partial_close(&p->partial);
}
