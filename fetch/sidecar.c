#include "sidecar.h"

#include <string.h>

enum { MAGIC_BYTES = 8, VERSION = 1 };

static const uint8_t magic[MAGIC_BYTES] = {0x89, 'w', 'e', 'i', 'r', 'p', '\r', '\n'};

size_t sidecar_map_bytes(const struct sidecar *s)
{
    return ((size_t)s->n_extents + 7) / 8;
}

static uint8_t *put(uint8_t *to, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        to[i] = (uint8_t)(v >> (8 * i));
    return to + bytes;
}

void sidecar_write_head(const struct sidecar *s, uint8_t out[SIDECAR_HEAD_BYTES])
{
    uint8_t *to = out;
    memset(out, 0, SIDECAR_HEAD_BYTES);
    memcpy(to, magic, MAGIC_BYTES);
    to = put(to + MAGIC_BYTES, VERSION, 2);
    to = put(to, 0, 2);
    to = put(to, s->n_extents, 4);
    to = put(to, s->store_bytes, 8);
    memcpy(to, s->digest, WEIR_DIGEST_BYTES);
    (void)put(to + WEIR_DIGEST_BYTES, s->boot, 8);
}

bool sidecar_fits(const struct sidecar *s, const uint8_t *bytes, size_t n)
{
    uint8_t head[SIDECAR_HEAD_BYTES];
    sidecar_write_head(s, head);
    size_t map_bytes = sidecar_map_bytes(s);
    if (n != sizeof(head) + map_bytes || memcmp(bytes, head, sizeof(head)) != 0)
        return false;
    unsigned used = s->n_extents % 8;
    return used == 0 || bytes[n - 1] >> used == 0;
}

bool sidecar_has(const uint8_t *map, uint32_t extent)
{
    return map[extent / 8] >> extent % 8 & 1;
}

void sidecar_set(uint8_t *map, uint32_t extent)
{
    map[extent / 8] = (uint8_t)(map[extent / 8] | 1U << extent % 8);
}

void sidecar_clear(uint8_t *map, uint32_t extent)
{
    map[extent / 8] = (uint8_t)(map[extent / 8] & ~(1U << extent % 8));
}
