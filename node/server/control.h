/* What an administrator asks of the cluster through a node: levels, regions,
 * audit (docs/admin-api.md). Called by the admin listener for requests that
 * showed the administrator's certificate. Worker 0. */
#ifndef BASTIDE_SERVER_CONTROL_H
#define BASTIDE_SERVER_CONTROL_H

#include <stdbool.h>

#include "node/http/http.h"

struct worker;

/* Whether the target is one of these. */
bool control_target(struct bytes target);
/* Answers, now or later. */
void control_handle(struct worker *w, struct http_request *r);

#endif
