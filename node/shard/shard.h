/* One replica of one shard: consensus, the entries and records it produces,
 * and the operations that wait for them. Pure: time comes in with the calls,
 * obligations go out through `struct shard_env`, so that the node and the
 * simulator run the same code.
 *
 *   operation -> shard_submit -> evaluate against the newest state -> entry
 *        entry -> memtable (visible to the evaluator at once)
 *              -> raft PROPOSE, log record, messages to peers  (shard_flush)
 *   commit     -> on_committed in log order -> answers
 *
 * Turn by turn. The owner calls shard_submit, shard_receive, shard_tick...
 * as things arrive, then shard_flush once at the end of its loop turn. All
 * writes of a turn are one proposal; all log records of a turn go into one
 * batch. The owner makes the batch durable elsewhere and reports it with
 * shard_persisted; only then do the messages that had to wait leave.
 *
 * Reads, by op->level:
 *
 * - strong: At the leader, under its lease, at once. At other replicas after a
 *   read-index round trip to the leader, one for all reads of a turn.
 * - bounded: At once, when this replica can prove that everything that was
 *   acknowledged anywhere SHARD_FRESH_US ago is visible here, which is less
 *   than any bound there is. Else NOT_LEADER: ask the leader; where there is
 *   none, ask again.
 * - session: At once when the token is satisfied, else as soon as it is, for at
 *   most SHARD_SESSION_WAIT_US, then BEHIND: ask the leader.
 * - prefix, eventual: At once.
 *
 * All but strong see the state at visible_lsn: the newest that is known here to
 * be acknowledged (raft.h), which may be above the commit point where the write
 * region acknowledges alone. It never falls but when a forced change of the
 * write region loses entries, or a snapshot replaces the state: a long scan
 * that saw more than is left ends with NO_LEADER. A replica that is being
 * rebuilt from nothing, or is no member yet, reads strongly instead. One that
 * is reset by a snapshot answers nothing until the new state is in place:
 * NO_LEADER.
 *
 * Writes are refused with THROTTLED, in an account of bounded staleness, when
 * accepting them could leave a replica further behind than the bound
 * (replication/staleness.h); and for a moment after a change of leaders, until
 * the new one has learned how far everybody is, with UNAVAILABLE. Likewise,
 * where the write region acknowledges alone, while this replica has not been
 * told the policy (shard_set_policy) of the decision that its configuration
 * comes from, or of a newer one: the bound may be tighter than what it knows.
 *
 * A witness (docs/witness.md; options.raft.witness) is a shard of heads. Its
 * log has DATA entries without payload, it applies none, and what it flushes
 * are no records but the position: LSN, term, configuration. It answers every
 * operation NOT_LEADER. Payload that it is sent all the same is refused, here
 * and where a snapshot is received (engine.h); and no other replica hands
 * payload out that is for a witness, or for nobody who is a member.
 *
 * Numbering. `update` numbers are raft's: everything up to shard_written() is
 * in the batches handed to the environment so far.
 */
#ifndef BASTIDE_SHARD_SHARD_H
#define BASTIDE_SHARD_SHARD_H

#include <stdbool.h>
#include <stdint.h>

#include "consensus/raft.h"
#include "node/base/clock.h"
#include "node/base/list.h"
#include "node/crypt/seal.h"
#include "node/shard/op.h"
#include "node/store/entry.h"
#include "node/store/flush.h"
#include "node/store/kv.h"
#include "replication/staleness.h"

struct shard;

/* Names of what a flush stores beside the records: the configuration in force
 * at the flushed LSN (raft_config_encode), and what the shard remembers of its
 * log: the operations of the last entries, and their terms. */
#define SHARD_INFO_CONFIG "config"
#define SHARD_INFO_DEDUPE "dedupe"

/* Operations that wait in one shard (proposed, or waiting for a read point).
 * Beyond it: THROTTLED. */
#define SHARD_WAITING_MAX 8192
/* Entries and bytes accepted and not committed. Beyond it: THROTTLED. */
#define SHARD_UNCOMMITTED_ENTRIES_MAX 16384
#define SHARD_UNCOMMITTED_BYTES_MAX ((size_t)48 << 20)
/* Flushed entries kept in memory for followers that are a little behind;
 * further behind means a snapshot. */
#define SHARD_RETAIN_BYTES ((size_t)2 << 20)
#define SHARD_RETAIN_ENTRIES 4096
/* The same while a follower that can be reached needs them: one that receives a
 * snapshot (shard_retain), or still lacks what was flushed here. */
#define SHARD_RETAIN_LAGGING_BYTES ((size_t)64 << 20)
/* What a client is told to wait when a bound above or the memtable is full. */
#define SHARD_RETRY_AFTER_MS 100
/* How long a read waits for the state that its session token names. */
#define SHARD_SESSION_WAIT_US (500 * USEC_PER_MS)
/* A bounded read is served when the state is at most this old. */
#define SHARD_FRESH_US STALENESS_FRESH_US

/* An operation under way. The caller owns it, fills the first part, and keeps
 * it until `done` was called (exactly once, possibly from inside
 * shard_submit). The shard uses the rest. */
struct shard_request {
    const struct op *op;
    usec_t deadline_us; /* monotonic; then TIMEOUT (a write that was logged)
                         * or UNAVAILABLE; checked by shard_tick */
    /* Besides the errors of op_result: ERR_NOT_LEADER (a write came to a
     * replica that does not lead, hands over, or stopped leading before it was
     * logged: nothing happened, ask `shard_leader`; or a bounded read that
     * this replica cannot prove fresh: ask the leader), ERR_STALE (leadership
     * was lost after the write was logged, or an earlier attempt was logged and
     * cannot be read here yet: ask again with the same operation id),
     * ERR_FORGOTTEN (op.since_us: an earlier attempt may have been logged so
     * long ago that nobody knows; asking again does not help. It can meet a
     * first attempt that was long on its way, too: whoever waits for it knows
     * that nothing was done, and may ask anew) and
     * ERR_NO_LEADER (a read found nobody to ask, or this replica is being
     * replaced by a snapshot: ask again).
     *
     * EXISTS, NOT_FOUND and PRECONDITION of a write, and INVALID of `admit`,
     * come when what they rest on is acknowledged, never of a state that could
     * still be lost.
     *
     * It may submit new operations, also to the same shard, and end its own
     * request's memory; nothing else of this file may be called from it. */
    void (*done)(struct shard_request *req, struct op_result *result);

    struct list node;
    uint64_t lsn;  /* write: its entry, or the last one that its refusal rests
                    * on; read: serve once this is applied */
    uint64_t read; /* read: number of the read-index round it waits for */
    uint64_t refused_term; /* write: the term in which it was refused */
    usec_t wait_until_us;  /* session read: then BEHIND */
    bool repeated; /* write: answered from what an earlier attempt logged;
                    * its text is empty if the record was changed since */
    struct op_result result;
    struct shard_scan *scan;
};

struct shard_env {
    void *user;
    /* Log records, in order, into the batch of this turn. They cannot fail:
     * the owner bounds what is under way and queues batches. */
    void (*log_entry)(void *user, struct shard *s, const struct entry *e);
    void (*log_hard_state)(void *user, struct shard *s, uint64_t term,
                           raft_id vote);
    void (*log_truncate)(void *user, struct shard *s, uint64_t from);
    void (*log_reset)(void *user, struct shard *s, uint64_t lsn, uint64_t term);
    /* Before log_truncate or log_reset of this same step: an entry that goes,
     * kept under a number that rises (salvage.h). And later: what was kept up
     * to this number is not needed any more. Both NULL: nothing is salvaged. */
    void (*log_salvage)(void *user, struct shard *s, uint32_t number,
                        bool acknowledged, const struct entry *e);
    void (*log_salvaged)(void *user, struct shard *s, uint32_t number);
    /* The RID (8 bytes) of a user's container. ERR_NOT_FOUND: it was deleted;
     * ERR_AGAIN: not known yet. May be NULL: then it is made of the number
     * alone. */
    int (*container_rid)(void *user, const struct shard *s, uint32_t container,
                         uint8_t rid_out[8]);
    /* A message to m->to. For APPEND, `entries` holds its m->append.n entries
     * and `heads` their heads; what goes to a witness is without payload here
     * already. Borrowed for the call. */
    void (*send)(void *user, struct shard *s, const struct raft_msg *m,
                 const struct raft_entry *heads, struct entry *const *entries);
    /* Each committed entry once, in order, before any operation that waited
     * for it is answered; at a witness, not those without payload. After
     * shard_adopted and at start: `e` NULL means that the flushed state up to
     * the read point is to be read anew. */
    void (*on_committed)(void *user, struct shard *s, const struct entry *e);
    /* Begin sending a snapshot to `to`; end with shard_snapshot_sent. If
     * shard_sends_payload says no, no records: SHARD_INFO_CONFIG alone. */
    void (*start_snapshot)(void *user, struct shard *s, raft_id to);
    /* Role, leader or term changed. May be NULL. */
    void (*on_role)(void *user, struct shard *s);
    /* Whether a user's container was deleted (its number is never reused).
     * Unknown numbers are not deleted. May be NULL. */
    bool (*container_deleted)(void *user, const struct shard *s,
                              uint32_t container);
    /* Before a write is evaluated, at the leader: ERR_OK, or why it is not to
     * be logged, with a message for whoever asked. May be NULL. */
    int (*admit)(void *user, const struct shard *s, const struct op *op,
                 struct err_msg *msg);
    int64_t (*wall_sec)(void *user);
};

struct shard_options {
    uint16_t id;
    struct raft_options raft; /* complete, but for uncommitted_*_max: the
                               * shard's own bounds above take their place */
    size_t memtable_bytes;
    uint32_t retain_entries; /* 0: SHARD_RETAIN_ENTRIES */
    size_t retain_lagging;   /* 0: SHARD_RETAIN_LAGGING_BYTES */
    struct sealer *sealer;   /* borrowed; belongs to the worker */
    struct kv kv;            /* flushed state, borrowed */
    const struct shard_env *env;
    void *user; /* the owner's own, see shard_user */
};

/* A SALVAGE record of the log that no SALVAGED record covers. */
struct shard_salvage {
    struct entry *entry;
    uint32_t number;
    bool acknowledged;
};

/* What recovery found in the engine and the log. */
struct shard_restored {
    uint64_t term;
    raft_id vote;
    uint64_t base_lsn; /* flushed */
    uint64_t base_term;
    struct raft_config config; /* at base_lsn */
    struct entry **entries;    /* base_lsn+1 ..; references are taken over */
    size_t n_entries;
    uint64_t commit_lsn;
    bool amnesia; /* see raft_restored; likewise these: */
    const raft_id *also;
    size_t n_also;
    bool kept;
    uint64_t kept_lsn, kept_term;
    struct bytes dedupe; /* SHARD_INFO_DEDUPE of the flushed state; borrowed,
                          * may be empty */
    /* Pending salvage by rising number; its entries' references are taken over.
     * And the highest number the log has seen, delivered or not; 0: none. */
    const struct shard_salvage *salvage;
    size_t n_salvage;
    uint32_t salvage_number;
};

/* ERR_CORRUPT or ERR_INVALID of raft_open, an entry that is none, or a list of
 * operations that is none. The entries are gone also then. */
int shard_open(const struct shard_options *options,
               const struct shard_restored *restored, usec_t now_us,
               struct err_msg *msg, struct shard **shard_out);
/* Waiting requests are answered (UNAVAILABLE, TIMEOUT) first. NULL allowed. */
void shard_free(struct shard *s);

uint16_t shard_id(const struct shard *s);
void *shard_user(const struct shard *s);
const struct raft *shard_raft(const struct shard *s);

/* The group's data key is known: writes may be sealed with it. Until then
 * writes answer UNAVAILABLE. */
void shard_set_key(struct shard *s, uint32_t key_id);
bool shard_has_key(const struct shard *s);
/* What it may hold in memory from now on. */
void shard_set_memtable_bytes(struct shard *s, size_t bytes);
/* The disk is full (or works again): writes answer NO_SPACE meanwhile. */
void shard_set_no_space(struct shard *s, bool no_space);

/* What is flushed here is (not) to be believed. While it is not, and unless
 * this replica leads, reads are answered NOT_LEADER, and it does not take over
 * the leadership when it is asked to. */
void shard_distrust(struct shard *s, bool distrusted);
bool shard_distrusted(const struct shard *s);

/* -- what arrives -----------------------------------------------------------
 */

void shard_submit(struct shard *s, usec_t now, struct shard_request *req);
/* A message from a peer. For APPEND, payloads[i] belongs to heads entry i; all
 * borrowed. `heads` come without configurations; the shard decodes them from
 * the payloads. ERR_PROTOCOL, ERR_MALFORMED: ignored, to be logged. */
int shard_receive(struct shard *s, usec_t now, const struct raft_msg *m,
                  const struct bytes *payloads);
void shard_peer(struct shard *s, usec_t now, raft_id id, bool reachable);
/* Time passes: elections, heartbeats, deadlines of requests. */
void shard_tick(struct shard *s, usec_t now);
/* First start: try to become leader without waiting for a timeout. */
void shard_campaign(struct shard *s, usec_t now);
/* Hands the leadership to `to`; writes are answered NOT_LEADER until it has it,
 * or the attempt failed. ERR_NOT_LEADER, ERR_INVALID, ERR_AGAIN. */
int shard_transfer(struct shard *s, usec_t now, raft_id to);
int shard_change(struct shard *s, usec_t now, const struct raft_config *target);
/* The meta shard decided a forced change of the write region (RAFT_EV_EPOCH). A
 * replica of the new region campaigns at once. Telling it again is harmless,
 * and needed after a start. Where `ack` is RAFT_ACK_COMMIT, the region only
 * says who campaigns, and may be 0. */
void shard_decide(struct shard *s, usec_t now, uint32_t epoch,
                  raft_region write_region, uint8_t ack, uint32_t recovered);
/* An operator declared the survivors of `config` the whole cluster
 * (RAFT_EV_RECOVER). Errors of that event. */
int shard_recover(struct shard *s, usec_t now,
                  const struct raft_config *config);

/* What the account asks of its writes. Before the first call: nothing, by
 * decision 0, which is none. */
struct shard_policy {
    uint32_t epoch; /* of the decision that says so */
    uint8_t level;  /* enum consistency_level of the account */
    /* CONSISTENCY_BOUNDED: the bounds; less than 1 and 1 s counts as that. */
    uint32_t max_lag_entries;
    usec_t max_lag_us;
    /* Regions declared down: their replicas stop mattering, and witnesses are
     * told of entries without waiting for them (RAFT_EV_DOWN). */
    uint32_t n_down;
    raft_region down[RAFT_MEMBERS_MAX];
    /* Others that say of themselves that they cannot write: only witnesses do
     * not wait for them. With `down` at most RAFT_MEMBERS_MAX. */
    uint32_t n_unable;
    raft_region unable[RAFT_MEMBERS_MAX];
};
/* At every replica, whenever it changes; takes effect with the next write. The
 * meta shard is never throttled. Not from inside a callback. */
void shard_set_policy(struct shard *s, usec_t now,
                      const struct shard_policy *policy);

/* While `hold` is set, shard_flush lets writes gather instead of proposing them
 * turn by turn: for an owner whose log is busy and could not take them any
 * sooner. At most SHARD_GATHER_MAX gather. */
void shard_hold(struct shard *s, bool hold);
#define SHARD_GATHER_MAX 256

/* End of the owner's turn: proposes the turn's writes, asks for its reads, goes
 * on with long scans. Returns true when there is more to do at once. */
bool shard_flush(struct shard *s, usec_t now);
/* Number of the last update that wrote; goes with the batch it is in. */
uint64_t shard_written(const struct shard *s);
/* Number of the last update that is durable, see shard_persisted. */
uint64_t shard_durable(const struct shard *s);
/* All records of updates up to `update` are durable. */
void shard_persisted(struct shard *s, usec_t now, uint64_t update);
/* When shard_tick is due. */
usec_t shard_deadline(const struct shard *s);

/* -- flushing ----------------------------------------------------------------
 */

/* Bytes of records that are in memory only. */
size_t shard_dirty_bytes(const struct shard *s);
/* Begins to collect everything committed, and durable in this node's log, since
 * the last flush, but nothing above `upto` (SHARD_FLUSH_ALL: no bound), so that
 * replicas can be brought to the same LSN; false when there is nothing, or one
 * is under way. shard_flush collects in slices. */
#define SHARD_FLUSH_ALL UINT64_MAX
bool shard_flush_begin(struct shard *s, uint64_t upto);
/* The collected flush, once; NULL until it is complete. The caller makes it
 * durable, then calls shard_flushed (and frees it), or, to give up,
 * shard_flush_failed. */
struct flush *shard_flush_take(struct shard *s);
/* From shard_flush_begin to shard_flushed or shard_flush_failed. */
bool shard_flush_pending(const struct shard *s);
void shard_flushed(struct shard *s, usec_t now, const struct flush *f);
void shard_flush_failed(struct shard *s);
/* Frees memory of flushed versions; true when done. */
bool shard_trim(struct shard *s, size_t budget);
/* Entries below this are neither needed for a restart nor for followers. */
uint64_t shard_keep_from(const struct shard *s);
/* A container is gone: drops its versions in memory, looking at about `budget`
 * keys; true when none are left. Not while a flush is pending, which would
 * bring them back; the owner drops those in the engine afterwards. */
bool shard_drop_container(struct shard *s, uint32_t container, size_t budget);

/* -- snapshots ----------------------------------------------------------------
 */

/* Whether it is a shard of heads. */
bool shard_is_witness(const struct shard *s);
/* Whether payload may leave for `to`: a member that is no witness. */
bool shard_sends_payload(const struct shard *s, raft_id to);
/* At the leader, for the first frame; see raft_snapshot_offer. */
int shard_snapshot_offer(const struct shard *s, raft_id to, uint64_t lsn,
                         struct raft_msg *msg_out);
void shard_snapshot_sent(struct shard *s, usec_t now, raft_id to, bool ok);
/* A member that could send a snapshot in the leader's place. */
struct shard_sender {
    raft_id node;
    uint64_t match_lsn; /* its log is the leader's up to here */
};
/* At the leader: who, beside it, could send one to `to`: members whose log is
 * known to be this leader's beyond where that begins in memory. A state that
 * such a one has flushed, at an LSN from `*least_out` to its match_lsn, is of
 * this leader's history, and can be gone on from. Returns how many; `out` has
 * room for RAFT_MEMBERS_MAX. None to a witness, and none when not leading. */
uint32_t shard_senders(const struct shard *s, raft_id to,
                       struct shard_sender *out, uint64_t *least_out);
/* At such a member: whether it may do so, at the word of `leader` in `term`.
 * ERR_STALE: it follows another, or none, or its state is being replaced or was
 * overruled; ERR_CORRUPT: it is distrusted (shard_distrust); ERR_FORBIDDEN:
 * payload must not leave for `to`. */
int shard_may_send(const struct shard *s, raft_id leader, uint64_t term,
                   raft_id to);
/* Entries above `lsn` are kept in memory for who receives a snapshot of it, as
 * far as SHARD_RETAIN_LAGGING_BYTES allows; UINT64_MAX: none are. */
void shard_retain(struct shard *s, uint64_t lsn);
/* See raft_pace_learners; returns raft_learners_behind. */
uint32_t shard_pace_learners(struct shard *s, uint64_t bytes_per_s);
/* At the receiver: a complete snapshot is on disk in `incoming`. ERR_OK: the
 * log was told to reset (log_reset was called); once that is durable the owner
 * adopts the new state and calls shard_adopted, with its SHARD_INFO_DEDUPE (may
 * be empty). ERR_STALE: not needed, throw it away. ERR_AGAIN: a flush is
 * pending or another snapshot is being installed. From ERR_OK to shard_adopted
 * nothing is served and new requests are answered NO_LEADER. */
int shard_installed(struct shard *s, usec_t now, raft_id from, uint64_t lsn,
                    uint64_t term, const struct raft_config *config);
void shard_adopted(struct shard *s, usec_t now, struct bytes dedupe);
/* To be asked before shard_installed, with the SHARD_INFO_DEDUPE of the
 * snapshot: whether it is of a log that lacks what is committed here, which
 * only a forced recovery elsewhere can have given up. Then it must not be
 * installed; the shard says so from now on (shard_overruled) and is to be
 * rebuilt. */
bool shard_contradicted(struct shard *s, struct bytes dedupe);
bool shard_overruled(const struct shard *s);
bool shard_installing(const struct shard *s);

/* The store is damaged, and another one is there with the whole state of (lsn,
 * term). Whether it may take the place of the flushed state, the log staying as
 * it is: all between the two is in the log, committed and durable. ERR_AGAIN:
 * not yet; ERR_STALE: the flushed state is beyond it, so that the log may lack
 * what follows it; ERR_PRECONDITION: it is of another history; ERR_UNAVAILABLE:
 * this replica leads, is being rebuilt, or adopts a snapshot. At the same LSN
 * the owner just swaps them; else it begins a flush up to `lsn`, and does so in
 * place of writing what that collects. */
int shard_renewable(const struct shard *s, uint64_t lsn, uint64_t term);

/* Whether the flushed state says that the container is gone from this shard
 * (mark.h), and has no record of it. False also where it cannot be read. */
bool shard_emptied(const struct shard *s, uint32_t container);

/* -- looking ------------------------------------------------------------------
 */

/* By which rule a shard's log says to acknowledge. */
struct shard_rule {
    uint32_t epoch;
    raft_region write_region; /* 0 unless ack is RAFT_ACK_REGION */
    uint8_t ack;              /* enum raft_ack */
};

struct shard_status {
    uint16_t id;
    enum raft_role role;
    raft_id leader;
    uint64_t term;
    uint64_t last_lsn, commit_lsn, region_lsn, flushed_lsn, base_lsn;
    uint64_t ack_lsn;     /* leader: acknowledged up to here; else 0 */
    uint64_t visible_lsn; /* what weak reads see here */
    /* Leader: acknowledged and not yet with a majority of all voters, so that
     * the loss of the write region would lose them. */
    uint64_t at_risk_entries;
    usec_t at_risk_us; /* how long ago the oldest of them was logged */
    /* Everything that was acknowledged anywhere this long ago is visible here;
     * USEC_NEVER: cannot tell. At a witness, which shows nothing: 0. */
    usec_t fresh_us;
    /* The newest rule in the log, and the newest committed one. */
    struct shard_rule rule, rule_committed;
    bool changing;       /* the newest configuration is joint or uncommitted */
    bool overruled;      /* raft_overruled: this replica must be rebuilt */
    bool distrusted;     /* see shard_distrust */
    raft_id transfer_to; /* leader: who is being handed the leadership, or 0 */
    /* How long the last hand-over of the leadership from here kept writes
     * waiting: from shard_transfer until a leader was known again. 0: none
     * yet. */
    usec_t handover_us;
    /* Ever, in this life of the object. */
    uint64_t throttled;       /* writes refused to keep the bound */
    uint64_t session_waits;   /* reads that waited for their token's state */
    uint64_t session_behind;  /* of them, in vain */
    uint64_t bounded_refused; /* reads that could not be proved fresh */
    uint64_t damaged; /* requests that met a record that is not authentic, or a
                       * store that cannot be read */
    size_t memtable_bytes, entry_bytes;
    uint32_t waiting;
    bool has_key, no_space, installing;
    bool witness; /* needs no key, and serves nobody */
    enum raft_amnesia amnesia;
    raft_id told_missing;     /* ASKING: whose answer is waited for */
    uint32_t salvage_pending; /* conflicts not yet delivered, salvage.h */
};
void shard_status(const struct shard *s, usec_t now,
                  struct shard_status *status_out);
raft_id shard_leader(const struct shard *s);
uint64_t shard_commit_lsn(const struct shard *s);
/* Of the last entry that there is, or that a leader's last write will be. */
uint64_t shard_last_lsn(const struct shard *s);
/* Whether a state at (epoch, lsn) satisfies a session token. */
static inline bool shard_satisfies(uint32_t epoch, uint64_t lsn,
                                   uint32_t token_epoch, uint64_t token_lsn)
{
    return epoch > token_epoch || (epoch == token_epoch && lsn >= token_lsn);
}

/* The document writes that are acknowledged here and not with a majority of all
 * voters: what losing this replica's region would lose. For the leader; others
 * know only a part. */
void shard_each_at_risk(const struct shard *s,
                        void (*each)(void *user, uint32_t container),
                        void *user);
/* Walks the live records of a container at the commit point and gives each
 * opened text; for building the catalog. ERR_CORRUPT etc. of the store. */
int shard_each_record(struct shard *s, uint32_t container,
                      void (*each)(void *user, uint64_t record,
                                   struct bytes text),
                      void *user);
/* Whether a record, as a store has it, is authentic; one that is not sealed is.
 * ERR_CORRUPT, ERR_MALFORMED: it is not; ERR_UNAVAILABLE: sealed with a key
 * that is not known here (yet). `*sealed_out` says whether there was anything
 * to open. */
int shard_check_record(struct shard *s, struct bytes key, struct bytes value,
                       bool *sealed_out);
/* Opens the sealed value of one effect of a committed entry. Errors of
 * seal_open, but ERR_UNAVAILABLE when the key is not known here (yet). */
int shard_open_value(struct shard *s, struct bytes key, struct bytes sealed,
                     struct buf *out);

#endif
