#include "plan_rate.h"

const char *const plan_part_names[PLAN_PARTS] = {
    [PLAN_MEMORY] = "memory",  [PLAN_DECODE] = "decode",       [PLAN_COPY] = "copy",
    [PLAN_DISK] = "disk",      [PLAN_ATTENTION] = "attention", [PLAN_ROWS] = "rows",
    [PLAN_ROUNDS] = "threads",
};

static double rate_of(const struct weir_rate *r, unsigned threads, unsigned measured)
{
    double rate = r->one * threads;
    return threads >= measured || rate > r->all ? r->all : rate;
}

static double seconds_of(uint64_t bytes, double rate)
{
    return bytes == 0 ? 0 : (double)bytes / rate;
}

struct plan_time plan_foresee(const struct plan_load *load, const struct doctor *machine)
{
    const struct weir_measured *m = &machine->measured;
    const unsigned t = load->threads;
    const double plain = rate_of(&m->plain, t, m->threads);
    struct plan_time time = {
        .resident = seconds_of(load->resident, rate_of(&m->resident, t, m->threads)),
        .plain = seconds_of(load->plain, plain),
    };
    const struct weir_rate *streams = load->from_store ? &m->store : &m->files;
    time.part[load->from_store ? PLAN_DECODE : PLAN_COPY] =
        seconds_of(load->streamed, rate_of(streams, t, m->threads));
    time.part[PLAN_MEMORY] = time.resident + time.plain;
    if (load->from_disk && machine->disk > 0)
        time.part[PLAN_DISK] = seconds_of(load->stored, machine->disk);
    time.part[PLAN_ATTENTION] = seconds_of(load->kept, plain);
    time.part[PLAN_ROWS] = (double)load->rows * m->row_seconds / (t < m->threads ? t : m->threads);
    time.part[PLAN_ROUNDS] = t > 1 ? load->rounds * m->round_seconds : 0;
    return time;
}

double plan_seconds(const struct plan_time *time)
{
    double sum = 0;
    for (int i = 0; i < PLAN_PARTS; i++)
        sum += time->part[i];
    return sum;
}

enum plan_part plan_limit(const struct plan_time *time)
{
    enum plan_part most = PLAN_MEMORY;
    for (int i = 0; i < PLAN_PARTS; i++)
        if (time->part[i] > time->part[most])
            most = (enum plan_part)i;
    return most;
}
