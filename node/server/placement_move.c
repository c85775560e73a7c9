#include "node/server/placement_move.h"

#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/base/rng.h"
#include "node/catalog/placement_map.h"
#include "node/catalog/spread.h"
#include "node/json/json.h"
#include "node/server/control_reply.h"
#include "node/server/group_edit.h"
#include "node/server/mover.h"
#include "node/server/placement_parse.h"
#include "node/server/worker.h"

#define MOVE_TIMEOUT_US (5 * USEC_PER_SEC)
#define MOVES_PAGE 64

/* One request to move a container, or to leave it where it is. */
struct order {
    struct worker *worker;
    struct http_request *request;
    struct catalog_database *database;
    struct container_def *def;
    const struct catalog_group *from, *to; /* the catalog's, until `done` */
    int part;                              /* of the container, in `from` */
    bool cancel, dry_run;
    struct op op;
    struct buf text;
    struct buf answer;
};

static void order_end(struct order *o)
{
    catalog_database_unref(o->database);
    container_def_unref(o->def);
    buf_free(&o->text);
    buf_free(&o->answer);
    mem_free(o);
}

static void order_fail(struct order *o, int err, const char *why)
{
    control_refuse_err(o->request, err, why);
    order_end(o);
}

/* ---- what is asked for -----------------------------------------------------
 */

static int find_group(const struct order *o, const struct json *j,
                      const char *key, const struct catalog_group **out,
                      struct err_msg *msg)
{
    struct buf scratch;
    struct bytes name;
    buf_init(&scratch, DEFINITION_MAX);
    int err = placement_get_text(j, key, &scratch, &name, msg);
    if (err == ERR_OK)
        *out = mover_group(o->worker, name);
    if (err == ERR_OK && *out == NULL)
        err = err_set(msg, ERR_NOT_FOUND,
                      "%s: there is no placement group of that name", key);
    buf_free(&scratch);
    return err;
}

/* Of a container with a placement map one part is moved, which is named. */
static int find_from(struct order *o, const struct json *j, struct err_msg *msg)
{
    if (json_get_str(j, 0, "from") != JSON_NONE) {
        int err = find_group(o, j, "from", &o->from, msg);
        if (err != ERR_OK)
            return err;
        o->part = container_find_part(o->def, bytes_str(o->from->name));
        return o->part >= 0 ? ERR_OK
                            : err_set(msg, ERR_INVALID,
                                      "no documents of the container are in %s",
                                      o->from->name);
    }
    if (o->def->map != NULL)
        return err_set(msg, ERR_INVALID,
                       "the container's documents are placed by partition key "
                       "(see 'bastide placement keys'): name the group whose "
                       "documents shall move, from (--from)");
    o->from = mover_group(o->worker, o->def->placement);
    return o->from != NULL
               ? ERR_OK
               : err_set(msg, ERR_UNAVAILABLE,
                         "this node does not know the container's placement "
                         "group: try again");
}

static int find_groups(struct order *o, const struct json *j,
                       struct err_msg *msg)
{
    int err = find_group(o, j, "group", &o->to, msg);
    return err == ERR_OK ? find_from(o, j, msg) : err;
}

/* ---- whether it can be -----------------------------------------------------
 */

/* Regions that are inside of `in` and, as `with` says, of `also`. */
static uint32_t put_regions(const struct config *c, struct json_writer *w,
                            const char *key, const struct catalog_group *in,
                            const struct catalog_group *also, bool with)
{
    uint32_t n = 0;
    json_write_key(w, key);
    json_write_array_begin(w);
    for (size_t i = 0; i < c->region_count; i++) {
        const char *name = c->regions[i].name;
        if (!catalog_group_inside(in, name) ||
            catalog_group_inside(also, name) != with)
            continue;
        json_write_str(w, name);
        n++;
    }
    json_write_array_end(w);
    return n;
}

static uint32_t put_through(const struct order *o, struct json_writer *w)
{
    const struct config *c = o->worker->node->config;
    uint32_t n = 0;
    json_write_key(w, "through");
    json_write_array_begin(w);
    for (uint32_t id = 1; id <= CONFIG_NODES_MAX; id++) {
        if (!mover_eligible(o->worker, id, o->from, o->to))
            continue;
        json_write_str(w, config_find_node(c, id, NULL)->name);
        n++;
    }
    json_write_array_end(w);
    return n;
}

/* What will happen. ERR_INVALID: nobody could do it. */
static int preview(struct order *o, struct err_msg *msg)
{
    const struct config *c = o->worker->node->config;
    struct json_writer w;
    json_writer_init(&w, &o->answer);
    json_write_object_begin(&w);
    json_write_member_string(&w, "database", o->database->name);
    json_write_member_string(&w, "container", o->def->name);
    json_write_member_str(&w, "from", o->from->name);
    json_write_member_str(&w, "to", o->to->name);
    put_regions(c, &w, "gets", o->to, o->from, false);
    put_regions(c, &w, "loses", o->from, o->to, false);
    put_regions(c, &w, "keeps", o->to, o->from, true);
    uint32_t through = put_through(o, &w);
    json_write_object_end(&w);
    if (through > 0)
        return json_writer_end(&w);
    return err_set(msg, ERR_INVALID,
                   "no region is inside both %s and %s, and documents are "
                   "opened and sealed anew only where both groups allow it: "
                   "move by a third group that has a region of each, or give "
                   "one of them a region of the other with 'bastide placement "
                   "set'",
                   o->from->name, o->to->name);
}

/* Notes in `move` where the part will have been. */
static int note_groups(const struct order *o, struct container_move *move)
{
    uint8_t part = (uint8_t)o->part;
    int err = container_been_note(move, o->from->number, part);
    return err == ERR_OK ? container_been_note(move, o->to->number, part) : err;
}

/* Whether the container can be placed by its map with `to` instead of `from`.
 * Two parts cannot become one: each is all that its shards have. Nor does one
 * come to shards that had another (struct container_been). */
static int check_map(const struct order *o, struct err_msg *msg)
{
    struct container_move move = o->def->move;
    struct placement_map map = *o->def->map;
    struct buf text;
    if (container_find_part(o->def, bytes_str(o->to->name)) >= 0)
        return err_set(msg, ERR_EXISTS,
                       "documents of the container are in %s already, and "
                       "those of two groups cannot be joined: move them to a "
                       "group that has none",
                       o->to->name);
    int err = note_groups(o, &move);
    if (err == ERR_EXISTS)
        return err_set(msg, ERR_EXISTS,
                       "other documents of the container were moved from or to "
                       "%s before, and only these can go there again: move "
                       "them to another group",
                       o->to->name);
    if (err != ERR_OK)
        return err_set(msg, ERR_INVALID,
                       "documents of the container were in %d other groups "
                       "before, and more are not kept track of",
                       CONTAINER_BEEN_MAX);
    strcpy(map.groups[o->part], o->to->name);
    buf_init(&text, 2 * PLACEMENT_MAP_TEXT_MAX);
    err = placement_map_format(&map, &text);
    if (err != ERR_OK || buf_len(&text) > PLACEMENT_MAP_TEXT_MAX)
        err = err_set(msg, ERR_INVALID,
                      "with that name the container's rule is longer than %d "
                      "bytes",
                      PLACEMENT_MAP_TEXT_MAX);
    buf_free(&text);
    return err == ERR_OK ? spread_allowed(o->worker->catalog, &map, msg) : err;
}

static int check(struct order *o, struct err_msg *msg)
{
    const struct catalog_group *to = o->to;
    if (o->def->move.phase != CONTAINER_STAYS)
        return err_set(msg, ERR_BUSY,
                       "the container is being moved: see 'bastide placement "
                       "move --status'");
    if (to->number == o->from->number)
        return err_set(msg, ERR_EXISTS, "the container is in %s already",
                       to->name);
    if (to->emptied.count > 0 || o->from->emptied.count > 0)
        return err_set(msg, ERR_BUSY,
                       "%s is being split: wait until that is done (bastide "
                       "placement show)",
                       to->emptied.count > 0 ? to->name : o->from->name);
    if (to->removing)
        return err_set(msg, ERR_INVALID, "%s is being removed", to->name);
    if (catalog_group_fenced(to) && to->key_count < to->region_count)
        return err_set(msg, ERR_UNAVAILABLE,
                       "the keys of %s are not made yet: try again", to->name);
    int err = o->def->map != NULL ? check_map(o, msg) : ERR_OK;
    return err == ERR_OK ? preview(o, msg) : err;
}

static int check_cancel(const struct order *o, struct err_msg *msg)
{
    enum container_phase phase = o->def->move.phase;
    if (phase != CONTAINER_STAYS && !container_changes_group(o->def))
        return err_set(msg, ERR_EXISTS,
                       "its placement group is being split, which cannot be "
                       "taken back");
    if (phase == CONTAINER_COPYING)
        return ERR_OK;
    if (phase == CONTAINER_STAYS)
        return err_set(msg, ERR_EXISTS, "the container is not being moved");
    return err_set(msg, ERR_EXISTS,
                   "too late: the move is %s, and goes on by itself",
                   container_phase_name(phase));
}

/* ---- the order -------------------------------------------------------------
 */

static void ordered(void *user, struct op_result *result)
{
    struct order *o = user;
    struct err_msg msg;
    if (result->err == ERR_PRECONDITION) {
        order_fail(o, ERR_BUSY,
                   "somebody else changed the container: look again");
    } else if (result->err == ERR_INVALID) {
        order_fail(o, ERR_INVALID, result->message.text);
    } else if (result->err != ERR_OK) {
        err_set(&msg, result->err, "the container's record: %s",
                err_text(result->err));
        order_fail(
            o, result->err == ERR_NOT_FOUND ? ERR_NOT_FOUND : ERR_UNAVAILABLE,
            msg.text);
    } else {
        control_respond(o->request, 202, &o->answer);
        buf_init(&o->answer, CONTROL_ANSWER_MAX);
        order_end(o);
    }
}

static void audit(const struct order *o, const char *before, const char *after)
{
    char what[GROUP_EDIT_WHAT_MAX];
    const char *who = o->request->peer_uri;
    snprintf(what, sizeof(what), "%s move of container %.*s/%.*s",
             o->cancel ? "cancel" : "begin",
             (int)(o->database->name.len < 40 ? o->database->name.len : 40),
             (const char *)o->database->name.data,
             (int)(o->def->name.len < 40 ? o->def->name.len : 40),
             (const char *)o->def->name.data);
    group_edit_audit(o->worker, who != NULL ? who : "?", what, before, after,
                     "an administrator asked for it");
}

static void submit(struct order *o, const struct container_move *move)
{
    const struct container_place place = container_place(o->def);
    struct etag etag;
    int err = etag_parse(o->def->etag, &etag);
    if (err == ERR_OK)
        err = mover_record_op(o->worker, o->def, &etag, &place, move, &o->text,
                              &o->op);
    if (err != ERR_OK) {
        order_fail(o, ERR_UNAVAILABLE, "the container's record cannot be made");
        return;
    }
    rng_fill(o->op.id, OP_ID_LEN);
    backend_submit(&o->worker->router.backend, &o->op, MOVE_TIMEOUT_US, ordered,
                   o);
}

static struct order *order_new(struct worker *w, struct http_request *r)
{
    struct order *o = mem_zalloc(sizeof(*o));
    o->worker = w;
    o->request = r;
    buf_init(&o->text, OP_BODY_MAX);
    buf_init(&o->answer, CONTROL_ANSWER_MAX);
    return o;
}

void placement_move(struct worker *w, struct http_request *r,
                    const struct json *j)
{
    struct err_msg msg = {.text = ""};
    struct order *o = order_new(w, r);
    int err = feature_refuse(&w->node->features, FEATURE_MOVES, &msg);
    if (err == ERR_OK)
        err = placement_get_container(w, j, &o->database, &o->def, &msg);
    if (err == ERR_OK && o->def->map != NULL)
        err = feature_refuse(&w->node->features, FEATURE_PART_MOVES, &msg);
    if (err == ERR_OK)
        err = find_groups(o, j, &msg);
    if (err == ERR_OK)
        err = check(o, &msg);
    if (err == ERR_OK)
        err = placement_get_dry_run(j, &o->dry_run, &msg);
    if (err != ERR_OK) {
        order_fail(o, err, msg.text);
        return;
    }
    if (o->dry_run) {
        control_respond(r, 200, &o->answer);
        buf_init(&o->answer, CONTROL_ANSWER_MAX);
        order_end(o);
        return;
    }
    struct container_move move = o->def->move;
    move.phase = CONTAINER_COPYING;
    move.emptied = false;
    catalog_note_gone(w->catalog, o->def, &move);
    if (o->def->map != NULL) {
        move.part = (uint8_t)o->part;
        CHECK(note_groups(o, &move) == ERR_OK); /* check_map has seen it */
    }
    mover_name_other(&move, o->to, catalog_group_layout(o->to));
    move.mover = 0;
    move.since = clock_wall_us() / USEC_PER_SEC;
    audit(o, o->from->name, o->to->name);
    submit(o, &move);
}

void placement_move_cancel(struct worker *w, struct http_request *r,
                           const struct json *j)
{
    struct err_msg msg = {.text = ""};
    struct order *o = order_new(w, r);
    o->cancel = true;
    int err = placement_get_container(w, j, &o->database, &o->def, &msg);
    if (err == ERR_OK)
        err = check_cancel(o, &msg);
    if (err != ERR_OK) {
        order_fail(o, err, msg.text);
        return;
    }
    (void)buf_printf(&o->answer, "{\"phase\":\"cancelling\"}");
    struct container_move move = o->def->move;
    move.phase = CONTAINER_CANCELLING;
    audit(o, "copying", "cancelling");
    submit(o, &move);
}

/* ---- how far ---------------------------------------------------------------
 */

static void put_progress(struct json_writer *w, const struct worker *worker,
                         const struct container_def *def)
{
    struct move_progress p;
    if (!mover_progress(worker, def->number, &p)) {
        json_write_key(w, "copied");
        json_write_null(w);
        return;
    }
    json_write_member_int64(w, "copied", (int64_t)p.copied);
    json_write_member_int64(w, "about", (int64_t)p.about);
    json_write_member_int64(w, "pass", p.pass);
    json_write_key(w, "eta_seconds");
    if (p.pass == 1 && p.copied > 0 && p.copied < p.about)
        json_write_number(w, (double)p.running_us / USEC_PER_SEC *
                                 (double)(p.about - p.copied) /
                                 (double)p.copied);
    else
        json_write_null(w);
}

static void put_group_name(struct json_writer *w, const char *key,
                           struct bytes name)
{
    json_write_member_string(
        w, key, name.len > 0 ? name : bytes_str(GROUP_DEFAULT_NAME));
}

static void put_move(struct json_writer *w, const struct worker *worker,
                     const struct container_def *def)
{
    const struct container_move *m = &def->move;
    struct catalog_database *db;
    if (catalog_list_databases(worker->catalog, def->database - 1, &db, 1) == 0)
        return;
    json_write_object_begin(w);
    json_write_member_string(w, "database", db->name);
    json_write_member_string(w, "container", def->name);
    /* With a placement map: of the part that moves, or moved last. */
    put_group_name(w, "group",
                   def->map != NULL ? bytes_str(def->map->groups[m->part])
                                    : def->placement);
    json_write_member_str(w, "phase", container_phase_name(m->phase));
    json_write_member_bool(w, "clean", purge_clean(worker->node, def));
    if (m->phase != CONTAINER_STAYS) {
        const struct config_node *mover =
            config_find_node(worker->node->config, m->mover, NULL);
        put_group_name(w, "other", m->other);
        json_write_member_int64(w, "since", m->since);
        json_write_key(w, "mover");
        if (mover != NULL)
            json_write_str(w, mover->name);
        else
            json_write_null(w);
        put_progress(w, worker, def);
    }
    json_write_object_end(w);
}

void placement_moves(struct worker *w, struct http_request *r,
                     struct bytes query)
{
    (void)query;
    struct container_def *list[MOVES_PAGE];
    struct json_writer out;
    struct buf body;
    uint32_t after = 0;
    size_t n;
    buf_init(&body, CONTROL_ANSWER_MAX);
    json_writer_init(&out, &body);
    json_write_object_begin(&out);
    json_write_key(&out, "moves");
    json_write_array_begin(&out);
    do {
        n = catalog_list_moved(w->catalog, after, list, MOVES_PAGE);
        for (size_t i = 0; i < n; i++)
            put_move(&out, w, list[i]);
        after = n > 0 ? list[n - 1]->number : 0;
    } while (n == MOVES_PAGE);
    json_write_array_end(&out);
    json_write_object_end(&out);
    control_respond(r, 200, &body);
}
