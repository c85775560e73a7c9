#include "node/server/mover.h"

#include <stdio.h>
#include <string.h>

#include "consensus/raft.h"
#include "node/base/check.h"
#include "node/base/fault.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/base/rng.h"
#include "node/catalog/placement_map.h"
#include "node/server/group_edit.h"
#include "node/server/mover_impl.h"
#include "node/server/worker.h"

#define MOVER_CHECK_US (500 * USEC_PER_MS)
#define MOVER_RETRY_US (2 * USEC_PER_SEC)
#define MOVER_PAGE 64
/* Writes are held for the last pass once a pass had no more than this; or,
 * where they come faster than they are copied, after so many passes. */
#define MOVER_SEAL_BELOW 200
#define MOVER_PASSES_MAX 20

/* ---- groups and nodes ------------------------------------------------------
 */

const struct catalog_group *mover_group(const struct worker *w,
                                        struct bytes name)
{
    return catalog_group_named(w->catalog, name);
}

const struct catalog_group *mover_own_group(const struct worker *w,
                                            const struct container_def *def)
{
    return def->map != NULL
               ? catalog_group(w->catalog, def->map->groups[def->move.part])
               : mover_group(w, def->placement);
}

bool mover_eligible(const struct worker *w, uint32_t node,
                    const struct catalog_group *a,
                    const struct catalog_group *b)
{
    const struct config_region *region = NULL;
    if (config_find_node(w->node->config, node, &region) == NULL)
        return false;
    return catalog_group_inside(a, region->name) &&
           catalog_group_inside(b, region->name);
}

static bool reachable(const struct worker *w, uint32_t node)
{
    return node == w->node->config->id ||
           (node <= CONFIG_NODES_MAX && w->reachable[node]);
}

uint32_t mover_after(const struct worker *w, uint32_t after,
                     const struct catalog_group *a,
                     const struct catalog_group *b)
{
    for (uint32_t id = after + 1; id <= CONFIG_NODES_MAX; id++)
        if (reachable(w, id) && mover_eligible(w, id, a, b))
            return id;
    return 0;
}

/* Who should be the mover, as this node sees it; 0: nobody can. */
static uint32_t chosen(const struct worker *w, const struct container_def *def,
                       const struct catalog_group *a,
                       const struct catalog_group *b)
{
    uint32_t now = def->move.mover;
    if (now != 0 && reachable(w, now) && mover_eligible(w, now, a, b))
        return now;
    return mover_after(w, 0, a, b);
}

/* ---- life ------------------------------------------------------------------
 */

static void move_free(struct move *m)
{
    container_def_unref(m->def);
    op_result_free(&m->result);
    buf_free(&m->text);
    buf_free(&m->map_text);
    mover_copy_close(m);
    mem_free(m);
}

static void move_end(struct move *m)
{
    struct mover *mover = &m->worker->mover;
    CHECK(mover->running == m);
    mover->running = NULL;
    move_free(m);
}

void mover_fail(struct move *m, int err, const char *what)
{
    log_warn("an attempt to move a container ended and will be repeated",
             LOG_UINT("container", m->def->number), LOG_STR("at", what),
             LOG_STR("error", err_text(err)));
    m->worker->mover.next_us = clock_mono_us() + MOVER_RETRY_US;
    move_end(m);
}

/* ---- asking ----------------------------------------------------------------
 */

/* In a turn of its own, however the answer came. */
static void resumed(struct worker *w, void *arg)
{
    struct move *m = arg;
    CHECK(w->mover.running == m);
    if (m->overtaken || w->stopping)
        mover_fail(m, ERR_CANCELLED, "the record was changed");
    else if (m->result.err == ERR_THROTTLED)
        m->paused = true;
    else
        TAKE(m->next)(m);
}

void mover_resume(struct move *m, move_step *next)
{
    m->next = next;
    worker_run(m->worker, resumed, m);
}

static void answered(void *user, struct op_result *result)
{
    struct move *m = user;
    op_result_free(&m->result);
    op_result_move(&m->result, result);
    worker_run(m->worker, resumed, m);
}

void mover_ask(struct move *m, move_step *next)
{
    m->next = next;
    rng_fill(m->op.id, OP_ID_LEN);
    backend_submit(&m->worker->router.backend, &m->op, MOVER_OP_TIMEOUT_US,
                   answered, m);
}

bool mover_same_epoch(struct move *m, uint16_t shard, uint64_t term)
{
    uint32_t epoch = (uint32_t)RAFT_TERM_EPOCH(term);
    if (m->record.phase == CONTAINER_EMPTYING)
        return true;
    if (m->epoch[shard] == 0)
        m->epoch[shard] = epoch + 1;
    return m->epoch[shard] == epoch + 1;
}

/* ---- the record ------------------------------------------------------------
 */

int mover_record_op(const struct worker *w, const struct container_def *def,
                    const struct etag *etag,
                    const struct container_place *place,
                    const struct container_move *move, struct buf *text,
                    struct op *op)
{
    struct rid database = rid_database(def->database);
    buf_clear(text);
    int err = container_moved(def, place, move, text);
    if (err != ERR_OK)
        return err;
    *op = (struct op){.kind = OP_WRITE,
                      .shard = SHARD_META,
                      .mode = OP_REPLACE,
                      .resource = OP_RESOURCE_CONTAINER,
                      .condition = OP_COND_IF_MATCH,
                      .etag = *etag,
                      .body = bytes_of(buf_bytes(text), buf_len(text) - 1)};
    CHECK(database.len <= sizeof(op->parent_rid));
    memcpy(op->parent_rid, database.bytes, database.len);
    cosmos_address(w->meta_hash, CONTAINER_CONTAINERS,
                   bytes_of(database.bytes, database.len), def->name, &op->at);
    return ERR_OK;
}

/* Rises with every write of the meta shard, whatever region leads it. */
static uint64_t number_of(const struct etag *etag)
{
    return (uint64_t)RAFT_TERM_EPOCH(etag->term) << 40 | etag->lsn;
}

static void recorded(struct move *m)
{
    if (m->result.err != ERR_OK) {
        mover_fail(m, m->result.err, "writing the record");
        return;
    }
    m->etag = m->result.etag;
    m->number = number_of(&m->etag);
    TAKE(m->then)(m);
}

struct bytes mover_group_name(const struct catalog_group *g)
{
    return catalog_group_fenced(g) ? bytes_str(g->name) : bytes_of("", 0);
}

void mover_name_other(struct container_move *move,
                      const struct catalog_group *g, uint16_t layout)
{
    move->other = mover_group_name(g);
    move->other_number = g->number;
    move->other_layout = layout;
}

static bool is_split(const struct move *m)
{
    return m->own.group.number == m->other.group.number;
}

/* Notes in m->place that the container, or its part, is at `at`. */
static int place_at(struct move *m, const struct end *at)
{
    struct container_place *place = &m->place;
    if (m->def->map == NULL) {
        place->group = mover_group_name(&at->group);
        place->layout = at->layout;
        return ERR_OK;
    }
    uint8_t part = m->record.part;
    strcpy(m->map.groups[part], at->group.name);
    buf_clear(&m->map_text);
    int err = placement_map_format(&m->map, &m->map_text);
    place->group = bytes_of(buf_bytes(&m->map_text), buf_len(&m->map_text));
    place->parts[part].layout = at->layout;
    return err;
}

/* Writes m->record, and that the container, or its part, is at `at`. */
static void record(struct move *m, const struct end *at, move_step *then)
{
    m->then = then;
    int err = place_at(m, at);
    if (err == ERR_OK)
        err = mover_record_op(m->worker, m->def, &m->etag, &m->place,
                              &m->record, &m->text, &m->op);
    if (err != ERR_OK)
        mover_fail(m, err, "making the record");
    else
        mover_ask(m, recorded);
}

/* ---- at each shard ---------------------------------------------------------
 */

void mover_wrote(struct move *m, uint16_t shard, uint64_t lsn)
{
    if (lsn > m->wrote_lsn[shard])
        m->wrote_lsn[shard] = lsn;
}

static void act_next(struct move *m);

static void acted(struct move *m)
{
    struct op_result *r = &m->result;
    uint16_t shard = mover_shard(m);
    bool drops = m->act == ACT_DROP || m->act == ACT_DROP_GRAVES;
    bool again =
        (drops && r->err == ERR_OK) || (m->act == ACT_COUNT && r->more);
    if (r->err != ERR_OK && !(drops && r->err == ERR_NOT_FOUND)) {
        mover_fail(m, r->err, "a shard");
        return;
    }
    if (!mover_same_epoch(m, shard, r->term)) {
        mover_fail(m, ERR_STALE, "a shard, which changed its write region");
        return;
    }
    if (r->err == ERR_OK && (m->act == ACT_MARK || drops))
        mover_wrote(m, shard, r->lsn);
    m->progress.about += m->act == ACT_COUNT ? r->examined : 0;
    m->after_len = r->next_len;
    memcpy(m->after, r->next, r->next_len);
    if (!again) {
        m->index++;
        m->after_len = 0;
    }
    act_next(m);
}

static void count_op(struct move *m)
{
    m->op.kind = OP_SCAN;
    m->op.after = bytes_of(m->after, m->after_len);
    m->op.max_items = 1;
    m->op.max_bytes = MOVER_BATCH_BYTES;
    m->op.min_lsn = UINT64_MAX;
}

static void act_next(struct move *m)
{
    if (m->index == m->at->count) {
        TAKE(m->then)(m);
        return;
    }
    m->op = (struct op){.kind = OP_WRITE,
                        .shard = mover_shard(m),
                        .resource = OP_RESOURCE_DOCUMENT,
                        .at.container = m->def->number,
                        .move = m->number};
    memcpy(m->op.parent_rid, m->def->rid.bytes, sizeof(m->op.parent_rid));
    switch (m->act) {
    case ACT_MARK:
        m->op.mode = OP_MARK;
        m->op.mark = m->mark;
        break;
    case ACT_DROP:
    case ACT_DROP_GRAVES:
        m->op.mode = OP_DROP;
        m->op.graves = m->act == ACT_DROP_GRAVES;
        break;
    case ACT_COMMIT:
        m->op = (struct op){.kind = OP_BARRIER,
                            .shard = mover_shard(m),
                            .min_lsn = m->wrote_lsn[mover_shard(m)]};
        break;
    case ACT_COUNT:
        count_op(m);
        break;
    }
    mover_ask(m, acted);
}

static void at_each(struct move *m, enum act act, const struct end *end,
                    move_step *then)
{
    m->act = act;
    m->at = &end->shards;
    m->index = 0;
    m->after_len = 0;
    m->then = then;
    act_next(m);
}

static void mark_each(struct move *m, enum op_mark mark, const struct end *end,
                      move_step *then)
{
    m->mark = mark;
    at_each(m, ACT_MARK, end, then);
}

/* ---- the steps -------------------------------------------------------------
 */

static void left(struct move *m)
{
    m->sealed = false;
    mover_pass(m);
}

void mover_release(struct move *m)
{
    mark_each(m, OP_MARK_LEAVING, &m->own, left);
}

static void count(struct move *m)
{
    at_each(m, ACT_COUNT, &m->own, mover_pass);
}

static void empty_new(struct move *m)
{
    at_each(m, ACT_DROP, &m->other, count);
}

static void come(struct move *m)
{
    mark_each(m, OP_MARK_COMING, &m->other, empty_new);
}

static void sealed(struct move *m)
{
    m->sealed = true;
    (void)fault_hit("move.sealed");
    mover_pass(m);
}

static void commit_seal(struct move *m)
{
    at_each(m, ACT_COMMIT, &m->own, sealed);
}

static void seal(struct move *m)
{
    m->sealed_us = clock_mono_us();
    mark_each(m, OP_MARK_SEALED, &m->own, commit_seal);
}

static void done(struct move *m)
{
    log_info("a container is where it belongs, and nothing of it is left in "
             "the other shards",
             LOG_UINT("container", m->def->number),
             LOG_STR("group", m->own.group.name),
             LOG_STR("left", m->other.group.name));
    m->worker->mover.next_us = 0; /* there may be another one */
    move_end(m);
}

static void audit_emptied(const struct move *m)
{
    char what[GROUP_EDIT_WHAT_MAX], who[GROUP_EDIT_WHO_MAX];
    snprintf(what, sizeof(what), "container %.*s is emptied out of %s",
             (int)(m->def->name.len < 60 ? m->def->name.len : 60),
             (const char *)m->def->name.data, m->other.group.name);
    snprintf(who, sizeof(who), "mover on %s", m->worker->node->config->node);
    group_edit_audit(m->worker, who, what, m->other.group.name,
                     m->own.group.name, "its records there are deleted");
}

static void settle(struct move *m)
{
    if (!is_split(m))
        audit_emptied(m);
    m->record.phase = CONTAINER_STAYS;
    m->record.emptied = true;
    record(m, &m->own, done);
}

static void empty_old(struct move *m)
{
    at_each(m, ACT_DROP, &m->other, settle);
}

/* From here on the container is at the other end. */
static void switched(struct move *m)
{
    struct end old = m->own;
    log_info("a container has moved to other shards",
             LOG_UINT("container", m->def->number),
             LOG_STR("from", old.group.name),
             LOG_STR("to", m->other.group.name));
    m->own = m->other;
    m->other = old;
    mover_name_other(&m->record, &m->other.group, m->other.layout);
    (void)fault_hit("move.emptying");
    empty_old(m);
}

static void note_arrival(struct move *m)
{
    uint16_t shards = m->own.shards.count;
    if (m->def->map == NULL) {
        container_move_end(&m->record, m->number, shards, is_split(m));
        return;
    }
    m->place.parts[m->record.part].number = m->number;
    if (!is_split(m))
        m->record.left += shards;
}

static void record_switch(struct move *m)
{
    note_arrival(m);
    m->record.phase = CONTAINER_EMPTYING;
    mover_name_other(&m->record, &m->own.group, m->own.layout);
    record(m, &m->other, switched);
}

static void commit_open(struct move *m)
{
    at_each(m, ACT_COMMIT, &m->other, record_switch);
}

static void open_new(struct move *m)
{
    (void)fault_hit("move.switching");
    mark_each(m, OP_MARK_OPEN, &m->other, commit_open);
}

static void record_copied(struct move *m)
{
    (void)fault_hit("move.gone");
    m->record.phase = CONTAINER_SWITCHING;
    record(m, &m->own, open_new);
}

static void commit_gone(struct move *m)
{
    at_each(m, ACT_COMMIT, &m->own, record_copied);
}

static void gone(struct move *m)
{
    mark_each(m, OP_MARK_GONE, &m->own, commit_gone);
}

static void no_graves(struct move *m)
{
    at_each(m, ACT_DROP_GRAVES, &m->own, empty_old);
}

static void commit_stay(struct move *m)
{
    at_each(m, ACT_COMMIT, &m->own, no_graves);
}

static void stay(struct move *m)
{
    (void)fault_hit("move.cancelling");
    mark_each(m, OP_MARK_OPEN, &m->own, commit_stay);
}

static void claimed(struct move *m)
{
    switch (m->record.phase) {
    case CONTAINER_COPYING:
        mark_each(m, OP_MARK_LEAVING, &m->own, come);
        return;
    case CONTAINER_SWITCHING:
        open_new(m);
        return;
    case CONTAINER_EMPTYING:
        empty_old(m);
        return;
    case CONTAINER_CANCELLING:
        mark_each(m, OP_MARK_GONE, &m->other, stay);
        return;
    default:
        CHECK_UNREACHABLE();
    }
}

/* The copies are committed before anything relies on them; and mostly before
 * writes are held, so that these do not wait for a region that lags. */
void mover_passed(struct move *m)
{
    if (m->sealed)
        at_each(m, ACT_COMMIT, &m->other, gone);
    else if (m->pass.changed <= MOVER_SEAL_BELOW ||
             m->progress.pass >= MOVER_PASSES_MAX)
        at_each(m, ACT_COMMIT, &m->other, seal);
    else
        mover_pass(m);
}

/* ---- when ------------------------------------------------------------------
 */

static struct end end_of(const struct catalog_group *g, uint16_t layout)
{
    return (struct end){*g, layout, catalog_group_span(g, layout)};
}

/* Of a group that was removed: without shards. */
static struct end end_gone(const struct container_move *m)
{
    struct end e = {.group.number = m->other_number, .layout = m->other_layout};
    CHECK(m->other.len < sizeof(e.group.name));
    memcpy(e.group.name, m->other.data, m->other.len);
    return e;
}

/* `other` NULL: it was removed. */
static void begin(struct worker *w, struct container_def *def,
                  const struct catalog_group *own,
                  const struct catalog_group *other)
{
    struct move *m = mem_zalloc(sizeof(*m));
    m->worker = w;
    m->def = container_def_ref(def);
    m->own = end_of(own, catalog_container_layout(own, def));
    m->other = other != NULL ? end_of(other, def->move.other_layout)
                             : end_gone(&def->move);
    m->record = def->move;
    if (other == NULL && m->record.phase == CONTAINER_COPYING)
        m->record.phase = CONTAINER_CANCELLING;
    m->record.mover = w->node->config->id;
    m->place = container_place(def);
    if (def->map != NULL)
        m->map = *def->map;
    m->started_us = clock_mono_us();
    buf_init(&m->text, OP_BODY_MAX);
    buf_init(&m->map_text, 2 * PLACEMENT_MAP_TEXT_MAX);
    mover_copy_open(m);
    op_result_init(&m->result);
    w->mover.running = m;
    log_info("moving a container", LOG_UINT("container", def->number),
             LOG_STR("phase", container_phase_name(def->move.phase)),
             LOG_STR("group", own->name),
             LOG_STR("other", m->other.group.name));
    if (etag_parse(def->etag, &m->etag) != ERR_OK)
        mover_fail(m, ERR_CORRUPT, "its record's etag");
    else
        record(m, &m->own, claimed);
}

/* Its record is not what this node wrote last: somebody cancels it, took it
 * over, or deleted the container. The catalog may only be late. */
static void check_running(struct worker *w, struct move *m)
{
    struct etag now;
    const struct container_def *def =
        catalog_container_number(w->catalog, m->def->number);
    if (m->next == recorded)
        return; /* it may be its own */
    m->overtaken = def == NULL ||
                   (m->number != 0 && etag_parse(def->etag, &now) == ERR_OK &&
                    number_of(&now) > m->number);
}

/* Asks once more for what was throttled. */
static void go_on(struct move *m)
{
    m->paused = false;
    if (m->next != NULL)
        mover_ask(m, m->next);
    else
        mover_copies_again(m);
}

/* Whether the catalog has the shards at the other end; they may be gone only
 * when they have nothing left, and the group only before they have anything. */
static bool knows_end(const struct catalog_group *other,
                      const struct container_move *move)
{
    return other != NULL
               ? move->phase == CONTAINER_EMPTYING ||
                     catalog_group_span(other, move->other_layout).count > 0
               : move->phase != CONTAINER_SWITCHING;
}

static void consider(struct worker *w, struct container_def *def)
{
    const struct catalog_group *own = mover_own_group(w, def);
    const struct catalog_group *other = catalog_move_other(w->catalog, def);
    if (def->move.phase != CONTAINER_STAYS && own != NULL &&
        w->mover.running == NULL && knows_end(other, &def->move) &&
        chosen(w, def, own, other != NULL ? other : own) == w->node->config->id)
        begin(w, def, own, other);
}

void mover_check(struct worker *w)
{
    struct container_def *moving[MOVER_PAGE];
    usec_t now = clock_mono_us();
    if (w->mover.running != NULL && w->mover.running->paused)
        go_on(w->mover.running);
    if (w->stopping || now < w->mover.next_us)
        return;
    w->mover.next_us = now + MOVER_CHECK_US;
    if (w->mover.running != NULL) {
        check_running(w, w->mover.running);
        return;
    }
    uint32_t after = 0;
    size_t n;
    do {
        n = catalog_list_moved(w->catalog, after, moving, MOVER_PAGE);
        for (size_t i = 0; i < n && w->mover.running == NULL; i++)
            consider(w, moving[i]);
        after = n > 0 ? moving[n - 1]->number : 0;
    } while (n == MOVER_PAGE);
}

bool mover_progress(const struct worker *w, uint32_t container,
                    struct move_progress *out)
{
    const struct move *m = w->mover.running;
    if (m == NULL || m->def->number != container)
        return false;
    *out = m->progress;
    out->running_us = clock_mono_us() - m->started_us;
    return true;
}
