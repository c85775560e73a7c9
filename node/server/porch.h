/* The admin listener of a node that is still starting. Replaying a long log
 * takes a while, and until then there is no worker to answer; a supervisor must
 * see meanwhile that the process is alive, and why it is not ready.
 *
 *     GET /livez             200
 *     GET /readyz[?verbose]  503, with how far the start is
 *     anything else          503
 *
 * A thread of its own, from the moment the data folder is this process's until
 * the real admin listener is open (admin.h). */
#ifndef BASTIDE_SERVER_PORCH_H
#define BASTIDE_SERVER_PORCH_H

#include "node/base/err.h"

struct node;
struct porch;

/* Main thread. Errors of http_listener_open, with its message. */
int porch_open(struct node *n, struct err_msg *msg, struct porch **porch_out);
/* Ends the thread; answers that are being sent are cut. NULL is allowed. */
void porch_close(struct porch *p);

#endif
