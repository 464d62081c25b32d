/* Signals as a flag: the first sets it, the second kills, and SIGINT can be forgotten.  Each test
 * works in a child, because signals are the process's.  Tests a private header (cli/interrupt.h).
 */
#include "interrupt.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { GOOD = 0, BAD = 1 };

/* What became of a child that did `work`. */
static int status_of(int (*work)(void))
{
    int status;
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0)
        _exit(work());
    cr_assert_eq(waitpid(child, &status, 0), child);
    return status;
}

static int first_sets_the_flag(void)
{
    static const int number[] = {SIGINT, SIGTERM, SIGHUP};
    interrupt_catch();
    if (interrupted())
        return BAD;
    for (size_t i = 0; i < sizeof(number) / sizeof(number[0]); i++)
        (void)raise(number[i]); /* each its first time */
    return interrupted() ? GOOD : BAD;
}

static int second_kills(void)
{
    interrupt_catch();
    (void)raise(SIGINT);
    (void)raise(SIGINT);
    return GOOD; /* not reached */
}

static int forgotten_is_first_again(void)
{
    interrupt_catch();
    for (int i = 0; i < 3; i++) {
        (void)raise(SIGINT);
        if (!interrupted() || !interrupt_forget() || interrupted())
            return BAD;
    }
    (void)raise(SIGINT);
    return interrupted() ? GOOD : BAD;
}

static int others_are_not_forgotten(void)
{
    interrupt_catch();
    (void)raise(SIGTERM);
    return !interrupt_forget() && interrupted() ? GOOD : BAD;
}

/* Nothing came: nothing to forget, and no harm. */
static int forgetting_nothing(void)
{
    interrupt_catch();
    return interrupt_forget() && !interrupted() ? GOOD : BAD;
}

static int ignored_stays_ignored(void)
{
    (void)signal(SIGHUP, SIG_IGN);
    interrupt_catch();
    (void)raise(SIGHUP);
    (void)raise(SIGHUP);
    return interrupted() ? BAD : GOOD;
}

Test(interrupt, a_flag_that_can_be_forgotten)
{
    static int (*const works[])(void) = {first_sets_the_flag, forgotten_is_first_again,
                                         others_are_not_forgotten, forgetting_nothing,
                                         ignored_stays_ignored};
    for (size_t i = 0; i < sizeof(works) / sizeof(works[0]); i++)
        cr_expect_eq(status_of(works[i]), GOOD, "number %zu", i);
}

Test(interrupt, a_second_one_kills)
{
    int status = status_of(second_kills);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT, "%x", (unsigned)status);
}
