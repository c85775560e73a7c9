#include "node/cosmos/call.h"

#include <string.h>

#include "failover/fence.h"
#include "node/base/mem.h"
#include "node/base/text.h"
#include "node/cosmos/level.h"
#include "node/cosmos/page.h"
#include "node/cosmos/reply.h"
#include "node/cosmos/session.h"
#include "node/cosmos/transit.h"

/* ---- life ---------------------------------------------------------------- */

/* A client may choose the id of an activity; anything that is not a plain
 * token is replaced, so that the id can stand in headers and messages. */
static bool activity_valid(struct bytes id)
{
    if (id.len == 0 || id.len > RNG_UUID_LEN)
        return false;
    for (size_t i = 0; i < id.len; i++) {
        uint8_t b = id.data[i];
        bool ok = (b >= '0' && b <= '9') || (b >= 'a' && b <= 'f') ||
                  (b >= 'A' && b <= 'F') || b == '-';
        if (!ok)
            return false;
    }
    return true;
}

void call_activity(struct prng *prng, char out[RNG_UUID_LEN + 1])
{
    static const char digits[] = "0123456789abcdef";
    uint64_t bits[2] = {prng_u64(prng), prng_u64(prng)};
    size_t nibble = 0;
    for (size_t i = 0; i < RNG_UUID_LEN; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            out[i] = '-';
            continue;
        }
        out[i] = digits[bits[nibble / 16] >> (4 * (nibble % 16)) & 15];
        nibble++;
    }
    out[14] = '4';
    out[19] = digits[8 + (bits[1] >> 60 & 3)];
    out[RNG_UUID_LEN] = '\0';
}

static struct call *call_take(struct cosmos *cosmos)
{
    struct call *c = cosmos->kept;
    if (c != NULL) {
        CHECK_OBJ(c, CALL_MAGIC);
        cosmos->kept = c->next_kept;
        cosmos->kept_count--;
        return c;
    }
    c = mem_zalloc(sizeof(*c));
    c->magic = CALL_MAGIC;
    buf_init(&c->text, OP_BODY_MAX);
    op_result_init(&c->held);
    return c;
}

struct call *call_begin(struct cosmos *cosmos, struct http_request *http)
{
    CHECK_OBJ(cosmos, COSMOS_MAGIC);
    if (cosmos->running >= COSMOS_CALLS_MAX)
        return NULL;
    struct call *c = call_take(cosmos);
    c->cosmos = cosmos;
    c->http = http;
    http->user = c;
    c->started_us = call_now(c);
    c->charge = 1;
    c->level = cosmos->place.level;
    c->isolated = cosmos->place.isolated;
    c->operation = COSMOS_OP_OTHER; /* until its path is known */
    c->path.count = 0;
    cosmos_headers_read(http, &c->headers);
    struct bytes id = c->headers.activity_id;
    if (activity_valid(id)) {
        memcpy(c->activity, id.data, id.len);
        c->activity[id.len] = '\0';
    } else {
        call_activity(&cosmos->prng, c->activity);
    }
    cosmos->running++;
    return c;
}

/* Back to the state of call_take, without touching the large arrays. */
static void call_reset(struct call *c)
{
    catalog_database_unref(TAKE(c->database));
    container_def_unref(TAKE(c->container));
    page_free(TAKE(c->page));
    op_result_free(&c->held);
    op_result_init(&c->held);
    if (c->text.cap > CALL_TEXT_KEPT)
        buf_free(&c->text);
    else
        buf_clear(&c->text);
    c->http = NULL;
    c->want_container = c->looked_again = false;
    c->item_level = c->by_rid = c->outside = c->writes_here = false;
    c->found = c->again = c->synced = NULL;
    c->done = NULL;
    c->attempts = c->moved = 0;
    c->slot = 0;
    c->lsn = c->term = 0;
    c->behind = false;
    c->strike.struck = false;
    c->writes = c->read_only = c->passed = false;
}

void call_end(struct call *c)
{
    CHECK_OBJ(c, CALL_MAGIC);
    struct cosmos *cosmos = c->cosmos;
    CHECK(cosmos->running > 0);
    cosmos->running--;
    if (c->turn != NULL) {
        c->turn->ended = true;
        c->turn = NULL;
    }
    call_reset(c);
    if (cosmos->kept_count >= CALLS_KEPT) {
        call_free(c);
        return;
    }
    c->next_kept = cosmos->kept;
    cosmos->kept = c;
    cosmos->kept_count++;
}

void call_free(struct call *c)
{
    CHECK_OBJ(c, CALL_MAGIC);
    buf_free(&c->text);
    op_result_free(&c->held);
    c->magic = 0;
    mem_free(c);
}

usec_t call_now(const struct call *c)
{
    return c->cosmos->config.mono_us(c->cosmos->config.user);
}

/* ---- operations ---------------------------------------------------------- */

struct op *call_op(struct call *c, enum op_kind kind, uint16_t shard)
{
    struct op *op = &c->op;
    memset(op, 0, sizeof(*op));
    op->kind = kind;
    op->shard = shard;
    uint64_t id[2] = {prng_u64(&c->cosmos->prng), prng_u64(&c->cosmos->prng)};
    memcpy(op->id, id, sizeof(op->id));
    /* What another attempt may have done already is not done twice. */
    if (c->passed && kind == OP_WRITE) {
        memcpy(op->id, c->passed_id, sizeof(op->id));
        op->since_us = c->passed_since_us;
        op->again = c->passed_again;
    }
    return op;
}

static void resolve(struct call *c);

void call_again(struct call *c)
{
    if (TAKE(c->found) != NULL) /* its RID was being looked up */
        c->by_rid = false;
    page_free(TAKE(c->page));
    op_result_free(&c->held);
    op_result_init(&c->held);
    c->lsn = c->term = 0;
    c->found = c->again;
    call_sync_catalog(c, 0, resolve);
}

void call_moved(struct call *c)
{
    if (++c->moved > CALL_MOVED_MAX)
        reply_fail(c, FAIL_UNAVAILABLE);
    else
        call_again(c);
}

static void on_op_done(void *user, struct op_result *result)
{
    struct call *c = user;
    CHECK_OBJ(c, CALL_MAGIC);
    CHECK(c->done != NULL);
    call_done *done = TAKE(c->done);
    bool before = mem_may_fail(true);
    if (result->err == ERR_MOVED && c->again != NULL)
        call_moved(c);
    else
        done(c, result);
    mem_may_fail(before);
}

void call_submit(struct call *c, call_done *done)
{
    CHECK(c->done == NULL);
    c->done = done;
    if (c->turn != NULL) {
        c->turn->again = true;
        return;
    }
    struct backend *backend = c->cosmos->config.backend;
    struct call_turn turn;
    bool before = mem_may_fail(false);
    do {
        turn = (struct call_turn){false, false};
        c->turn = &turn;
        backend_submit(backend, &c->op, level_timeout(c), on_op_done, c);
    } while (!turn.ended && turn.again);
    mem_may_fail(before);
    if (!turn.ended)
        c->turn = NULL;
}

static void on_synced(struct call *c, struct op_result *result)
{
    if (result->err != ERR_OK) {
        reply_op_failed(c, result);
        return;
    }
    call_step *then = TAKE(c->synced);
    then(c);
}

static void on_awaited(struct call *c, struct op_result *result)
{
    (void)result;
    call_step *then = TAKE(c->synced);
    then(c);
}

static void barrier(struct call *c, uint64_t lsn, call_step *then,
                    call_done *done)
{
    CHECK(c->synced == NULL);
    c->synced = then;
    call_op(c, OP_BARRIER, SHARD_META)->min_lsn = lsn;
    call_submit(c, done);
}

void call_sync_catalog(struct call *c, uint64_t lsn, call_step *then)
{
    c->looked_again = true;
    if (c->cosmos->place.isolated)
        then(c);
    else
        barrier(c, lsn, then, on_synced);
}

bool call_stale(const struct call *c)
{
    return c->looked_again && c->cosmos->place.isolated;
}

void call_await_catalog(struct call *c, uint64_t lsn, call_step *then)
{
    barrier(c, lsn, then, on_awaited);
}

/* ---- resolving ----------------------------------------------------------- */

/* Segments of a path that addresses a database, or a container, itself. */
#define PATH_DATABASE 2
#define PATH_CONTAINER 4

const struct catalog_group *call_group(const struct call *c, struct bytes name)
{
    return catalog_group_named(c->cosmos->config.catalog, name);
}

/* A fenced group has a level of its own. */
static enum cosmos_failure take_level(struct call *c,
                                      const struct catalog_group *group)
{
    bool fenced = catalog_group_fenced(group);
    enum consistency_level own =
        fenced ? group->decision.consistency.level : c->cosmos->place.level;
    bool asked = c->headers.consistency.len > 0;
    if (asked && c->level < own)
        return FAIL_CONSISTENCY;
    if (!asked)
        c->level = own;
    return FAIL_COUNT;
}

static const struct catalog_group *group_of(const struct call *c, uint32_t slot)
{
    return catalog_group_number(c->cosmos->config.catalog,
                                spread_part(&c->spread, slot)->group);
}

/* Whether this node is out of reach of who leads a group's shards, whatever it
 * knows of the rest of the cluster. */
static bool is_isolated(const struct call *c, const struct catalog_group *group)
{
    const struct cosmos_config *config = &c->cosmos->config;
    if (!c->cosmos->place.isolated || !catalog_group_fenced(group) ||
        config->in_contact == NULL)
        return c->cosmos->place.isolated;
    return !config->in_contact(config->user, group->first_shard);
}

/* FAIL_COUNT when nothing of the group, but perhaps its fence, is against it.
 */
static enum cosmos_failure take_group(struct call *c, uint32_t slot)
{
    const struct catalog_group *group = group_of(c, slot);
    const char *region = c->cosmos->config.region;
    if (group == NULL)
        return FAIL_UNAVAILABLE;
    c->slot = slot;
    c->outside = false;
    c->writes_here = c->cosmos->place.writes_here;
    if (catalog_group_fenced(group)) {
        c->outside = catalog_group_region(group, region) == group->region_count;
        c->writes_here = strcmp(region, group->decision.write_region) == 0;
    }
    c->isolated = is_isolated(c, group);
    return take_level(c, group);
}

/* A container with a map is about several groups, and which of them is seen
 * later. */
static enum cosmos_failure find_shards(struct call *c)
{
    c->outside = false;
    if (spread_of(c->cosmos->config.catalog, c->container, &c->spread) !=
        ERR_OK)
        return FAIL_UNAVAILABLE;
    return c->spread.mapped ? FAIL_COUNT : take_group(c, 0);
}

/* Ranges say nothing of what is in them. */
bool call_wants_documents(const struct call *c)
{
    return c->path.count > PATH_CONTAINER &&
           !bytes_equal(c->path.segments[PATH_CONTAINER],
                        bytes_str("pkranges"));
}

/* Says where to go: in the text, and for programs in a header. */
void call_refuse_outside(struct call *c)
{
    const struct cosmos_config *config = &c->cosmos->config;
    const struct catalog_group *group = group_of(c, c->slot);
    char names[GROUP_REGIONS_MAX * (CATALOG_NAME_MAX + 2)];
    struct buf regions = buf_over(names, sizeof(names) - 1);
    struct err_msg msg;
    if (group == NULL) { /* removed while the request was on its way */
        reply_fail(c, FAIL_UNAVAILABLE);
        return;
    }
    for (size_t i = 0; i < group->region_count; i++)
        (void)buf_printf(&regions, "%s%s", i > 0 ? ", " : "",
                         group->regions[i]);
    names[buf_len(&regions)] = '\0';
    err_set(&msg, ERR_FORBIDDEN,
            "%s: placement group %s%s keeps them in %s; this is %s. Send the "
            "request to an endpoint of one of these regions",
            cosmos_status(FAIL_FENCED)->text, group->name,
            c->spread.mapped ? ", which this request needs," : "", names,
            config->region);
    http_reply_header_str(c->http, "x-bastide-placement", group->name);
    http_reply_header_str(c->http, "x-bastide-regions", names);
    if (config->outside != NULL)
        config->outside(config->user, group);
    reply_fail_text(c, FAIL_FENCED, msg.text);
}

/* A request for documents of a fenced group, and of no other, at a node
 * outside. */
static void outside(struct call *c)
{
    const struct catalog_group *group = group_of(c, c->slot);
    CHECK(group != NULL);
    if (transit_may(c, group))
        transit_begin(c, group);
    else
        call_refuse_outside(c);
}

/* Whether a request that came by transit is not for the group it is about. */
static bool misdirected(const struct call *c)
{
    return c->passed && !transit_fits(c, group_of(c, c->slot));
}

static void refuse_misdirected(struct call *c)
{
    if (c->looked_again)
        transit_refuse(c);
    else
        call_again(c);
}

/* Whether a client that pins the container's RID still means this one. */
static bool intended(const struct call *c)
{
    struct bytes text = c->headers.intended_rid;
    if (text.data == NULL)
        return true;
    struct rid rid;
    return rid_parse(text, &rid) == ERR_OK &&
           rid_equal(&rid, &c->container->rid);
}

/* FAIL_COUNT when everything was found. */
static enum cosmos_failure find(struct call *c)
{
    const struct catalog *catalog = c->cosmos->config.catalog;
    catalog_database_unref(TAKE(c->database));
    container_def_unref(TAKE(c->container));
    struct catalog_database *database =
        catalog_database(catalog, c->path.segments[1]);
    if (database == NULL)
        return c->path.count <= PATH_DATABASE ? FAIL_NOT_FOUND
                                              : FAIL_OWNER_NOT_FOUND;
    c->database = catalog_database_ref(database);
    if (!c->want_container)
        return FAIL_COUNT;
    struct container_def *container =
        catalog_container(catalog, database, c->path.segments[3]);
    if (container == NULL)
        return c->path.count <= PATH_CONTAINER ? FAIL_NOT_FOUND
                                               : FAIL_OWNER_NOT_FOUND;
    c->container = container_def_ref(container);
    if (!intended(c))
        return FAIL_CONTAINER_RID_MISMATCH;
    return find_shards(c);
}

int call_range_named(const struct call *c, uint32_t *id_out)
{
    struct bytes id = c->headers.range_id;
    uint64_t number;
    if (id.len == 0)
        return ERR_NOT_FOUND;
    const uint8_t *comma = memrchr(id.data, ',', id.len);
    if (comma != NULL)
        id = bytes_of(comma + 1, (size_t)(id.data + id.len - comma - 1));
    int err = text_parse_u64(id, UINT32_MAX, &number);
    if (err == ERR_OK)
        *id_out = (uint32_t)number;
    return err;
}

/* The client has been where the container is known to be elsewhere, or to have
 * more shards. */
static bool knows_more(const struct call *c)
{
    struct bytes token = c->headers.session_token;
    if (!c->want_container || c->looked_again)
        return false;
    uint32_t next = call_range_id(c, spread_ranges(&c->spread)), named;
    if (c->spread.mapped)
        return session_version(token, call_range_id(c, 0)) > c->spread.version;
    return (c->level == CONSISTENCY_SESSION &&
            session_highest(token) >= next) ||
           (call_range_named(c, &named) == ERR_OK && named >= next);
}

static void refuse(struct call *c, enum cosmos_failure failure)
{
    if (failure == FAIL_CONSISTENCY)
        level_refuse_stronger(c, group_of(c, c->slot));
    else
        reply_fail(c, failure);
}

/* With a placement map, call_enter asks. False after answering. */
static bool admitted(struct call *c)
{
    return !c->want_container || c->spread.mapped || !call_wants_documents(c) ||
           level_admit_group(c, group_of(c, c->slot));
}

static void resolve(struct call *c)
{
    enum cosmos_failure failure = find(c);
    if (failure == FAIL_COUNT && knows_more(c)) {
        call_sync_catalog(c, 0, resolve);
    } else if (failure == FAIL_COUNT && !c->spread.mapped && misdirected(c)) {
        refuse_misdirected(c);
    } else if (failure == FAIL_COUNT && c->outside && c->want_container &&
               call_wants_documents(c) && !FENCE_OPEN(API)) {
        outside(c);
    } else if (failure == FAIL_COUNT && admitted(c)) {
        call_step *found = TAKE(c->found);
        found(c);
    } else if (failure == FAIL_COUNT) {
        return;
    } else if (!c->looked_again) {
        call_sync_catalog(c, 0, resolve);
    } else if (failure != FAIL_CONSISTENCY && call_stale(c)) {
        /* It may well exist: others may have made it since. */
        reply_fail(c, FAIL_ISOLATED);
    } else {
        refuse(c, failure);
    }
}

/* Whether a session read goes to a shard whose part has moved, as the client's
 * token says, to one that this node cannot come to know of: what was written
 * since is not there, and no state is asked of it. */
static bool left_behind(const struct call *c, uint32_t slot)
{
    struct bytes token = c->headers.session_token;
    uint32_t range = call_range_id(c, 0);
    return !c->writes && c->level == CONSISTENCY_SESSION && call_stale(c) &&
           session_version(token, range) > c->spread.version &&
           !session_names(token, range, call_shard(c, slot));
}

static bool admit_slot(struct call *c, uint32_t slot)
{
    if (!left_behind(c, slot))
        return level_admit_group(c, group_of(c, slot));
    reply_fail(c, FAIL_ISOLATED);
    return false;
}

/* `whole`: the request is about this slot's group alone. */
static bool enter(struct call *c, uint32_t slot, bool whole)
{
    if (!c->spread.mapped) { /* its one group was looked at */
        c->slot = slot;
        return true;
    }
    enum cosmos_failure failure = take_group(c, slot);
    if (failure != FAIL_COUNT)
        refuse(c, failure);
    else if (misdirected(c))
        refuse_misdirected(c);
    else if (!c->outside || FENCE_OPEN(API))
        return admit_slot(c, slot);
    else if (whole)
        outside(c);
    else
        call_refuse_outside(c);
    return false;
}

/* Without the group's keys this node's replica cannot be read; and what another
 * node would read for it, is not for who cannot open it. Of a shard that is no
 * group's any more its worker says so. */
static bool can_open(struct call *c, uint32_t slot)
{
    uint16_t shard = call_shard(c, slot);
    return FENCE_OPEN(API) ||
           catalog_group_of_shard(c->cosmos->config.catalog, shard) == NULL ||
           call_hash(c, shard) != NULL;
}

bool call_enter(struct call *c, uint32_t slot)
{
    return enter(c, slot, false) && can_open(c, slot);
}

/* A line for the key may just have been added. */
static void refuse_key(struct call *c)
{
    struct err_msg msg;
    const struct container_def *def = c->container;
    if (!c->looked_again) {
        call_again(c);
        return;
    }
    if (call_stale(c)) {
        reply_fail(c, FAIL_ISOLATED);
        return;
    }
    int shown = (int)(def->placement.len < 200 ? def->placement.len : 200);
    err_set(&msg, ERR_INVALID,
            "The container's placement takes no documents of this value of "
            "%s: its rule is '%.*s'",
            def->map->path, shown, (const char *)def->placement.data);
    reply_fail_text(c, FAIL_BAD_REQUEST, msg.text);
}

bool call_enter_key(struct call *c)
{
    uint32_t slot;
    if (spread_slot(&c->spread, c->container, &c->pk, &slot))
        return enter(c, slot, true);
    refuse_key(c);
    return false;
}

void call_with_database(struct call *c, call_step *then)
{
    CHECK(c->path.count >= PATH_DATABASE);
    c->found = then;
    c->want_container = false;
    resolve(c);
}

void call_with_container(struct call *c, call_step *then)
{
    CHECK(c->path.count >= PATH_CONTAINER);
    c->found = c->again = then;
    c->want_container = true;
    resolve(c);
}

/* ---- request parts ------------------------------------------------------- */

bool call_body_object(struct call *c, size_t max)
{
    struct json_error error;
    struct json *json = &c->cosmos->json;
    int err = json_parse(json, c->http->body, max, &error);
    if (err == ERR_LIMIT && error.fault == JSON_FAULT_TOO_LARGE) {
        reply_fail(c, FAIL_TOO_LARGE);
        return false;
    }
    if (err == ERR_NO_MEMORY) {
        reply_fail(c, cosmos_failure_local(err));
        return false;
    }
    if (err != ERR_OK) {
        struct err_msg msg;
        err_set(&msg, err, "%s: %s", cosmos_status(FAIL_BODY_NOT_JSON)->text,
                error.text);
        reply_fail_text(c, FAIL_BODY_NOT_JSON, msg.text);
        return false;
    }
    if (json_type(json, 0) != JSON_OBJECT) {
        reply_fail(c, FAIL_BODY_NOT_OBJECT);
        return false;
    }
    return true;
}

static void condition_set(struct op *op, struct bytes value,
                          enum op_condition tag, enum op_condition any)
{
    if (value.len == 1 && value.data[0] == '*') {
        op->condition = any;
        return;
    }
    op->condition = tag;
    op->etag_unknown = etag_parse(value, &op->etag) != ERR_OK;
}

void call_conditions(struct call *c, bool none_match)
{
    const struct cosmos_headers *h = &c->headers;
    if (h->if_match.len > 0)
        condition_set(&c->op, h->if_match, OP_COND_IF_MATCH,
                      OP_COND_IF_MATCH_ANY);
    else if (none_match && h->if_none_match.len > 0)
        condition_set(&c->op, h->if_none_match, OP_COND_IF_NONE_MATCH,
                      OP_COND_IF_NONE_MATCH_ANY);
}

const struct keyed_hash *call_hash(struct call *c, uint16_t shard)
{
    const struct cosmos_config *config = &c->cosmos->config;
    const struct keyed_hash *hash = config->index_hash(config->user, shard);
    if (hash == NULL)
        reply_fail_text(c, FAIL_UNAVAILABLE,
                        "This node does not hold the keys of the container's "
                        "placement group yet; nothing was applied");
    return hash;
}
