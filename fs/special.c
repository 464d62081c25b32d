#include "special.h"

#include <jansson.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ahead.h"
#include "mounted.h"
#include "reader.h"
#include "tree.h"

const char *const special_name[N_SPECIAL] = {
    [SPECIAL_DIR] = ".weir", [SPECIAL_STORE] = "store", [SPECIAL_STATUS] = "status.json"};

bool is_special(const struct mount *m, uint32_t node)
{
    return node >= m->tree->n_nodes;
}

enum special special_of(const struct mount *m, uint32_t node)
{
    return (enum special)(node - m->tree->n_nodes);
}

uint32_t special_node(const struct mount *m, enum special which)
{
    return m->tree->n_nodes + (uint32_t)which;
}

bool special_find(const struct mount *m, uint32_t parent, const char *name, uint32_t *out)
{
    enum special from = SPECIAL_STORE, to = N_SPECIAL;
    if (parent == m->tree->root) {
        from = SPECIAL_DIR;
        to = SPECIAL_STORE;
    } else if (parent != special_node(m, SPECIAL_DIR)) {
        return false;
    }
    for (enum special i = from; i < to; i++) {
        if (strcmp(name, special_name[i]) != 0)
            continue;
        *out = special_node(m, i);
        return true;
    }
    return false;
}

/* ---- status.json ---- */

static double seconds_since(const struct timespec *then)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - then->tv_sec) + 1e-9 * (double)(now.tv_nsec - then->tv_nsec);
}

/* The store's name, if it is short UTF-8 text. */
static json_t *name_of(const struct mount *m)
{
    return strlen(m->store_name) < STATUS_BYTES / 4 ? json_string(m->store_name) : NULL;
}

static json_t *pack_status(const struct mount *m)
{
    struct reader_counts read = reader_counts(m->reader);
    struct weir_streams_counts ahead = ahead_counts(m->ahead);
    char digest[2 * WEIR_DIGEST_BYTES + 1];
    mount_digest(m, digest);
    return json_pack(
        "{s:s,s:o*,s:f,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "digest", digest, "store",
        name_of(m), "seconds", seconds_since(&m->started), "requests",
        (json_int_t)atomic_load(&m->n_requests), "reads", (json_int_t)atomic_load(&m->n_reads),
        "read_bytes", (json_int_t)atomic_load(&m->read_bytes), "cache_bytes",
        (json_int_t)m->cache_bytes, "cache_hits", (json_int_t)read.cache_hits, "decoded_tiles",
        (json_int_t)read.decoded_tiles, "decoded_bytes", (json_int_t)read.decoded_bytes,
        "ahead_bytes", (json_int_t)ahead.ahead_bytes, "ahead_hit_bytes",
        (json_int_t)ahead.hit_bytes, "ahead_waste_bytes", (json_int_t)ahead.waste_bytes, "errors",
        (json_int_t)atomic_load(&m->n_errors));
}

bool status_write(const struct mount *m, char out[STATUS_BYTES])
{
    json_t *status = pack_status(m);
    if (!status)
        return false;
    memset(out, ' ', STATUS_BYTES);
    size_t n = json_dumpb(status, out, STATUS_BYTES - 1, JSON_INDENT(2));
    json_decref(status);
    out[STATUS_BYTES - 1] = '\n';
    return n > 0 && n < STATUS_BYTES;
}
