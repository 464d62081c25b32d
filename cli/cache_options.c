#include "cache_options.h"

#include "fail.h"
#include "options.h"

static void warn(void *self, const char *text)
{
    const struct cli *cli = self;
    fprintf(stderr, "weir %s: %s\n", cli->cmd->name, text);
}

bool cache_options(const struct cli *cli, int folder, int size, struct remote_options *out)
{
    *out = (struct remote_options){
        .cache_folder = cli->value[folder], .self = (void *)cli, .warn = warn};
    if (!option_bytes(cli, size, REMOTE_CACHE_BYTES, &out->cache_bytes))
        return false;
    if (out->cache_folder && !*out->cache_folder)
        fail_usage(cli, "--cache names no folder");
    else if (option_given(cli, size) && !out->cache_folder)
        fail_usage(cli, "--cache-size without --cache: there is no folder to bound");
    else if (out->cache_bytes < CACHE_MIN_BYTES)
        fail_usage(cli, "--cache-size is at least 16Mi, not '%s'", cli->value[size]);
    else
        return true;
    return false;
}
