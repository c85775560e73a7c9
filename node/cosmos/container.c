#include <string.h>

#include "node/catalog/placement_map.h"
#include "node/catalog/placement_rules.h"
#include "node/cosmos/handlers.h"
#include "node/cosmos/listing.h"
#include "node/cosmos/meta.h"
#include "node/cosmos/reply.h"

/* Times a replace starts over when somebody else changed the container between
 * our look at it and the write. */
#define REPLACE_ATTEMPTS_MAX 5
/* Of a placement map, which may be written longer than it was sent. */
#define PLACEMENT_TEXT_ROOM (8 * PLACEMENT_MAP_TEXT_MAX)

static struct bytes database_key(const struct call *c)
{
    return bytes_of(c->database->rid.bytes, c->database->rid.len);
}

/* A refused definition, or a buffer that did not do. */
static void definition_refused(struct call *c, int err,
                               const struct err_msg *msg)
{
    if (err == ERR_INVALID)
        reply_fail_text(c, FAIL_BAD_REQUEST, msg->text);
    else
        reply_fail(c, cosmos_failure_local(err));
}

/* ---- create -------------------------------------------------------------- */

/* The shard writes the container only while its database is still there. */
static void container_parent(struct call *c, const struct keyed_hash *hash)
{
    struct op *op = &c->op;
    op->has_parent = true;
    cosmos_address(hash, CONTAINER_DATABASES, bytes_of(NULL, 0),
                   c->database->name, &op->parent);
    op->parent_record = c->database->record;
    CHECK(c->database->rid.len <= sizeof(op->parent_rid));
    memcpy(op->parent_rid, c->database->rid.bytes, c->database->rid.len);
}

/* What went wrong with a placement, with the name of whoever asked for it. */
static void placement_refused(struct call *c, const char *format,
                              struct bytes name)
{
    struct err_msg msg;
    int shown = (int)(name.len < 100 ? name.len : 100);
    err_set(&msg, ERR_INVALID, format, shown, (const char *)name.data);
    reply_fail_text(c, FAIL_BAD_REQUEST, msg.text);
}

static void placement_unknown(struct call *c, struct bytes name)
{
    placement_refused(c,
                      "x-bastide-placement: there is no placement group "
                      "'%.*s'; see 'bastide placement list'",
                      name);
}

/* The name of the group that a new container of that name belongs in: what the
 * request asks for, else what the account's rules say; empty for default. */
static struct bytes placement_wanted(const struct call *c, struct bytes name)
{
    const struct catalog_account *account =
        catalog_account(c->cosmos->config.catalog);
    if (c->headers.placement.len > 0 || account == NULL)
        return c->headers.placement;
    const char *group =
        placement_rules_group(&account->placement, c->database->name, name);
    return group != NULL ? bytes_str(group) : bytes_of("", 0);
}

/* A map as it is stored. False after answering. */
static bool map_read(struct call *c, struct bytes wanted,
                     struct placement_map *m, struct buf *text)
{
    struct err_msg msg = {.text = ""};
    int err = placement_map_parse(wanted, m, &msg);
    if (err == ERR_OK)
        err = placement_map_format(m, text);
    if (err == ERR_OK && buf_len(text) > PLACEMENT_MAP_TEXT_MAX)
        err = err_set(&msg, ERR_INVALID,
                      "placement by partition key: it is longer than %d bytes",
                      PLACEMENT_MAP_TEXT_MAX);
    if (err != ERR_OK)
        definition_refused(c, err, &msg);
    return err == ERR_OK;
}

static bool map_choose(struct call *c, struct bytes wanted, struct buf *text,
                       struct container_place *place)
{
    const struct feature_gate *features = c->cosmos->config.features;
    struct placement_map m;
    struct err_msg msg;
    if (feature_refuse(features, FEATURE_PARTS, &msg) != ERR_OK) {
        reply_fail_text(c, FAIL_UNAVAILABLE, msg.text);
        return false;
    }
    if (!map_read(c, wanted, &m, text))
        return false;
    int err = spread_allowed(c->cosmos->config.catalog, &m, &msg);
    if (err == ERR_OK && !feature_active(features, FEATURE_PART_MOVES))
        err = spread_settled(c->cosmos->config.catalog, &m, &msg);
    if (err != ERR_OK)
        definition_refused(c, err, &msg);
    else
        spread_place(c->cosmos->config.catalog, &m, 0, place);
    return err == ERR_OK;
}

/* The definition goes by a path that is one of its partition key's. */
static int map_fits(const struct buf *definition, struct err_msg *msg)
{
    struct container_def *def;
    int err = container_def_parse(
        bytes_of(buf_bytes(definition), buf_len(definition)), &def, msg);
    if (err != ERR_OK)
        return ERR_INVALID;
    container_def_unref(def);
    return ERR_OK;
}

/* Where a new container is, all but its `group`: that as it is stored, in
 * `text`; empty for default. False after answering: there is no such group, or
 * default may not be used. */
static bool placement_choose(struct call *c, struct bytes name,
                             struct buf *text, struct container_place *place)
{
    struct bytes wanted = placement_wanted(c, name);
    if (placement_is_map(wanted))
        return map_choose(c, wanted, text, place);
    const struct catalog_account *account =
        catalog_account(c->cosmos->config.catalog);
    const struct catalog_group *g = call_group(c, wanted);
    if (g == NULL && wanted.len > 0) {
        placement_unknown(c, wanted);
        return false;
    }
    if (g != NULL && g->removing) {
        placement_refused(
            c, "placement group '%.*s' is being removed: name another", wanted);
        return false;
    }
    bool fenced = g != NULL && catalog_group_fenced(g);
    if (!fenced && account != NULL && account->placement.required) {
        placement_refused(c,
                          "container '%.*s' would be in placement group "
                          "default, which this cluster does not allow: name "
                          "another in the header x-bastide-placement, or let "
                          "an administrator add a rule that matches ('bastide "
                          "placement rules')",
                          name);
        return false;
    }
    if (fenced)
        CHECK(buf_append(text, wanted.data, wanted.len) == ERR_OK);
    place->layout = g != NULL ? catalog_group_layout(g) : 0;
    return true;
}

/* Makes the definition of the parsed body in c->text. False after answering. */
static bool container_define(struct call *c, struct bytes name)
{
    char storage[PLACEMENT_TEXT_ROOM];
    struct buf placement = buf_over(storage, sizeof(storage));
    struct container_place place = {.layout = 0};
    struct err_msg msg;
    if (!placement_choose(c, name, &placement, &place))
        return false;
    place.group = bytes_of(buf_bytes(&placement), buf_len(&placement));
    buf_clear(&c->text);
    int err = container_create(&c->cosmos->json, 0, &place, &c->text, &msg);
    if (err == ERR_OK && placement_is_map(place.group))
        err = map_fits(&c->text, &msg);
    if (err != ERR_OK)
        definition_refused(c, err, &msg);
    return err == ERR_OK;
}

static void container_create_found(struct call *c)
{
    if (!call_body_object(c, DEFINITION_MAX))
        return;
    struct json *json = &c->cosmos->json;
    struct buf *scratch = &c->cosmos->scratch;
    struct err_msg msg;
    struct bytes name;
    buf_clear(scratch);
    int err = resource_name_get(json, 0, scratch, &name, &msg);
    if (err != ERR_OK) {
        definition_refused(c, err, &msg);
        return;
    }
    if (!container_define(c, name))
        return;
    if (catalog_container_count(c->cosmos->config.catalog) >=
        CATALOG_CONTAINERS_MAX) {
        reply_fail(c, FAIL_QUOTA);
        return;
    }
    const struct keyed_hash *hash = call_hash(c, SHARD_META);
    if (hash == NULL ||
        !meta_write_op(c, OP_CREATE, OP_RESOURCE_CONTAINER,
                       CONTAINER_CONTAINERS, database_key(c), name))
        return;
    container_parent(c, hash);
    meta_write(c, 201);
}

static void container_create_synced(struct call *c)
{
    call_with_database(c, container_create_found);
}

static void container_query_found(struct call *c)
{
    listing_query_containers(c);
}

/* A container goes by the newest rules of placement, and into the newest shards
 * of its group: those before may be about to go (node/server/splitter.h). */
void handle_container_post(struct call *c)
{
    if (cosmos_headers_query(&c->headers))
        call_with_database(c, container_query_found);
    else
        call_sync_catalog(c, 0, container_create_synced);
}

/* ---- read ---------------------------------------------------------------- */

static void container_list_synced(struct call *c)
{
    call_with_database(c, listing_containers);
}

void handle_container_list(struct call *c)
{
    call_sync_catalog(c, 0, container_list_synced);
}

/* Sizes are not measured yet per container; the service's limits are told. */
static void container_quota(struct call *c)
{
    static const char quota[] =
        "functions=50;storedProcedures=100;triggers=25;documentSize=10240;"
        "documentsSize=10485760;documentsCount=-1;collectionSize=10485760;";
    http_reply_header_str(c->http, "x-ms-resource-quota", quota);
    http_reply_header_str(c->http, "x-ms-resource-usage",
                          "functions=0;storedProcedures=0;triggers=0;"
                          "documentSize=0;documentsSize=0;documentsCount=0;"
                          "collectionSize=0;");
    http_reply_header_str(
        c->http, "x-ms-documentdb-collection-index-transformation-progress",
        "100");
}

static void container_read_found(struct call *c)
{
    if (cosmos_header_true(c->headers.populate_quota))
        container_quota(c);
    meta_reply(c, c->container->json, c->container->etag);
}

static void container_read_synced(struct call *c)
{
    call_with_container(c, container_read_found);
}

void handle_container_read(struct call *c)
{
    call_sync_catalog(c, 0, container_read_synced);
}

/* ---- replace ------------------------------------------------------------- */

static void container_replace_found(struct call *c);

/* The write was conditional on the definition we checked against. Without a
 * condition of the client's own, a lost race means to look again. */
static void container_replaced(struct call *c, struct op_result *result)
{
    if (result->err == ERR_PRECONDITION && c->headers.if_match.len == 0 &&
        ++c->attempts < REPLACE_ATTEMPTS_MAX)
        call_sync_catalog(c, 0, container_replace_found);
    else
        meta_write_done(c, result);
}

static bool map_stays(struct call *c, struct bytes asked)
{
    char storage[PLACEMENT_TEXT_ROOM];
    struct buf text = buf_over(storage, sizeof(storage));
    struct placement_map m;
    if (!map_read(c, asked, &m, &text))
        return false;
    if (bytes_equal(bytes_of(buf_bytes(&text), buf_len(&text)),
                    c->container->placement))
        return true;
    placement_refused(c,
                      "x-bastide-placement: a replace cannot change where "
                      "documents are to '%.*s'; see 'bastide placement keys'",
                      asked);
    return false;
}

/* A header that names another group than the container's is no wish that a
 * replace can fulfil. False after answering. */
static bool placement_stays(struct call *c)
{
    struct bytes asked = c->headers.placement;
    if (placement_is_map(asked))
        return map_stays(c, asked);
    const struct catalog_group *g = call_group(c, asked);
    if (asked.len == 0 || (g != NULL && c->container->map == NULL &&
                           g == call_group(c, c->container->placement)))
        return true;
    if (g == NULL)
        placement_unknown(c, asked);
    else
        placement_refused(c,
                          "x-bastide-placement: a replace cannot move the "
                          "container to placement group '%.*s'",
                          asked);
    return false;
}

static void container_replace_checked(struct call *c)
{
    if (!placement_stays(c) || !call_body_object(c, DEFINITION_MAX))
        return;
    struct err_msg msg;
    buf_clear(&c->text);
    int err =
        container_replace(c->container, &c->cosmos->json, 0, &c->text, &msg);
    if (err != ERR_OK) {
        definition_refused(c, err, &msg);
        return;
    }
    const struct keyed_hash *hash = call_hash(c, SHARD_META);
    if (hash == NULL || !meta_write_op(c, OP_REPLACE, OP_RESOURCE_CONTAINER,
                                       CONTAINER_CONTAINERS, database_key(c),
                                       c->container->name))
        return;
    container_parent(c, hash);
    call_conditions(c, false);
    if (c->op.condition != OP_COND_IF_MATCH) {
        c->op.condition = OP_COND_IF_MATCH;
        c->op.etag_unknown =
            etag_parse(c->container->etag, &c->op.etag) != ERR_OK;
    }
    c->status = 200;
    call_submit(c, container_replaced);
}

static void container_replace_found(struct call *c)
{
    call_with_container(c, container_replace_checked);
}

void handle_container_replace(struct call *c)
{
    call_sync_catalog(c, 0, container_replace_found);
}

/* ---- delete -------------------------------------------------------------- */

/* Only the record goes: its number is never used again, so that no path leads
 * to the documents any more. */
static void container_delete_found(struct call *c)
{
    if (!meta_write_op(c, OP_DELETE, OP_RESOURCE_CONTAINER,
                       CONTAINER_CONTAINERS, database_key(c),
                       c->container->name))
        return;
    call_conditions(c, false);
    meta_write(c, 204);
}

void handle_container_delete(struct call *c)
{
    call_with_container(c, container_delete_found);
}
