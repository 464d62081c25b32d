/* cmd_fetch_curl.c - what kind of fetch is asked for. */
#include <string.h>

#include "cmd_fetch.h"
#include "fail.h"
#include "fetch/hub.h"
#include "fetch_job.h"
#include "opened.h"
#include "options.h"

/* Of a store, the options that only files of a repository have; and the other way round. */
static int refuse_options(const struct cli *cli, const int *option, const char *what)
{
    for (; *option >= 0; option++)
        if (option_given(cli, *option))
            return fail_usage(cli, "--%s is not for %s", cli->cmd->option[*option].name, what);
    return EXIT_FINE;
}

static int run_store(struct cli *cli)
{
    static const int others[] = {FETCH_INCLUDE, FETCH_EXCLUDE, FETCH_HF_CACHE, FETCH_PACK, -1};
    int code = refuse_options(cli, others, "a store");
    if (code)
        return code;
    return option_given(cli, FETCH_PLAIN) ? fetch_plain(cli) : fetch_store(cli);
}

static int run_hub(struct cli *cli)
{
    static const int others[] = {FETCH_SEED,    FETCH_REPAIR, FETCH_PLAIN,
                                 FETCH_TENSORS, FETCH_LAYERS, -1};
    int code = refuse_options(cli, others, "a repository");
    if (code)
        return code;
    if (option_given(cli, FETCH_PACK) && option_given(cli, FETCH_HF_CACHE))
        return fail_usage(cli, "--pack and --hf-cache are two ways to go");
    return option_given(cli, FETCH_PACK) ? fetch_pack(cli) : fetch_hub(cli);
}

/* hf:ORG/NAME/PATH.weir is a store like any other. */
static int run_hub_store(struct cli *cli)
{
    char url[WEIR_HUB_MAX_URL];
    struct weir_diag diag = {""};
    weir_err err = hub_store_url(cli->operand[0], url, sizeof(url), &diag);
    if (err)
        return fail(cli, err, cli->operand[0], &diag);
    char *named = cli->operand[0];
    cli->operand[0] = url;
    int code = run_store(cli);
    cli->operand[0] = named;
    return code;
}

int fetch_run(struct cli *cli)
{
    const char *from = cli->operand[0];
    struct weir_hub_ref ref;
    struct weir_diag diag = {""};
    if (!is_url(from))
        return fail_usage(cli, "'%s' is not a URL; it begins with http://, https:// or hf:", from);
    if (!weir_hub_is_ref(from))
        return run_store(cli);
    weir_err err = weir_hub_ref_parse(from, &ref, &diag);
    if (err)
        return fail_usage(cli, "'%s': %s", from, diag.text);
    size_t n = strlen(ref.path);
    if (n == 0)
        return run_hub(cli);
    if (n < 5 || strcmp(ref.path + n - 5, ".weir") != 0)
        return fail_usage(cli,
                          "'%s' names a file that is no store (.weir); for one file of a "
                          "repository, use --include",
                          from);
    return run_hub_store(cli);
}
