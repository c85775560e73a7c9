/* Faults that an administrator may switch on and off in a running node, for
 * tests and rehearsals (node/inject/inject.h: what there is). Refused unless
 * the setting `fault_injection` is true.
 *
 *     GET /faults         {"fault_injection":true,"faults":[F, ...]}: what is
 *                         active here, oldest first. F is the fault as it was
 *                         asked for, with id, and
 *                             description  a sentence
 *                             since_s      it has been active for that long
 *                             remaining_s  null: until it is cleared
 *                             hits         requests of clients that it struck
 *     POST /faults        one fault. {"id":"f1","applies":true}; false, and
 *                         not kept, when it does not concern this node. Names
 *                         must be in the cluster's configuration
 *     DELETE /faults/ID   {"removed":1}, 0 when it is not here
 *     DELETE /faults      {"removed":N}, all of them
 *
 * Each node applies what concerns it, so the caller asks all. A fault that has
 * no id gets one, which is another at each node; who wants to clear it by name
 * gives it one.
 *
 * Errors: 400 with what is wrong in the body, 403, 404, 405, 409 the id is in
 * use (or an immediate fault cannot be done now), 503 INJECT_LIST_MAX are
 * active.
 *
 * There is one list. After each change, and when a fault ends, what links,
 * doors, the process and the front shall do is derived from all of it, so that
 * faults add up and clearing one leaves the others. Worker 0 only. */
#ifndef BASTIDE_SERVER_FAULTS_H
#define BASTIDE_SERVER_FAULTS_H

#include <stdbool.h>

#include "node/base/buf.h"
#include "node/base/bytes.h"
#include "node/http/http.h"
#include "node/inject/inject.h"
#include "node/json/json.h"

struct worker;
struct faults;

/* After the links. Lives to the end of the process. */
struct faults *faults_new(struct worker *w);

/* Whether a request target is one of the above. */
bool faults_target(struct bytes target);
/* Answers a request of an administrator: returns the HTTP status and fills
 * `body` with the JSON to send. */
int faults_handle(struct worker *w, enum http_method method,
                  struct bytes target, struct bytes request, struct buf *body);
/* How many are active, of each kind. For metrics. */
void faults_count(const struct worker *w,
                  uint32_t counts_out[INJECT_KIND_COUNT]);
/* What is active, as an array of sentences: "cut eastus -> *, both ways". For
 * /status. */
void faults_put_list(struct json_writer *out, const struct worker *w);
/* The two impairments of the link to a node as members "out" and "in" of an
 * open object, for /status; nothing where it is healthy. */
struct links_stats;
void faults_put_link(struct json_writer *out, const struct links_stats *stats);

#endif
