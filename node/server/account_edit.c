#include "node/server/account_edit.h"

#include <stdio.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/base/rng.h"
#include "node/server/worker.h"

/* Times that an edit begins anew because another was faster. */
#define EDIT_TRIES 5

struct account_editing {
    struct worker *worker;
    struct account_edit edit;
    uint32_t tries;
    struct op op;
    struct buf body;
    struct catalog_account account;
    char before[ACCOUNT_EDIT_TEXT_MAX], after[ACCOUNT_EDIT_TEXT_MAX];
};

static void finish(struct account_editing *e, int err, const struct etag *etag,
                   const struct err_msg *msg)
{
    static const struct err_msg none = {.text = ""};
    bool ok = err == ERR_OK;
    e->edit.done(e->edit.user, err, ok ? &e->account : NULL, ok ? etag : NULL,
                 msg != NULL ? msg : &none);
    buf_free(&e->body);
    mem_free(e);
}

static void fail(struct account_editing *e, int err)
{
    struct err_msg msg;
    err_set(&msg, err, "the account's record: %s", err_text(err));
    finish(e, err, NULL, &msg);
}

/* Runs e->op, whose kind and what goes with it are set. */
static void submit(struct account_editing *e, op_done_cb *done)
{
    e->op.shard = SHARD_META;
    rng_fill(e->op.id, OP_ID_LEN);
    cosmos_address(e->worker->meta_hash, CONTAINER_ACCOUNT, bytes_of(NULL, 0),
                   bytes_str("account"), &e->op.at);
    backend_submit(&e->worker->router.backend, &e->op, e->edit.timeout_us, done,
                   e);
}

static void audit(struct account_editing *e, const char *outcome)
{
    char what[GROUP_EDIT_WHAT_MAX + 64];
    if (e->edit.describe == NULL)
        return;
    snprintf(what, sizeof(what), "%s%s", e->edit.what, outcome);
    group_edit_audit(e->worker, e->edit.who, what, e->before, e->after,
                     e->edit.reason);
}

static void read_account(struct account_editing *e);

static void account_written(void *user, struct op_result *result)
{
    struct account_editing *e = user;
    if (result->err == ERR_OK) {
        finish(e, ERR_OK, &result->etag, NULL);
    } else if (result->err == ERR_PRECONDITION && ++e->tries < EDIT_TRIES) {
        audit(e, ": not done, another change came first");
        read_account(e);
    } else if (result->err == ERR_INVALID) {
        audit(e, ": refused"); /* by placement_gate.h, which says why */
        finish(e, ERR_INVALID, NULL, &result->message);
    } else {
        audit(e, ": may not have been done");
        fail(e, result->err == ERR_PRECONDITION ? ERR_AGAIN : result->err);
    }
}

static void write_account(struct account_editing *e, const struct etag *etag)
{
    buf_clear(&e->body);
    CHECK(catalog_account_format(&e->account, &e->body) == ERR_OK);
    e->op =
        (struct op){.kind = OP_WRITE,
                    .mode = OP_REPLACE,
                    .resource = OP_RESOURCE_INTERNAL,
                    .condition = OP_COND_IF_MATCH,
                    .etag = *etag,
                    .body = bytes_of(buf_bytes(&e->body), buf_len(&e->body))};
    submit(e, account_written);
}

/* Lets the caller change what was read, and says so in the audit. */
static int change(struct account_editing *e, const struct etag *etag,
                  struct err_msg *msg)
{
    const struct account_edit *edit = &e->edit;
    if (edit->describe != NULL)
        edit->describe(&e->account, e->before, sizeof(e->before));
    int err = edit->change(edit->user, &e->account, etag, msg);
    if (err != ERR_OK || edit->describe == NULL)
        return err;
    edit->describe(&e->account, e->after, sizeof(e->after));
    audit(e, "");
    return ERR_OK;
}

static void account_read(void *user, struct op_result *result)
{
    struct account_editing *e = user;
    struct err_msg msg = {.text = ""};
    int err = result->err;
    if (err == ERR_OK)
        err = catalog_account_parse(
            bytes_of(buf_bytes(&result->body), buf_len(&result->body)),
            &e->account, NULL);
    if (err != ERR_OK)
        fail(e, err);
    else if (e->edit.change == NULL)
        finish(e, ERR_OK, &result->etag, NULL);
    else if ((err = change(e, &result->etag, &msg)) != ERR_OK)
        finish(e, err, NULL, &msg);
    else
        write_account(e, &result->etag);
}

static void read_account(struct account_editing *e)
{
    e->op = (struct op){.kind = OP_READ};
    submit(e, account_read);
}

void account_edit_begin(struct worker *w, const struct account_edit *edit)
{
    struct account_editing *e = mem_zalloc(sizeof(*e));
    e->worker = w;
    e->edit = *edit;
    buf_init(&e->body, OP_BODY_MAX);
    read_account(e);
}
