/* Changes of a placement group that shards make one by one.
 *
 *     preview --confirmed--> asked for --> waited for --> shown
 */
#ifndef BASTIDE_CLI_PLACEMENT_CHANGE_H
#define BASTIDE_CLI_PLACEMENT_CHANGE_H

#include "node/cli/placement_group.h"

struct placement_change {
    const char *name; /* of the group */
    const char *path; /* of the admin API: "placement/regions" */
    const char *what; /* is waited for: "the new fence" */
    /* Writes what is asked for: members beside `group` and `dry_run`. */
    void (*write)(const void *wanted, struct json_writer *w);
    /* Prints what the preview says, below its first line. */
    void (*print_plan)(const void *wanted, const struct json *j);
    /* That of placement_wait; `user` is the int64_t epoch to come to. */
    int (*judge)(void *user, const struct placement_group *g,
                 struct err_msg *seen);
    const void *wanted;
    bool yes, dry_run, json;
    unsigned timeout_s;
};

/* CMD_OK: it is so, or this was a dry run. The code of wait_approval: nothing
 * was changed. CMD_FAILED after saying why. */
int placement_change_run(const char *command, struct reach *r,
                         const struct placement_change *c);

#endif
