#include "nearness.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "options.h"
#include "output.h"

/* ---- what is wanted ---- */

static bool read_real(const struct cli *cli, int option, double *out)
{
    const char *text = cli->value[option];
    if (!text)
        return true;
    char *end = NULL;
    errno = 0;
    double v = text[0] >= '0' && text[0] <= '9' ? strtod(text, &end) : 0;
    if (errno || !end || *end || !isfinite(v) || v <= 0) {
        fail_usage(cli, "--%s is a number such as 33.5, not '%s'", cli->cmd->option[option].name,
                   text);
        return false;
    }
    *out = v;
    return true;
}

bool near_wish_read(const struct cli *cli, const struct near_options *options,
                    struct near_wish *out)
{
    const char *profile = cli->value[options->profile];
    const bool q8 = profile && strcmp(profile, "q8") == 0;
    double step = 0;
    *out = (struct near_wish){.wanted = q8, .embeddings = option_given(cli, options->embeddings)};
    if (profile && !q8 && strcmp(profile, "lossless") != 0) {
        fail_usage(cli, "--profile is lossless or q8, not '%s'", profile);
        return false;
    }
    if (!read_real(cli, options->step, &step) || !read_real(cli, options->snr, &out->near.snr) ||
        !read_real(cli, options->ratio, &out->near.ratio))
        return false;
    out->near.step = (float)step;
    const bool any = step > 0 || out->near.snr > 0 || out->near.ratio > 0 || out->embeddings;
    if (any && !q8) {
        fail_usage(cli, "--q8-... go with --profile q8");
        return false;
    }
    if (weir_near_check(&out->near) == WEIR_OK)
        return true;
    fail_usage(cli, "at most one of --q8-step (0.0005 to 1), --q8-snr (20 to 60) and --q8-ratio "
                    "(above 1, up to 16)");
    return false;
}

/* ---- what is there ---- */

const struct weir_nearness *nearness_of(const struct weir_store *store,
                                        const struct weir_segment *segment)
{
    if (segment->object == WEIR_NO_OBJECT)
        return NULL;
    const struct weir_object *object = weir_store_object(store, segment->object);
    return object->coding && object->coding->transform.near ? &object->nearness : NULL;
}

void near_sum_file(struct near_sum *sum, const struct weir_store *store,
                   const struct weir_entry *file)
{
    for (uint32_t i = 0; i < file->n_segments; i++) {
        const struct weir_nearness *nearness = nearness_of(store, &file->segment[i]);
        if (!nearness)
            continue;
        sum->n++;
        sum->bytes += file->segment[i].bytes;
        weir_nearness_add(&sum->nearness, nearness);
    }
}

struct near_sum near_sum_store(const struct weir_store *store)
{
    struct near_sum sum = {0};
    for (uint32_t i = 0; i < weir_store_info(store)->n_entries; i++)
        near_sum_file(&sum, store, weir_store_entry(store, i));
    return sum;
}

char *nearness_text(const struct weir_nearness *nearness, char buf[NEARNESS_TEXT])
{
    snprintf(buf, NEARNESS_TEXT, "%.2f dB, at most %.3f of a step off", weir_nearness_snr(nearness),
             (double)nearness->largest);
    return buf;
}

json_t *nearness_object(const struct weir_nearness *nearness)
{
    const double snr = weir_nearness_snr(nearness);
    return json_pack("{s:o,s:f,s:f}", "snr_db", isfinite(snr) ? json_real(snr) : json_null(),
                     "max_error_steps", (double)nearness->largest, "step_of_rms",
                     (double)nearness->step);
}

json_t *near_sum_object(const struct near_sum *sum)
{
    if (!sum->n)
        return json_null();
    json_t *o = nearness_object(&sum->nearness);
    if (o) {
        (void)json_object_set_new(o, "tensors", json_integer((json_int_t)sum->n));
        (void)json_object_set_new(o, "plain_bytes", json_integer((json_int_t)sum->bytes));
    }
    return o;
}

void near_sum_print(FILE *to, const struct near_sum *sum)
{
    char text[NEARNESS_TEXT], size[HUMAN_BYTES];
    if (sum->n)
        fprintf(to, "near-lossless: %zu tensor%s, %s, %s; not the weights that were packed\n",
                sum->n, sum->n == 1 ? "" : "s", human_bytes(size, (double)sum->bytes),
                nearness_text(&sum->nearness, text));
}
