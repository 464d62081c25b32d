/* nearness.h - near-lossless tensors on the command line: how near is wanted, and how near they
 * are, as people and programs read it. */
#ifndef WEIR_CLI_NEARNESS_H
#define WEIR_CLI_NEARNESS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "cmd.h"
#include "codec/quantise.h"
#include "codec/store.h"

/* Of a command that has --profile and --q8-...: the numbers of its options. */
struct near_options {
    int profile, step, snr, ratio, embeddings;
};

struct near_wish {
    bool wanted; /* --profile q8 */
    struct weir_near near;
    bool embeddings;
};

/* false: reported. */
bool near_wish_read(const struct cli *cli, const struct near_options *options,
                    struct near_wish *out);

/* All near tensors of a store, or of a file. */
struct near_sum {
    size_t n; /* tensors; 0: lossless throughout */
    uint64_t bytes;
    struct weir_nearness nearness;
};
void near_sum_file(struct near_sum *sum, const struct weir_store *store,
                   const struct weir_entry *file);
struct near_sum near_sum_store(const struct weir_store *store);

/* NULL: the segment is lossless. */
const struct weir_nearness *nearness_of(const struct weir_store *store,
                                        const struct weir_segment *segment);

/* "33.53 dB, at most 0.500 of a step off".  Returns buf. */
enum { NEARNESS_TEXT = 64 };
char *nearness_text(const struct weir_nearness *nearness, char buf[NEARNESS_TEXT]);

/* NULL: out of memory. */
json_t *nearness_object(const struct weir_nearness *nearness);
/* The same, with how many tensors and bytes; JSON's null for none. */
json_t *near_sum_object(const struct near_sum *sum);

/* One line on `to` that says what it means; nothing for none. */
void near_sum_print(FILE *to, const struct near_sum *sum);

#endif
