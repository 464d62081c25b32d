/* Any bytes: index_parse() returns, and what it accepts is written again byte for byte. */
#include "codec/index.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct index *ix = NULL;
    struct weir_diag diag = {""};
    weir_err err = index_parse(data, n, &ix, &diag);
    if (err) {
        if (err != WEIR_ERR_CORRUPT || ix || !diag.text[0])
            abort();
        return 0;
    }
    uint8_t *written = NULL;
    size_t n_written = 0;
    if (index_write(ix, &written, &n_written) || n_written != n || memcmp(written, data, n) != 0)
        abort();
    free(written);
    index_free(ix);
    return 0;
}
