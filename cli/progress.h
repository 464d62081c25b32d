/* progress.h - the bar on a terminal's stderr, and the place where ^C is noticed. */
#ifndef WEIR_CLI_PROGRESS_H
#define WEIR_CLI_PROGRESS_H

#include <stdbool.h>

#include "codec/pack.h"

struct cli;

struct progress {
    struct weir_watch watch; /* hand this to the library */
    const char *label;
    bool draw, drawn;
    double started, last; /* seconds */
    double first;         /* bytes that were done when it started */
};

/* `label` must outlive the progress.  The struct must not move until progress_end(). */
void progress_begin(struct progress *p, const struct cli *cli, const char *label);
void progress_end(struct progress *p); /* wipes the bar; once more does no harm */

#endif
