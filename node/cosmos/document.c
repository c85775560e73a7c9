#include "node/cosmos/handlers.h"

#include <string.h>

#include "node/cosmos/charge.h"
#include "node/cosmos/document.h"
#include "node/cosmos/level.h"
#include "node/cosmos/reply.h"

/* Segments of a path that addresses a document. */
#define PATH_DOCUMENT 6

/* ---- address ------------------------------------------------------------- */

/* Reads the partition key header, which a point operation must have, into
 * c->pk. False after answering. */
static bool header_key(struct call *c)
{
    struct bytes header = c->headers.partition_key;
    struct err_msg msg;
    if (header.len == 0) {
        reply_fail(c, FAIL_PK_MISSING);
        return false;
    }
    if (pk_parse(&c->cosmos->json, header, &c->pk, &msg) != ERR_OK) {
        reply_fail_text(c, FAIL_PK_MALFORMED, msg.text);
        return false;
    }
    if (pk_fit(&c->container->pk, PK_POINT, &c->pk, &msg) != ERR_OK) {
        reply_fail_text(c, FAIL_BAD_REQUEST, msg.text);
        return false;
    }
    return true;
}

/* Fills c->op for the document `id` of partition c->pk. False after
 * answering. */
static bool document_op(struct call *c, enum op_kind kind, struct bytes id)
{
    if (!call_enter_key(c))
        return false;
    uint16_t shard = call_shard(c, c->slot);
    const struct keyed_hash *hash = call_hash(c, shard);
    if (hash == NULL)
        return false;
    uint8_t canonical[PK_CANONICAL_MAX];
    size_t len = pk_canonical(&c->pk, canonical);
    struct op *op = call_op(c, kind, shard);
    op->resource = OP_RESOURCE_DOCUMENT;
    op->move = call_arrival(c, c->slot);
    cosmos_address(hash, c->container->number, bytes_of(canonical, len), id,
                   &op->at);
    CHECK(c->container->rid.len == sizeof(op->parent_rid));
    memcpy(op->parent_rid, c->container->rid.bytes, sizeof(op->parent_rid));
    return true;
}

/* The id in the path, for reads, replaces and deletes. */
static struct bytes path_id(const struct call *c)
{
    CHECK(c->path.count == PATH_DOCUMENT);
    return c->path.segments[5];
}

/* ---- body ---------------------------------------------------------------- */

/* `ttl` is the user's own property, but not any value will do (section 3.7). */
static bool ttl_valid(const struct json *json)
{
    json_ref ttl = json_get_str(json, 0, "ttl");
    if (ttl == JSON_NONE)
        return true;
    int64_t seconds;
    if (json_type(json, ttl) != JSON_NUMBER ||
        json_int64(json, ttl, &seconds) != ERR_OK)
        return false;
    return seconds == -1 || (seconds > 0 && seconds <= INT32_MAX);
}

/* Compares the key in the parsed document with the header's. Keeps it in c->pk.
 * False after answering. */
static bool body_key_matches(struct call *c, const struct partition_key *header)
{
    struct err_msg msg;
    if (pk_extract(&c->container->pk, &c->cosmos->json, 0, &c->pk, &msg) !=
        ERR_OK) {
        reply_fail_text(c, FAIL_BAD_REQUEST, msg.text);
        return false;
    }
    if (!pk_equal(&c->pk, header)) {
        reply_fail(c, FAIL_PK_MISMATCH);
        return false;
    }
    return true;
}

/* Writes the parsed document as it is to be stored into c->text, its object
 * left open for the shard. */
static int body_normalise(struct call *c)
{
    struct json_writer w;
    buf_clear(&c->text);
    json_writer_init(&w, &c->text);
    json_document_normalise(&w, &c->cosmos->json, 0);
    return w.result;
}

/* Everything about the body of a create, upsert or replace: JSON, key, id, ttl.
 * The id is left in cosmos->scratch or the request. False after answering. */
static bool body_take(struct call *c, struct bytes *id_out)
{
    if (!header_key(c))
        return false;
    struct partition_key header = c->pk;
    if (!call_body_object(c, OP_DOCUMENT_MAX))
        return false;
    struct json *json = &c->cosmos->json;
    struct buf *scratch = &c->cosmos->scratch;
    struct err_msg msg;
    buf_clear(scratch);
    int err = document_id_get(json, 0, scratch, id_out, &msg);
    if (err != ERR_OK) {
        reply_fail_text(c, FAIL_BAD_REQUEST, msg.text);
        return false;
    }
    if (!ttl_valid(json)) {
        reply_fail(c, FAIL_TTL_INVALID);
        return false;
    }
    if (!body_key_matches(c, &header))
        return false;
    err = body_normalise(c);
    if (err != ERR_OK)
        reply_fail(c, cosmos_failure_local(err));
    return err == ERR_OK;
}

/* ---- write --------------------------------------------------------------- */

/* Answers a create, upsert or replace. */
static void document_written(struct call *c, struct op_result *result)
{
    if (result->err != ERR_OK) {
        reply_op_failed(c, result);
        return;
    }
    size_t bytes = buf_len(&result->body);
    reply_state(c, result);
    reply_etag(c, &result->etag);
    c->charge = result->created ? charge_create(bytes) : charge_replace(bytes);
    int status = result->created ? 201 : 200;
    if (cosmos_headers_minimal(&c->headers))
        reply_empty(c, status);
    else
        reply_json(c, status, &result->body);
}

static void document_write(struct call *c, enum op_write_mode mode)
{
    struct bytes id;
    c->item_level = true;
    if (!body_take(c, &id))
        return;
    if (mode == OP_REPLACE && !bytes_equal(id, path_id(c))) {
        reply_fail(c, FAIL_ID_MISMATCH);
        return;
    }
    if (!document_op(c, OP_WRITE, id))
        return;
    struct op *op = &c->op;
    op->mode = mode;
    op->body = bytes_of(buf_bytes(&c->text), buf_len(&c->text));
    /* A create meets nothing that a condition could be about. */
    if (mode != OP_CREATE)
        call_conditions(c, true);
    call_submit(c, document_written);
}

static void document_create_found(struct call *c)
{
    document_write(c, OP_CREATE);
}

static void document_upsert_found(struct call *c)
{
    document_write(c, OP_UPSERT);
}

static void document_replace_found(struct call *c)
{
    if (document_by_rid(c, document_replace_found))
        return;
    document_write(c, OP_REPLACE);
}

void handle_document_create(struct call *c)
{
    call_with_container(c, document_create_found);
}

void handle_document_upsert(struct call *c)
{
    call_with_container(c, document_upsert_found);
}

void handle_document_replace(struct call *c)
{
    call_with_container(c, document_replace_found);
}

/* ---- read ---------------------------------------------------------------- */

static void document_read_found(struct call *c)
{
    c->item_level = true;
    if (document_by_rid(c, document_read_found))
        return;
    if (!header_key(c) || !document_op(c, OP_READ, path_id(c)))
        return;
    call_conditions(c, true);
    level_op(c, c->slot);
    call_submit(c, reply_read);
}

void handle_document_read(struct call *c)
{
    call_with_container(c, document_read_found);
}

/* ---- delete -------------------------------------------------------------- */

static void document_delete_found(struct call *c)
{
    c->item_level = true;
    if (document_by_rid(c, document_delete_found))
        return;
    if (!header_key(c) || !document_op(c, OP_WRITE, path_id(c)))
        return;
    c->op.mode = OP_DELETE;
    call_conditions(c, true);
    call_submit(c, reply_deleted);
}

void handle_document_delete(struct call *c)
{
    call_with_container(c, document_delete_found);
}
