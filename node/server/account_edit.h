/* Changes the account's record in the meta shard: reads the committed one, lets
 * the caller change it in place, leaves an audit record if the caller describes
 * it, writes on the condition that nobody else did meanwhile. From any node and
 * any worker: operations go to the meta shard's leader by themselves.
 *
 * As with groups (group_edit.h) the audit record is sent first; an edit that
 * finds itself overtaken, is refused, or does not know how it ended, leaves a
 * second one that says so. */
#ifndef BASTIDE_SERVER_ACCOUNT_EDIT_H
#define BASTIDE_SERVER_ACCOUNT_EDIT_H

#include "node/base/clock.h"
#include "node/base/err.h"
#include "node/catalog/catalog.h"
#include "node/server/group_edit.h"
#include "node/shard/op.h"

struct worker;

/* What the audit can say of the record; what does not fit is left out. */
#define ACCOUNT_EDIT_TEXT_MAX 2000

struct account_edit {
    /* Changes the committed record, which has `etag`, in place. ERR_OK; or why
     * not, with a message for the caller (which may stay ""): the edit then
     * ends with that. Called again if another was faster. NULL: only reads. */
    int (*change)(void *user, struct catalog_account *a,
                  const struct etag *etag, struct err_msg *msg);
    /* What of the record the audit tells, before and after. NULL: nothing is
     * left there. */
    void (*describe)(const struct catalog_account *a, char *out, size_t size);
    /* Exactly once, from the worker's loop, unless the process ends before.
     * ERR_OK: `a` is the record as it is now, with `etag`; the errors of
     * `change`; ERR_AGAIN: others were faster too often; ERR_TIMEOUT: unknown;
     * ERR_INVALID with its message: it brings something into a group that is
     * being removed (placement_gate.h); others: nothing was written. `a` and
     * `etag` are NULL with an error. */
    void (*done)(void *user, int err, const struct catalog_account *a,
                 const struct etag *etag, const struct err_msg *msg);
    void *user;
    usec_t timeout_us; /* of each operation */
    char who[GROUP_EDIT_WHO_MAX];
    char what[GROUP_EDIT_WHAT_MAX];
    char reason[GROUP_EDIT_WHAT_MAX];
};

/* `edit` is copied. */
void account_edit_begin(struct worker *w, const struct account_edit *edit);

#endif
