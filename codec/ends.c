#include "ends.h"

#include <inttypes.h>
#include <string.h>

#include "cursor.h"

enum {
    MAGIC_BYTES = 8,
    VERSION = 1,
};

static const uint8_t header_magic[MAGIC_BYTES] = {0x89, 'w', 'e', 'i', 'r', '\r', '\n', 0x1a};
static const uint8_t trailer_magic[MAGIC_BYTES] = {'w', 'e', 'i', 'r', 'e', 'n', 'd', '\n'};

static weir_err corrupt(struct weir_diag *diag, const char *what)
{
    weir_diag_set(diag, "%s", what);
    return WEIR_ERR_CORRUPT;
}

static weir_err check_version(uint16_t version, const char *where, struct weir_diag *diag)
{
    if (version == VERSION)
        return WEIR_OK;
    weir_diag_set(diag, "%s: version %u, this reader knows version %d", where, version, VERSION);
    return version > VERSION ? WEIR_ERR_UNSUPPORTED : WEIR_ERR_CORRUPT;
}

weir_err header_read(const struct weir_source *src, struct weir_diag *diag)
{
    uint8_t bytes[HEADER_BYTES];
    weir_err err = weir_source_read(src, 0, bytes, sizeof(bytes));
    if (err) {
        weir_diag_set(diag, "header: cannot be read");
        return err;
    }
    struct cursor c = {bytes, sizeof(bytes), false};
    if (memcmp(cursor_take(&c, MAGIC_BYTES), header_magic, MAGIC_BYTES) != 0)
        return corrupt(diag, "header: not a store (wrong magic)");
    err = check_version(cursor_u16(&c), "header", diag);
    if (err)
        return err;
    uint16_t zero = cursor_u16(&c);
    uint32_t features = cursor_u32(&c);
    if (features) {
        weir_diag_set(diag, "header: features 0x%" PRIx32 " are unknown to this reader", features);
        return WEIR_ERR_UNSUPPORTED;
    }
    while (c.left)
        zero |= cursor_u8(&c);
    return zero ? corrupt(diag, "header: a byte that must be zero is not") : WEIR_OK;
}

weir_err trailer_read(const struct weir_source *src, uint64_t store_bytes, struct trailer *out,
                      struct weir_diag *diag)
{
    uint64_t at = store_bytes - TRAILER_BYTES;
    uint8_t bytes[TRAILER_BYTES];
    weir_err err = weir_source_read(src, at, bytes, sizeof(bytes));
    if (err) {
        weir_diag_set(diag, "trailer: cannot be read");
        return err;
    }
    if (memcmp(bytes + TRAILER_BYTES - MAGIC_BYTES, trailer_magic, MAGIC_BYTES) != 0)
        return corrupt(diag, "trailer: wrong magic: the store is cut short or has bytes behind it");
    struct cursor c = {bytes, sizeof(bytes), false};
    out->index_at = cursor_u64(&c);
    out->stored_bytes = cursor_u32(&c);
    out->plain_bytes = cursor_u32(&c);
    memcpy(out->digest, cursor_take(&c, WEIR_DIGEST_BYTES), WEIR_DIGEST_BYTES);
    err = check_version(cursor_u16(&c), "trailer", diag);
    if (err)
        return err;
    out->features = cursor_u16(&c);
    if (out->features & ~WEIR_FEATURES_KNOWN) {
        weir_diag_set(diag, "trailer: features 0x%x are unknown to this reader",
                      (unsigned)out->features & ~(unsigned)WEIR_FEATURES_KNOWN);
        return WEIR_ERR_UNSUPPORTED;
    }
    if (cursor_u32(&c))
        return corrupt(diag, "trailer: a byte that must be zero is not");
    if (out->stored_bytes == 0 || out->stored_bytes > WEIR_MAX_INDEX_BYTES ||
        out->plain_bytes == 0 || out->plain_bytes > WEIR_MAX_INDEX_BYTES)
        return corrupt(diag, "trailer: bytes of the index are not 1 to 67108864");
    /* That it begins where the extents end is seen when they are known. */
    if (out->index_at > at || at - out->index_at != out->stored_bytes)
        return corrupt(diag, "trailer: the index does not end where the trailer begins");
    return WEIR_OK;
}

void header_write(uint8_t out[HEADER_BYTES])
{
    memset(out, 0, HEADER_BYTES);
    memcpy(out, header_magic, MAGIC_BYTES);
    put_number(out + 8, VERSION, 2);
}

void trailer_write(const struct trailer *trailer, uint8_t out[TRAILER_BYTES])
{
    memset(out, 0, TRAILER_BYTES);
    put_number(out, trailer->index_at, 8);
    put_number(out + 8, trailer->stored_bytes, 4);
    put_number(out + 12, trailer->plain_bytes, 4);
    memcpy(out + 16, trailer->digest, WEIR_DIGEST_BYTES);
    put_number(out + 48, VERSION, 2);
    put_number(out + 50, trailer->features, 2);
    memcpy(out + 56, trailer_magic, MAGIC_BYTES);
}
