#include "node/cosmos/level.h"

#include <stdio.h>

#include "node/cosmos/reply.h"

/* ---- which level --------------------------------------------------------- */

static void refuse_level(struct call *c, const char *why)
{
    struct err_msg msg;
    struct bytes asked = c->headers.consistency;
    err_set(&msg, ERR_INVALID, "%s: x-ms-consistency-level is '%.*s', %s",
            cosmos_status(FAIL_CONSISTENCY)->text, (int)asked.len,
            (const char *)asked.data, why);
    reply_fail_text(c, FAIL_CONSISTENCY, msg.text);
}

void level_refuse_stronger(struct call *c, const struct catalog_group *group)
{
    char why[160 + CATALOG_NAME_MAX];
    if (group != NULL && catalog_group_fenced(group))
        snprintf(why, sizeof(why),
                 "the level of the container's placement group %s is %s, and a "
                 "request may only relax it",
                 group->name,
                 consistency_name(group->decision.consistency.level));
    else
        snprintf(why, sizeof(why),
                 "the account's level is %s, and a request may only relax it",
                 consistency_name(c->cosmos->place.level));
    refuse_level(c, why);
}

/* Clients that want the level of a group ask for it in everything that they do,
 * also when they look for its containers. */
static enum consistency_level strongest(const struct call *c)
{
    enum consistency_level level = c->cosmos->place.level;
    const struct catalog_group *g;
    for (size_t i = 0;
         (g = catalog_group_at(c->cosmos->config.catalog, i)) != NULL; i++)
        if (catalog_group_fenced(g) && g->decision.consistency.level < level)
            level = g->decision.consistency.level;
    return level;
}

bool level_take(struct call *c)
{
    const struct cosmos_headers *h = &c->headers;
    struct session_point any;
    c->level = c->cosmos->place.level;
    if (h->consistency.len > 0) {
        if (consistency_parse(h->consistency, &c->level) != ERR_OK) {
            refuse_level(c, "which is none of Strong, BoundedStaleness, "
                            "Session, ConsistentPrefix and Eventual");
            return false;
        }
        if (c->level < strongest(c) && !call_wants_documents(c)) {
            level_refuse_stronger(c, NULL);
            return false;
        }
    }
    if (session_find(h->session_token, 0, &any) != ERR_OK) {
        reply_fail(c, FAIL_SESSION_MALFORMED);
        return false;
    }
    return true;
}

/* ---- whether at all ------------------------------------------------------ */

static void refuse_write(struct call *c)
{
    struct err_msg msg;
    err_set(&msg, ERR_FORBIDDEN, "%s The account's write region is %s.",
            cosmos_status(FAIL_WRITE_REGION)->text,
            c->cosmos->place.write_region);
    reply_fail_text(c, FAIL_WRITE_REGION, msg.text);
}

/* It was cut off, so another region may be the write region by now. */
static void send_elsewhere(struct call *c)
{
    struct err_msg msg;
    err_set(&msg, ERR_FORBIDDEN, "%s %s is cut off from the other regions: %s",
            cosmos_status(FAIL_WRITE_REGION)->text,
            c->cosmos->place.write_region, c->cosmos->place.reason);
    http_reply_close(c->http);
    reply_fail_text(c, FAIL_WRITE_REGION, msg.text);
}

/* Whether it asks what a database or container is, which clients do before
 * their first item. Names, keys and ranges do not change, and who is inside a
 * fence may be served in full however little else is in reach. */
static bool describes(const struct call *c)
{
    bool list = c->path.count == 1 || c->path.count == 3;
    return !c->writes && !list && !call_wants_documents(c);
}

/* Fenced groups have a write region of their own, and writes to it are always
 * forwarded: where the account's is would not help a client. */
static bool admit(struct call *c, bool fenced)
{
    const struct cosmos_place *place = &c->cosmos->place;
    bool hub = c->writes || cosmos_header_true(c->headers.hub_only);
    if (!fenced && hub && place->refuse_writes)
        refuse_write(c);
    else if (!fenced && place->elsewhere && c->writes)
        send_elsewhere(c);
    else if (c->isolated &&
             (c->writes || (c->level == CONSISTENCY_STRONG && !describes(c))))
        reply_fail(c, FAIL_ISOLATED);
    else
        return true;
    return false;
}

bool level_admit(struct call *c)
{
    const struct cosmos_place *place = &c->cosmos->place;
    bool account = c->path.count == 0; /* GET /: how a client finds the rest */
    /* The next connection may find a node that knows more. */
    if (account && place->isolated)
        http_reply_close(c->http);
    if (account)
        return true;
    if (!place->removed)
        return call_wants_documents(c) || admit(c, false);
    reply_removed(c);
    return false;
}

bool level_admit_group(struct call *c, const struct catalog_group *group)
{
    return admit(c, catalog_group_fenced(group));
}

usec_t level_timeout(const struct call *c)
{
    usec_t timeout = c->cosmos->config.op_timeout_us;
    if (c->isolated && timeout > COSMOS_ISOLATED_TIMEOUT_US)
        timeout = COSMOS_ISOLATED_TIMEOUT_US;
    if (!c->passed || !c->writes)
        return timeout;
    usec_t left = c->started_us + COSMOS_PASSED_TIMEOUT_US - call_now(c);
    if (left < 0)
        left = 0;
    return left < timeout ? left : timeout;
}

/* ---- operations ---------------------------------------------------------- */

/* Who sends no token and reads where writes are acknowledged finds them all at
 * the leader, whichever of the region's nodes took them, and it is near. */
static bool prefers_leader(const struct call *c)
{
    if (cosmos_header_true(c->headers.hub_only))
        return true;
    /* Neither is any of the group's nodes always the same one for a client
     * whose requests are passed on. */
    return c->level == CONSISTENCY_SESSION &&
           c->headers.session_token.len == 0 && (c->writes_here || c->passed) &&
           !c->isolated;
}

/* What the client's token says about a slot, or for clients without one, what
 * this node told them of. */
static struct session_point known_point(const struct call *c, uint32_t slot)
{
    struct bytes token = c->headers.session_token;
    uint32_t range = call_slot_range_id(c, slot);
    uint16_t shard = call_shard(c, slot);
    struct session_point point;
    if (token.len == 0)
        return session_floor_get(c->cosmos->floor, shard);
    int err = c->spread.mapped ? session_find_part(token, range, shard, &point)
                               : session_find(token, range, &point);
    CHECK(err == ERR_OK); /* level_take has seen it */
    return point;
}

void level_op(struct call *c, uint32_t slot)
{
    struct op *op = &c->op;
    CHECK(op->kind == OP_READ || op->kind == OP_SCAN);
    if (c->cosmos->place.unproven || slot >= c->spread.slots) {
        op->level = CONSISTENCY_STRONG;
        return;
    }
    op->level = (uint8_t)c->level;
    op->at_leader = prefers_leader(c);
    if (c->level != CONSISTENCY_SESSION)
        return;
    struct session_point point = known_point(c, slot);
    op->session_epoch = point.epoch;
    op->session_lsn = point.lsn;
}

/* A client that sends tokens, or asks for a level, looks after itself; of the
 * others, what they wrote counts, and what a session read showed, which may
 * have come from a newer replica than the one here. */
void level_seen(struct call *c, uint32_t slot, const struct op_result *result)
{
    const struct cosmos_headers *h = &c->headers;
    bool counts = c->op.kind == OP_WRITE || c->level == CONSISTENCY_SESSION;
    if (!counts || result->lsn == 0 || h->session_token.len > 0 ||
        h->consistency.len > 0)
        return;
    session_floor_raise(c->cosmos->floor, call_shard(c, slot),
                        session_point(result->term, result->lsn));
}
