/* slow_decoder [--base BASE] STORE OUTDIR: unpacks a store into a new folder, after a full check.
 * slow_decoder [--base BASE] --check STORE: checks only.  Ends with 0, or as slow.h names it.
 * Of a store that needs a base and is given none, its own bytes are checked as far as they go. */
#include "slow.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

_Noreturn void fail(int code, const char *why)
{
    const char *what = code == SLOW_IO ? "input/output" : "corrupt";
    fprintf(stderr, "slow_decoder: %s: %s\n", code == SLOW_UNSUPPORTED ? "unsupported" : what, why);
    exit(code);
}

void require(bool ok, const char *rule)
{
    if (!ok)
        fail(SLOW_CORRUPT, rule);
}

void require_zeros(const uint8_t *bytes, uint64_t n, const char *rule)
{
    for (uint64_t i = 0; i < n; i++)
        require(bytes[i] == 0, rule);
}

void *allocate(size_t n, size_t bytes)
{
    void *p = calloc(n + 1, bytes);
    if (!p)
        fail(SLOW_IO, "out of memory");
    return p;
}

const uint8_t *take_bytes(struct cursor *c, uint64_t n)
{
    require(n <= left(c), "bytes are missing (8)");
    const uint8_t *p = c->at;
    c->at += n;
    return p;
}

uint64_t take(struct cursor *c, unsigned n)
{
    const uint8_t *p = take_bytes(c, n);
    uint64_t v = 0;
    for (unsigned i = 0; i < n; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

void unzstd(const uint8_t *frame, size_t n, uint8_t *plain, size_t plain_bytes)
{
    static const uint8_t magic[4] = {0x28, 0xb5, 0x2f, 0xfd};
    require(n >= 4 && memcmp(frame, magic, 4) == 0,
            "a zstd frame begins with its magic (RFC 8878)");
    require(ZSTD_findFrameCompressedSize(frame, n) == n, "one zstd frame and nothing more (3, 5)");
    require(ZSTD_getDictID_fromFrame(frame, n) == 0, "a zstd frame needs no dictionary (3, 5)");
    require(ZSTD_decompress(plain, plain_bytes, frame, n) == plain_bytes,
            "a zstd frame gives exactly the plain bytes (3, 5)");
}

static void require_sha256(const uint8_t *bytes, size_t n, const uint8_t *sha256, const char *rule)
{
    uint8_t found[EVP_MAX_MD_SIZE];
    if (!EVP_Digest(bytes, n, found, NULL, EVP_sha256(), NULL))
        fail(SLOW_IO, "SHA-256 does not work here");
    require(memcmp(found, sha256, SHA256_BYTES) == 0, rule);
}

static void map_store(struct store *s, const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0)
        fail(SLOW_IO, "the store cannot be opened");
    s->size = (uint64_t)st.st_size;
    require(s->size >= ALIGNMENT + 1 + TRAILER_BYTES, "no store is that short (8)");
    void *map = mmap(NULL, s->size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED || close(fd) != 0)
        fail(SLOW_IO, "the store cannot be read");
    s->at = map;
}

/* Section 10: takes the appendix off.  Its number of extents and its digest are checked later. */
static struct cursor take_appendix(struct store *s)
{
    struct cursor c = {s->at + s->size - APPENDIX_END_BYTES, s->at + s->size};
    if (memcmp(c.end - 8, "weirpart", 8) != 0)
        return (struct cursor){NULL, NULL};
    uint64_t store_bytes = take(&c, 8);
    struct cursor about = c;
    uint64_t n_extents = take(&c, 4);
    uint64_t zero = take(&c, 4);
    take_bytes(&c, SHA256_BYTES);
    uint64_t version = take(&c, 2);
    if (version > 1)
        fail(SLOW_UNSUPPORTED, "the appendix's version is above 1 (10)");
    require(version == 1 && zero == 0, "the appendix's version and zeros (10)");
    require(take(&c, 2) == 0 && take(&c, 4) == 0, "the appendix's zeros (10)");
    require(store_bytes <= s->size &&
                s->size - store_bytes == (n_extents + 7) / 8 + APPENDIX_END_BYTES,
            "the appendix ends the file (10)");
    require(store_bytes >= ALIGNMENT + 1 + TRAILER_BYTES, "no store is that short (8)");
    s->size = store_bytes;
    s->present = s->at + store_bytes;
    return about;
}

bool is_there(const struct store *s, uint64_t extent)
{
    return !s->present || s->present[extent / 8] >> extent % 8 & 1;
}

/* Sections 2.1 and 2.2; then the index, decompressed and parsed. */
static void open_store(struct store *s)
{
    struct cursor about = take_appendix(s);
    struct cursor header = {s->at, s->at + HEADER_BYTES};
    struct cursor trailer = {s->at + s->size - TRAILER_BYTES, s->at + s->size};
    require(memcmp(take_bytes(&header, 8), "\x89weir\r\n\x1a", 8) == 0, "the magic (2.1)");
    require(memcmp(trailer.end - 8, "weirend\n", 8) == 0, "the magic at the end (2.2)");
    uint64_t version = take(&header, 2);
    uint64_t zero = take(&header, 2);
    uint64_t features = take(&header, 4);
    s->index_at = take(&trailer, 8);
    uint64_t stored_bytes = take(&trailer, 4);
    uint64_t plain_bytes = take(&trailer, 4);
    s->digest = take_bytes(&trailer, SHA256_BYTES);
    uint64_t version_again = take(&trailer, 2);

    if (version > 1 || version_again > 1)
        fail(SLOW_UNSUPPORTED, "the version is above 1 (8)");
    require(version == 1 && version_again == 1, "the version is 1 (2)");
    s->features = (unsigned)take(&trailer, 2);
    if (features != 0 || s->features > ALL_FEATURES)
        fail(SLOW_UNSUPPORTED, "a feature that version 1 does not have (8)");
    require(zero == 0, "the header's u16 is zero (2.1)");
    require_zeros(header.at, left(&header), "the header's rest is zero (2.1)");
    require(take(&trailer, 4) == 0, "the trailer's zeros (2.2)");

    require(stored_bytes >= 1 && stored_bytes <= 67108864, "the index's stored bytes (2.2)");
    require(plain_bytes >= 1 && plain_bytes <= 67108864, "the index's plain bytes (2.2)");
    require(s->index_at >= ALIGNMENT && s->index_at <= s->size &&
                s->size - s->index_at == stored_bytes + TRAILER_BYTES,
            "the index ends where the trailer begins (2)");
    require_sha256(s->at + s->index_at, stored_bytes, s->digest, "the index's SHA-256 (2.2)");
    s->index = allocate(plain_bytes, 1);
    unzstd(s->at + s->index_at, stored_bytes, s->index, plain_bytes);
    parse_index(s, plain_bytes);
    if (!s->present)
        return;
    require(take(&about, 4) == s->n_extents, "the appendix's extents (10)");
    require(take(&about, 4) == 0, "the appendix's zeros (10)");
    require(memcmp(about.at, s->digest, SHA256_BYTES) == 0, "the appendix's digest (10)");
    for (uint64_t i = s->n_extents; i % 8; i++)
        require(!is_there(s, i), "bits past the last extent are zero (10)");
}

/* The tiles of extent `e`. */
static unsigned tiles_of_extent(const struct store *s, uint64_t e)
{
    uint64_t n = s->n_tiles - EXTENT_TILES * e;
    return n < EXTENT_TILES ? (unsigned)n : EXTENT_TILES;
}

static void check_extents(const struct store *s)
{
    uint64_t end = HEADER_BYTES; /* of what is checked */
    for (uint32_t i = 0; i < s->n_extents; i++) {
        const struct extent *e = &s->extents[i];
        if (i == 0 || is_there(s, i - 1))
            require_zeros(s->at + end, e->at - end, "zeros before an extent (2)");
        end = e->at + e->stored_bytes;
        if (!is_there(s, i))
            continue;
        require_sha256(s->at + e->at, e->stored_bytes, e->sha256, "an extent's SHA-256 (3.3)");
        struct cursor c = {s->at + e->at, s->at + end};
        uint64_t n = tiles_of_extent(s, i);
        struct cursor heads = c;
        take_bytes(&c, n * TILE_HEAD_BYTES);
        for (uint64_t k = 0; k < n; k++) {
            take_bytes(&heads, 8); /* the checksum: decode_tile looks at it and at the rest */
            uint64_t bytes = take(&heads, 4);
            take_bytes(&heads, 4);
            take_bytes(&c, bytes);
            require_zeros(take_bytes(&c, -bytes % 16), -bytes % 16, "zeros after a payload (4)");
        }
        require(left(&c) == 0, "heads and payloads fill the extent (4)");
    }
    require_zeros(s->at + end, s->index_at - end, "zeros before the index (2)");
}

size_t bytes_of_tile(const struct object *o, uint64_t k)
{
    return (size_t)(k + 1 < o->n_tiles ? o->tile_bytes : o->plain_bytes - k * o->tile_bytes);
}

/* check_extents has seen its extent, if it is there. */
void decode_tile(const struct store *s, const struct object *o, uint64_t k_of_object,
                 uint8_t *plain, size_t plain_bytes)
{
    uint8_t *below = NULL;
    if (o->reference) {
        bytes_below(s, o, k_of_object, plain, plain_bytes);
        return;
    }
    if (o->needs_base) {
        below = allocate(plain_bytes, 1);
        bytes_below(s, o, k_of_object, below, plain_bytes);
    }
    uint64_t t = o->first_tile + k_of_object;
    if (!is_there(s, t / EXTENT_TILES))
        fail(SLOW_IO, "a part, which lacks an extent that is needed (10)");
    const struct extent *e = &s->extents[t / EXTENT_TILES];
    struct cursor heads = {s->at + e->at, s->at + e->at + e->stored_bytes};
    struct cursor payload = heads;
    take_bytes(&payload, (uint64_t)TILE_HEAD_BYTES * tiles_of_extent(s, t / EXTENT_TILES));
    for (uint64_t k = 0;; k++) {
        uint64_t checksum = take(&heads, 8);
        uint64_t bytes = take(&heads, 4);
        unsigned mode = (unsigned)take(&heads, 1);
        require(take(&heads, 3) == 0, "a tile head's zeros (4)");
        if (k < t % EXTENT_TILES) {
            take_bytes(&payload, (bytes + 15) / 16 * 16);
            continue;
        }
        require(bytes >= 1 && bytes <= plain_bytes, "a payload is no longer than plain (4)");
        payload.end = payload.at + bytes;
        decode_payload(o->coding, mode, payload, below, plain, plain_bytes);
        require(XXH3_64bits(plain, plain_bytes) == checksum, "a tile's XXH3-64 (4)");
        free(below);
        return;
    }
}

/* Decodes a file tile by tile, checks its SHA-256, and writes it to `fd` unless that is -1. */
static void decode_file(const struct store *s, const struct entry *e, int fd)
{
    static uint8_t plain[MAX_TILE];
    uint8_t sha256[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    if (!hash || !EVP_DigestInit_ex(hash, EVP_sha256(), NULL))
        fail(SLOW_IO, "SHA-256 does not work here");
    for (uint32_t i = 0; i < e->n_segments; i++) {
        if (e->segments[i].bytes == 0)
            continue;
        const struct object *o = &s->objects[e->segments[i].object];
        for (uint64_t k = 0; k < o->n_tiles; k++) {
            size_t n = bytes_of_tile(o, k);
            decode_tile(s, o, k, plain, n);
            if (!EVP_DigestUpdate(hash, plain, n) || (fd >= 0 && write(fd, plain, n) != (ssize_t)n))
                fail(SLOW_IO, "a file cannot be written");
        }
    }
    if (!EVP_DigestFinal_ex(hash, sha256, NULL))
        fail(SLOW_IO, "SHA-256 does not work here");
    EVP_MD_CTX_free(hash);
    require(memcmp(sha256, e->sha256, SHA256_BYTES) == 0, "a file's SHA-256 (3.4)");
}

/* `dir`, a slash, and the `n` bytes of `name`, which has no NUL. */
static char *join(const char *dir, const uint8_t *name, size_t n)
{
    size_t bytes = strlen(dir) + 1 + n + 1;
    char *path = allocate(bytes, 1);
    snprintf(path, bytes, "%s/%.*s", dir, (int)n, (const char *)name);
    return path;
}

static void unpack_entry(const struct store *s, const struct entry *e, const char *path)
{
    bool ok = true;
    if (e->kind == KIND_DIRECTORY) {
        ok = mkdir(path, 0700) == 0;
    } else if (e->kind == KIND_LINK) {
        char *target = join(".", e->target, e->target_bytes);
        ok = symlink(target + 2, path) == 0;
        free(target);
    } else {
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0)
            fail(SLOW_IO, "a file cannot be made");
        decode_file(s, e, fd);
        ok = fchmod(fd, e->mode) == 0;
        ok = close(fd) == 0 && ok;
    }
    if (!ok)
        fail(SLOW_IO, "an entry cannot be made");
}

static void unpack(const struct store *s, const char *dir)
{
    if (mkdir(dir, 0700) != 0)
        fail(SLOW_IO, "the folder exists or cannot be made");
    for (uint32_t i = 0; i < s->n_entries; i++) {
        char *path = join(dir, s->entries[i].path, s->entries[i].path_bytes);
        unpack_entry(s, &s->entries[i], path);
        free(path);
    }
    for (uint32_t i = s->n_entries; i-- > 0;) { /* last, since a mode may forbid to write */
        const struct entry *e = &s->entries[i];
        char *path = join(dir, e->path, e->path_bytes);
        if (e->kind == KIND_DIRECTORY && chmod(path, e->mode) != 0)
            fail(SLOW_IO, "a directory's mode cannot be set");
        free(path);
    }
}

/* The tiles that are there; ends the program if any are not. */
static void check_part(const struct store *s)
{
    static uint8_t plain[MAX_TILE];
    bool lacks = false;
    for (uint32_t i = 0; i < s->n_objects; i++) {
        const struct object *o = &s->objects[i];
        for (uint64_t k = 0; k < o->n_tiles; k++) {
            bool there = o->reference || is_there(s, (o->first_tile + k) / EXTENT_TILES);
            there = there && (!o->needs_base || s->base);
            if (there)
                decode_tile(s, o, k, plain, bytes_of_tile(o, k));
            lacks = lacks || !there;
        }
    }
    if (lacks)
        fail(SLOW_IO, "it lacks extents (10) or its base (3.2)");
}

int main(int argc, char **argv)
{
    static struct store s, base;
    bool has_base = argc == 5 && strcmp(argv[1], "--base") == 0;
    char **operand = argv + (has_base ? 3 : 1);
    if (argc != (has_base ? 5 : 3)) {
        fprintf(stderr, "usage: slow_decoder [--base BASE] STORE OUTDIR\n"
                        "       slow_decoder [--base BASE] --check STORE\n");
        return 1;
    }
    bool only_check = strcmp(operand[0], "--check") == 0;
    map_store(&s, operand[only_check ? 1 : 0]);
    open_store(&s);
    check_extents(&s);
    if (has_base) {
        map_store(&base, argv[2]);
        open_store(&base);
        check_extents(&base);
        set_base(&s, &base);
    }
    check_part(&s);
    for (uint32_t i = 0; i < s.n_entries; i++)
        if (s.entries[i].kind == KIND_FILE)
            decode_file(&s, &s.entries[i], -1);
    if (!only_check)
        unpack(&s, operand[1]);
    return 0;
}
