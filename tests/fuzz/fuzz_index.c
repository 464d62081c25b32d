/* Any bytes: index_parse() returns, and what it accepts is written again byte for byte. */
#include "codec/index.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void try_features(const uint8_t *data, size_t n, unsigned features)
{
    struct index *ix = NULL;
    struct weir_diag diag = {""};
    weir_err err = index_parse(data, n, features, &ix, &diag);
    if (err) {
        if (err != WEIR_ERR_CORRUPT || ix || !diag.text[0])
            abort();
        return;
    }
    uint8_t *written = NULL;
    size_t n_written = 0;
    if (index_features(ix) != features || index_write(ix, &written, &n_written) || n_written != n ||
        memcmp(written, data, n) != 0)
        abort();
    free(written);
    index_free(ix);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    for (unsigned features = 0; features <= WEIR_FEATURES_KNOWN; features++)
        try_features(data, n, features);
    return 0;
}
