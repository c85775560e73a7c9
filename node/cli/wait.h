/* Waiting for a change to hold, with something to look at meanwhile. */
#ifndef BASTIDE_CLI_WAIT_H
#define BASTIDE_CLI_WAIT_H

#include <stdbool.h>

#include "node/cli/topology.h"

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

/* Polls the topology until `done`. Progress goes to stderr: one line that is
 * written anew on a terminal, else a line every few seconds. ERR_TIMEOUT:
 * `msg` says what was seen last; the change goes on without us. */
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
