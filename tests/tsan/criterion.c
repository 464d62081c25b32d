#include <criterion/criterion.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct one_test *tests;
static jmp_buf skipped;

void add_test(struct one_test *test)
{
    test->next = tests;
    tests = test;
}

void check(bool good, const char *what, const char *file, int line)
{
    if (good)
        return;
    fprintf(stderr, "%s:%d: %s\n", file, line, what);
    exit(EXIT_FAILURE);
}

_Noreturn void skip_test(void)
{
    longjmp(skipped, 1);
}

static void run(const struct one_test *test)
{
    if (setjmp(skipped)) {
        printf("%s: skipped\n", test->name);
        return;
    }
    if (test->init)
        test->init();
    test->run();
    if (test->fini)
        test->fini();
    printf("%s: passed\n", test->name);
}

static bool is_wanted(const struct one_test *test, char **names)
{
    if (!*names)
        return !test->disabled;
    while (*names && strcmp(*names, test->name) != 0)
        names++;
    return *names;
}

/* All tests, or those named on the command line ("suite.title"); none at all is a failure. */
int main(int argc, char **argv)
{
    int n = 0;
    for (const struct one_test *test = tests; argc > 0 && test; test = test->next) {
        if (!is_wanted(test, argv + 1))
            continue;
        run(test);
        n++;
    }
    return n > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
