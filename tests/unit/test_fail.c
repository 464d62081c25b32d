#include <criterion/criterion.h>
#include <string.h>

#include "fail.h"

/* What to do about an error of a GPU is no advice about files. */
Test(fail, a_gpus_error_has_its_own_advice)
{
    static const struct {
        weir_err err;
        const char *said, *want;
    } cases[] = {
        {WEIR_ERR_NOMEM, "no room",
         "no room; give it more with --vram, or less to do with -c, -u or -b"},
        {WEIR_ERR_NOMEM, "no room; end what else uses it", "no room; end what else uses it"},
        {WEIR_ERR_NOT_FOUND, "no GPU", "no GPU; --device cpu needs no GPU"},
        {WEIR_ERR_UNSUPPORTED, "too old", "too old; --device cpu needs no GPU"},
        {WEIR_ERR_IO, "it is lost",
         "it is lost; see what the driver logged (dmesg), or use --device cpu"},
        {WEIR_ERR_CORRUPT, "a tile", "a tile"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_diag diag;
        weir_diag_set(&diag, "%s", cases[i].said);
        fail_advise_gpu(cases[i].err, &diag);
        cr_expect_str_eq(diag.text, cases[i].want);
    }
}

Test(fail, advice_fits_whatever_was_said)
{
    struct weir_diag diag = {""};
    fail_advise_gpu(WEIR_ERR_NOMEM, &diag);
    cr_expect(strstr(diag.text, "; give it more with --vram"), "%s", diag.text);
    memset(diag.text, 'x', sizeof(diag.text) - 3);
    memcpy(diag.text + sizeof(diag.text) - 3, "yz", 3);
    fail_advise_gpu(WEIR_ERR_NOMEM, &diag);
    cr_expect_eq(strlen(diag.text), sizeof(diag.text) - 1);
}
