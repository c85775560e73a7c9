/* Changes a group's decision in the meta shard: reads the committed record,
 * lets the caller derive the next, leaves an audit record, writes on the
 * condition that nobody else did meanwhile. From any node: operations go to the
 * meta shard's leader by themselves.
 *
 * The audit record is sent first, on the same way to the same log; should it be
 * lost alone, it is repeated. So a change is without one only if this process
 * ends at that moment. An edit that then finds the record changed by another
 * leaves a second one that says so. */
#ifndef BASTIDE_SERVER_GROUP_EDIT_H
#define BASTIDE_SERVER_GROUP_EDIT_H

#include "node/base/clock.h"
#include "node/base/err.h"
#include "node/govern/record.h"

struct worker;

/* Who wants it, for the audit: an administrator's certificate, or the failover
 * controller of a node. Longer is cut. */
#define GROUP_EDIT_WHO_MAX 200
#define GROUP_EDIT_WHAT_MAX 120

struct group_edit {
    /* Derives the next record from the committed one. ERR_OK; or why not, with
     * a message for the caller: the edit then ends with that. Called again if
     * another was faster. NULL: see below. */
    int (*change)(void *user, const struct govern_record *now,
                  struct govern_record *next_out, struct err_msg *msg);
    /* Changes the rest of the record in place, after `change` or, if that is
     * NULL, with the same decision. Likewise. Without `change` the audit record
     * tells the group's settings. */
    int (*change_group)(void *user, struct catalog_group *g,
                        struct err_msg *msg);
    /* Exactly once, from the loop, unless the process ends before. ERR_OK: the
     * record is written and `record` says what it is now; the errors of
     * `change`; ERR_UNAVAILABLE: nothing was written; ERR_TIMEOUT: unknown;
     * ERR_NOT_FOUND: there is no group yet; ERR_AGAIN: others were faster too
     * often. */
    void (*done)(void *user, int err, const struct govern_record *record,
                 const struct err_msg *msg);
    void *user;
    char group[CATALOG_NAME_MAX + 1]; /* the group's name */
    char who[GROUP_EDIT_WHO_MAX];
    char what[GROUP_EDIT_WHAT_MAX];
    usec_t timeout_us; /* of each operation */
    bool quiet;        /* no audit record: the same decision, only settled */
};

/* On worker 0. `edit` is copied. */
void group_edit_begin(struct worker *w, const struct group_edit *edit);

/* Of the texts of audit records, with their NUL. */
#define GROUP_EDIT_TEXT_MAX 400

/* An audit record by itself. The texts are copied. */
void group_edit_audit(struct worker *w, const char *who, const char *what,
                      const char *before, const char *after,
                      const char *reason);

#endif
