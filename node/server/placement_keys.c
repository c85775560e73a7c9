#include "node/server/placement_keys.h"

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

#define KEYS_TIMEOUT_US (5 * USEC_PER_SEC)
/* Times that a change begins anew because another was faster. */
#define KEYS_TRIES 5
/* A map in the audit; what does not fit is left out. */
#define KEYS_TEXT_MAX 2000

/* One question, or one change. */
struct keying {
    struct worker *worker;
    struct http_request *request;
    struct json asked; /* the body */
    struct catalog_database *database;
    struct container_def *def;
    struct placement_map map; /* as it shall be */
    struct op op;
    struct buf text;
    uint32_t tries;
};

static void end(struct keying *k)
{
    catalog_database_unref(k->database);
    container_def_unref(k->def);
    json_free(&k->asked);
    buf_free(&k->text);
    mem_free(k);
}

static void fail(struct keying *k, int err, const char *why)
{
    control_refuse_err(k->request, err, why);
    end(k);
}

static void failed(struct keying *k, int err)
{
    struct err_msg msg;
    err_set(&msg, err, "the container's record: %s", err_text(err));
    fail(k, err == ERR_NOT_FOUND ? err : ERR_UNAVAILABLE, msg.text);
}

/* ---- telling ---------------------------------------------------------------
 */

static void put_line(struct json_writer *w, const struct placement_map *m,
                     const struct placement_line *l)
{
    json_write_object_begin(w);
    json_write_member_string(w, "value", placement_map_value(m, l));
    json_write_member_bool(w, "prefix", l->prefix);
    json_write_key(w, "group");
    if (l->group == PLACEMENT_MAP_REJECTED)
        json_write_null(w);
    else
        json_write_str(w, m->groups[l->group]);
    json_write_object_end(w);
}

static void answer(struct keying *k)
{
    const struct placement_map *m = &k->map;
    struct buf body;
    struct json_writer w;
    buf_clear(&k->text);
    CHECK(placement_map_format(m, &k->text) == ERR_OK);
    buf_init(&body, CONTROL_ANSWER_MAX);
    json_writer_init(&w, &body);
    json_write_object_begin(&w);
    json_write_member_string(&w, "database", k->database->name);
    json_write_member_string(&w, "container", k->def->name);
    json_write_member_str(&w, "placement", buf_cstr(&k->text));
    json_write_member_str(&w, "path", m->path);
    json_write_key(&w, "lines");
    json_write_array_begin(&w);
    for (uint8_t i = 0; i < m->line_count; i++)
        put_line(&w, m, &m->lines[i]);
    json_write_array_end(&w);
    json_write_object_end(&w);
    control_respond(k->request, 200, &body);
    end(k);
}

/* ---- the change ------------------------------------------------------------
 */

static int add_line(struct keying *k, json_ref line, struct err_msg *msg)
{
    struct buf scratch;
    struct bytes text;
    buf_init(&scratch, PLACEMENT_MAP_TEXT_MAX);
    int err = json_type(&k->asked, line) == JSON_STRING &&
                      json_string(&k->asked, line, &scratch, &text) == ERR_OK
                  ? placement_map_add(&k->map, text, msg)
                  : err_set(msg, ERR_INVALID,
                            "add is an array of lines, such as \"fr=eu\"");
    buf_free(&scratch);
    return err;
}

/* `*adds_out`: there is something to add. */
static int add_lines(struct keying *k, bool *adds_out, struct err_msg *msg)
{
    const struct json *j = &k->asked;
    json_ref list = json_get_str(j, 0, "add");
    int err = ERR_OK;
    *adds_out = false;
    if (list == JSON_NONE)
        return ERR_OK;
    if (json_type(j, list) != JSON_ARRAY)
        return err_set(msg, ERR_INVALID, "add is an array of lines");
    for (json_ref v = json_first(j, list); err == ERR_OK && v != JSON_NONE;
         v = json_next(j, list, v)) {
        err = add_line(k, v, msg);
        *adds_out = true;
    }
    return err;
}

static void audit(const struct keying *k)
{
    char what[GROUP_EDIT_WHAT_MAX];
    char before[KEYS_TEXT_MAX], after[KEYS_TEXT_MAX];
    const char *who = k->request->peer_uri;
    struct bytes old = k->def->placement;
    struct buf text;
    buf_init(&text, 2 * PLACEMENT_MAP_TEXT_MAX);
    CHECK(placement_map_format(&k->map, &text) == ERR_OK);
    snprintf(before, sizeof(before), "%.*s", (int)old.len,
             (const char *)old.data);
    snprintf(after, sizeof(after), "%s", buf_cstr(&text));
    snprintf(what, sizeof(what), "place more keys of container %.*s/%.*s",
             (int)(k->database->name.len < 30 ? k->database->name.len : 30),
             (const char *)k->database->name.data,
             (int)(k->def->name.len < 30 ? k->def->name.len : 30),
             (const char *)k->def->name.data);
    group_edit_audit(k->worker, who != NULL ? who : "?", what, before, after,
                     "an administrator asked for it");
    buf_free(&text);
}

static void submit(struct keying *k, op_done_cb *done)
{
    rng_fill(k->op.id, OP_ID_LEN);
    backend_submit(&k->worker->router.backend, &k->op, KEYS_TIMEOUT_US, done,
                   k);
}

static void look(struct keying *k);

static void written(void *user, struct op_result *result)
{
    struct keying *k = user;
    if (result->err == ERR_OK)
        answer(k);
    else if (result->err == ERR_PRECONDITION && ++k->tries < KEYS_TRIES)
        look(k);
    else if (result->err == ERR_INVALID)
        fail(k, ERR_INVALID, result->message.text);
    else
        failed(k, result->err);
}

static void write_record(struct keying *k)
{
    struct etag etag;
    struct buf placement;
    buf_init(&placement, 2 * PLACEMENT_MAP_TEXT_MAX);
    int err = placement_map_format(&k->map, &placement);
    struct container_place place = container_place(k->def);
    place.group = bytes_of(buf_bytes(&placement), buf_len(&placement));
    spread_place(k->worker->catalog, &k->map, k->def->map->group_count, &place);
    if (err == ERR_OK)
        err = etag_parse(k->def->etag, &etag);
    if (err == ERR_OK)
        err = mover_record_op(k->worker, k->def, &etag, &place, &k->def->move,
                              &k->text, &k->op);
    buf_free(&placement);
    if (err != ERR_OK) {
        failed(k, err);
        return;
    }
    audit(k);
    submit(k, written);
}

/* ---- the question ----------------------------------------------------------
 */

static int find(struct keying *k, struct err_msg *msg)
{
    catalog_database_unref(TAKE(k->database));
    container_def_unref(TAKE(k->def));
    int err = placement_get_container(k->worker, &k->asked, &k->database,
                                      &k->def, msg);
    if (err == ERR_OK && k->def->map == NULL)
        err = err_set(msg, ERR_EXISTS,
                      "the container is in one placement group as a whole: "
                      "placement by partition key is given at its creation");
    if (err == ERR_OK)
        k->map = *k->def->map;
    return err;
}

/* The shards of a group that a part has left do not take the container's
 * documents because a line says so. While a part moves, to another group or to
 * other shards of its own, nothing is added: the move has made sure that the
 * map with that group's name is not too long, and that there are not too many
 * shards, and would have to begin anew. */
static int check_moves(const struct keying *k, struct err_msg *msg)
{
    const struct container_move *move = &k->def->move;
    if (move->phase != CONTAINER_STAYS)
        return err_set(msg, ERR_BUSY,
                       "documents of the container are being moved: wait until "
                       "that is done (bastide placement move --status)");
    for (uint8_t i = k->def->map->group_count; i < k->map.group_count; i++) {
        const struct catalog_group *g =
            catalog_group(k->worker->catalog, k->map.groups[i]);
        if (g != NULL && container_been_in(move, g->number))
            return err_set(msg, ERR_EXISTS,
                           "rows of the container were moved from or to "
                           "placement group '%s': only a move can bring some "
                           "there (bastide placement move ... --from)",
                           g->name);
    }
    return ERR_OK;
}

static int allowed(const struct keying *k, struct err_msg *msg)
{
    const struct worker *w = k->worker;
    int err = feature_refuse(&w->node->features, FEATURE_PARTS, msg);
    if (err == ERR_OK)
        err = spread_allowed(w->catalog, &k->map, msg);
    if (err == ERR_OK &&
        !feature_active(&w->node->features, FEATURE_PART_MOVES))
        err = spread_settled(w->catalog, &k->map, msg);
    return err;
}

/* The catalog is as new as the question. */
static void current(void *user, struct op_result *result)
{
    struct keying *k = user;
    struct err_msg msg = {.text = ""};
    bool adds = false;
    if (result->err != ERR_OK) {
        failed(k, result->err);
        return;
    }
    int err = find(k, &msg);
    if (err == ERR_OK)
        err = add_lines(k, &adds, &msg);
    if (err == ERR_OK && adds)
        err = allowed(k, &msg);
    if (err == ERR_OK && adds)
        err = check_moves(k, &msg);
    if (err != ERR_OK)
        fail(k, err, msg.text);
    else if (adds)
        write_record(k);
    else
        answer(k);
}

static void look(struct keying *k)
{
    k->op = (struct op){.kind = OP_BARRIER, .shard = SHARD_META};
    submit(k, current);
}

void placement_keys(struct worker *w, struct http_request *r,
                    const struct json *j)
{
    struct keying *k = mem_zalloc(sizeof(*k));
    (void)j; /* gone before the catalog is current */
    k->worker = w;
    k->request = r;
    buf_init(&k->text, OP_BODY_MAX);
    json_init(&k->asked);
    if (json_parse(&k->asked, r->body, r->body.len, NULL) != ERR_OK)
        fail(k, ERR_UNAVAILABLE, "no memory for the request");
    else
        look(k);
}
