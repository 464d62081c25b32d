/* pace.h - how many connections a client has, by what they bring: adapt.h, looked after. */
#ifndef WEIR_FETCH_PACE_H
#define WEIR_FETCH_PACE_H

#include "adapt.h"
#include "fetch/http.h"

struct pace {
    struct weir_http *http; /* borrowed */
    struct adapt adapt;     /* adapt.n: connections now */
    double looked;
    struct weir_http_counts counts; /* at the last look */
};

/* At most n_connections; 0: as many as a client may have. */
void pace_begin(struct pace *pace, struct weir_http *http, unsigned n_connections);

/* To be called often; does something about once a second. */
void pace_look(struct pace *pace);

#endif
