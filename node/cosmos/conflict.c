/* Conflicts of a container: documents' versions that a forced failover
 * overwrote (node/shard/salvage.h). They can be listed, queried, read and
 * deleted; only shards make them. One is found by its name alone, so a
 * partition key, which SDKs send or do not send, says nothing here. */
#include "node/shard/conflict.h"

#include <string.h>

#include "node/cosmos/by_rid.h"
#include "node/cosmos/handlers.h"
#include "node/cosmos/level.h"
#include "node/cosmos/page.h"
#include "node/cosmos/reply.h"

/* ---- feed and query -------------------------------------------------------
 */

static void conflicts_found(struct call *c)
{
    c->item_level = true;
    page_new(c);
    page_of_conflicts(c);
    if (page_scope(c) && page_continue(c))
        page_run(c);
}

void handle_conflicts_get(struct call *c)
{
    call_with_container(c, conflicts_found);
}

void handle_conflicts_post(struct call *c)
{
    if (cosmos_header_true(c->headers.is_query_plan))
        handle_query_plan(c);
    else if (cosmos_headers_query(&c->headers))
        handle_conflict_query(c);
    else
        handle_unsupported(c);
}

/* ---- address --------------------------------------------------------------
 */

/* Fills c->op for the conflict that the path names. False after answering. */
static bool conflict_op(struct call *c, enum op_kind kind)
{
    struct conflict_id id;
    uint32_t slot;
    if (conflict_id_parse(c->path.segments[5], &id) != ERR_OK ||
        !spread_find(&c->spread, id.shard, &slot)) {
        reply_fail(c, FAIL_ITEM_NOT_FOUND);
        return false;
    }
    if (!call_enter(c, slot))
        return false;
    struct op *op = call_op(c, kind, id.shard);
    op->resource = OP_RESOURCE_CONFLICT;
    conflict_address(&id, c->container->number, &op->at);
    CHECK(c->container->rid.len == sizeof(op->parent_rid));
    memcpy(op->parent_rid, c->container->rid.bytes, sizeof(op->parent_rid));
    call_conditions(c, true);
    return true;
}

/* ---- by RID ---------------------------------------------------------------
 */

static void rid_scanned(struct call *c, struct op_result *result);

static void rid_scan(struct call *c, struct bytes after)
{
    struct op *op = call_op(c, OP_SCAN, call_shard(c, c->slot));
    op->at.container = c->container->number | CONTAINER_CONFLICTS;
    by_rid_op(c, op, after);
    call_submit(c, rid_scanned);
}

/* The name takes the RID's place in the path. */
static void rid_resolved(struct call *c, struct bytes quoted)
{
    CHECK(quoted.len > 2 && quoted.len - 2 < CONFLICT_ID_MAX);
    route_path_replace(&c->path, 5, bytes_of(quoted.data + 1, quoted.len - 2));
    call_step *found = TAKE(c->found);
    found(c);
}

static void rid_scanned(struct call *c, struct op_result *result)
{
    struct bytes row;
    if (by_rid_row(c, result, rid_scan, &row))
        rid_resolved(c, row);
}

/* When the path's last id is a RID of one of the container's conflicts: looks
 * its name up and goes on with `then`; true. The RID tells the shard. */
static bool conflict_by_rid(struct call *c, call_step *then)
{
    struct rid rid;
    if (c->by_rid || rid_parse(c->path.segments[5], &rid) != ERR_OK ||
        rid_kind(&rid) != RID_CONFLICT ||
        memcmp(rid.bytes, c->container->rid.bytes, c->container->rid.len) != 0)
        return false;
    uint32_t slot, shard = rid_counter_shard(rid_child_counter(&rid));
    c->by_rid = true;
    if (!spread_find(&c->spread, shard, &slot))
        return false;
    if (!call_enter(c, slot))
        return true;
    if (by_rid_begin(c, then))
        rid_scan(c, bytes_of(NULL, 0));
    return true;
}

/* ---- one of them ----------------------------------------------------------
 */

static void conflict_read_found(struct call *c)
{
    c->item_level = true;
    if (conflict_by_rid(c, conflict_read_found) || !conflict_op(c, OP_READ))
        return;
    level_op(c, c->slot);
    call_submit(c, reply_read);
}

void handle_conflict_read(struct call *c)
{
    call_with_container(c, conflict_read_found);
}

static void conflict_delete_found(struct call *c)
{
    c->item_level = true;
    if (conflict_by_rid(c, conflict_delete_found) || !conflict_op(c, OP_WRITE))
        return;
    c->op.mode = OP_DELETE;
    call_submit(c, reply_deleted);
}

void handle_conflict_delete(struct call *c)
{
    call_with_container(c, conflict_delete_found);
}
