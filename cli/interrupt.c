#include "interrupt.h"

#include <signal.h>
#include <stddef.h>

/* Read by other threads than the one that the signal meets; lock-free, so fit for a handler. */
static _Atomic int raised;

static void on_signal(int number)
{
    raised = number;
}

void interrupt_catch(void)
{
    static const int number[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof(number) / sizeof(number[0]); i++) {
        struct sigaction old, act = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
        /* nohup and shells that ignore a signal for a background job mean it. */
        if (sigaction(number[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            (void)sigaction(number[i], &act, NULL);
    }
}

bool interrupted(void)
{
    return raised != 0;
}

bool interrupt_forget(void)
{
    if (raised != 0 && raised != SIGINT)
        return false;
    raised = 0;
    interrupt_catch();
    return true;
}
