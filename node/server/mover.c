#include "node/server/mover.h"

#include <stdio.h>
#include <string.h>

#include "consensus/raft.h"
#include "node/base/check.h"
#include "node/base/fault.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/base/rng.h"
#include "node/catalog/partition_key.h"
#include "node/catalog/placement_map.h"
#include "node/json/json.h"
#include "node/server/catalog_feed.h"
#include "node/server/group_edit.h"
#include "node/server/worker.h"

#define MOVER_CHECK_US (500 * USEC_PER_MS)
#define MOVER_RETRY_US (2 * USEC_PER_SEC)
#define MOVER_OP_TIMEOUT_US (10 * USEC_PER_SEC)
#define MOVER_PAGE 64
/* Documents that are copied at a time. */
#define MOVER_BATCH 64
#define MOVER_BATCH_BYTES (1u << 20)
/* Writes are held for the last pass once a pass had no more than this; or,
 * where they come faster than they are copied, after so many passes. */
#define MOVER_SEAL_BELOW 200
#define MOVER_PASSES_MAX 20
/* A last pass that takes longer lets the writes go on first. */
#define MOVER_HOLD_MAX_US (3 * USEC_PER_SEC)

typedef void move_step(struct move *m);

/* What is done at each shard of an end, one after the other. */
enum act {
    ACT_MARK,
    ACT_COMMIT, /* waits until what the attempt wrote is committed */
    ACT_DROP,
    ACT_DROP_GRAVES,
    ACT_COUNT
};

/* One document on its way. */
struct copy {
    struct move *move;
    struct op op;
    bool again; /* it was throttled */
};

/* One end of a move. */
struct end {
    struct catalog_group group;
    uint16_t layout;
    struct catalog_span shards;
};

struct move {
    struct worker *worker;
    struct container_def *def;
    struct end own, other;        /* as the record has them */
    struct container_move record; /* as it is now */
    struct container_place place; /* likewise */
    struct placement_map map;     /* likewise, of a container that has one */
    struct buf map_text;          /* its text, which the place borrows */
    struct etag etag;             /* of it */
    uint64_t number;              /* of this attempt */
    bool overtaken;               /* the record was changed by somebody else */
    bool paused;                  /* throttled; goes on at the next check */

    struct op op;
    struct buf text; /* the definition that is being written */
    struct op_result result;
    move_step *next; /* when `result` is there */

    enum act act;
    enum op_mark mark;
    const struct catalog_span *at;
    uint32_t index; /* of the shard in it */
    move_step *then;
    uint64_t wrote_lsn[NODE_SHARDS_MAX]; /* newest of the attempt */
    uint32_t epoch[NODE_SHARDS_MAX];     /* 0: not known */

    /* A pass over the old group's shards. */
    bool graves, sealed, first_page;
    uint8_t after[OP_KEY_MAX];
    uint8_t after_len;
    uint64_t since[NODE_SHARDS_MAX], next_since[NODE_SHARDS_MAX]; /* by index */
    uint64_t changed;
    usec_t sealed_us, started_us;
    struct move_progress progress;
    struct json json;
    struct buf scratch;
    struct copy copies[MOVER_BATCH];
    uint32_t copy_count, under_way;
    bool burying; /* the rows are graves */
    int copy_err;
};

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
    buf_wipe(&m->scratch);
    json_free(&m->json);
    mem_free(m);
}

static void move_end(struct move *m)
{
    struct mover *mover = &m->worker->mover;
    CHECK(mover->running == m && m->under_way == 0);
    mover->running = NULL;
    move_free(m);
}

/* The next check begins anew, from what the record says then. */
static void move_fail(struct move *m, int err, const char *what)
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
        move_fail(m, ERR_CANCELLED, "the record was changed");
    else if (m->result.err == ERR_THROTTLED)
        m->paused = true;
    else
        TAKE(m->next)(m);
}

static void answered(void *user, struct op_result *result)
{
    struct move *m = user;
    op_result_free(&m->result);
    op_result_move(&m->result, result);
    worker_run(m->worker, resumed, m);
}

static void ask(struct move *m, move_step *next)
{
    m->next = next;
    rng_fill(m->op.id, OP_ID_LEN);
    backend_submit(&m->worker->router.backend, &m->op, MOVER_OP_TIMEOUT_US,
                   answered, m);
}

/* Whether a shard is still in the epoch in which the attempt met it. What is
 * only deleted may be deleted in any. */
static bool same_epoch(struct move *m, uint16_t shard, uint64_t term)
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
        move_fail(m, m->result.err, "writing the record");
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
        move_fail(m, err, "making the record");
    else
        ask(m, recorded);
}

/* ---- at each shard ---------------------------------------------------------
 */

/* A write of this attempt was acknowledged, perhaps by the write region alone.
 */
static void written(struct move *m, uint16_t shard, uint64_t lsn)
{
    if (lsn > m->wrote_lsn[shard])
        m->wrote_lsn[shard] = lsn;
}

static void act_next(struct move *m);

static uint16_t shard_now(const struct move *m)
{
    return (uint16_t)(m->at->first + m->index);
}

static void acted(struct move *m)
{
    struct op_result *r = &m->result;
    uint16_t shard = shard_now(m);
    bool drops = m->act == ACT_DROP || m->act == ACT_DROP_GRAVES;
    bool again =
        (drops && r->err == ERR_OK) || (m->act == ACT_COUNT && r->more);
    if (r->err != ERR_OK && !(drops && r->err == ERR_NOT_FOUND)) {
        move_fail(m, r->err, "a shard");
        return;
    }
    if (!same_epoch(m, shard, r->term)) {
        move_fail(m, ERR_STALE, "a shard, which changed its write region");
        return;
    }
    if (r->err == ERR_OK && (m->act == ACT_MARK || drops))
        written(m, shard, r->lsn);
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
                        .shard = shard_now(m),
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
                            .shard = shard_now(m),
                            .min_lsn = m->wrote_lsn[shard_now(m)]};
        break;
    case ACT_COUNT:
        count_op(m);
        break;
    }
    ask(m, acted);
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

/* ---- copying ---------------------------------------------------------------
 */

static void page_next(struct move *m);
static void send_copies(struct move *m);
static void seal(struct move *m);
static void leave(struct move *m);
static void gone(struct move *m);

static void page_done(struct move *m)
{
    if (m->copy_err != ERR_OK) {
        move_fail(m, m->copy_err, "copying a document");
        return;
    }
    /* Also with throttled copies: all of the pass is read again. */
    if (m->sealed && clock_mono_us() - m->sealed_us > MOVER_HOLD_MAX_US) {
        leave(m);
        return;
    }
    for (uint32_t i = 0; i < m->copy_count; i++)
        m->paused |= m->copies[i].again;
    if (m->paused)
        return;
    page_next(m);
}

/* One less is under way; after the last the move goes on. */
static void copies_wait(struct move *m)
{
    CHECK(m->under_way > 0);
    if (--m->under_way > 0)
        return;
    m->next = page_done;
    worker_run(m->worker, resumed, m);
}

static void copied(void *user, struct op_result *result)
{
    struct copy *c = user;
    struct move *m = c->move;
    bool fine = result->err == ERR_OK ||
                (c->op.mode == OP_UNCOPY && result->err == ERR_NOT_FOUND);
    c->again = result->err == ERR_THROTTLED;
    if (!fine && !c->again)
        m->copy_err = result->err;
    else if (fine && !same_epoch(m, c->op.shard, result->term))
        m->copy_err = ERR_STALE;
    else if (result->err == ERR_OK)
        written(m, c->op.shard, result->lsn);
    copies_wait(m);
}

/* The text without what the shard appends (record_text). */
static int user_part(struct bytes row, struct bytes *out)
{
    static const char mark[] = ",\"_rid\":\"";
    size_t len = sizeof(mark) - 1;
    for (size_t at = row.len; at-- > 0;) {
        if (at + len <= row.len && memcmp(row.data + at, mark, len) == 0) {
            *out = bytes_of(row.data, at);
            return ERR_OK;
        }
    }
    return ERR_CORRUPT;
}

/* Where the document is to go, and as what. */
static int address_copy(struct move *m, struct op *op)
{
    const struct json *j = &m->json;
    struct partition_key pk;
    struct bytes id, rid_text;
    struct rid rid;
    uint8_t canonical[PK_CANONICAL_MAX];
    buf_clear(&m->scratch);
    if (document_id_get(j, 0, &m->scratch, &id, NULL) != ERR_OK ||
        pk_extract(&m->def->pk, j, 0, &pk, NULL) != ERR_OK ||
        json_get_string(j, 0, "_rid", &m->scratch, &rid_text) != ERR_OK ||
        rid_parse(rid_text, &rid) != ERR_OK || rid_kind(&rid) != RID_DOCUMENT ||
        json_get_int64(j, 0, "_ts", &op->copy_ts) != ERR_OK)
        return ERR_CORRUPT;
    op->copy_record = rid_child_counter(&rid);
    op->shard = (uint16_t)(m->other.shards.first +
                           epk_shard(&m->def->pk, &pk, m->other.shards.count));
    const struct keyed_hash *hash = catalog_feed_hash(m->worker, op->shard);
    if (hash == NULL)
        return ERR_UNAVAILABLE;
    size_t len = pk_canonical(&pk, canonical);
    cosmos_address(hash, m->def->number, bytes_of(canonical, len), id, &op->at);
    return ERR_OK;
}

static int make_copy(struct move *m, struct bytes row, struct op *op)
{
    *op = (struct op){.kind = OP_WRITE,
                      .mode = m->burying ? OP_UNCOPY : OP_COPY,
                      .resource = OP_RESOURCE_DOCUMENT,
                      .move = m->number};
    memcpy(op->parent_rid, m->def->rid.bytes, sizeof(op->parent_rid));
    int err = json_parse(&m->json, row, OP_BODY_MAX, NULL);
    if (err == ERR_OK)
        err = json_type(&m->json, 0) == JSON_OBJECT ? address_copy(m, op)
                                                    : ERR_CORRUPT;
    if (err == ERR_OK && !m->burying)
        err = user_part(row, &op->body);
    return err;
}

/* Sends those that are marked `again`. */
static void send_copies(struct move *m)
{
    m->under_way = 1; /* this function */
    for (uint32_t i = 0; i < m->copy_count; i++) {
        struct copy *c = &m->copies[i];
        if (!c->again)
            continue;
        m->under_way++;
        rng_fill(c->op.id, OP_ID_LEN);
        backend_submit(&m->worker->router.backend, &c->op, MOVER_OP_TIMEOUT_US,
                       copied, c);
    }
    copies_wait(m);
}

/* Copies the page's documents; they borrow from m->result. */
static void copy_rows(struct move *m)
{
    struct bytes row;
    size_t offset = 0;
    m->copy_count = 0;
    m->copy_err = fault_err(fault_hit("move.copy"));
    while (m->copy_err == ERR_OK && m->copy_count < MOVER_BATCH &&
           op_result_next_row(&m->result, &offset, &row)) {
        struct copy *c = &m->copies[m->copy_count];
        *c = (struct copy){.move = m, .again = true};
        m->copy_err = make_copy(m, row, &c->op);
        m->copy_count += m->copy_err == ERR_OK;
    }
    m->changed += m->copy_count;
    m->progress.copied += m->copy_count;
    send_copies(m);
}

static void pass_begin(struct move *m)
{
    m->at = &m->own.shards;
    m->index = 0;
    m->after_len = 0;
    m->graves = false;
    m->first_page = true;
    m->changed = 0;
    m->progress.pass++;
    m->progress.copied = 0;
    page_next(m);
}

/* The copies are committed before anything relies on them; and mostly before
 * writes are held, so that these do not wait for a region that lags. */
static void pass_end(struct move *m)
{
    memcpy(m->since, m->next_since, sizeof(m->since));
    if (m->sealed)
        at_each(m, ACT_COMMIT, &m->other, gone);
    else if (m->changed <= MOVER_SEAL_BELOW ||
             m->progress.pass >= MOVER_PASSES_MAX)
        at_each(m, ACT_COMMIT, &m->other, seal);
    else
        pass_begin(m);
}

/* Behind the last page of a shard's documents come its graves. */
static void shard_done(struct move *m)
{
    m->after_len = 0;
    m->first_page = false;
    if (!m->graves) {
        m->graves = true;
        return;
    }
    m->graves = false;
    m->first_page = true;
    m->index++;
}

static void page_read(struct move *m)
{
    struct op_result *r = &m->result;
    if (r->err != ERR_OK) {
        move_fail(m, r->err, "reading a page");
        return;
    }
    if (!same_epoch(m, shard_now(m), r->term)) {
        move_fail(m, ERR_STALE, "a page, whose shard changed its write region");
        return;
    }
    if (m->first_page)
        m->next_since[m->index] = r->lsn;
    m->first_page = false;
    m->after_len = r->next_len;
    memcpy(m->after, r->next, r->next_len);
    m->burying = m->graves;
    if (!r->more)
        shard_done(m);
    copy_rows(m);
}

static void page_next(struct move *m)
{
    if (m->index == m->own.shards.count) {
        pass_end(m);
        return;
    }
    m->op = (struct op){.kind = OP_SCAN,
                        .shard = shard_now(m),
                        .at.container = m->def->number,
                        .move = m->number,
                        .graves = m->graves,
                        .after = bytes_of(m->after, m->after_len),
                        .max_items = MOVER_BATCH,
                        .max_bytes = MOVER_BATCH_BYTES,
                        .min_lsn = m->since[m->index]};
    ask(m, page_read);
}

/* ---- the steps -------------------------------------------------------------
 */

static void left(struct move *m)
{
    m->sealed = false;
    pass_begin(m);
}

static void leave(struct move *m)
{
    mark_each(m, OP_MARK_LEAVING, &m->own, left);
}

static void count(struct move *m)
{
    at_each(m, ACT_COUNT, &m->own, pass_begin);
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
    pass_begin(m);
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
    buf_init(&m->scratch, OP_BODY_MAX);
    op_result_init(&m->result);
    json_init(&m->json);
    w->mover.running = m;
    log_info("moving a container", LOG_UINT("container", def->number),
             LOG_STR("phase", container_phase_name(def->move.phase)),
             LOG_STR("group", own->name),
             LOG_STR("other", m->other.group.name));
    if (etag_parse(def->etag, &m->etag) != ERR_OK)
        move_fail(m, ERR_CORRUPT, "its record's etag");
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
        ask(m, m->next);
    else
        send_copies(m);
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
