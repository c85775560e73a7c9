/* Faults that an administrator may switch on and off in a running node, for
 * tests and rehearsals; refused unless the setting `fault_injection` is true.
 * Each node impairs its own ends of its links, so the caller asks every node
 * that is concerned (asking all is simplest; the others say "applied":0).
 *
 *     GET    /faults        {"fault_injection":true,
 *                            "links":[{"node","region","out":I,"in":I}, ...],
 *                            "disk":{"hang":false}}
 *                           only links with an impairment;
 *                           I is {"delay_ms","jitter_ms","loss_permille","cut"}
 *     GET    /faults/links  the same
 *     POST   /faults/links  {"from":W,"to":W,"both":false,
 *                            "delay_ms":0,"jitter_ms":0,"loss_permille":0,
 *                            "cut":false}
 *                           W is a region, a node, or "*". What nodes of `from`
 *                           send to nodes of `to` is impaired like that from
 *                           now on, and the other way too if `both`. A
 *                           delay_ms that is left out is what the setting
 *                           `latency` says; other members that are left out
 *                           mean a healthy link. Answers {"applied":N}, the
 *                           directions of this node's links that were set
 *     DELETE /faults/links  back to what the setting `latency` says
 *     POST   /faults/disk   {"hang":true|false}: appends to the log, syncs and
 *                           commits of the store do not return while it hangs
 *
 * delay_ms and jitter_ms may have a fraction. Errors: 400 with what is wrong in
 * the body, 403, 404, 405. Worker 0 only.
 */
#ifndef BASTIDE_SERVER_FAULTS_H
#define BASTIDE_SERVER_FAULTS_H

#include <stdbool.h>

#include "node/base/buf.h"
#include "node/base/bytes.h"
#include "node/http/http.h"
#include "node/inject/inject.h"
#include "node/json/json.h"

struct worker;

/* Whether a request target is one of the above. */
bool faults_target(struct bytes target);
/* Answers a request of an administrator: returns the HTTP status and fills
 * `body` with the JSON to send. */
int faults_handle(struct worker *w, enum http_method method,
                  struct bytes target, struct bytes request, struct buf *body);
/* What is switched on, configured latency apart, as an array of sentences:
 * "link to westeurope-1: cut both ways". For /status. */
void faults_put_list(struct json_writer *out, const struct worker *w);
/* How many are active, of each kind. */
void faults_count(const struct worker *w,
                  uint32_t counts_out[INJECT_KIND_COUNT]);
/* The two impairments of the link to a node as members "out" and "in" of an
 * open object, for /status; nothing where it is healthy. */
struct links_stats;
void faults_put_link(struct json_writer *out, const struct links_stats *stats);

#endif
