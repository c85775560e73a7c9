/* What outlives the turn: flushes to the store, and snapshots in place of a log
 * that is too old. */
#include <string.h>

#include "node/base/check.h"
#include "node/shard/canary.h"
#include "node/shard/mark.h"
#include "node/shard/record.h"
#include "node/shard/shard_impl.h"
#include "node/store/view.h"

size_t shard_dirty_bytes(const struct shard *s)
{
    return memtable_bytes(s->memtable);
}

/* ---- history --------------------------------------------------------------
 */

#define HISTORY_VERSION 2
#define HISTORY_VERSION_DEDUPE 1 /* a list of operations alone (dedupe.h) */

int shard_history_encode(const struct shard *s, uint64_t upto, struct buf *out)
{
    struct buf operations;
    buf_init(&operations, FLUSH_INFO_BYTES_MAX);
    int err = dedupe_encode(&s->dedupe, upto, &operations);
    if (err == ERR_OK)
        err = buf_append_u8(out, HISTORY_VERSION);
    if (err == ERR_OK)
        err = buf_append_u32_le(out, (uint32_t)buf_len(&operations));
    if (err == ERR_OK)
        err = buf_append(out, buf_bytes(&operations), buf_len(&operations));
    buf_free(&operations);
    return err == ERR_OK ? terms_encode(&s->terms, upto, out) : err;
}

/* Takes a history apart; one without terms has none. */
static int history_split(struct bytes in, struct bytes *operations_out,
                         struct bytes *terms_out)
{
    struct cursor c = cursor_of(in.data, in.len);
    *operations_out = in;
    *terms_out = bytes_of(NULL, 0);
    if (in.len == 0 || cursor_u8(&c) == HISTORY_VERSION_DEDUPE)
        return ERR_OK;
    *operations_out = cursor_blob(&c, FLUSH_INFO_BYTES_MAX);
    if (in.data[0] != HISTORY_VERSION || !cursor_ok(&c))
        return ERR_MALFORMED;
    size_t used = 1 + 4 + operations_out->len;
    *terms_out = bytes_of(in.data + used, in.len - used);
    return ERR_OK;
}

static int history_read(struct shard *s, struct bytes in)
{
    struct bytes operations, terms;
    int err = history_split(in, &operations, &terms);
    if (err == ERR_OK && operations.len > 0)
        err = dedupe_decode(&s->dedupe, operations);
    if (err == ERR_OK && terms.len > 0)
        err = terms_decode(&s->terms, terms);
    return err;
}

int shard_history_decode(struct shard *s, usec_t now, struct bytes in,
                         uint64_t lsn, uint64_t term)
{
    dedupe_truncate(&s->dedupe, 0);
    if (lsn > 0)
        dedupe_forget(&s->dedupe, now);
    terms_begin(&s->terms, lsn, term);
    int err = history_read(s, in);
    if (err != ERR_OK) {
        dedupe_truncate(&s->dedupe, 0);
        terms_begin(&s->terms, lsn, term);
    }
    return err;
}

/* ---- flushes --------------------------------------------------------------
 */

/* What goes into the store beside the records, as of `lsn`. */
static void flush_infos(struct shard *s, struct flush *f)
{
    struct buf blob;
    buf_init(&blob, FLUSH_INFO_BYTES_MAX);
    CHECK(raft_config_encode(raft_config_at(s->raft, f->lsn), &blob) == ERR_OK);
    CHECK(flush_set_info(f, SHARD_INFO_CONFIG,
                         bytes_of(buf_bytes(&blob), buf_len(&blob))) == ERR_OK);
    buf_clear(&blob);
    CHECK(shard_history_encode(s, f->lsn, &blob) == ERR_OK);
    CHECK(flush_set_info(f, SHARD_INFO_DEDUPE,
                         bytes_of(buf_bytes(&blob), buf_len(&blob))) == ERR_OK);
    buf_free(&blob);
}

bool shard_flush_begin(struct shard *s, uint64_t upto)
{
    /* Only what this node's own log would bring back: the flushed state must
     * not be ahead of the log's terms, and the log is cut up to it. */
    uint64_t durable = raft_durable_lsn(s->raft);
    uint64_t lsn = durable < upto ? durable : upto;
    uint64_t base = kv_flushed_lsn(s->kv);
    uint64_t term;
    if (s->flushing || s->installing || lsn <= base)
        return false;
    /* A node that was added does not know its members before the entry that
     * names them: neither a restart nor a snapshot could go on from there. */
    if (raft_config_at(s->raft, lsn)->n == 0)
        return false;
    CHECK(raft_term_at(s->raft, lsn, &term) == ERR_OK);
    s->flush = flush_new(base, lsn, term);
    s->flushing = true;
    flush_infos(s, s->flush);
    flush_collect(s->flush, s->memtable, SHARD_COLLECT_BUDGET);
    return true;
}

struct flush *shard_flush_take(struct shard *s)
{
    if (s->flush == NULL || !s->flush->complete)
        return NULL;
    return TAKE(s->flush);
}

bool shard_flush_pending(const struct shard *s)
{
    return s->flushing;
}

void shard_flush_failed(struct shard *s)
{
    CHECK(s->flushing && s->flush == NULL);
    s->flushing = false;
}

uint32_t shard_senders(const struct shard *s, raft_id to,
                       struct shard_sender *out, uint64_t *least_out)
{
    const struct raft_config *c = raft_config(s->raft);
    uint64_t least = raft_base_lsn(s->raft);
    uint32_t n = 0;
    *least_out = least;
    if (raft_role(s->raft) != RAFT_LEADER || !shard_sends_payload(s, to))
        return 0;
    for (uint32_t i = 0; i < c->n; i++) {
        const struct raft_member *m = &c->members[i];
        struct raft_peer_info info;
        if (m->id != to && !m->witness &&
            raft_peer(s->raft, m->id, &info) == ERR_OK && info.reachable &&
            !info.forgot && info.state == RAFT_PEER_REPLICATE &&
            info.match_lsn >= least)
            out[n++] = (struct shard_sender){m->id, info.match_lsn};
    }
    return n;
}

int shard_may_send(const struct shard *s, raft_id leader, uint64_t term,
                   raft_id to)
{
    if (raft_term(s->raft) != term || raft_leader(s->raft) != leader ||
        s->installing || shard_overruled(s) ||
        raft_amnesiac(s->raft) != RAFT_AMNESIA_NONE)
        return ERR_STALE;
    if (s->distrusted)
        return ERR_CORRUPT;
    return shard_sends_payload(s, to) ? ERR_OK : ERR_FORBIDDEN;
}

void shard_retain(struct shard *s, uint64_t lsn)
{
    s->retain_from = lsn;
}

uint32_t shard_pace_learners(struct shard *s, uint64_t bytes_per_s)
{
    raft_pace_learners(s->raft, bytes_per_s);
    return raft_learners_behind(s->raft);
}

/* The last LSN that everybody has whom the log can still bring on; not those
 * who need a snapshot anyway. */
static uint64_t needed_from(const struct shard *s, uint64_t flushed)
{
    const struct raft_config *c = raft_config(s->raft);
    uint64_t lsn = s->retain_from < flushed ? s->retain_from : flushed;
    for (uint32_t i = 0; i < c->n; i++) {
        struct raft_peer_info info;
        if (raft_peer(s->raft, c->members[i].id, &info) == ERR_OK &&
            info.reachable && info.state != RAFT_PEER_SNAPSHOT &&
            info.match_lsn > 0 && info.match_lsn < lsn)
            lsn = info.match_lsn;
    }
    return lsn;
}

/* Where the log in memory may begin: at the flushed LSN, less what is kept for
 * followers that lag a little, and for those who are being brought on; `more`:
 * something is kept for these alone. */
static uint64_t compact_point(const struct shard *s, uint64_t flushed,
                              bool *more)
{
    uint64_t needed = needed_from(s, flushed);
    size_t bytes = 0;
    uint64_t lsn = flushed;
    *more = false;
    while (lsn >= s->entries.first) {
        bytes += entry_bytes(entries_at(&s->entries, lsn));
        bool little =
            flushed - lsn < s->retain_entries && bytes <= SHARD_RETAIN_BYTES;
        if (!little && (lsn <= needed || bytes > s->retain_lagging))
            break;
        *more |= !little;
        lsn--;
    }
    return lsn;
}

static void compact(struct shard *s, usec_t now, uint64_t flushed)
{
    uint64_t lsn = compact_point(s, flushed, &s->retains_more);
    if (s->installing || lsn <= raft_base_lsn(s->raft) ||
        raft_config_at(s->raft, lsn)->n == 0)
        return;
    struct raft_event event = {
        .type = RAFT_EV_COMPACT, .now_us = now, .compact = {.lsn = lsn}};
    CHECK(shard_step(s, &event, NULL) == ERR_OK);
    entries_drop_below(&s->entries, lsn + 1);
}

void shard_drop_retained(struct shard *s, usec_t now)
{
    uint64_t flushed = kv_flushed_lsn(s->kv);
    if (!s->retains_more || s->flushing || now < s->drop_at ||
        flushed < s->entries.first ||
        needed_from(s, flushed) <= raft_base_lsn(s->raft))
        return;
    s->drop_at = now + SHARD_DROP_US;
    compact(s, now, flushed);
}

void shard_flushed(struct shard *s, usec_t now, const struct flush *f)
{
    CHECK(s->flushing && s->flush == NULL);
    CHECK(kv_flushed_lsn(s->kv) >= f->lsn);
    s->flushing = false;
    compact(s, now, f->lsn);
}

bool shard_trim(struct shard *s, size_t budget)
{
    return memtable_trim(s->memtable, kv_flushed_lsn(s->kv), budget);
}

uint64_t shard_keep_from(const struct shard *s)
{
    return kv_flushed_lsn(s->kv) + 1;
}

bool shard_drop_container(struct shard *s, uint32_t container, size_t budget)
{
    CHECK(container >= CONTAINER_FIRST_USER);
    uint8_t prefix[RECORD_PREFIX_LEN];
    for (int table = RECORD_TABLE_TEXT; table <= RECORD_TABLE_LAST; table++) {
        record_prefix((uint8_t)table, container, prefix);
        if (!memtable_drop_prefix(s->memtable, bytes_of(prefix, sizeof(prefix)),
                                  budget))
            return false;
    }
    return true;
}

static bool has_any(const struct shard *s, uint32_t container, uint8_t table)
{
    struct record_key from, to;
    struct view_iter it;
    struct bytes key, value;
    record_container_range(container, &from, &to);
    record_key_retable(&from, table);
    record_key_retable(&to, table);
    if (view_iter_open(s->memtable, s->kv, record_key_bytes(&from),
                       record_key_bytes(&to), kv_flushed_lsn(s->kv),
                       &it) != ERR_OK)
        return true;
    int err = view_iter_next(&it, &key, &value);
    view_iter_close(&it);
    return err != ERR_EOF;
}

bool shard_emptied(const struct shard *s, uint32_t container)
{
    struct mark m;
    if (s->installing || kv_begin(s->kv) != ERR_OK)
        return false;
    bool emptied = mark_find(s->memtable, s->kv, container,
                             kv_flushed_lsn(s->kv), &m) == ERR_OK &&
                   m.state == OP_MARK_GONE &&
                   !has_any(s, container, RECORD_TABLE_TEXT) &&
                   !has_any(s, container, RECORD_TABLE_ID) &&
                   !has_any(s, container, RECORD_TABLE_GRAVE);
    kv_end(s->kv);
    return emptied;
}

/* ---- snapshots
 * ------------------------------------------------------------------
 */

int shard_snapshot_offer(const struct shard *s, raft_id to, uint64_t lsn,
                         struct raft_msg *msg_out)
{
    return raft_snapshot_offer(s->raft, to, lsn, msg_out);
}

void shard_snapshot_sent(struct shard *s, usec_t now, raft_id to, bool ok)
{
    struct raft_event event = {.type = RAFT_EV_SNAPSHOT_SENT,
                               .now_us = now,
                               .snapshot_sent = {.id = to, .ok = ok}};
    shard_step(s, &event, NULL);
}

bool shard_contradicted(struct shard *s, struct bytes dedupe)
{
    struct bytes operations, blob;
    struct terms terms = {0};
    uint64_t here, there;
    if (history_split(dedupe, &operations, &blob) == ERR_OK &&
        terms_decode(&terms, blob) == ERR_OK &&
        terms_at(&terms, s->commit_seen, &there) == ERR_OK &&
        terms_at(&s->terms, s->commit_seen, &here) == ERR_OK && here != there)
        s->contradicted = true;
    terms_free(&terms);
    return s->contradicted;
}

int shard_installed(struct shard *s, usec_t now, raft_id from, uint64_t lsn,
                    uint64_t term, const struct raft_config *config)
{
    /* A flush still under way writes to the state that is replaced. */
    if (s->flushing || s->installing)
        return ERR_AGAIN;
    if (salvage_full(s) && s->entries.next > s->commit_seen + 1)
        return ERR_AGAIN;
    struct raft_event event = {
        .type = RAFT_EV_INSTALLED,
        .now_us = now,
        .installed = {
            .from = from, .lsn = lsn, .term = term, .config = config}};
    int err = shard_step(s, &event, NULL);
    if (err != ERR_OK)
        return err;
    if (!s->installing)
        return ERR_STALE; /* the log already agrees up to there */
    shard_fail_all(s, &s->scans, ERR_NO_LEADER);
    return ERR_OK;
}

int shard_renewable(const struct shard *s, uint64_t lsn, uint64_t term)
{
    uint64_t here;
    if (raft_role(s->raft) == RAFT_LEADER || s->installing ||
        raft_amnesiac(s->raft) != RAFT_AMNESIA_NONE || shard_overruled(s))
        return ERR_UNAVAILABLE;
    if (lsn < kv_flushed_lsn(s->kv) && !SHARD_PLANTED(RENEW_BEHIND))
        return ERR_STALE;
    if (lsn > raft_durable_lsn(s->raft))
        return ERR_AGAIN;
    if (raft_term_at(s->raft, lsn, &here) != ERR_OK)
        return ERR_STALE;
    return here == term ? ERR_OK : ERR_PRECONDITION;
}

/* What the adopted state remembers of its log, then what was logged since the
 * reset. What makes no sense counts as nothing: it came from outside. */
static void adopt_history(struct shard *s, usec_t now, struct bytes blob)
{
    uint64_t base = s->entries.first - 1, term;
    CHECK(terms_at(&s->terms, base, &term) == ERR_OK);
    (void)shard_history_decode(s, now, blob, base, term);
    uint64_t known;
    if (terms_at(&s->terms, base, &known) != ERR_OK || known != term)
        terms_begin(&s->terms, base, term);
    terms_truncate(&s->terms, base + 1);
    for (uint64_t lsn = s->entries.first; lsn < s->entries.next; lsn++) {
        struct entry *e = entries_at(&s->entries, lsn);
        terms_add(&s->terms, e->lsn, e->term);
        if (e->type == RAFT_ENTRY_DATA && !s->witness)
            dedupe_add(&s->dedupe, e, now);
    }
}

void shard_adopted(struct shard *s, usec_t now, struct bytes dedupe)
{
    CHECK(s->installing && !s->stepping);
    CHECK(kv_flushed_lsn(s->kv) <= s->commit_seen);
    s->installing = false;
    adopt_history(s, now, dedupe);
    s->env->on_committed(s->env->user, s, NULL);
    shard_serve_ready(s);
    shard_tick(s, now);
}
