#include "adapt.h"

enum {
    FIRST = 4,
    REST = 20,         /* looks after a rise that did not pay */
    TROUBLE_REST = 10, /* ... after trouble */
};

static const double worth = 1.1; /* a rise that brings less is undone */

void adapt_begin(struct adapt *a, unsigned most)
{
    *a = (struct adapt){.n = most < FIRST ? most : FIRST, .most = most};
}

static void rise(struct adapt *a, double rate)
{
    if (a->n >= a->most)
        return;
    a->before = a->n;
    a->rate = rate;
    a->n = 2 * a->n < a->most ? 2 * a->n : a->most;
}

unsigned adapt_look(struct adapt *a, double rate, bool trouble)
{
    if (trouble) {
        a->n = a->n > 1 ? a->n / 2 : 1;
        a->before = 0;
        a->rest = TROUBLE_REST;
    } else if (a->before && rate < a->rate * worth) {
        a->n = a->before;
        a->before = 0;
        a->rest = REST;
    } else if (a->rest) {
        a->rest--;
    } else {
        a->before = 0;
        rise(a, rate);
    }
    return a->n;
}
