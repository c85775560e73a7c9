#include "node/server/group_edit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/base/rng.h"
#include "node/base/text.h"
#include "node/json/json.h"
#include "node/server/decision.h"
#include "node/server/worker.h"

/* Times that an edit begins anew because another was faster. */
#define EDIT_TRIES 5
#define AUDIT_TIMEOUT_US (5 * USEC_PER_SEC)
/* How often an audit record is tried to be written: the decision beside it may
 * get through where it did not. */
#define AUDIT_TRIES 6

struct editing {
    struct worker *worker;
    struct group_edit edit;
    uint32_t tries;
    struct op op;
    struct buf body;
    struct etag etag; /* of the record read */
    struct catalog_group group;
    bool transit, gather; /* of the group as it was read */
    struct govern_record now, next;
};

static void read_record(struct editing *e);

static void finish(struct editing *e, int err, const struct err_msg *msg)
{
    static const struct err_msg none = {.text = ""};
    e->edit.done(e->edit.user, err, err == ERR_OK ? &e->next : NULL,
                 msg != NULL ? msg : &none);
    buf_wipe(&e->body);
    mem_free(e);
}

static void fail(struct editing *e, int err)
{
    struct err_msg msg;
    err_set(&msg, err, "the account's record: %s", err_text(err));
    finish(e, err, &msg);
}

/* A decision in words, for audit records: "write region eastus, level Session,
 * epoch 4". */
static void describe(const struct config *c, const struct govern_record *r,
                     char out[GROUP_EDIT_TEXT_MAX])
{
    struct buf text = buf_over(out, GROUP_EDIT_TEXT_MAX - 1);
    const struct consistency_policy *p = &r->consistency;
    (void)buf_printf(&text, "epoch %u, write region %s, level %s", r->epoch,
                     decision_region_name(c, r->write_region),
                     consistency_name(p->level));
    if (p->level == CONSISTENCY_BOUNDED)
        (void)buf_printf(&text, " (%d entries, %d s)", p->max_staleness_prefix,
                         p->max_staleness_interval);
    (void)buf_printf(&text, ", priority");
    for (uint32_t i = 0; i < r->n_regions; i++)
        (void)buf_printf(&text, "%s%s%s", i > 0 ? "," : " ",
                         decision_region_name(c, r->priority[i]),
                         (r->down & govern_region_bit(r->priority[i])) != 0
                             ? " (down)"
                             : "");
    if (r->witness.id != 0)
        (void)buf_printf(&text, ", witness %s",
                         config_find_node(c, r->witness.id, NULL)->name);
    (void)buf_printf(&text, ", fail-back %s%s",
                     r->failback ? "automatic" : "manual",
                     r->forced ? ", forced" : "");
    out[buf_len(&text)] = '\0';
}

/* ---- audit
 * -------------------------------------------------------------------
 */

struct audit {
    struct worker *worker;
    uint32_t tries;
    struct op op; /* the same each time, so it is done once */
    struct buf body;
};

static void audited(void *user, struct op_result *result);

static void audit_submit(struct audit *a)
{
    a->tries++;
    backend_submit(&a->worker->router.backend, &a->op, AUDIT_TIMEOUT_US,
                   audited, a);
}

static void audited(void *user, struct op_result *result)
{
    struct audit *a = user;
    /* ERR_EXISTS: an earlier try was done. */
    bool done = result->err == ERR_OK || result->err == ERR_EXISTS;
    if (!done && a->tries < AUDIT_TRIES && !a->worker->stopping) {
        audit_submit(a);
        return;
    }
    if (!done)
        log_warn("an audit record could not be written",
                 LOG_STR("error", err_text(result->err)));
    buf_free(&a->body);
    mem_free(a);
}

static void audit_body(struct audit *a, const char *who, const char *what,
                       const char *before, const char *after,
                       const char *reason, char id[64])
{
    struct json_writer w;
    int64_t now = clock_wall_us();
    char at[CLOCK_ISO_LEN + 1];
    clock_iso(now, at);
    snprintf(id, 64, "%020" PRId64 "-%016" PRIx64, now, rng_u64());
    json_writer_init(&w, &a->body);
    json_write_object_begin(&w);
    json_write_member_str(&w, "id", id);
    json_write_member_str(&w, "at", at);
    json_write_member_str(&w, "who", who);
    json_write_member_str(&w, "what", what);
    json_write_member_str(&w, "before", before);
    json_write_member_str(&w, "after", after);
    json_write_member_str(&w, "reason", reason);
    json_write_object_end(&w);
    CHECK(json_writer_end(&w) == ERR_OK);
}

void group_edit_audit(struct worker *w, const char *who, const char *what,
                      const char *before, const char *after, const char *reason)
{
    char id[64];
    struct audit *a = mem_zalloc(sizeof(*a));
    a->worker = w;
    buf_init(&a->body, OP_BODY_MAX);
    audit_body(a, who, what, before, after, reason, id);
    log_info("audit", LOG_STR("who", who), LOG_STR("what", what),
             LOG_STR("before", before), LOG_STR("after", after),
             LOG_STR("reason", reason));
    a->op =
        (struct op){.kind = OP_WRITE,
                    .shard = SHARD_META,
                    .mode = OP_CREATE,
                    .resource = OP_RESOURCE_INTERNAL,
                    .body = bytes_of(buf_bytes(&a->body), buf_len(&a->body))};
    rng_fill(a->op.id, OP_ID_LEN);
    cosmos_address(w->meta_hash, CONTAINER_AUDIT, bytes_of(NULL, 0),
                   bytes_str(id), &a->op.at);
    audit_submit(a);
}

static void describe_settings(bool transit, bool gather,
                              char out[GROUP_EDIT_TEXT_MAX])
{
    snprintf(out, GROUP_EDIT_TEXT_MAX, "transit %s, leaders %s",
             transit ? GROUP_TRANSIT_ALLOW : GROUP_TRANSIT_DENY,
             gather ? GROUP_LEADERS_GATHER : GROUP_LEADERS_SPREAD);
}

static void audit_edit(struct editing *e, const char *outcome)
{
    char before[GROUP_EDIT_TEXT_MAX], after[GROUP_EDIT_TEXT_MAX];
    char what[GROUP_EDIT_WHAT_MAX + 64];
    if (e->edit.quiet)
        return;
    const struct config *c = e->worker->node->config;
    bool decides = e->edit.change != NULL;
    if (!decides) {
        describe_settings(e->transit, e->gather, before);
        describe_settings(e->group.transit, e->group.gather, after);
    } else {
        describe(c, &e->now, before);
        describe(c, &e->next, after);
    }
    snprintf(what, sizeof(what), "%s%s", e->edit.what, outcome);
    group_edit_audit(e->worker, e->edit.who, what, before, after,
                     decides ? e->next.reason : "");
}

/* ---- the record
 * ---------------------------------------------------------------
 */

static void record_written(void *user, struct op_result *result)
{
    struct editing *e = user;
    if (result->err == ERR_OK) {
        finish(e, ERR_OK, NULL);
    } else if (result->err == ERR_PRECONDITION && ++e->tries < EDIT_TRIES) {
        audit_edit(e, ": not done, another decision came first");
        read_record(e);
    } else {
        audit_edit(e, ": may not have been done");
        fail(e, result->err == ERR_PRECONDITION ? ERR_AGAIN : result->err);
    }
}

static void address(const struct editing *e, struct op *op)
{
    cosmos_address(e->worker->meta_hash, CONTAINER_GROUPS, bytes_of(NULL, 0),
                   bytes_str(e->edit.group), &op->at);
}

static void write_record(struct editing *e)
{
    decision_to_group(e->worker->node->config, &e->next, &e->group);
    buf_clear(&e->body);
    CHECK(catalog_group_format(&e->group, &e->body) == ERR_OK);
    e->op =
        (struct op){.kind = OP_WRITE,
                    .shard = SHARD_META,
                    .mode = OP_REPLACE,
                    .resource = OP_RESOURCE_INTERNAL,
                    .condition = OP_COND_IF_MATCH,
                    .etag = e->etag,
                    .body = bytes_of(buf_bytes(&e->body), buf_len(&e->body))};
    rng_fill(e->op.id, OP_ID_LEN);
    address(e, &e->op);
    backend_submit(&e->worker->router.backend, &e->op, e->edit.timeout_us,
                   record_written, e);
}

static void record_read(void *user, struct op_result *result)
{
    struct editing *e = user;
    struct err_msg msg = {.text = ""};
    if (result->err != ERR_OK) {
        fail(e, result->err);
        return;
    }
    struct bytes text =
        bytes_of(buf_bytes(&result->body), buf_len(&result->body));
    int err = catalog_group_parse(text, &e->group, &msg);
    if (err == ERR_OK)
        err = decision_of_group(e->worker->node->config, &e->group, &e->now,
                                &msg);
    e->next = e->now;
    e->transit = e->group.transit;
    e->gather = e->group.gather;
    if (err == ERR_OK && e->edit.change != NULL)
        err = e->edit.change(e->edit.user, &e->now, &e->next, &msg);
    if (err == ERR_OK && e->edit.change_group != NULL)
        err = e->edit.change_group(e->edit.user, &e->group, &msg);
    if (err != ERR_OK) {
        finish(e, err, &msg);
        return;
    }
    e->etag = result->etag;
    audit_edit(e, "");
    write_record(e);
}

static void read_record(struct editing *e)
{
    e->op = (struct op){.kind = OP_READ, .shard = SHARD_META};
    rng_fill(e->op.id, OP_ID_LEN);
    address(e, &e->op);
    backend_submit(&e->worker->router.backend, &e->op, e->edit.timeout_us,
                   record_read, e);
}

void group_edit_begin(struct worker *w, const struct group_edit *edit)
{
    struct editing *e = mem_zalloc(sizeof(*e));
    e->worker = w;
    e->edit = *edit;
    buf_init(&e->body, OP_BODY_MAX);
    read_record(e);
}
