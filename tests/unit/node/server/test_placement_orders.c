/* Orders about placement groups: those that cross the removal of a group, and
 * those that wait for a feature level. The meta shard's log is the test's: it
 * says when a record is logged, and when the catalogs of its leader and of the
 * node that gave the order show it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/catalog/rid.h"
#include "node/server/account_edit.h"
#include "node/server/catalog_feed.h"
#include "node/server/control_reply.h"
#include "node/server/governor.h"
#include "node/server/group_edit.h"
#include "node/server/placement.h"
#include "node/server/placement_gate.h"
#include "node/server/placement_keys.h"
#include "node/server/placement_move.h"
#include "node/server/placement_remove.h"
#include "node/server/placement_split.h"
#include "node/server/worker.h"

/* LSNs that the records were written at. */
#define DB 1u
#define EU 5u
#define US 6u
#define CONTAINER 10u

static struct config_node nodes[] = {{.name = "a-1", .id = 1}};
static struct config_region regions[] = {
    {.name = "a", .nodes = nodes, .node_count = 1}};

static struct world {
    /* As the leader of the meta shard has it, and as who gives orders does. */
    struct catalog *leader, *orderer;
    struct keyed_hash *hash;
    struct config config;
    struct node node;
    struct worker *w;
    uint64_t lsn; /* of the last record that was logged */
    bool leads;
    uint64_t term, shown_term; /* the leader's, and its catalog's entry's */
    bool queues;               /* writes that are not in the log yet */
    bool all_know;
    /* What waits for its answer; NULL: nothing. */
    const struct op *op;
    op_done_cb *done;
    void *user;
    struct group_edit group_edit;
    struct account_edit account_edit;
    bool edits_group, edits_account;
    /* The last answer on the admin API. */
    int status;
    char answer[400];
} world;

/* ---- what it is linked with -------------------------------------------------
 */

static void fake_submit(struct backend *b, const struct op *op,
                        usec_t timeout_us, op_done_cb *done, void *user)
{
    (void)b;
    assert_true(timeout_us > 0);
    assert_null(world.op);
    world.op = op;
    world.done = done;
    world.user = user;
}

void group_edit_begin(struct worker *w, const struct group_edit *edit)
{
    (void)w;
    assert_false(world.edits_group);
    world.edits_group = true;
    world.group_edit = *edit;
}

void group_edit_audit(struct worker *w, const char *who, const char *what,
                      const char *before, const char *after, const char *reason)
{
    (void)w, (void)who, (void)what, (void)before, (void)after, (void)reason;
}

void account_edit_begin(struct worker *w, const struct account_edit *edit)
{
    (void)w;
    assert_false(world.edits_account);
    world.edits_account = true;
    world.account_edit = *edit;
}

/* No mover runs here, and no numbers are given out. */
void worker_run(struct worker *w, void (*fn)(struct worker *w, void *arg),
                void *arg)
{
    (void)w, (void)fn, (void)arg;
    fail();
}

const struct keyed_hash *catalog_feed_hash(const struct worker *w,
                                           uint16_t shard)
{
    (void)w, (void)shard;
    return NULL;
}

bool purge_clean(const struct node *n, const struct container_def *def)
{
    (void)n, (void)def;
    return true;
}

void placement_first_numbers(const struct worker *w, struct catalog_account *a)
{
    (void)w, (void)a;
}

bool governor_all_know(const struct governor *g, uint16_t group, uint32_t epoch,
                       bool members)
{
    (void)g, (void)group, (void)epoch, (void)members;
    return world.all_know;
}

bool worker_leads(const struct worker *w, uint32_t shard, usec_t now)
{
    (void)w, (void)now;
    assert_int_equal(shard, SHARD_META);
    return world.leads;
}

bool worker_log_end(const struct worker *w, uint32_t shard, uint64_t *term_out,
                    uint64_t *lsn_out)
{
    (void)w;
    assert_int_equal(shard, SHARD_META);
    *term_out = world.term;
    if (world.queues)
        return false;
    *lsn_out = world.lsn;
    return true;
}

void control_respond(struct http_request *r, int status, struct buf *body)
{
    (void)r;
    world.status = status;
    snprintf(world.answer, sizeof(world.answer), "%.*s", (int)buf_len(body),
             (const char *)buf_bytes(body));
    buf_free(body);
}

void control_refuse_err(struct http_request *r, int err, const char *message)
{
    (void)r;
    world.status = err == ERR_INVALID       ? 400
                   : err == ERR_UNAVAILABLE ? 503
                                            : 409;
    snprintf(world.answer, sizeof(world.answer), "%s", message);
}

/* ---- records ----------------------------------------------------------------
 */

static void put(struct catalog *c, uint32_t container, uint64_t written,
                const char *json, uint64_t lsn)
{
    struct err_msg msg = {""};
    if (catalog_put(c, container, rid_counter(written, 0, 0), bytes_str(json),
                    lsn, &msg) != ERR_OK)
        fail_msg("%s: %s", json, msg.text);
}

/* Logs a record, which both catalogs show at once. */
static void put_both(uint32_t container, uint64_t written, const char *json)
{
    world.lsn++;
    put(world.leader, container, written, json, world.lsn);
    put(world.orderer, container, written, json, world.lsn);
}

static void group_text(struct catalog_group *g, struct buf *out)
{
    g->region_count = g->key_count = 1;
    snprintf(g->regions[0], sizeof(g->regions[0]), "a");
    snprintf(g->keys[0].region, sizeof(g->keys[0].region), "a");
    g->keys[0].versions = 1;
    g->keys[0].index.len = g->keys[0].data[0].len = REGION_WRAPPED_LEN;
    g->members[0] = g->first_members[0] = 1;
    g->member_count = g->first_count = 1;
    g->decision.settled = true;
    snprintf(g->decision.write_region, sizeof(g->decision.write_region), "a");
    snprintf(g->decision.from_region, sizeof(g->decision.from_region), "a");
    buf_init(out, DEFINITION_MAX);
    assert_int_equal(catalog_group_format(g, out), ERR_OK);
}

/* The record of eu: `number` 1 unless it is another one of that name. */
static void put_eu(struct catalog *c, uint16_t number, bool removing,
                   uint32_t epoch)
{
    struct catalog_group *g = mem_zalloc(sizeof(*g));
    struct buf text;
    snprintf(g->name, sizeof(g->name), "eu");
    g->number = number;
    g->first_shard = (uint16_t)(2 + 8 * (number - 1));
    g->shard_count = 2;
    g->removing = removing;
    g->decision.epoch = epoch;
    group_text(g, &text);
    put(c, CONTAINER_GROUPS, number == 1 ? EU : 40, buf_cstr(&text), world.lsn);
    buf_free(&text);
    mem_free(g);
}

static void put_us(bool splitting)
{
    struct catalog_group *g = mem_zalloc(sizeof(*g));
    struct buf text;
    snprintf(g->name, sizeof(g->name), "us");
    g->number = 2;
    g->first_shard = splitting ? 20 : 4;
    g->shard_count = splitting ? 4 : 2;
    g->split_us = splitting;
    if (splitting)
        g->emptied = (struct catalog_span){4, 2};
    group_text(g, &text);
    put_both(CONTAINER_GROUPS, US, buf_cstr(&text));
    buf_free(&text);
    mem_free(g);
}

/* Adds what the shard adds to a container's record. */
static void stored(struct bytes body, struct buf *out)
{
    struct rid rid =
        rid_container(DB + RID_NUMBER_FIRST, CONTAINER + RID_NUMBER_FIRST);
    char rid_text[RID_TEXT_MAX];
    rid_format(&rid, rid_text);
    buf_init(out, DEFINITION_MAX);
    assert_int_equal(buf_append(out, body.data, body.len), ERR_OK);
    assert_int_equal(
        buf_printf(out,
                   ",\"_rid\":\"%s\",\"_etag\":\"\\\"00000001-0000-0000-0000-"
                   "000000000001\\\"\",\"_ts\":1}",
                   rid_text),
        ERR_OK);
}

/* Container d/c. `more`: members of its record. */
static void put_container(const char *placement, const char *more)
{
    char body[600];
    struct buf text;
    snprintf(body, sizeof(body),
             "{\"id\":\"c\",\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":"
             "\"Hash\",\"version\":2},\"_placement\":\"%s\"%s",
             placement, more);
    stored(bytes_str(body), &text);
    put_both(CONTAINER_CONTAINERS, CONTAINER, buf_cstr(&text));
    buf_free(&text);
}

static int setup(void **state)
{
    static const uint8_t key[SEAL_KEY_LEN];
    struct rid rid = rid_database(DB + RID_NUMBER_FIRST);
    char rid_text[RID_TEXT_MAX], json[200];
    (void)state;
    memset(&world, 0, sizeof(world));
    world.leader = catalog_new();
    world.orderer = catalog_new();
    world.hash = keyed_hash_new(key);
    world.lsn = 20;
    world.term = world.shown_term = 3;
    world.leads = world.all_know = true;
    world.config.regions = regions;
    world.config.region_count = 1;
    world.config.id = 1;
    world.node.config = &world.config;
    feature_raise(&world.node.features, feature_supported);
    struct worker *w = world.w = mem_zalloc(sizeof(*w));
    w->magic = WORKER_MAGIC;
    w->node = &world.node;
    w->meta_hash = world.hash;
    w->router.worker = w;
    w->router.backend.submit = fake_submit;
    rid_format(&rid, rid_text);
    snprintf(json, sizeof(json), "{\"id\":\"d\",\"_rid\":\"%s\"}", rid_text);
    put_both(CONTAINER_DATABASES, DB, json);
    put_both(CONTAINER_ACCOUNT, 2, "{\"id\":\"account\"}");
    put_eu(world.leader, 1, false, 1);
    put_eu(world.orderer, 1, false, 1);
    put_us(false);
    put_container("us", "");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_null(world.op);
    mem_free(world.w);
    keyed_hash_free(world.hash);
    catalog_free(world.leader);
    catalog_free(world.orderer);
    return 0;
}

/* ---- orders and what becomes of them ----------------------------------------
 */

typedef void order_fn(struct worker *w, struct http_request *r,
                      const struct json *j);

/* Somebody asks the node that is not the leader. */
static void order(order_fn *fn, const char *body)
{
    struct http_request r = {.body = bytes_str(body)};
    struct json j;
    json_init(&j);
    assert_int_equal(json_parse(&j, r.body, r.body.len, NULL), ERR_OK);
    world.w->catalog = world.orderer;
    world.status = 0;
    fn(world.w, &r, &j);
    json_free(&j);
}

static void answer(int err, const char *text)
{
    struct op_result r;
    op_done_cb *done = world.done;
    op_result_init(&r);
    r.err = err;
    snprintf(r.message.text, sizeof(r.message.text), "%s", text);
    world.op = NULL;
    done(world.user, &r);
    op_result_free(&r);
}

#define TO_EU "{\"database\":\"d\",\"container\":\"c\",\"group\":\"eu\"}"

static void order_move(void)
{
    order(placement_move, TO_EU);
    assert_non_null(world.op);
    assert_int_equal(world.op->at.container, CONTAINER_CONTAINERS);
}

/* The order reaches the leader: logged there, whose text is in `text_out`, or
 * refused. */
static int arrives(struct buf *text_out)
{
    struct err_msg msg = {.text = ""};
    int err = placement_gate_admit(world.leader, world.shown_term, world.term,
                                   world.op, &msg);
    if (err == ERR_OK) {
        stored(world.op->body, text_out);
        world.lsn++;
    }
    answer(err, msg.text);
    return err;
}

/* What was logged last is committed at the leader. */
static void commits(struct buf *text)
{
    put(world.leader, CONTAINER_CONTAINERS, CONTAINER, buf_cstr(text),
        world.lsn);
    buf_free(text);
}

static void mark(uint32_t epoch)
{
    world.lsn++;
    put_eu(world.leader, 1, true, epoch);
}

/* What the leader does: nothing yet; it lists the shards as removed, which is
 * the end of the group; or it keeps the group. */
enum removal { WAITS, GOES, KEEPS };

static enum removal look(void)
{
    world.w->catalog = world.leader;
    placement_remove_check(world.w);
    assert_false(world.edits_group && world.edits_account);
    return world.edits_account ? GOES : world.edits_group ? KEEPS : WAITS;
}

/* The leader's edit of the group's or the account's record ends so. */
static void edit_ends(int err)
{
    static const struct err_msg none = {.text = ""};
    bool group = world.edits_group;
    world.edits_group = world.edits_account = false;
    if (group)
        world.group_edit.done(world.group_edit.user, err, NULL, &none);
    else
        world.account_edit.done(world.account_edit.user, err, NULL, NULL,
                                &none);
}

static void expect_refusal(int status, const char *text)
{
    assert_int_equal(world.status, status);
    if (strstr(world.answer, text) == NULL)
        fail_msg("'%s' is not in '%s'", text, world.answer);
}

/* ---- moves and removals that cross ------------------------------------------
 */

static void an_order_after_the_mark_is_refused(void **state)
{
    (void)state;
    struct buf text;
    order_move();
    mark(2);
    assert_int_equal(arrives(&text), ERR_INVALID);
    expect_refusal(400, "'eu' is being removed");
    assert_int_equal(look(), GOES);
    /* It is looked at once more where the account is changed. */
    struct catalog_account *a = mem_zalloc(sizeof(*a));
    struct err_msg msg = {.text = ""};
    assert_int_equal(
        world.account_edit.change(world.account_edit.user, a, NULL, &msg),
        ERR_OK);
    mem_free(a);
    edit_ends(ERR_UNAVAILABLE);
}

static void an_order_after_the_end_is_refused(void **state)
{
    (void)state;
    struct buf text;
    order_move();
    catalog_delete(world.leader, CONTAINER_GROUPS, rid_counter(EU, 0, 0),
                   ++world.lsn);
    assert_int_equal(arrives(&text), ERR_INVALID);
    expect_refusal(400, "is gone");
    /* Not either if there is another group of that name by now. */
    order_move();
    world.lsn++;
    put_eu(world.leader, 3, false, 1);
    assert_int_equal(arrives(&text), ERR_INVALID);
}

static void an_order_before_the_mark_keeps_the_group(void **state)
{
    (void)state;
    struct buf text;
    order_move();
    assert_int_equal(arrives(&text), ERR_OK);
    assert_int_equal(world.status, 202);
    commits(&text);
    mark(2);
    assert_int_equal(look(), KEEPS);
    assert_int_equal(world.group_edit.change_group(
                         world.group_edit.user,
                         &(struct catalog_group){.removing = true}, NULL),
                     ERR_OK);
    edit_ends(ERR_OK);
}

/* The leader logged it before the mark was committed, and nobody sees it yet.
 */
static void an_order_between_is_waited_for(void **state)
{
    (void)state;
    struct buf text;
    order_move();
    uint64_t marked = ++world.lsn;
    assert_int_equal(arrives(&text), ERR_OK);
    uint64_t ordered = world.lsn;
    world.lsn = marked;
    put_eu(world.leader, 1, true, 2);
    world.lsn = ordered;
    assert_int_equal(look(), WAITS);
    assert_int_equal(look(), WAITS);
    commits(&text);
    assert_int_equal(look(), KEEPS);
    edit_ends(ERR_OK);
}

/* As before, but what was seen of the log is not good for another leader, nor
 * for another order to remove the group. */
static void each_mark_and_leader_looks_anew(void **state)
{
    (void)state;
    for (int again = 0; again < 2; again++) {
        struct buf text;
        mark(2);
        world.all_know = false;
        assert_int_equal(look(), WAITS); /* it has seen where the log ended */
        world.all_know = true;
        world.lsn++;
        put_eu(world.leader, 1, false, 2);
        order_move();
        uint64_t marked = ++world.lsn;
        assert_int_equal(arrives(&text), ERR_OK);
        uint64_t ordered = world.lsn;
        world.lsn = marked;
        put_eu(world.leader, 1, true, again == 0 ? 3 : 2);
        world.lsn = ordered;
        world.term += again;
        assert_int_equal(look(), WAITS);
        commits(&text);
        assert_int_equal(look(), KEEPS);
        edit_ends(ERR_OK);
        put_container("us", "");
        put_eu(world.leader, 1, false, 3);
    }
}

static void a_removal_waits_until_all_know(void **state)
{
    (void)state;
    mark(2);
    world.all_know = false;
    assert_int_equal(look(), WAITS);
    world.all_know = true;
    world.leads = false;
    assert_int_equal(look(), WAITS);
    world.leads = true;
    assert_int_equal(look(), GOES);
    assert_int_equal(look(), GOES); /* one thing at a time */
    edit_ends(ERR_UNAVAILABLE);
    assert_int_equal(look(), GOES);
    edit_ends(ERR_UNAVAILABLE);
}

/* They may come into the log, or be cancelled, as when a leader is about to
 * hand over: then nothing would ever reach where the log was to end. */
static void a_removal_waits_until_nothing_is_queued(void **state)
{
    (void)state;
    mark(2);
    world.queues = true;
    world.lsn++;
    assert_int_equal(look(), WAITS);
    world.queues = false;
    world.lsn--;
    assert_int_equal(look(), GOES);
    edit_ends(ERR_UNAVAILABLE);
    /* What comes later does not matter. */
    world.queues = true;
    assert_int_equal(look(), GOES);
    edit_ends(ERR_UNAVAILABLE);
}

/* ---- the gate ---------------------------------------------------------------
 */

static int admits(uint32_t container, const char *body)
{
    struct err_msg msg = {.text = ""};
    struct op op = {.kind = OP_WRITE,
                    .mode = OP_REPLACE,
                    .at = {.container = container},
                    .body = bytes_str(body)};
    put_u32_be(op.parent_rid, DB + RID_NUMBER_FIRST);
    return placement_gate_admit(world.leader, world.shown_term, world.term, &op,
                                &msg);
}

static int admits_container(const char *id, const char *placement,
                            const char *more)
{
    char body[600];
    snprintf(body, sizeof(body),
             "{\"id\":\"%s\",\"partitionKey\":{\"paths\":[\"/pk\"],\"kind\":"
             "\"Hash\",\"version\":2},\"_placement\":\"%s\"%s",
             id, placement, more);
    return admits(CONTAINER_CONTAINERS, body);
}

#define MOVES_TO_EU                                                            \
    ",\"_move\":{\"number\":9,\"ranges\":2,\"other\":\"eu\",\"otherNumber\":"  \
    "1,\"phase\":\"copying\",\"mover\":0,\"since\":5}"
#define LEFT_EU                                                                \
    ",\"_move\":{\"number\":9,\"ranges\":2,\"other\":\"eu\",\"otherNumber\":"  \
    "1,\"emptied\":true}"

static void a_group_that_goes_gets_nothing_new(void **state)
{
    (void)state;
    for (int going = 0; going < 2; going++) {
        int wanted = going ? ERR_INVALID : ERR_OK;
        if (going)
            mark(2);
        assert_int_equal(admits_container("new", "eu", ""), wanted);
        assert_int_equal(admits_container("new", "/pk: a=us, *=eu", ""),
                         wanted);
        assert_int_equal(admits_container("c", "us", MOVES_TO_EU), wanted);
        assert_int_equal(admits_container("c", "/pk: a=us, *=eu", ""), wanted);
        assert_int_equal(
            admits(CONTAINER_ACCOUNT,
                   "{\"id\":\"account\",\"placementRules\":[{\"database\":"
                   "\"*\",\"container\":\"x\",\"group\":\"eu\"}]}"),
            wanted);
        assert_int_equal(admits_container("new", "us", ""), ERR_OK);
        assert_int_equal(admits_container("c", "us", LEFT_EU), ERR_OK);
        assert_int_equal(admits(CONTAINER_ACCOUNT, "{\"id\":\"account\"}"),
                         ERR_OK);
        assert_int_equal(admits(CONTAINER_DATABASES, "{\"id\":\"eu\""), ERR_OK);
        assert_int_equal(admits(CONTAINER_CONTAINERS, "{\"id\":"), ERR_OK);
    }
    assert_int_equal(admits_container("new", "nowhere", ""), ERR_INVALID);
}

/* A new leader's catalog does not show marks of the terms before at once. */
static void who_does_not_know_yet_admits_nothing_there(void **state)
{
    (void)state;
    static const uint64_t shown[] = {0, 2};
    for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
        world.shown_term = shown[i];
        assert_int_equal(admits_container("new", "us", ""), ERR_NO_LEADER);
        assert_int_equal(admits(CONTAINER_ACCOUNT, "{\"id\":\"account\"}"),
                         ERR_NO_LEADER);
        assert_int_equal(admits(CONTAINER_DATABASES, "{\"id\":\"d2\""), ERR_OK);
    }
    world.shown_term = world.term;
    assert_int_equal(admits_container("new", "us", ""), ERR_OK);
}

/* Until the removal is given up, or what is there has gone. */
static void what_is_there_already_may_be_changed(void **state)
{
    (void)state;
    put_container("us", MOVES_TO_EU);
    put_both(CONTAINER_ACCOUNT, 2,
             "{\"id\":\"account\",\"placementRules\":[{\"database\":\"*\","
             "\"container\":\"x\",\"group\":\"eu\"}]}");
    mark(2);
    assert_int_equal(admits_container("c", "us", MOVES_TO_EU), ERR_OK);
    assert_int_equal(admits_container("c", "eu", ""), ERR_OK);
    assert_int_equal(admits_container("c", "us", LEFT_EU), ERR_OK);
    assert_int_equal(
        admits(CONTAINER_ACCOUNT,
               "{\"id\":\"account\",\"placementRules\":[{\"database\":\"*\","
               "\"container\":\"y\",\"group\":\"eu\"}]}"),
        ERR_OK);
    assert_int_equal(admits_container("other", "eu", ""), ERR_INVALID);
    put_container("eu", "");
    assert_int_equal(admits_container("c", "eu", ""), ERR_OK);
    /* It leaves. */
    assert_int_equal(admits_container("c", "us", MOVES_TO_EU), ERR_OK);
    assert_int_equal(admits_container("c", "us", LEFT_EU), ERR_OK);
    /* A rule for what is gone is not made anew, but may stay. */
    static const char for_eu[] =
        "{\"id\":\"account\",\"placementRules\":[{\"database\":\"*\","
        "\"container\":\"z\",\"group\":\"eu\"}]}";
    static const char for_map[] =
        "{\"id\":\"account\",\"placementRules\":[{\"database\":\"*\","
        "\"container\":\"z\",\"group\":\"/pk: a=us, *=nowhere\"}]}";
    assert_int_equal(admits(CONTAINER_ACCOUNT, for_map), ERR_INVALID);
    /* A move that an older release let cross the end goes on to its own. */
    put_container("us", MOVES_TO_EU);
    catalog_delete(world.leader, CONTAINER_GROUPS, rid_counter(EU, 0, 0),
                   ++world.lsn);
    assert_int_equal(admits_container("c", "us", MOVES_TO_EU), ERR_OK);
    assert_int_equal(admits(CONTAINER_ACCOUNT, for_eu), ERR_OK);
    put_both(CONTAINER_ACCOUNT, 2, "{\"id\":\"account\"}");
    assert_int_equal(admits(CONTAINER_ACCOUNT, for_eu), ERR_INVALID);
    put_container("us", "");
    assert_int_equal(admits_container("c", "us", MOVES_TO_EU), ERR_INVALID);
}

/* ---- below a feature level --------------------------------------------------
 */

#define KEYS "/pk: a=us, *=eu"

/* Whether something is done, as there is a cluster of that level. */
static bool goes(uint32_t level, order_fn *fn, const char *body)
{
    world.node.features = (struct feature_gate){0};
    feature_raise(&world.node.features, level);
    order(fn, body);
    if (world.op != NULL && world.op->kind == OP_BARRIER)
        answer(ERR_OK, ""); /* the catalog is current */
    bool done = world.op != NULL || world.edits_account;
    if (world.op != NULL)
        answer(ERR_UNAVAILABLE, "");
    if (world.edits_account)
        edit_ends(ERR_UNAVAILABLE);
    return done;
}

static void needs_part_moves(order_fn *fn, const char *body)
{
    assert_false(goes(FEATURE_PART_MOVES - 1, fn, body));
    expect_refusal(503, "feature level 6");
    assert_true(goes(FEATURE_PART_MOVES, fn, body));
}

static void parts_are_not_split_below_their_level(void **state)
{
    (void)state;
    const char *body = "{\"group\":\"us\",\"shards\":4}";
    /* A whole container moves with what older releases know. */
    assert_true(goes(FEATURE_PART_MOVES - 1, placement_split, body));
    put_container(KEYS, "");
    needs_part_moves(placement_split, body);
    assert_false(goes(FEATURE_PART_MOVES - 1, placement_split, body));
    expect_refusal(503, "container c is placed by partition key");
}

static void parts_do_not_move_below_their_level(void **state)
{
    (void)state;
    const char *whole = "{\"database\":\"d\",\"container\":\"c\",\"group\":"
                        "\"eu\"}",
               *part = "{\"database\":\"d\",\"container\":\"c\",\"group\":"
                       "\"eu\",\"from\":\"us\"}";
    assert_true(goes(FEATURE_PART_MOVES - 1, placement_move, whole));
    put_container("/pk: a=us, *=reject", "");
    needs_part_moves(placement_move, part);
    assert_false(goes(FEATURE_PART_MOVES, placement_move, whole));
    expect_refusal(400, "--from");
}

/* Nodes of before that level do not agree on where its documents go. */
static void keys_are_not_placed_in_a_split_group_below_their_level(void **state)
{
    (void)state;
    const char *add = "{\"database\":\"d\",\"container\":\"c\",\"add\":["
                      "\"b=us\"]}";
    put_container("/pk: a=eu, *=reject", "");
    assert_true(goes(FEATURE_PART_MOVES - 1, placement_keys, add));
    put_us(true);
    assert_false(goes(FEATURE_PART_MOVES - 1, placement_keys, add));
    expect_refusal(400, "is being split");
    assert_true(goes(FEATURE_PART_MOVES, placement_keys, add));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_order_after_the_mark_is_refused,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(an_order_after_the_end_is_refused,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            an_order_before_the_mark_keeps_the_group, setup, teardown),
        cmocka_unit_test_setup_teardown(an_order_between_is_waited_for, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(each_mark_and_leader_looks_anew, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_removal_waits_until_all_know, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_removal_waits_until_nothing_is_queued,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_group_that_goes_gets_nothing_new,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            who_does_not_know_yet_admits_nothing_there, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_there_already_may_be_changed,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(parts_are_not_split_below_their_level,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(parts_do_not_move_below_their_level,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            keys_are_not_placed_in_a_split_group_below_their_level, setup,
            teardown),
    };
    log_setup(open("/dev/null", O_WRONLY), LOG_ERROR, LOG_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
