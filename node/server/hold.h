/* A node that is to stay down for a while after a `kill` on request.
 *
 * Before it dies it writes <data_dir>/hold with the wall time until when it is
 * held. Whoever restarts it (the demo's supervisor, a container engine,
 * systemd) need not know: the node itself waits at its start, before it touches
 * anything else, and then removes the file. Only with `fault_injection: true`;
 * without, the file means nothing. */
#ifndef BASTIDE_SERVER_HOLD_H
#define BASTIDE_SERVER_HOLD_H

#include <signal.h>
#include <stdbool.h>

#include "node/base/clock.h"
#include "node/base/err.h"

/* Longer than any `for`; a file that says more is not taken seriously. */
#define HOLD_MAX_US (25 * 3600 * USEC_PER_SEC)

/* Errors of opening and writing a file; the message names it. */
int hold_write(const char *data_dir, usec_t for_us, struct err_msg *msg);
/* How long the node is still held, by the system's clock; 0: it is not. */
usec_t hold_left_us(const char *data_dir);
/* Waits until it is not held any more, or until one of `signals` (blocked)
 * comes; says so in the log. False: a signal came, and the hold stays. */
bool hold_wait(const char *data_dir, const sigset_t *signals);

#endif
