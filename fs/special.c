#include "special.h"

#include <inttypes.h>
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

bool special_is_there(const struct mount *m, enum special which)
{
    return which != SPECIAL_STORE || m->tree->root == TREE_STORE_ROOT;
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
        if (strcmp(name, special_name[i]) != 0 || !special_is_there(m, i))
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

/* The store's name as a JSON string, or null where it is not short UTF-8 text. */
static void write_name(const struct mount *m, char *out, size_t room)
{
    json_t *name = json_string(m->store_name);
    size_t n = name ? json_dumpb(name, out, room - 1, JSON_ENCODE_ANY) : 0;
    json_decref(name);
    if (n == 0 || n >= room)
        n = (size_t)snprintf(out, room, "null");
    out[n] = 0;
}

/* Every number has its width: who reads piece by piece, and so more than one version, still reads
 * JSON. */
void status_write(const struct mount *m, char out[STATUS_BYTES])
{
    struct reader_counts read = reader_counts(m->reader);
    struct weir_streams_counts ahead = ahead_counts(m->ahead);
    char digest[MOUNT_DIGEST_CHARS + 1], name[STATUS_BYTES / 2];
    mount_digest(m, digest);
    write_name(m, name, sizeof(name));
    const struct {
        const char *key;
        uint64_t value;
    } rows[] = {
        {"requests", atomic_load(&m->n_requests)},
        {"reads", atomic_load(&m->n_reads)},
        {"read_bytes", atomic_load(&m->read_bytes)},
        {"cache_bytes", m->cache_bytes},
        {"cache_hits", read.cache_hits},
        {"decoded_tiles", read.decoded_tiles},
        {"decoded_bytes", read.decoded_bytes},
        {"ahead_bytes", ahead.ahead_bytes},
        {"ahead_hit_bytes", ahead.hit_bytes},
        {"ahead_waste_bytes", ahead.waste_bytes},
        {"errors", atomic_load(&m->n_errors)},
    };
    memset(out, ' ', STATUS_BYTES);
    int n = snprintf(out, STATUS_BYTES,
                     "{\n  \"store\": %s,\n  \"digest\": \"%s\",\n  \"seconds\": %16.3f", name,
                     digest, seconds_since(&m->started));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        n += snprintf(out + n, (size_t)(STATUS_BYTES - n), ",\n  \"%s\": %20" PRIu64, rows[i].key,
                      rows[i].value);
    n += snprintf(out + n, (size_t)(STATUS_BYTES - n), "\n}");
    memset(out + n, ' ', (size_t)(STATUS_BYTES - n));
    out[STATUS_BYTES - 1] = '\n';
}
