/* The admin listener of worker 0: how people and supervisors look at a node.
 *
 *     GET /livez             the process runs its loop (anonymous)
 *     GET /readyz[?verbose]  200 when the node can serve every shard, else 503;
 *                            verbose says what it waits for (anonymous)
 *     GET /metrics           Prometheus (anonymous)
 *     GET /status            everything (certificate of an administrator,
 *                            spiffe://<cluster>/admin); shape in cli/status.h
 *     /faults...             faults on request, for tests (administrators):
 *                            see faults.h
 */
#ifndef BASTIDE_SERVER_ADMIN_H
#define BASTIDE_SERVER_ADMIN_H

#include "node/base/err.h"

struct admin;
struct worker;

int admin_create(struct worker *w, struct err_msg *msg,
                 struct admin **admin_out);

#endif
