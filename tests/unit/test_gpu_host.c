/* What a control group leaves for pinned memory: files in its folder, made up. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "gpu_weights_private.h"

static char folder[] = "gpu_host.XXXXXX";

static void put(const char *name, const char *text)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    (void)unlink(path);
    if (!text)
        return;
    FILE *f = fopen(path, "we");
    cr_assert(f);
    cr_assert(fputs(text, f) >= 0);
    cr_assert_eq(fclose(f), 0);
}

Test(gpu_host, counts_no_files_that_the_kernel_gives_back)
{
    static const char stat[] = "anon 200\nfile 650\nactive_file 100\ninactive_file 500\nshmem 50\n";
    static const struct {
        const char *max, *current, *stat;
        uint64_t left;
    } table[] = {
        {NULL, NULL, NULL, UINT64_MAX},       /* no group */
        {"max\n", "900\n", stat, UINT64_MAX}, /* without a limit */
        {"1000\n", "900\n", NULL, 100},       /* one that says no more */
        {"1000\n", "900\n", stat, 700},       /* most of it is files */
        {"1000\n", "1000\n", stat, 600},      /* full, of files */
        {"250\n", "900\n", stat, 0},          /* the limit was lowered */
        {"1000\n", "500\n", stat, 1000},      /* counted a moment apart */
        {"1000\n", NULL, stat, 1000},
    };
    cr_assert(mkdtemp(folder));
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        put("memory.max", table[i].max);
        put("memory.current", table[i].current);
        put("memory.stat", table[i].stat);
        cr_expect_eq(gpu_group_left(folder), table[i].left, "case %zu", i);
    }
    put("memory.max", NULL);
    put("memory.current", NULL);
    put("memory.stat", NULL);
    cr_assert_eq(rmdir(folder), 0);
}
