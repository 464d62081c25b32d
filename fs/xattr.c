#include "xattr.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "codec/quantise.h"
#include "mounted.h"
#include "special.h"
#include "tree.h"

void mount_hex(const uint8_t digest[WEIR_DIGEST_BYTES], char out[MOUNT_DIGEST_CHARS + 1])
{
    for (size_t i = 0; i < WEIR_DIGEST_BYTES; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

void mount_digest(const struct mount *m, char out[MOUNT_DIGEST_CHARS + 1])
{
    mount_hex(weir_store_info(m->store)->digest, out);
}

/* ---- values ---- */

static void put_digest(const struct mount *m, uint32_t node, char out[XATTR_MAX_BYTES])
{
    (void)node;
    mount_digest(m, out);
}

static void put_sha256(const struct mount *m, uint32_t node, char out[XATTR_MAX_BYTES])
{
    mount_hex(m->tree->node[node].entry->sha256, out);
}

static void put_tensors(const struct mount *m, uint32_t node, char out[XATTR_MAX_BYTES])
{
    const struct weir_entry *entry = m->tree->node[node].entry;
    uint32_t n = 0;
    for (uint32_t i = 0; i < entry->n_segments; i++)
        n += entry->segment[i].tensor != NULL;
    snprintf(out, XATTR_MAX_BYTES, "%" PRIu32, n);
}

/* Of all near-lossless tensors of the file; how many there are. */
static uint32_t sum_near(const struct mount *m, uint32_t node, struct weir_nearness *sum)
{
    const struct weir_entry *entry = m->tree->node[node].entry;
    uint32_t n = 0;
    *sum = (struct weir_nearness){0};
    for (uint32_t i = 0; i < entry->n_segments; i++) {
        if (entry->segment[i].object == WEIR_NO_OBJECT)
            continue;
        const struct weir_object *o = weir_store_object(m->store, entry->segment[i].object);
        if (!o->coding || !o->coding->transform.near)
            continue;
        weir_nearness_add(sum, &o->nearness);
        n++;
    }
    return n;
}

static void put_near(const struct mount *m, uint32_t node, char out[XATTR_MAX_BYTES])
{
    struct weir_nearness sum;
    uint32_t n = sum_near(m, node, &sum);
    snprintf(out, XATTR_MAX_BYTES, "tensors=%" PRIu32 " snr_db=%.2f max_error_steps=%.3f", n,
             weir_nearness_snr(&sum), (double)sum.largest);
}

/* ---- names ---- */

static const struct {
    const char *name;
    bool dirs_too;
    /* NULL: the ratio */
    void (*put)(const struct mount *m, uint32_t node, char out[XATTR_MAX_BYTES]);
} attributes[] = {
    {"user.weir.digest", true, put_digest},
    {"user.weir.sha256", false, put_sha256},
    {"user.weir.ratio", false, NULL},
    {"user.weir.tensors", false, put_tensors},
    {"user.weir.near_lossless", false, put_near}, /* of files that are */
};

enum { N_ATTRIBUTES = sizeof(attributes) / sizeof(attributes[0]) };

static bool has(const struct mount *m, uint32_t node, size_t i)
{
    if (is_special(m, node))
        return false;
    const struct weir_entry *entry = m->tree->node[node].entry;
    if (!entry || entry->kind == WEIR_ENTRY_DIR)
        return attributes[i].dirs_too;
    struct weir_nearness sum;
    return entry->kind == WEIR_ENTRY_FILE &&
           (attributes[i].put != put_near || sum_near(m, node, &sum) > 0);
}

size_t xattr_get(const struct mount *m, uint32_t node, const char *name, char out[XATTR_MAX_BYTES])
{
    for (size_t i = 0; i < N_ATTRIBUTES; i++) {
        if (strcmp(name, attributes[i].name) != 0 || !has(m, node, i) || !attributes[i].put)
            continue;
        attributes[i].put(m, node, out);
        return strlen(out);
    }
    return 0;
}

bool xattr_is_ratio(const struct mount *m, uint32_t node, const char *name)
{
    for (size_t i = 0; i < N_ATTRIBUTES; i++)
        if (!attributes[i].put && strcmp(name, attributes[i].name) == 0)
            return has(m, node, i);
    return false;
}

size_t xattr_list(const struct mount *m, uint32_t node, char out[XATTR_MAX_BYTES])
{
    size_t n = 0;
    for (size_t i = 0; i < N_ATTRIBUTES; i++) {
        size_t bytes = strlen(attributes[i].name) + 1;
        if (!has(m, node, i) || n + bytes > XATTR_MAX_BYTES)
            continue;
        memcpy(out + n, attributes[i].name, bytes);
        n += bytes;
    }
    return n;
}

void xattr_reply(fuse_req_t req, size_t size, const char *value, size_t n)
{
    if (size == 0)
        (void)fuse_reply_xattr(req, n);
    else if (n > size)
        (void)fuse_reply_err(req, ERANGE);
    else
        (void)fuse_reply_buf(req, value, n);
}
