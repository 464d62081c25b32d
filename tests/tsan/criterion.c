#include <criterion/criterion.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

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

int main(void)
{
    for (const struct one_test *test = tests; test; test = test->next)
        if (!test->disabled)
            run(test);
    return EXIT_SUCCESS;
}
