/* How a run went, as an object and as a line. */
#include <string.h>

#include "memory.h"
#include "output.h"
#include "run_job.h"

double run_rate(double n, double seconds)
{
    return seconds > 0 ? n / seconds : 0;
}

/* Passes after the prompt's: the first token of the answer comes from that. */
static double passes(const struct generation *g)
{
    return g->ids.n > 0 ? (double)(g->ids.n - 1) : 0;
}

json_t *run_report_ids(const struct weir_ids *ids)
{
    json_t *list = json_array();
    for (size_t i = 0; i < ids->n; i++)
        (void)json_array_append_new(list, json_integer((json_int_t)ids->id[i]));
    if (json_array_size(list) == ids->n)
        return list;
    json_decref(list);
    return NULL;
}

/* The text may have NULs and bytes that are no UTF-8. */
json_t *run_report_text(struct weir_text *text)
{
    if (weir_text_add(text, "", 1))
        return NULL;
    text->n--;
    return json_text(text->bytes);
}

const char *run_report_hash(char buf[RUN_HASH], const struct weir_logits_hash *hash)
{
    (void)snprintf(buf, RUN_HASH, "%016llx", (unsigned long long)weir_logits_hash_value(hash));
    return buf;
}

json_t *run_report_json(const struct run_job *job, struct generation *g)
{
    char hash[RUN_HASH];
    json_t *o = json_pack(
        "{s:o,s:o,s:I,s:I,s:s,s:f,s:f,s:f,s:s,s:I,s:I,s:I,s:{s:f,s:f,s:f}}", "text",
        run_report_text(&g->text), "tokens", run_report_ids(&g->ids), "prompt_tokens",
        (json_int_t)g->n_prompt, "prompt_reused", (json_int_t)g->n_known, "end", g->end,
        "prompt_tok_per_s", run_rate((double)(g->n_prompt - g->n_known), g->prompt_seconds),
        "gen_tok_per_s", run_rate(passes(g), g->answer_seconds), "gb_per_s",
        run_rate((double)g->answer_bytes / 1e9, g->answer_seconds), "logits_hash",
        run_report_hash(hash, g->hash), "peak_rss_bytes", (json_int_t)memory_peak(), "bytes_read",
        (json_int_t)weir_graph_counts(job->graph).read_bytes, "threads",
        (json_int_t)weir_graph_threads(job->graph), "seconds", "load", job->load_seconds, "prompt",
        g->prompt_seconds, "generate", g->answer_seconds);
    if (o) {
        (void)json_object_set_new(o, "answer_copied_bytes",
                                  json_integer((json_int_t)g->answer_copied));
        (void)json_object_set_new(o, "answer_decoded_bytes",
                                  json_integer((json_int_t)g->answer_decoded));
    }
    return run_device_report(job, o);
}

void run_report_line(const struct run_job *job, const struct generation *g)
{
    char rss[HUMAN_BYTES], speed[HUMAN_BYTES], read[HUMAN_BYTES], hash[RUN_HASH];
    char device[RUN_DEVICE_LINE];
    fprintf(
        stderr,
        "prompt: %zu tokens, %.1f tok/s, %.2f s; answer: %zu tokens, %.1f tok/s, %.2f s, %s/s of "
        "weights; load: %.2f s; read %s; peak RSS %s; %s; logits %s; end: %s\n",
        g->n_prompt, run_rate((double)(g->n_prompt - g->n_known), g->prompt_seconds),
        g->prompt_seconds, g->ids.n, run_rate(passes(g), g->answer_seconds), g->answer_seconds,
        human_bytes(speed, run_rate((double)g->answer_bytes, g->answer_seconds)), job->load_seconds,
        human_bytes(read, (double)weir_graph_counts(job->graph).read_bytes),
        human_bytes(rss, (double)memory_peak()), run_device_line(device, job),
        run_report_hash(hash, g->hash), g->end);
}
