/* Waiting for a change to hold, with something to look at meanwhile. */
#ifndef BASTIDE_CLI_WAIT_H
#define BASTIDE_CLI_WAIT_H

#include <stdbool.h>

#include "node/cli/topology.h"

/* What is waited for, and how. */
struct wait_until {
    const char *what; /* "the switch to westeurope" */
    const char *then; /* what to do about more of it: "see: bastide status" */
    usec_t timeout_us;
    usec_t poll_us; /* between looks, at first; up to 2 s when it takes long */
    bool quiet;     /* no progress on stderr */
    /* One look: ERR_OK, it holds; ERR_AGAIN, not yet, and `seen` says how far
     * it is, or why nobody knows. Any other ends the wait, and `seen` says
     * why. */
    int (*look)(void *user, struct err_msg *seen);
    void *user;
};

/* Looks until it holds. Progress goes to stderr: one line that is written anew
 * on a terminal, cut where it is too long for one, else a line at once and
 * every few seconds. ERR_TIMEOUT, ERR_CANCELLED (interrupt_seen): `msg` says
 * what was seen last; the change goes on without us. Else what ended the
 * wait. */
int wait_until(const struct wait_until *w, struct err_msg *msg);

/* The same for what the topology shows. */
struct wait {
    struct reach *reach;
    const char *group; /* whose topology; NULL: default's */
    const char *what;  /* "the switch to westeurope" */
    usec_t timeout_us;
    bool quiet; /* no progress on stderr */
    /* Whether this is what is waited for. */
    bool (*done)(const struct topology *t, void *user);
    void *user;
};

/* Polls the topology until `done`. Errors of wait_until. */
int wait_for_topology(const struct wait *w, struct topology *last,
                      struct err_msg *msg);

/* Asks a question on the terminal and reads a line: whether it is `expected`
 * (case ignored). False at the end of input. */
bool wait_confirm(const char *question, const char *expected);
/* Asks whether a change that was shown is to be made; `yes`: that was said
 * already. CMD_OK; otherwise it has said that nothing was changed, also where
 * nobody is there to be asked. */
int wait_approval(const char *command, bool yes);
/* Whether somebody is there to be asked. */
bool wait_can_ask(void);

#endif
