#include "node/shard/shard.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/shard/record.h"
#include "node/shard/shard_impl.h"
#include "node/store/view.h"

/* ---- opening and closing ---------------------------------------------------
 */

static int restore_heads(const struct shard_restored *r,
                         struct raft_entry *heads, struct raft_config **configs)
{
    for (size_t i = 0; i < r->n_entries; i++) {
        const struct entry *e = r->entries[i];
        heads[i] = (struct raft_entry){
            .term = e->term, .size = e->len, .type = e->type};
        if (e->type != RAFT_ENTRY_CONFIG)
            continue;
        configs[i] = mem_alloc(sizeof(**configs));
        if (raft_config_decode(entry_payload(e), configs[i]) != ERR_OK)
            return ERR_CORRUPT;
        heads[i].config = configs[i];
    }
    return ERR_OK;
}

static int restore_raft(struct shard *s, const struct shard_options *options,
                        const struct shard_restored *r, usec_t now)
{
    struct raft_entry *heads = mem_zalloc(r->n_entries * sizeof(*heads));
    struct raft_config **configs = mem_zalloc(r->n_entries * sizeof(*configs));
    int err = restore_heads(r, heads, configs);
    if (err == ERR_OK) {
        struct raft_restored restored = {.term = r->term,
                                         .vote = r->vote,
                                         .base_lsn = r->base_lsn,
                                         .base_term = r->base_term,
                                         .base_config = &r->config,
                                         .entries = heads,
                                         .n_entries = r->n_entries,
                                         .commit_lsn = r->commit_lsn,
                                         .amnesia = r->amnesia,
                                         .also = r->also,
                                         .n_also = r->n_also,
                                         .kept = r->kept,
                                         .kept_lsn = r->kept_lsn,
                                         .kept_term = r->kept_term};
        /* The shard's own bounds (shard.h) come first: it seals before it
         * proposes and cannot take a refusal. */
        struct raft_options raft = options->raft;
        raft.uncommitted_entries_max = UINT32_MAX;
        raft.uncommitted_bytes_max = UINT64_MAX;
        err = raft_open(&raft, &restored, now, &s->raft);
    }
    for (size_t i = 0; i < r->n_entries; i++)
        mem_free(configs[i]);
    mem_free(configs);
    mem_free(heads);
    return err;
}

static int restore_history(struct shard *s, const struct shard_restored *r,
                           usec_t now)
{
    return shard_history_decode(s, now, r->dedupe, r->base_lsn, r->base_term) ==
                   ERR_OK
               ? ERR_OK
               : ERR_CORRUPT;
}

static int restore_entries(struct shard *s, const struct shard_restored *r,
                           usec_t now)
{
    for (size_t i = 0; i < r->n_entries; i++) {
        struct entry *e = TAKE(r->entries[i]);
        bool data = e->type == RAFT_ENTRY_DATA && !s->witness;
        bool bare = e->type == RAFT_ENTRY_DATA && s->witness;
        entries_push(&s->entries, e);
        s->appended_bytes += e->len;
        terms_add(&s->terms, e->lsn, e->term);
        if (e->lsn <= r->commit_lsn)
            s->committed_bytes += e->len;
        if (bare && e->len > 0)
            return ERR_CORRUPT; /* the log of another kind of replica */
        if (data && memtable_apply(s->memtable, e) != ERR_OK)
            return ERR_CORRUPT;
        if (data)
            dedupe_add(&s->dedupe, e, now);
    }
    return ERR_OK;
}

static void restore_visible(struct shard *s)
{
    s->visible_seen = raft_visible_lsn(s->raft);
    CHECK(raft_term_at(s->raft, s->visible_seen, &s->visible_term) == ERR_OK);
}

/* With nothing restored yet. */
static struct shard *shard_new(const struct shard_options *options,
                               const struct shard_restored *restored)
{
    struct shard *s = mem_zalloc(sizeof(*s));
    s->magic = SHARD_MAGIC;
    s->id = options->id;
    s->self = options->raft.self;
    s->user = options->user;
    s->env = options->env;
    s->sealer = options->sealer;
    s->kv = options->kv;
    s->retain_entries = options->retain_entries > 0 ? options->retain_entries
                                                    : SHARD_RETAIN_ENTRIES;
    s->retain_lagging = options->retain_lagging > 0
                            ? options->retain_lagging
                            : SHARD_RETAIN_LAGGING_BYTES;
    s->retain_from = UINT64_MAX;
    s->witness = options->raft.witness;
    s->commit_seen = restored->commit_lsn;
    entries_init(&s->entries, restored->base_lsn + 1);
    s->memtable = memtable_new(options->memtable_bytes);
    dedupe_init(&s->dedupe);
    salvage_init(&s->salvage);
    list_init(&s->queued);
    list_init(&s->writes);
    list_init(&s->refusals);
    list_init(&s->reads_new);
    list_init(&s->reads_asked);
    list_init(&s->reads_lsn);
    list_init(&s->reads_token);
    staleness_init(&s->governor);
    list_init(&s->scans);
    list_init(&s->held);
    json_init(&s->json);
    s->heads_max = options->raft.append_entries_max;
    s->heads = mem_alloc(s->heads_max * sizeof(*s->heads));
    s->refs = mem_alloc(s->heads_max * sizeof(*s->refs));
    return s;
}

int shard_open(const struct shard_options *options,
               const struct shard_restored *restored, usec_t now_us,
               struct err_msg *msg, struct shard **shard_out)
{
    struct shard *s = shard_new(options, restored);
    int err = salvage_restore(s, restored);
    if (err == ERR_OK)
        err = restore_history(s, restored, now_us);
    if (err == ERR_OK)
        err = restore_raft(s, options, restored, now_us);
    if (err == ERR_OK)
        err = restore_entries(s, restored, now_us);
    if (err == ERR_OK)
        restore_visible(s);
    if (err != ERR_OK) {
        for (size_t i = 0; i < restored->n_entries; i++)
            entry_unref(TAKE(restored->entries[i]));
        shard_free(s);
        return err_set(msg, err,
                       "shard %u: the log's entries contradict each "
                       "other: %s",
                       options->id, err_text(err));
    }
    /* When its newest configuration came it does not know any more. */
    if (raft_term(s->raft) > 0)
        staleness_left(&s->governor, now_us);
    *shard_out = s;
    return ERR_OK;
}

void shard_free(struct shard *s)
{
    if (s == NULL)
        return;
    CHECK_OBJ(s, SHARD_MAGIC);
    CHECK(!s->stepping);
    s->closing = true;
    struct list cancelled;
    list_init(&cancelled);
    shard_cancel_queue(s, &cancelled);
    shard_fail_all(s, &cancelled, ERR_UNAVAILABLE);
    shard_fail_all(s, &s->writes, ERR_TIMEOUT);
    shard_fail_all(s, &s->reads_new, ERR_UNAVAILABLE);
    shard_fail_all(s, &s->reads_asked, ERR_UNAVAILABLE);
    shard_fail_all(s, &s->reads_lsn, ERR_UNAVAILABLE);
    shard_fail_all(s, &s->reads_token, ERR_UNAVAILABLE);
    shard_fail_all(s, &s->scans, ERR_UNAVAILABLE);
    CHECK(s->waiting == 0);
    struct list *node;
    while ((node = list_pop_front(&s->held)) != NULL)
        mem_free(LIST_ENTRY(node, struct held_message, node));
    flush_free(s->flush);
    json_free(&s->json);
    dedupe_free(&s->dedupe);
    terms_free(&s->terms);
    salvage_free(s);
    memtable_free(s->memtable);
    entries_free(&s->entries);
    raft_free(s->raft);
    mem_free(s->heads);
    mem_free(s->refs);
    mem_free(s->queue);
    s->magic = 0;
    mem_free(s);
}

/* ---- looking
 * ----------------------------------------------------------------- */

bool shard_overruled(const struct shard *s)
{
    return s->contradicted || raft_overruled(s->raft);
}

bool shard_is_witness(const struct shard *s)
{
    return s->witness;
}

bool shard_installing(const struct shard *s)
{
    return s->installing;
}

uint16_t shard_id(const struct shard *s)
{
    return s->id;
}

void *shard_user(const struct shard *s)
{
    return s->user;
}

const struct raft *shard_raft(const struct shard *s)
{
    return s->raft;
}

void shard_set_key(struct shard *s, uint32_t key_id)
{
    s->key_id = key_id;
    s->has_key = true;
}

bool shard_has_key(const struct shard *s)
{
    return s->has_key;
}

void shard_distrust(struct shard *s, bool distrusted)
{
    s->distrusted = distrusted;
}

bool shard_distrusted(const struct shard *s)
{
    return s->distrusted;
}

void shard_set_memtable_bytes(struct shard *s, size_t bytes)
{
    memtable_set_cap(s->memtable, bytes);
}

void shard_set_no_space(struct shard *s, bool no_space)
{
    s->no_space = no_space;
}

raft_id shard_leader(const struct shard *s)
{
    return raft_leader(s->raft);
}

uint64_t shard_commit_lsn(const struct shard *s)
{
    return raft_commit_lsn(s->raft);
}

static struct shard_rule rule_of(const struct raft_config *c)
{
    return (struct shard_rule){
        .epoch = c->epoch, .write_region = c->write_region, .ack = c->ack};
}

static void status_risk(const struct shard *s, usec_t now,
                        struct shard_status *status)
{
    if (status->ack_lsn <= status->commit_lsn)
        return;
    status->at_risk_entries = status->ack_lsn - status->commit_lsn;
    status->at_risk_us =
        staleness_age(&s->governor, now, status->commit_lsn + 1);
}

void shard_status(const struct shard *s, usec_t now,
                  struct shard_status *status_out)
{
    usec_t fresh = raft_fresh_since(s->raft, now);
    const struct raft_config *newest = raft_config(s->raft);
    const struct raft_config *committed = raft_config_committed(s->raft);
    *status_out = (struct shard_status){
        .id = s->id,
        .role = raft_role(s->raft),
        .leader = raft_leader(s->raft),
        .term = raft_term(s->raft),
        .last_lsn = raft_last_lsn(s->raft),
        .commit_lsn = raft_commit_lsn(s->raft),
        .region_lsn = s->region_seen,
        .ack_lsn = s->ack_seen,
        .visible_lsn = s->visible_seen,
        .fresh_us = s->witness  ? 0
                    : fresh > 0 ? now - fresh
                                : USEC_NEVER,
        .rule = rule_of(newest),
        .rule_committed = rule_of(committed),
        .changing = newest->joint || !raft_config_equal(newest, committed),
        .overruled = shard_overruled(s),
        .transfer_to = raft_transferring(s->raft),
        .handover_us = s->handover_us,
        .throttled = s->throttled,
        .session_waits = s->session_waits,
        .session_behind = s->session_behind,
        .bounded_refused = s->bounded_refused,
        .damaged = s->damaged,
        .distrusted = s->distrusted,
        .flushed_lsn = kv_flushed_lsn(s->kv),
        .base_lsn = raft_base_lsn(s->raft),
        .memtable_bytes = memtable_bytes(s->memtable),
        .entry_bytes = s->entries.bytes,
        .waiting = s->waiting,
        .has_key = s->has_key,
        .no_space = s->no_space,
        .installing = s->installing,
        .witness = s->witness,
        .amnesia = raft_amnesiac(s->raft),
        .told_missing = raft_amnesia_waits_for(s->raft),
        .salvage_pending = s->salvage.pending};
    status_risk(s, now, status_out);
}

int shard_open_value(struct shard *s, struct bytes key, struct bytes sealed,
                     struct buf *out)
{
    int err = seal_open(s->sealer, s->id, key, 0, sealed, NULL, out);
    /* A node that has just started learns the keys from the meta shard: the
     * record is there all the same. */
    return err == ERR_NOT_FOUND ? ERR_UNAVAILABLE : err;
}

int shard_check_record(struct shard *s, struct bytes key, struct bytes value,
                       bool *sealed_out)
{
    *sealed_out =
        key.len == RECORD_TEXT_KEY_LEN && key.data[0] == RECORD_TABLE_TEXT;
    if (!*sealed_out)
        return ERR_OK;
    struct buf text;
    buf_init(&text, value.len + 1);
    int err = shard_open_value(s, key, value, &text);
    buf_wipe(&text);
    return err;
}

int shard_each_record(struct shard *s, uint32_t container,
                      void (*each)(void *user, uint64_t record,
                                   struct bytes text),
                      void *user)
{
    struct record_key from, to;
    struct view_iter it;
    struct bytes key, sealed;
    record_container_range(container, &from, &to);
    int err = kv_begin(s->kv);
    if (err != ERR_OK)
        return err;
    err = view_iter_open(s->memtable, s->kv, record_key_bytes(&from),
                         record_key_bytes(&to), s->commit_seen, &it);
    if (err == ERR_OK) {
        struct buf text;
        buf_init(&text, OP_BODY_MAX);
        while ((err = view_iter_next(&it, &key, &sealed)) == ERR_OK) {
            buf_clear(&text);
            err = key.len == RECORD_TEXT_KEY_LEN
                      ? shard_open_value(s, key, sealed, &text)
                      : ERR_CORRUPT;
            if (err != ERR_OK)
                break;
            uint32_t number;
            uint64_t record;
            record_text_key_parts(key, &number, &record);
            each(user, record, bytes_of(buf_bytes(&text), buf_len(&text)));
        }
        buf_wipe(&text);
        view_iter_close(&it);
    }
    kv_end(s->kv);
    return err == ERR_EOF ? ERR_OK : err;
}
