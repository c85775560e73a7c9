/* The copying of rows: pages are read from the old group's shards, one after
 * the other, and each row is sent to the shard of the new group where it
 * belongs. */
#include <string.h>

#include "node/base/check.h"
#include "node/base/fault.h"
#include "node/base/rng.h"
#include "node/catalog/partition_key.h"
#include "node/server/catalog_feed.h"
#include "node/server/mover_impl.h"

/* A last pass that takes longer lets the writes go on first. */
#define MOVER_HOLD_MAX_US (3 * USEC_PER_SEC)

static void page_next(struct move *m);

void mover_copy_open(struct move *m)
{
    buf_init(&m->pass.scratch, OP_BODY_MAX);
    json_init(&m->pass.json);
}

void mover_copy_close(struct move *m)
{
    CHECK(m->pass.under_way == 0);
    buf_wipe(&m->pass.scratch);
    json_free(&m->pass.json);
}

/* ---- rows ------------------------------------------------------------------
 */

static void page_done(struct move *m)
{
    if (m->pass.copy_err != ERR_OK) {
        mover_fail(m, m->pass.copy_err, "copying a document");
        return;
    }
    /* Also with throttled copies: all of the pass is read again. */
    if (m->sealed && clock_mono_us() - m->sealed_us > MOVER_HOLD_MAX_US) {
        mover_release(m);
        return;
    }
    for (uint32_t i = 0; i < m->pass.copy_count; i++)
        m->paused |= m->pass.copies[i].again;
    if (m->paused)
        return;
    page_next(m);
}

/* One less is under way; after the last the move goes on. */
static void copies_wait(struct move *m)
{
    CHECK(m->pass.under_way > 0);
    if (--m->pass.under_way > 0)
        return;
    mover_resume(m, page_done);
}

static void copied(void *user, struct op_result *result)
{
    struct copy *c = user;
    struct move *m = c->move;
    bool fine = result->err == ERR_OK ||
                (c->op.mode == OP_UNCOPY && result->err == ERR_NOT_FOUND);
    c->again = result->err == ERR_THROTTLED;
    if (!fine && !c->again)
        m->pass.copy_err = result->err;
    else if (fine && !mover_same_epoch(m, c->op.shard, result->term))
        m->pass.copy_err = ERR_STALE;
    else if (result->err == ERR_OK)
        mover_wrote(m, c->op.shard, result->lsn);
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
    const struct json *j = &m->pass.json;
    struct partition_key pk;
    struct bytes id, rid_text;
    struct rid rid;
    uint8_t canonical[PK_CANONICAL_MAX];
    buf_clear(&m->pass.scratch);
    if (document_id_get(j, 0, &m->pass.scratch, &id, NULL) != ERR_OK ||
        pk_extract(&m->def->pk, j, 0, &pk, NULL) != ERR_OK ||
        json_get_string(j, 0, "_rid", &m->pass.scratch, &rid_text) != ERR_OK ||
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
                      .mode = m->pass.burying ? OP_UNCOPY : OP_COPY,
                      .resource = OP_RESOURCE_DOCUMENT,
                      .move = m->number};
    memcpy(op->parent_rid, m->def->rid.bytes, sizeof(op->parent_rid));
    int err = json_parse(&m->pass.json, row, OP_BODY_MAX, NULL);
    if (err == ERR_OK)
        err = json_type(&m->pass.json, 0) == JSON_OBJECT ? address_copy(m, op)
                                                         : ERR_CORRUPT;
    if (err == ERR_OK && !m->pass.burying)
        err = user_part(row, &op->body);
    return err;
}

/* Sends those that are marked `again`. */
void mover_copies_again(struct move *m)
{
    m->pass.under_way = 1; /* this function */
    for (uint32_t i = 0; i < m->pass.copy_count; i++) {
        struct copy *c = &m->pass.copies[i];
        if (!c->again)
            continue;
        m->pass.under_way++;
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
    m->pass.copy_count = 0;
    m->pass.copy_err = fault_err(fault_hit("move.copy"));
    while (m->pass.copy_err == ERR_OK && m->pass.copy_count < MOVER_BATCH &&
           op_result_next_row(&m->result, &offset, &row)) {
        struct copy *c = &m->pass.copies[m->pass.copy_count];
        *c = (struct copy){.move = m, .again = true};
        m->pass.copy_err = make_copy(m, row, &c->op);
        m->pass.copy_count += m->pass.copy_err == ERR_OK;
    }
    m->pass.changed += m->pass.copy_count;
    m->progress.copied += m->pass.copy_count;
    mover_copies_again(m);
}

/* ---- passes ----------------------------------------------------------------
 */

void mover_pass(struct move *m)
{
    m->at = &m->own.shards;
    m->index = 0;
    m->after_len = 0;
    m->pass.graves = false;
    m->pass.first_page = true;
    m->pass.changed = 0;
    m->progress.pass++;
    m->progress.copied = 0;
    page_next(m);
}

/* Behind the last page of a shard's documents come its graves. */
static void shard_done(struct move *m)
{
    m->after_len = 0;
    m->pass.first_page = false;
    if (!m->pass.graves) {
        m->pass.graves = true;
        return;
    }
    m->pass.graves = false;
    m->pass.first_page = true;
    m->index++;
}

static void page_read(struct move *m)
{
    struct op_result *r = &m->result;
    if (r->err != ERR_OK) {
        mover_fail(m, r->err, "reading a page");
        return;
    }
    if (!mover_same_epoch(m, mover_shard(m), r->term)) {
        mover_fail(m, ERR_STALE,
                   "a page, whose shard changed its write region");
        return;
    }
    if (m->pass.first_page)
        m->pass.next_since[m->index] = r->lsn;
    m->pass.first_page = false;
    m->after_len = r->next_len;
    memcpy(m->after, r->next, r->next_len);
    m->pass.burying = m->pass.graves;
    if (!r->more)
        shard_done(m);
    copy_rows(m);
}

static void page_next(struct move *m)
{
    if (m->index == m->own.shards.count) {
        memcpy(m->pass.since, m->pass.next_since, sizeof(m->pass.since));
        mover_passed(m);
        return;
    }
    m->op = (struct op){.kind = OP_SCAN,
                        .shard = mover_shard(m),
                        .at.container = m->def->number,
                        .move = m->number,
                        .graves = m->pass.graves,
                        .after = bytes_of(m->after, m->after_len),
                        .max_items = MOVER_BATCH,
                        .max_bytes = MOVER_BATCH_BYTES,
                        .min_lsn = m->pass.since[m->index]};
    mover_ask(m, page_read);
}
