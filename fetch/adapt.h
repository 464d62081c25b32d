/* adapt.h - how many connections are worth having.  Pure.
 *
 * Begins with few, doubles them for as long as that pays, goes back when it does not, tries again
 * after a while; has half as many when the server asks for patience or fails. */
#ifndef WEIR_FETCH_ADAPT_H
#define WEIR_FETCH_ADAPT_H

#include <stdbool.h>
#include <stdint.h>

struct adapt {
    unsigned n, most; /* connections now, and at most */
    unsigned before;  /* what they were before the last rise; 0: that is settled */
    double rate;      /* bytes per second that they had then */
    unsigned rest;    /* looks until the next rise */
};

void adapt_begin(struct adapt *a, unsigned most);

/* A look, about once a second: the rate since the last one, and whether the server had trouble.
 * Returns a->n. */
unsigned adapt_look(struct adapt *a, double rate, bool trouble);

#endif
