/* The GPU's figures in the doctor's file.
 *
 *   "gpu": null, or an object: "name", "memory_bytes"; "copy_gb_per_s" (read plus written),
 *          "to_device_gb_per_s" and "to_host_gb_per_s" (pinned memory), "decode_gb_per_s" (plain);
 *          "shapes", a list of objects: "rows", "columns", "packed_gb_per_s" and "rows_gb_per_s"
 *          (plain weights times one vector), "crossing" (from so many vectors on unpacking and
 *          cuBLAS are faster; 0: never), "most_exceptions" (the share of exceptions up to which
 *          12 bits take at most a tenth more time than BF16 does; may be missing) */
#include <stdio.h>
#include <string.h>

#include "doctor.h"
#include "output.h"

enum { MOST_ROWS = 1 << 24 };

json_t *doctor_gpu_json(const struct weir_device_measured *m)
{
    json_t *shapes = json_array();
    for (size_t i = 0; i < m->n_crossings; i++) {
        const struct weir_device_crossing *c = &m->crossing[i];
        (void)json_array_append_new(
            shapes, json_pack("{s:I,s:I,s:f,s:f,s:I,s:f}", "rows", (json_int_t)c->n_rows, "columns",
                              (json_int_t)c->n_columns, "packed_gb_per_s", c->packed / 1e9,
                              "rows_gb_per_s", c->rows / 1e9, "crossing", (json_int_t)c->vectors,
                              "most_exceptions", c->most_odd));
    }
    return json_pack("{s:o,s:I,s:f,s:f,s:f,s:f,s:o}", "name", json_text(m->name), "memory_bytes",
                     (json_int_t)m->memory_bytes, "copy_gb_per_s", m->copy / 1e9,
                     "to_device_gb_per_s", m->to_device / 1e9, "to_host_gb_per_s", m->to_host / 1e9,
                     "decode_gb_per_s", m->decode / 1e9, "shapes", shapes);
}

/* ---- reading ---- */

static bool rate(const json_t *o, const char *key, double *out)
{
    *out = json_number_value(json_object_get(o, key)) * 1e9;
    return *out > 0;
}

static bool count(const json_t *o, const char *key, uint32_t *out)
{
    double v = json_number_value(json_object_get(o, key));
    *out = v >= 0 && v <= MOST_ROWS ? (uint32_t)v : 0;
    return v >= 0 && v <= MOST_ROWS;
}

static bool take_shape(const json_t *o, struct weir_device_crossing *c)
{
    const json_t *odd = json_object_get(o, "most_exceptions");
    c->most_odd = json_is_number(odd) ? json_number_value(odd) : -1;
    return count(o, "rows", &c->n_rows) && c->n_rows && count(o, "columns", &c->n_columns) &&
           c->n_columns && count(o, "crossing", &c->vectors) &&
           rate(o, "packed_gb_per_s", &c->packed) && rate(o, "rows_gb_per_s", &c->rows);
}

bool doctor_gpu_take(const json_t *o, struct weir_device_measured *m)
{
    const char *name = json_string_value(json_object_get(o, "name"));
    const json_t *shapes = json_object_get(o, "shapes");
    double memory = json_number_value(json_object_get(o, "memory_bytes"));
    *m = (struct weir_device_measured){.n_crossings = 0};
    if (!name || !(memory > 0 && memory < 1e18) || !rate(o, "copy_gb_per_s", &m->copy) ||
        !rate(o, "to_device_gb_per_s", &m->to_device) ||
        !rate(o, "to_host_gb_per_s", &m->to_host) || !rate(o, "decode_gb_per_s", &m->decode))
        return false;
    (void)snprintf(m->name, sizeof(m->name), "%s", name);
    m->memory_bytes = (uint64_t)memory;
    for (size_t i = 0; i < json_array_size(shapes) && m->n_crossings < WEIR_MOST_CROSSINGS; i++)
        if (take_shape(json_array_get(shapes, i), &m->crossing[m->n_crossings]))
            m->n_crossings++;
    return true;
}

/* ---- saying ---- */

void doctor_gpu_print(FILE *to, const struct weir_device_measured *m)
{
    char a[HUMAN_BYTES], b[HUMAN_BYTES];
    fputs("GPU         ", to);
    print_escaped(to, m->name);
    fprintf(to, ", %s; copies %s/s within\n", human_bytes(a, (double)m->memory_bytes),
            human_bytes(b, m->copy));
    fprintf(to, "to GPU      %s/s of pinned memory, %s/s back\n", human_bytes(a, m->to_device),
            human_bytes(b, m->to_host));
    fprintf(to, "GPU decode  %s/s out of tiles\n", human_bytes(a, m->decode));
    for (size_t i = 0; i < m->n_crossings; i++) {
        const struct weir_device_crossing *c = &m->crossing[i];
        fprintf(to, "%5u x %-5u %s/s of it in 12 bits, %s/s as BF16; ", c->n_rows, c->n_columns,
                human_bytes(a, c->packed), human_bytes(b, c->rows));
        if (c->most_odd >= 0)
            fprintf(to, "up to %.1f %% of exceptions; ", 100 * c->most_odd);
        if (c->vectors)
            fprintf(to, "cuBLAS from %u vectors on\n", c->vectors);
        else
            fputs("never cuBLAS\n", to);
    }
}

uint32_t doctor_gpu_piece(const struct weir_device_measured *m)
{
    double sum = 0, weights = 0;
    for (size_t i = 0; i < m->n_crossings; i++) {
        const struct weir_device_crossing *c = &m->crossing[i];
        const double n = (double)c->n_rows * (double)c->n_columns;
        sum += n * (c->vectors ? c->vectors - 1 : WEIR_MOST_CROSSING);
        weights += n;
    }
    return weights > 0 ? (uint32_t)(sum / weights) : 0;
}
