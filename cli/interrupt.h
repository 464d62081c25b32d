/* interrupt.h - SIGINT, SIGTERM and SIGHUP as a flag, so that a command can tidy up. */
#ifndef WEIR_CLI_INTERRUPT_H
#define WEIR_CLI_INTERRUPT_H

#include <stdbool.h>

/* The first signal sets the flag and interrupts system calls; a second one kills as usual. */
void interrupt_catch(void);
bool interrupted(void);

#endif
