#include "progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cmd.h"
#include "env.h"
#include "interrupt.h"
#include "output.h"

enum { LINE_BYTES = 256, MAX_COLUMNS = 100, BAR = 16 };

static size_t columns(void)
{
    struct winsize w;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) != 0 || w.ws_col < 20)
        return 79;
    /* The last column stays free: writing there wraps on some terminals. */
    return w.ws_col <= MAX_COLUMNS ? w.ws_col - 1U : MAX_COLUMNS;
}

static void draw(const struct progress *p, double now, double done, double total)
{
    char bytes[HUMAN_BYTES], all[HUMAN_BYTES], rate[HUMAN_BYTES], left[HUMAN_BYTES];
    char bar[BAR + 1], line[LINE_BYTES];
    double part = total > 0 ? done / total : 1, seconds = now - p->started;
    for (int i = 0; i < BAR; i++)
        bar[i] = i < (int)(part * BAR) ? '#' : '.';
    bar[BAR] = 0;
    snprintf(left, sizeof(left), "-:--");
    double moved = done - p->first;
    if (moved > 0)
        human_time(left, seconds * (total - done) / moved);
    snprintf(line, sizeof(line), "%s [%s] %3.0f%%  %s of %s  %s/s  ETA %s", p->label, bar,
             100 * part, human_bytes(bytes, done), human_bytes(all, total),
             human_bytes(rate, seconds > 0 ? moved / seconds : 0), left);
    size_t width = columns();
    fprintf(stderr, "\r%-*.*s", (int)width, (int)width, line);
}

static bool tick(void *self, uint64_t done_bytes, uint64_t total_bytes)
{
    struct progress *p = self;
    if (p->draw) {
        double now = now_seconds();
        if (now - p->last >= 0.1) {
            draw(p, now, (double)done_bytes, (double)total_bytes);
            p->last = now;
            p->drawn = true;
        }
    }
    return !interrupted();
}

void progress_begin(struct progress *p, const struct cli *cli, const char *label)
{
    const char *term = getenv("TERM");
    bool dumb = term && strcmp(term, "dumb") == 0;
    double now = now_seconds();
    *p = (struct progress){.watch = {p, tick},
                           .label = label,
                           .draw = !cli->quiet && !dumb &&
                                   !env_is_true("HF_HUB_DISABLE_PROGRESS_BARS") &&
                                   isatty(STDERR_FILENO),
                           .started = now,
                           .last = now};
}

void progress_end(struct progress *p)
{
    if (p->drawn)
        fprintf(stderr, "\r%*s\r", (int)columns(), "");
    p->drawn = false;
}
