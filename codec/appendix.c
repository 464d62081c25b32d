#include "appendix.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cursor.h"

enum { MAGIC_BYTES = 8, VERSION = 1 };

static const uint8_t magic[MAGIC_BYTES] = {'w', 'e', 'i', 'r', 'p', 'a', 'r', 't'};

static weir_err corrupt(struct weir_diag *diag, const char *what)
{
    weir_diag_set(diag, "appendix: %s", what);
    return WEIR_ERR_CORRUPT;
}

size_t appendix_map_bytes(uint32_t n_extents)
{
    return ((size_t)n_extents + 7) / 8;
}

bool appendix_map_is_right(const uint8_t *map, uint32_t n_extents)
{
    unsigned used = n_extents % 8;
    return used == 0 || map[n_extents / 8] >> used == 0;
}

weir_err appendix_read_end(const struct weir_source *src, bool *found, struct appendix *out,
                           struct weir_diag *diag)
{
    uint8_t bytes[APPENDIX_END_BYTES];
    weir_err err = weir_source_read(src, src->size - sizeof(bytes), bytes, sizeof(bytes));
    if (err) {
        weir_diag_set(diag, "trailer: cannot be read");
        return err;
    }
    *found = memcmp(bytes + sizeof(bytes) - MAGIC_BYTES, magic, MAGIC_BYTES) == 0;
    if (!*found)
        return WEIR_OK;
    struct cursor c = {bytes, sizeof(bytes), false};
    out->store_bytes = cursor_u64(&c);
    out->n_extents = cursor_u32(&c);
    uint32_t zero = cursor_u32(&c);
    memcpy(out->digest, cursor_take(&c, WEIR_DIGEST_BYTES), WEIR_DIGEST_BYTES);
    uint16_t version = cursor_u16(&c);
    if (version > VERSION) {
        weir_diag_set(diag, "appendix: version %u, this reader knows version %d", version, VERSION);
        return WEIR_ERR_UNSUPPORTED;
    }
    zero |= cursor_u16(&c);
    zero |= cursor_u32(&c);
    if (version < VERSION || zero)
        return corrupt(diag, "its version is 0, or a byte that must be zero is not");
    uint64_t n = appendix_map_bytes(out->n_extents) + sizeof(bytes);
    if (out->store_bytes > src->size || src->size - out->store_bytes != n)
        return corrupt(diag, "it does not begin where the store ends");
    return WEIR_OK;
}

void appendix_write_end(const struct appendix *a, uint8_t out[APPENDIX_END_BYTES])
{
    memset(out, 0, APPENDIX_END_BYTES);
    put_number(out, a->store_bytes, 8);
    put_number(out + 8, a->n_extents, 4);
    memcpy(out + 16, a->digest, WEIR_DIGEST_BYTES);
    put_number(out + 48, VERSION, 2);
    memcpy(out + APPENDIX_END_BYTES - MAGIC_BYTES, magic, MAGIC_BYTES);
}

weir_err appendix_read_map(const struct weir_source *src, const struct appendix *a, uint8_t **out,
                           struct weir_diag *diag)
{
    size_t n = appendix_map_bytes(a->n_extents);
    uint8_t *map = malloc(n + 1);
    if (!map)
        return WEIR_ERR_NOMEM;
    weir_err err = weir_source_read(src, a->store_bytes, map, n);
    if (err)
        weir_diag_set(diag, "appendix: cannot be read");
    else if (!appendix_map_is_right(map, a->n_extents))
        err = corrupt(diag, "it names an extent that the store does not have");
    if (err)
        free(map);
    else
        *out = map;
    return err;
}
