#include "node/cosmos/document.h"

#include <string.h>

#include "node/cosmos/by_rid.h"
#include "node/cosmos/level.h"
#include "node/cosmos/reply.h"

/* Whether the path's database and container were found by their RIDs, not by
 * names that look like one, and the item segment is a RID of that container. */
static bool path_by_rid(const struct call *c)
{
    struct rid rid;
    return !bytes_equal(c->path.segments[1], c->database->name) &&
           !bytes_equal(c->path.segments[3], c->container->name) &&
           rid_parse(c->path.segments[5], &rid) == ERR_OK &&
           rid_kind(&rid) == RID_DOCUMENT &&
           memcmp(rid.bytes, c->container->rid.bytes, c->container->rid.len) ==
               0;
}

static void rid_scanned(struct call *c, struct op_result *result);

static bool rid_key(struct call *c)
{
    struct err_msg msg;
    if (c->headers.partition_key.len == 0) {
        reply_fail(c, FAIL_PK_MISSING);
        return false;
    }
    int err =
        pk_parse(&c->cosmos->json, c->headers.partition_key, &c->pk, &msg);
    if (err == ERR_OK)
        err = pk_fit(&c->container->pk, PK_POINT, &c->pk, &msg);
    if (err != ERR_OK)
        reply_fail_text(c, FAIL_PK_MALFORMED, msg.text);
    return err == ERR_OK;
}

/* The next step of the scan, from `after` on. */
static void rid_scan(struct call *c, struct bytes after)
{
    if (!call_enter_key(c))
        return;
    uint16_t shard = call_shard(c, c->slot);
    const struct keyed_hash *hash = call_hash(c, shard);
    if (hash == NULL)
        return;
    uint8_t canonical[PK_CANONICAL_MAX];
    size_t len = pk_canonical(&c->pk, canonical);
    struct op *op = call_op(c, OP_SCAN, shard);
    op->at.container = c->container->number;
    op->move = call_arrival(c, c->slot);
    op->one_partition = true;
    keyed_hash16(hash, bytes_of(canonical, len), op->at.pk_hash);
    by_rid_op(c, op, after);
    /* A write must find what there is, wherever its client last was. */
    if (c->http->method == HTTP_METHOD_GET ||
        c->http->method == HTTP_METHOD_HEAD)
        level_op(c, c->slot);
    call_submit(c, rid_scanned);
}

/* The id, decoded, takes the RID's place in the path. */
static void rid_resolved(struct call *c, struct bytes quoted)
{
    struct buf *scratch = &c->cosmos->scratch;
    buf_clear(scratch);
    int err = json_decode_string(quoted, scratch);
    if (err == ERR_OK && buf_len(scratch) > DOCUMENT_ID_MAX)
        err = ERR_CORRUPT;
    if (err != ERR_OK) {
        reply_fail(c, FAIL_INTERNAL);
        return;
    }
    route_path_replace(&c->path, 5,
                       bytes_of(buf_bytes(scratch), buf_len(scratch)));
    call_step *found = TAKE(c->found);
    found(c);
}

static void rid_scanned(struct call *c, struct op_result *result)
{
    struct bytes row;
    if (by_rid_row(c, result, rid_scan, &row))
        rid_resolved(c, row);
}

bool document_by_rid(struct call *c, call_step *then)
{
    if (c->by_rid || !path_by_rid(c))
        return false;
    c->by_rid = true;
    c->item_level = true;
    if (!rid_key(c))
        return true;
    if (by_rid_begin(c, then))
        rid_scan(c, bytes_of(NULL, 0));
    return true;
}
