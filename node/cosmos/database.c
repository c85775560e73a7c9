#include "node/cosmos/handlers.h"
#include "node/cosmos/listing.h"
#include "node/cosmos/meta.h"
#include "node/cosmos/reply.h"

/* ---- create -------------------------------------------------------------- */

static void database_create_parsed(struct call *c)
{
    struct json *json = &c->cosmos->json;
    struct buf *scratch = &c->cosmos->scratch;
    struct err_msg msg;
    struct bytes name;
    buf_clear(scratch);
    buf_clear(&c->text);
    int err = resource_name_get(json, 0, scratch, &name, &msg);
    if (err == ERR_OK)
        err = database_create(json, 0, &c->text, &msg);
    if (err == ERR_INVALID) {
        reply_fail_text(c, FAIL_BAD_REQUEST, msg.text);
    } else if (err != ERR_OK) {
        reply_fail(c, cosmos_failure_local(err));
    } else if (catalog_database_count(c->cosmos->config.catalog) >=
               CATALOG_DATABASES_MAX) {
        reply_fail(c, FAIL_QUOTA);
    } else if (meta_write_op(c, OP_CREATE, OP_RESOURCE_DATABASE,
                             CONTAINER_DATABASES, bytes_of(NULL, 0), name)) {
        meta_write(c, 201);
    }
}

void handle_database_post(struct call *c)
{
    if (cosmos_headers_query(&c->headers))
        call_sync_catalog(c, 0, listing_query_databases);
    else if (call_body_object(c, DEFINITION_MAX))
        database_create_parsed(c);
}

/* ---- read ---------------------------------------------------------------- */

void handle_database_list(struct call *c)
{
    call_sync_catalog(c, 0, listing_databases);
}

static void database_read_found(struct call *c)
{
    meta_reply(c, c->database->json, c->database->etag);
}

static void database_read_synced(struct call *c)
{
    call_with_database(c, database_read_found);
}

void handle_database_read(struct call *c)
{
    call_sync_catalog(c, 0, database_read_synced);
}

/* ---- delete -------------------------------------------------------------- */

/* With the database go the records of all its containers, in the same entry. */
static void database_delete_found(struct call *c)
{
    const struct catalog_database *database = c->database;
    if (!meta_write_op(c, OP_DELETE, OP_RESOURCE_DATABASE, CONTAINER_DATABASES,
                       bytes_of(NULL, 0), database->name))
        return;
    const struct keyed_hash *hash = call_hash(c, SHARD_META);
    if (hash == NULL)
        return;
    c->op.cascade = true;
    c->op.cascade_container = CONTAINER_CONTAINERS;
    keyed_hash16(hash, bytes_of(database->rid.bytes, database->rid.len),
                 c->op.cascade_pk_hash);
    call_conditions(c, false);
    meta_write(c, 204);
}

void handle_database_delete(struct call *c)
{
    call_with_database(c, database_delete_found);
}
