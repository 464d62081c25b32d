/* interrupt.h - SIGINT, SIGTERM and SIGHUP as a flag, so that a command can tidy up. */
#ifndef WEIR_CLI_INTERRUPT_H
#define WEIR_CLI_INTERRUPT_H

#include <stdbool.h>

/* The first signal sets the flag and interrupts system calls; a second one kills as usual. */
void interrupt_catch(void);
bool interrupted(void);

/* What was interrupted by SIGINT has ended, and something else goes on: the flag goes down and the
 * next signal is the first again.  false: it was another signal, and all ends. */
bool interrupt_forget(void);

#endif
