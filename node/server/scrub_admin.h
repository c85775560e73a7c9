/* Scrubbing, for administrators (docs/admin-api.md): asks for rounds, and tells
 * what the last round of every shard found that this node led. */
#ifndef BASTIDE_SERVER_SCRUB_ADMIN_H
#define BASTIDE_SERVER_SCRUB_ADMIN_H

#include "node/base/bytes.h"

struct http_request;
struct json;
struct worker;

/* Both on worker 0. */
void scrub_admin_get(struct worker *w, struct http_request *r,
                     struct bytes query);
void scrub_admin_post(struct worker *w, struct http_request *r,
                      const struct json *body);

#endif
