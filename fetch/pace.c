#include "pace.h"

#include "client.h"

static const double look_seconds = 1;

void pace_begin(struct pace *p, struct weir_http *http, unsigned n_connections)
{
    *p = (struct pace){.http = http, .looked = client_now(), .counts = weir_http_counts(http)};
    adapt_begin(&p->adapt, n_connections ? n_connections : WEIR_HTTP_MAX_CONNECTIONS);
    weir_http_set_connections(http, p->adapt.n);
}

void pace_look(struct pace *p)
{
    double now = client_now();
    if (now - p->looked < look_seconds)
        return;
    struct weir_http_counts counts = weir_http_counts(p->http);
    double rate = (double)(counts.n_bytes - p->counts.n_bytes) / (now - p->looked);
    weir_http_set_connections(p->http,
                              adapt_look(&p->adapt, rate, counts.n_failed != p->counts.n_failed));
    p->counts = counts;
    p->looked = now;
}
