/* Waiting until a placement group is what a command has asked for. */
#ifndef BASTIDE_CLI_PLACEMENT_WAIT_H
#define BASTIDE_CLI_PLACEMENT_WAIT_H

#include "node/cli/placement_group.h"

struct placement_wait {
    struct reach *reach;
    const char *name; /* of the group */
    const char *what; /* is waited for: "the split" */
    unsigned timeout_s;
    usec_t poll_us;  /* between looks; 0: a few in a second */
    bool quiet;      /* no progress on stderr */
    bool asks_all;   /* placement_split_ask, not placement_group_ask */
    bool until_gone; /* it holds when there is no such group */
    /* What to think of the group; NULL with until_gone alone. As the `look` of
     * wait_until: ERR_OK, it holds; ERR_AGAIN, and `seen` says how far it is;
     * any other ends the wait, and `seen` says why. */
    int (*judge)(void *user, const struct placement_group *g,
                 struct err_msg *seen);
    void *user;
};

/* Errors of wait_until. */
int placement_wait(const struct placement_wait *w, struct err_msg *msg);

#endif
