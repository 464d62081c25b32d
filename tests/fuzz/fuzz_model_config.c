/* Any bytes: a config.json, or, where they begin with "GGUF", a GGUF header.  What is taken can be
 * computed with: every number is below its ceiling. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "infer/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(const struct weir_model_config *c)
{
    bool fine = c->n_layers >= 1 && c->n_layers <= WEIR_MAX_LAYERS && c->hidden <= WEIR_MAX_WIDTH &&
                c->n_heads % c->n_kv_heads == 0 && c->head_dim <= WEIR_MAX_HEAD_DIM &&
                c->rope.n_dims <= c->head_dim && c->rope.n_dims % 2 == 0 &&
                c->n_eos <= WEIR_MAX_EOS && c->vocab <= WEIR_MAX_VOCAB && c->context >= 1;
    if (!fine)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct weir_model_config c;
    struct weir_diag diag = {""};
    weir_err err;
    if (len >= 4 && memcmp(data, "GGUF", 4) == 0)
        err = weir_model_config_from_gguf(data, len, &c, &diag);
    else
        err = weir_model_config_from_json((const char *)data, len, NULL, 0, &c, &diag);
    if (!err)
        check(&c);
    else if (!diag.text[0] && err != WEIR_ERR_NOMEM)
        abort(); /* a refusal that does not say why */
    return 0;
}
