#include "fetch_part.h"

#include <stdlib.h>
#include <string.h>

#include "cmd_fetch.h"
#include "fail.h"
#include "options.h"

/* Digits, at most 9 of them; *text is moved behind them. */
static bool take_number(const char **text, uint32_t *out)
{
    enum { MAX_DIGITS = 9 };
    size_t n = strspn(*text, "0123456789");
    if (n == 0 || n > MAX_DIGITS)
        return false;
    *out = (uint32_t)strtoul(*text, NULL, 10);
    *text += n;
    return true;
}

/* "A", "A-" or "A-B". */
static bool take_layers(struct weir_part_wish *wish, const char *text)
{
    if (!take_number(&text, &wish->first_layer))
        return false;
    wish->last_layer = wish->first_layer;
    if (*text == '-' && !*++text)
        wish->last_layer = UINT32_MAX;
    else if (text[-1] == '-' && !take_number(&text, &wish->last_layer))
        return false;
    wish->has_layers = true;
    return !*text && wish->first_layer <= wish->last_layer;
}

/* Cut at the commas. */
static bool take_globs(struct fetch_part *part, const char *text)
{
    part->text = strdup(text);
    part->glob = calloc(strlen(text) + 1, sizeof(part->glob[0]));
    if (!part->text || !part->glob)
        return false;
    char *rest;
    for (char *glob = strtok_r(part->text, ",", &rest); glob; glob = strtok_r(NULL, ",", &rest))
        part->glob[part->wish.n_globs++] = glob;
    part->wish.glob = part->glob;
    return true;
}

bool fetch_part_take(struct fetch_part *part, const struct cli *cli, bool *asked)
{
    const char *layers = cli->value[FETCH_LAYERS], *tensors = cli->value[FETCH_TENSORS];
    *part = (struct fetch_part){.text = NULL};
    *asked = layers || tensors;
    if (layers && !take_layers(&part->wish, layers)) {
        fail_usage(cli, "--layers takes A, A- or A-B, with A not above B, not '%s'", layers);
        return false;
    }
    if (tensors && !take_globs(part, tensors)) {
        (void)fail(cli, WEIR_ERR_NOMEM, NULL, NULL);
        return false;
    }
    if (tensors && part->wish.n_globs == 0) {
        fail_usage(cli, "--tensors names no tensor");
        return false;
    }
    return true;
}

void fetch_part_free(struct fetch_part *part)
{
    free(part->text);
    free(part->glob);
    *part = (struct fetch_part){.text = NULL};
}
