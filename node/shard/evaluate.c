#include "node/shard/evaluate.h"

#include <string.h>

#include "consensus/raft.h"
#include "node/base/check.h"
#include "node/catalog/rid.h"
#include "node/shard/dedupe.h"
#include "node/shard/mark.h"
#include "node/shard/record.h"
#include "node/store/effects.h"
#include "node/store/view.h"

static bool write_needs_absence(const struct op *op)
{
    return op->mode == OP_CREATE || op->condition == OP_COND_IF_NONE_MATCH_ANY;
}

int evaluate_condition(const struct op *op, const struct etag *etag)
{
    bool same =
        etag != NULL && !op->etag_unknown && etag_equal(&op->etag, etag);
    switch (op->condition) {
    case OP_COND_NONE:
        return ERR_OK;
    case OP_COND_IF_MATCH:
        /* An upsert that inserts ignores it: nothing can be overwritten. */
        return etag == NULL || same ? ERR_OK : ERR_PRECONDITION;
    case OP_COND_IF_MATCH_ANY:
        return etag != NULL ? ERR_OK : ERR_PRECONDITION;
    case OP_COND_IF_NONE_MATCH:
        if (!same)
            return ERR_OK;
        return op->kind == OP_READ ? ERR_NOT_MODIFIED : ERR_PRECONDITION;
    case OP_COND_IF_NONE_MATCH_ANY:
        if (etag == NULL)
            return ERR_OK;
        return op->kind == OP_READ ? ERR_NOT_MODIFIED : ERR_PRECONDITION;
    case OP_COND_IF_OVERWRITTEN: /* of the log, see request.c */
        return ERR_OK;
    default:
        CHECK_UNREACHABLE();
    }
}

int evaluate_find(const struct memtable *m, struct kv kv,
                  const struct op_address *at, uint64_t read_lsn,
                  uint64_t *record_out, struct etag *etag_out,
                  struct bytes *sealed_out)
{
    struct record_key key;
    struct bytes value;
    record_id_key(at, &key);
    int err = view_get(m, kv, record_key_bytes(&key), read_lsn, &value);
    if (err != ERR_OK)
        return err;
    if (value.len != 8)
        return ERR_CORRUPT;
    uint64_t record = get_u64_be(value.data);
    record_text_key(at, record, &key);
    struct bytes sealed;
    err = view_get(m, kv, record_key_bytes(&key), read_lsn, &sealed);
    if (err != ERR_OK)
        return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
    struct seal_position position;
    if (seal_peek(sealed, &position) != ERR_OK)
        return ERR_CORRUPT;
    *record_out = record;
    *etag_out = (struct etag){.term = position.term,
                              .lsn = position.lsn,
                              .shard = (uint16_t)position.shard,
                              .position = (uint16_t)position.position};
    if (sealed_out != NULL)
        *sealed_out = sealed;
    return ERR_OK;
}

/* A container's database must still be there, and be the same one. */
static int evaluate_parent(const struct evaluate_at *at, const struct op *op,
                           struct op_result *result)
{
    if (!op->has_parent)
        return ERR_OK;
    uint64_t record;
    struct etag etag;
    int err = evaluate_find(at->memtable, at->kv, &op->parent, MEMTABLE_NEWEST,
                            &record, &etag, NULL);
    if (err == ERR_OK && record != op->parent_record)
        err = ERR_NOT_FOUND;
    if (err == ERR_NOT_FOUND)
        result->parent_missing = true;
    return err;
}

/* Checks mode and condition against what is there. `exists` tells. */
static int evaluate_rules(const struct op *op, bool exists, uint64_t record,
                          const struct etag *etag)
{
    if (op->mode == OP_UNCOPY)
        return exists && record == op->copy_record ? ERR_OK : ERR_NOT_FOUND;
    if (write_needs_absence(op) && exists)
        return op->mode == OP_CREATE ? ERR_EXISTS : ERR_PRECONDITION;
    if ((op->mode == OP_REPLACE || op->mode == OP_DELETE) && !exists)
        return ERR_NOT_FOUND;
    /* A create may carry If-Match; there is nothing it could mean. */
    if (op->mode == OP_CREATE)
        return ERR_OK;
    return evaluate_condition(op, exists ? etag : NULL);
}

/* Deletes all records of one partition of a container (a database's
 * containers), as further effects of the same entry. */
static int add_cascade(const struct evaluate_at *at, const struct op *op,
                       struct effects_builder *b)
{
    struct record_key from, to;
    struct view_iter it;
    struct bytes key, value;
    for (int table = RECORD_TABLE_TEXT; table <= RECORD_TABLE_ID; table++) {
        record_partition_range(op->cascade_container, op->cascade_pk_hash,
                               &from, &to);
        from.bytes[0] = to.bytes[0] = (uint8_t)table;
        int err = view_iter_open(at->memtable, at->kv, record_key_bytes(&from),
                                 record_key_bytes(&to), MEMTABLE_NEWEST, &it);
        if (err != ERR_OK)
            return err;
        while ((err = view_iter_next(&it, &key, &value)) == ERR_OK)
            if ((err = effects_delete(b, key)) != ERR_OK)
                break;
        view_iter_close(&it);
        if (err != ERR_EOF)
            return err;
    }
    return ERR_OK;
}

static int add_delete(const struct evaluate_at *at, const struct op *op,
                      uint64_t record, struct effects_builder *b)
{
    struct record_key key;
    record_text_key(&op->at, record, &key);
    int err = effects_delete(b, record_key_bytes(&key));
    if (err != ERR_OK)
        return err;
    record_id_key(&op->at, &key);
    err = effects_delete(b, record_key_bytes(&key));
    if (err == ERR_OK && op->cascade)
        err = add_cascade(at, op, b);
    return err;
}

/* Puts a text, sealed for this entry. After sealing nothing but memory can be
 * missing: see seal.h on nonces, and evaluate.h. */
static int put_sealed(const struct evaluate_at *at,
                      const struct record_key *key, struct bytes plain,
                      struct effects_builder *b)
{
    if (effects_payload(b).len + plain.len + 256 > ENTRY_MAX_BYTES)
        return ERR_LIMIT;
    uint8_t *room;
    int err = effects_put_room(b, record_key_bytes(key),
                               plain.len + SEAL_OVERHEAD, &room);
    if (err != ERR_OK)
        return err;
    struct seal_position position = {.key_id = at->key_id,
                                     .shard = at->shard,
                                     .term = at->term,
                                     .lsn = at->lsn,
                                     .position = 0};
    return seal_value(at->sealer, &position, record_key_bytes(key), plain,
                      room);
}

/* What is deleted of a container that leaves is kept for its mover. */
static int add_grave(const struct evaluate_at *at, const struct op *op,
                     uint64_t record, struct bytes sealed,
                     struct effects_builder *b)
{
    struct record_key key;
    struct buf plain;
    record_text_key(&op->at, record, &key);
    buf_init(&plain, OP_BODY_MAX);
    int err = seal_open(at->sealer, at->shard, record_key_bytes(&key), 0,
                        sealed, NULL, &plain);
    record_key_retable(&key, RECORD_TABLE_GRAVE);
    if (err == ERR_OK)
        err = put_sealed(at, &key, bytes_of(buf_bytes(&plain), buf_len(&plain)),
                         b);
    buf_wipe(&plain);
    return err == ERR_NOT_FOUND ? ERR_UNAVAILABLE : err;
}

/* Puts the id's record when it is new, then the sealed text. */
static int add_put(const struct evaluate_at *at, const struct op *op,
                   const struct op_result *result, struct effects_builder *b)
{
    struct record_key key;
    int err = ERR_OK;
    if (result->created) {
        uint8_t number[8];
        put_u64_be(number, result->record);
        record_id_key(&op->at, &key);
        err = effects_put(b, record_key_bytes(&key),
                          bytes_of(number, sizeof(number)));
    }
    if (err != ERR_OK)
        return err;
    record_text_key(&op->at, result->record, &key);
    return put_sealed(
        at, &key, bytes_of(buf_bytes(&result->body), buf_len(&result->body)),
        b);
}

static bool puts_text(const struct op *op)
{
    return op->mode == OP_CREATE || op->mode == OP_UPSERT ||
           op->mode == OP_REPLACE || op->mode == OP_COPY;
}

/* What a write has found. */
struct found {
    bool exists;
    uint64_t record;
    struct etag etag;
    struct bytes sealed; /* borrowed, see evaluate_find */
    struct mark mark;
};

/* Deletes what there is, as far as it goes, of one table. */
static int drop_table(const struct evaluate_at *at, uint32_t container,
                      uint8_t table, struct effects_builder *b)
{
    struct record_key from, to;
    struct view_iter it;
    struct bytes key, value;
    record_container_range(container, &from, &to);
    record_key_retable(&from, table);
    record_key_retable(&to, table);
    int err = view_iter_open(at->memtable, at->kv, record_key_bytes(&from),
                             record_key_bytes(&to), MEMTABLE_NEWEST, &it);
    if (err != ERR_OK)
        return err;
    while (b->count < OP_DROP_MAX &&
           (err = view_iter_next(&it, &key, &value)) == ERR_OK)
        if ((err = effects_delete(b, key)) != ERR_OK)
            break;
    view_iter_close(&it);
    return err == ERR_EOF ? ERR_OK : err;
}

static int add_drop(const struct evaluate_at *at, const struct op *op,
                    struct effects_builder *b)
{
    uint32_t container = op->at.container;
    int err = drop_table(at, container, RECORD_TABLE_GRAVE, b);
    if (err == ERR_OK && !op->graves)
        err = drop_table(at, container, RECORD_TABLE_TEXT, b);
    if (err == ERR_OK && !op->graves)
        err = drop_table(at, container, RECORD_TABLE_ID, b);
    return err == ERR_OK && b->count == 0 ? ERR_NOT_FOUND : err;
}

static int add_mark(const struct op *op, struct effects_builder *b)
{
    struct record_key key;
    uint8_t value[MARK_LEN];
    struct mark m = {.state = op->mark, .number = op->move};
    record_mark_key(op->at.container, &key);
    mark_write(&m, value);
    return effects_put(b, record_key_bytes(&key),
                       bytes_of(value, sizeof(value)));
}

/* A copy whose id is another record here: that one was deleted, and its id
 * given to a new one, while it was copied. */
static int add_copy(const struct evaluate_at *at, const struct op *op,
                    const struct found *f, const struct op_result *result,
                    struct effects_builder *b)
{
    struct record_key key;
    int err = ERR_OK;
    if (f->exists && f->record != op->copy_record) {
        record_text_key(&op->at, f->record, &key);
        err = effects_delete(b, record_key_bytes(&key));
    }
    return err == ERR_OK ? add_put(at, op, result, b) : err;
}

static int add_effects(const struct evaluate_at *at, const struct op *op,
                       const struct found *f, const struct op_result *result,
                       struct effects_builder *b)
{
    int err;
    switch (op->mode) {
    case OP_MARK:
        return add_mark(op, b);
    case OP_DROP:
        return add_drop(at, op, b);
    case OP_COPY:
        return add_copy(at, op, f, result, b);
    case OP_DELETE:
    case OP_UNCOPY:
        err = add_delete(at, op, result->record, b);
        return err == ERR_OK && f->mark.state == OP_MARK_LEAVING
                   ? add_grave(at, op, f->record, f->sealed, b)
                   : err;
    default:
        return add_put(at, op, result, b);
    }
}

static int build_entry(const struct evaluate_at *at, const struct op *op,
                       const struct found *f, struct op_result *result,
                       struct entry **entry_out)
{
    struct effects_head head = {.rid = result->record};
    memcpy(head.op_id, op->id, OP_ID_LEN);
    if (result->created)
        head.status |= DEDUPE_CREATED;
    if (!puts_text(op))
        head.status |= DEDUPE_DELETED;
    if (op->mode == OP_MARK && op->mark == OP_MARK_OPEN)
        head.status |= DEDUPE_OPENED;
    struct effects_builder b;
    int err = effects_begin(&b, &head);
    if (err == ERR_OK)
        err = add_effects(at, op, f, result, &b);
    if (err == ERR_OK) /* its size was checked */
        err = effects_finish(&b, at->lsn, at->term, RAFT_ENTRY_DATA, entry_out);
    if (err != ERR_OK)
        effects_builder_free(&b);
    return err;
}

static int look(const struct evaluate_at *at, const struct op *op,
                struct found *f)
{
    int err = mark_find(at->memtable, at->kv, op->at.container, MEMTABLE_NEWEST,
                        &f->mark);
    if (err == ERR_OK)
        err = mark_admit_write(&f->mark, op);
    if (err != ERR_OK || op->mode == OP_MARK || op->mode == OP_DROP)
        return err;
    err = evaluate_find(at->memtable, at->kv, &op->at, MEMTABLE_NEWEST,
                        &f->record, &f->etag, &f->sealed);
    if (err != ERR_OK && err != ERR_NOT_FOUND)
        return err;
    f->exists = err == ERR_OK;
    return evaluate_rules(op, f->exists, f->record, &f->etag);
}

/* Which record is written, and since when it is as it is. */
static void identify(const struct evaluate_at *at, const struct op *op,
                     const struct found *f, struct op_result *result,
                     int64_t *ts_out)
{
    bool copy = op->mode == OP_COPY;
    bool same = f->exists && (!copy || f->record == op->copy_record);
    result->created = !same;
    if (copy)
        result->record = op->copy_record;
    else
        result->record =
            f->exists ? f->record : rid_counter(at->lsn, 0, at->shard);
    *ts_out = copy ? op->copy_ts : at->now_s;
}

static int evaluate_inside(const struct evaluate_at *at, const struct op *op,
                           struct op_result *result, struct entry **entry_out)
{
    struct found f = {0};
    int64_t ts;
    int err = evaluate_parent(at, op, result);
    if (err == ERR_OK)
        err = look(at, op, &f);
    if (err != ERR_OK)
        return err;
    identify(at, op, &f, result, &ts);
    result->lsn = at->lsn;
    result->term = at->term;
    result->etag = (struct etag){
        .term = at->term, .lsn = at->lsn, .shard = at->shard, .position = 0};
    if (puts_text(op)) {
        err = record_text(op, result->record, &result->etag, ts, &result->body);
        if (err != ERR_OK)
            return err;
    }
    return build_entry(at, op, &f, result, entry_out);
}

int evaluate_write(const struct evaluate_at *at, const struct op *op,
                   struct op_result *result, struct entry **entry_out)
{
    CHECK(op->kind == OP_WRITE);
    int err = kv_begin(at->kv);
    if (err == ERR_OK) {
        err = evaluate_inside(at, op, result, entry_out);
        kv_end(at->kv);
    }
    result->err = err;
    return err;
}
