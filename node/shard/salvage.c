#include "node/shard/salvage.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/catalog/rid.h"
#include "node/shard/canary.h"
#include "node/shard/conflict.h"
#include "node/shard/record.h"
#include "node/shard/shard_impl.h"
#include "node/store/effects.h"

/* Conflicts that may be answered or under way and not final: nothing behind
 * them is looked at before the first of them is. */
#define SALVAGE_WINDOW 256
/* Bit of an operation's id that tells a known acknowledgement (conflict.c). */
#define OP_ID_ACKNOWLEDGED 0x08u

enum part_state {
    PART_DUE,
    PART_SENT,
    PART_ANSWERED, /* final once `lsn` is committed here with `term` */
};

/* One effect that was overwritten: one conflict. */
struct salvage_part {
    struct list node;
    struct entry *entry;
    uint32_t number;   /* of its SALVAGE record */
    uint16_t position; /* which of the entry's effects on documents */
    bool acknowledged;
    enum part_state state;
    size_t bytes;       /* of the entry, with the first of its parts */
    uint64_t lsn, term; /* 0: nothing to wait for */
    usec_t retry_us;
};

static struct salvage_part *part_of(struct list *node)
{
    return LIST_ENTRY(node, struct salvage_part, node);
}

static void set_state(struct shard *s, struct salvage_part *part,
                      enum part_state state)
{
    if (part->state != PART_ANSWERED)
        s->salvage.bytes -= part->bytes;
    if (state != PART_ANSWERED)
        s->salvage.bytes += part->bytes;
    part->state = state;
}

/* ---- what is salvaged -------------------------------------------------------
 */

/* Whether an effect is on a document: not on the table of ids, which goes with
 * it, nor on a conflict. */
static bool effect_counts(const struct effect *effect)
{
    uint32_t container;
    uint64_t record;
    if (effect->key.len != RECORD_TEXT_KEY_LEN ||
        effect->key.data[0] != RECORD_TABLE_TEXT)
        return false;
    record_text_key_parts(effect->key, &container, &record);
    return container >= CONTAINER_FIRST_USER && container < CONTAINER_CONFLICTS;
}

/* Adds the conflicts of an entry; returns how many. The entry was checked. */
static uint32_t add_parts(struct shard *s, struct entry *e, uint32_t number,
                          bool acknowledged)
{
    struct effects_head head;
    struct effects_iter iter;
    struct effect effect;
    uint32_t added = 0;
    CHECK(effects_open(entry_payload(e), &head, &iter) == ERR_OK);
    while (effects_next(&iter, &effect)) {
        if (!effect_counts(&effect))
            continue;
        CHECK(added <= CONFLICT_POSITION_MAX);
        struct salvage_part *part = mem_zalloc(sizeof(*part));
        part->entry = entry_ref(e);
        part->number = number;
        part->position = (uint16_t)added;
        part->bytes = added == 0 ? entry_bytes(e) : 0;
        s->salvage.bytes += part->bytes;
        part->acknowledged = acknowledged;
        list_push_back(&s->salvage.parts, &part->node);
        added++;
    }
    s->salvage.pending += added;
    return added;
}

static void take_entry(struct shard *s, struct entry *e, bool acknowledged)
{
    struct salvage *v = &s->salvage;
    CHECK(v->last_number < UINT32_MAX);
    if (add_parts(s, e, v->last_number + 1, acknowledged) == 0)
        return;
    v->last_number++;
    s->env->log_salvage(s->env->user, s, v->last_number, acknowledged, e);
}

void salvage_cut(struct shard *s, uint64_t from, uint64_t term,
                 uint64_t visible)
{
    CHECK(from > s->commit_seen);
    if (s->env->log_salvage == NULL || s->id == SHARD_META || s->witness ||
        SHARD_PLANTED(SKIP_SALVAGE))
        return;
    for (uint64_t lsn = from; lsn < s->entries.next; lsn++) {
        struct entry *e = entries_at(&s->entries, lsn);
        CHECK(e != NULL); /* what is not committed was not flushed */
        if (e->type == RAFT_ENTRY_DATA &&
            RAFT_TERM_EPOCH(e->term) < RAFT_TERM_EPOCH(term))
            take_entry(s, e, lsn <= visible);
    }
}

bool salvage_full(const struct shard *s)
{
    return s->salvage.bytes >= SALVAGE_HOLD_BYTES;
}

/* ---- life -------------------------------------------------------------------
 */

void salvage_init(struct salvage *v)
{
    *v = (struct salvage){0};
    list_init(&v->parts);
}

/* Always the first part. */
static void drop_first(struct shard *s)
{
    struct salvage *v = &s->salvage;
    struct salvage_part *part = part_of(v->parts.next);
    set_state(s, part, PART_ANSWERED);
    list_remove(&part->node);
    entry_unref(part->entry);
    mem_free(part);
    v->pending--;
}

void salvage_free(struct shard *s)
{
    while (s->salvage.pending > 0)
        drop_first(s);
    CHECK(list_empty(&s->salvage.parts) && s->salvage.bytes == 0);
}

int salvage_restore(struct shard *s, const struct shard_restored *r)
{
    int err = ERR_OK;
    for (size_t i = 0; i < r->n_salvage; i++) {
        const struct shard_salvage *one = &r->salvage[i];
        struct effects_head head;
        struct effects_iter iter;
        if (effects_open(entry_payload(one->entry), &head, &iter) != ERR_OK)
            err = ERR_CORRUPT;
        else
            (void)add_parts(s, one->entry, one->number, one->acknowledged);
        entry_unref(one->entry);
    }
    s->salvage.last_number = r->salvage_number;
    s->salvage.marked = shard_salvage_keep(s) - 1;
    return err;
}

uint32_t shard_salvage_pending(const struct shard *s)
{
    return s->salvage.pending;
}

uint32_t shard_salvage_keep(const struct shard *s)
{
    return s->salvage.pending > 0 ? part_of(s->salvage.parts.next)->number
                                  : s->salvage.last_number + 1;
}

/* ---- final ------------------------------------------------------------------
 */

/* Drops from the front what is final. An answer that rests on an entry which
 * was overwritten in turn says nothing: its conflict is due again. */
static void settle(struct shard *s)
{
    struct salvage *v = &s->salvage;
    while (v->pending > 0) {
        struct salvage_part *part = part_of(v->parts.next);
        uint64_t term;
        if (part->state != PART_ANSWERED || part->lsn > s->commit_seen)
            break;
        if (part->lsn > 0 && terms_at(&s->terms, part->lsn, &term) == ERR_OK &&
            term != part->term) {
            set_state(s, part, PART_DUE);
            break;
        }
        drop_first(s);
    }
    uint32_t done = shard_salvage_keep(s) - 1;
    if (done > v->marked) {
        v->marked = done;
        s->env->log_salvaged(s->env->user, s, done);
    }
}

/* ---- delivery ---------------------------------------------------------------
 */

static struct effect effect_at(const struct entry *e, uint16_t position)
{
    struct effects_head head;
    struct effects_iter iter;
    struct effect effect;
    CHECK(effects_open(entry_payload(e), &head, &iter) == ERR_OK);
    while (effects_next(&iter, &effect))
        if (effect_counts(&effect) && position-- == 0)
            return effect;
    CHECK_UNREACHABLE();
}

/* ERR_NOT_FOUND: the container is gone. ERR_AGAIN: not known yet. */
static int find_container(const struct shard *s, uint32_t container,
                          uint8_t rid_out[8])
{
    const struct shard_env *env = s->env;
    if (env->container_deleted != NULL &&
        env->container_deleted(env->user, s, container))
        return ERR_NOT_FOUND;
    if (env->container_rid != NULL)
        return env->container_rid(env->user, s, container, rid_out);
    struct rid rid = rid_container(0, container);
    memcpy(rid_out, rid.bytes, rid.len);
    return ERR_OK;
}

/* The text that was lost. ERR_AGAIN without its key. What cannot be opened for
 * good is reported as a conflict without text, rather than not at all. */
static int open_content(struct shard *s, const struct entry *e,
                        const struct effect *effect, struct buf *out)
{
    int err = seal_open(s->sealer, s->id, effect->key, e->lsn, effect->value,
                        NULL, out);
    return err == ERR_NOT_FOUND ? ERR_AGAIN : ERR_OK;
}

static void fill_op(const struct shard *s, const struct salvage_part *part,
                    const struct conflict *c, uint32_t container,
                    struct salvage_delivery *d)
{
    d->number = part->number;
    d->position = part->position;
    d->op =
        (struct op){.kind = OP_WRITE,
                    .shard = s->id,
                    .mode = c->acknowledged ? OP_UPSERT : OP_CREATE,
                    .resource = OP_RESOURCE_CONFLICT,
                    .condition = OP_COND_IF_OVERWRITTEN,
                    .etag = {.term = c->id.term,
                             .lsn = c->id.lsn,
                             .shard = c->id.shard,
                             .position = c->id.position},
                    .body = bytes_of(buf_bytes(&d->body), buf_len(&d->body))};
    conflict_address(&c->id, container, &d->op.at);
    memcpy(d->op.parent_rid, c->container_rid, sizeof(d->op.parent_rid));
    /* The conflict's address, which is its name, is the operation's id: all
     * replicas make the same one, but for those that know that a client had its
     * answer, whose conflict replaces that of those that cannot tell. */
    memcpy(d->op.id, d->op.at.id_hash, OP_ID_LEN);
    if (c->acknowledged)
        d->op.id[1] |= OP_ID_ACKNOWLEDGED;
}

static int make_delivery(struct shard *s, const struct salvage_part *part,
                         struct salvage_delivery *d)
{
    const struct entry *e = part->entry;
    struct effect effect = effect_at(e, part->position);
    struct conflict c = {.id = {.shard = s->id,
                                .term = e->term,
                                .lsn = e->lsn,
                                .position = part->position},
                         .kind = CONFLICT_DELETE,
                         .acknowledged = part->acknowledged};
    uint32_t container;
    record_text_key_parts(effect.key, &container, &c.record);
    int err = find_container(s, container, c.container_rid);
    if (err != ERR_OK)
        return err;
    struct buf text;
    buf_init(&text, OP_BODY_MAX);
    if (effect.kind == EFFECT_PUT) {
        /* A record is numbered by the entry that makes it. */
        c.kind = rid_counter_lsn(c.record) == e->lsn ? CONFLICT_CREATE
                                                     : CONFLICT_REPLACE;
        err = open_content(s, e, &effect, &text);
        c.content = bytes_of(buf_bytes(&text), buf_len(&text));
    }
    buf_init(&d->body, OP_BODY_MAX);
    if (err == ERR_OK)
        err = conflict_body(&c, &d->body) == ERR_OK ? ERR_OK : ERR_AGAIN;
    if (err == ERR_OK)
        fill_op(s, part, &c, container, d);
    else
        buf_wipe(&d->body);
    buf_wipe(&text);
    return err;
}

int shard_salvage_next(struct shard *s, usec_t now,
                       struct salvage_delivery *delivery_out)
{
    CHECK_OBJ(s, SHARD_MAGIC);
    if (s->installing || s->stepping)
        return ERR_EOF;
    settle(s);
    if (!s->has_key || s->salvage.inflight == SALVAGE_INFLIGHT_MAX)
        return ERR_EOF;
    uint32_t seen = 0;
    LIST_EACH(node, &s->salvage.parts)
    {
        struct salvage_part *part = part_of(node);
        if (++seen > SALVAGE_WINDOW)
            break;
        if (part->state != PART_DUE || part->retry_us > now)
            continue;
        int err = make_delivery(s, part, delivery_out);
        if (err == ERR_OK) {
            set_state(s, part, PART_SENT);
            s->salvage.inflight++;
            return ERR_OK;
        }
        if (err == ERR_NOT_FOUND) {
            set_state(s, part, PART_ANSWERED); /* nobody could read it */
            part->lsn = part->term = 0;
        } else {
            part->retry_us = now + SALVAGE_RETRY_US;
        }
    }
    settle(s);
    return ERR_EOF;
}

/* Whether an answer says what became of a conflict. */
static bool answer_settles(const struct op_result *result)
{
    return result->err == ERR_OK || result->err == ERR_EXISTS ||
           result->err == ERR_PRECONDITION || result->err == ERR_NOT_FOUND;
}

static struct salvage_part *find_part(struct shard *s,
                                      const struct salvage_delivery *d)
{
    LIST_EACH(node, &s->salvage.parts)
    {
        struct salvage_part *part = part_of(node);
        if (part->number == d->number && part->position == d->position)
            return part;
    }
    CHECK_UNREACHABLE(); /* nothing under way is dropped */
}

void shard_salvage_done(struct shard *s, usec_t now, struct salvage_delivery *d,
                        const struct op_result *result)
{
    CHECK_OBJ(s, SHARD_MAGIC);
    struct salvage_part *part = find_part(s, d);
    CHECK(part->state == PART_SENT && s->salvage.inflight > 0);
    s->salvage.inflight--;
    if (answer_settles(result)) {
        set_state(s, part, PART_ANSWERED);
        part->lsn = result->lsn;
        part->term = result->term;
    } else {
        set_state(s, part, PART_DUE);
        part->retry_us = now + SALVAGE_RETRY_US;
    }
    shard_salvage_drop(d);
}

void shard_salvage_drop(struct salvage_delivery *d)
{
    buf_wipe(&d->body);
}

/* ---- after a rebuild --------------------------------------------------------
 */

struct salvage_filter {
    struct terms terms;
    uint64_t last; /* LSN */
    uint64_t term; /* in force */
};

struct salvage_filter *salvage_filter_new(const struct shard *s)
{
    struct salvage_filter *f = mem_zalloc(sizeof(*f));
    terms_copy(&f->terms, &s->terms);
    f->last = raft_last_lsn(s->raft);
    f->term = raft_term(s->raft);
    return f;
}

void salvage_filter_free(struct salvage_filter *f)
{
    if (f == NULL)
        return;
    terms_free(&f->terms);
    mem_free(f);
}

bool salvage_filter_lost(const struct salvage_filter *f, uint64_t term,
                         uint64_t lsn)
{
    uint64_t here;
    if (RAFT_TERM_EPOCH(term) >= RAFT_TERM_EPOCH(f->term))
        return false;
    if (lsn <= f->last && terms_at(&f->terms, lsn, &here) != ERR_OK)
        return false;
    return terms_overwritten(&f->terms, f->last, term, lsn);
}

int shard_salvage_add(struct shard *s, struct entry *e, bool acknowledged)
{
    CHECK_OBJ(s, SHARD_MAGIC);
    struct effects_head head;
    struct effects_iter iter;
    int err = effects_open(entry_payload(e), &head, &iter);
    if (err == ERR_OK && s->env->log_salvage != NULL && s->id != SHARD_META)
        take_entry(s, e, acknowledged);
    return err == ERR_OK ? ERR_OK : ERR_MALFORMED;
}
