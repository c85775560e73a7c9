/* Where clients come in: a worker's listeners of the HTTPS front. They are open
 * from the start to the drain, except while the fault `down` keeps clients out:
 * then nobody listens (not for lost regions either, see stand_in.h), and the
 * connections there were are reset.
 *
 * A node that is no member of the cluster, not yet or not any more, does not
 * listen on the account's address, which it may share with members; on its own
 * it says that its region is not there (403/1008). */
#ifndef BASTIDE_SERVER_DOORS_H
#define BASTIDE_SERVER_DOORS_H

#include <stdbool.h>

#include "node/base/err.h"

struct worker;

/* Opens them, on the main thread, before the worker's thread runs. Errors of
 * http_listener_open, with a message that names the endpoint. */
int doors_open(struct worker *w, struct err_msg *msg);
/* Worker 0: has every worker shut its doors, or open them again; nothing when
 * they are told so already. */
void doors_keep(struct worker *w, bool shut);
/* Now and then: opens what could not be opened when it should have been, and
 * minds whether the node is a member. */
void doors_check(struct worker *w);

#endif
