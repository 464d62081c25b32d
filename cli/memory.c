#include "memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "output.h"

enum {
    KIBI = 1024,
    MEBI = 1 << 20,
    LEAST_CHUNK = 16,
    MARGIN_BYTES = 6 << 20,   /* stacks, the C library's own, pages of the program not yet in */
    THREAD_BYTES = 256 << 10, /* of a thread's stack that is touched, at most */
    SPARE_NUMERATOR = 4,      /* of what is available, without --ram */
    SPARE_DENOMINATOR = 5,
    VOCAB_BYTES = 16,        /* a sampler takes, per token it may choose */
    START_BYTES = 512 << 10, /* by which what a start takes differs from one to the next */
};

/* The number behind `key` in a file of /proc, in bytes; `otherwise` if there is none. */
static uint64_t proc_kibibytes(const char *path, const char *key, uint64_t otherwise)
{
    char line[256];
    uint64_t bytes = otherwise;
    const size_t n = strlen(key);
    FILE *f = fopen(path, "re");
    if (!f)
        return otherwise;
    while (fgets(line, sizeof(line), f))
        if (strncmp(line, key, n) == 0 && line[n] == ':') {
            bytes = strtoull(line + n + 1, NULL, 10) * KIBI;
            break;
        }
    (void)fclose(f);
    return bytes;
}

uint64_t memory_peak(void)
{
    return proc_kibibytes("/proc/self/status", "VmHWM", 0);
}

uint64_t memory_available(void)
{
    return proc_kibibytes("/proc/meminfo", "MemAvailable", UINT64_MAX);
}

/* All but weights, with this chunk. */
uint64_t memory_fixed(const struct weir_model *model, const struct weir_graph_options *options)
{
    uint64_t graph = weir_graph_bytes(model, options);
    uint64_t texts = options->n_sequences ? options->n_sequences : 1;
    uint64_t sampler = (uint64_t)model->config.vocab * VOCAB_BYTES * texts;
    long n_threads = options->n_threads ? (long)options->n_threads : sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t threads = (uint64_t)(n_threads > 0 ? n_threads : 1) * THREAD_BYTES;
    return graph ? memory_peak() + graph + sampler + threads + MARGIN_BYTES : UINT64_MAX;
}

static bool can_shrink(const struct weir_graph_options *o)
{
    return o->chunk / 2 >= LEAST_CHUNK && o->chunk / 2 >= o->n_sequences;
}

static void shrink(struct weir_graph_options *o)
{
    o->chunk /= 2;
    if (o->n_logits > o->chunk)
        o->n_logits = o->chunk;
}

weir_err memory_fit(uint64_t most, const struct weir_model *model,
                    struct weir_graph_options *options, struct weir_diag *diag)
{
    if (!most) {
        uint64_t available = memory_available(), fixed = memory_fixed(model, options);
        uint64_t spare = available / SPARE_DENOMINATOR * SPARE_NUMERATOR;
        if (options->keep_bytes && available != UINT64_MAX)
            options->keep_bytes = spare > fixed ? spare - fixed : 1;
        return WEIR_OK;
    }
    uint64_t fixed = memory_fixed(model, options);
    while (fixed > most && can_shrink(options)) {
        shrink(options);
        fixed = memory_fixed(model, options);
    }
    if (fixed > most) {
        char given[HUMAN_BYTES];
        weir_diag_set(diag,
                      "--ram %s is not enough for this model, context and number of threads; "
                      "%" PRIu64 "MiB would be",
                      human_bytes(given, (double)most), (fixed + START_BYTES) / MEBI + 1);
        return WEIR_ERR_NOMEM;
    }
    if (options->keep_bytes)
        options->keep_bytes = most - fixed;
    return WEIR_OK;
}
