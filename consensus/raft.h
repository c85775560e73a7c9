/* The consensus core of one shard: Raft as a step function.
 *
 *     event  ->  raft_step()  ->  update
 *
 * The core is pure: no clock, descriptor, thread or global. Time is in the
 * event (monotonic microseconds, never falling), randomness comes from a seed,
 * and what must be done in the world is handed out in the update. Same events,
 * same updates.
 *
 * Sources: "paper" is Ongaro and Ousterhout, In Search of an Understandable
 * Consensus Algorithm (extended version); "thesis" is Ongaro's dissertation;
 * "design" is the project's design page, section 3.
 *
 * ## What the core knows of the log
 *
 * Only its trail: LSN, term, type and size of each entry above `base_lsn`, and
 * the decoded configurations. Payloads stay with the shell. LSNs start at 1
 * and have no gaps.
 *
 * ## Obligations of the shell, in order, after each raft_step
 *
 *  1. If `reset` is set: drop the whole log; it begins after `reset_lsn`.
 *  2. If `truncate` is set: drop all entries at and above `truncate_lsn`.
 *  3. Append the `n_entries` entries from `first_lsn` on.
 *  4. Record `term` and `vote` if `hard_state` is set.
 *     1 to 4 are one write. It need not be synced at once: many updates may
 *     share one sync. When all writes up to and including that of update
 *     number `seq` are durable, step RAFT_EV_PERSISTED with that `seq`. Writes
 *     become durable in the order of their updates.
 *  5. Send each message. One with `after_persist` set must not leave before
 *     every write up to and including this update's is durable (also when this
 *     update itself writes nothing). The others may leave at once; in
 *     particular a leader's appends overtake its own sync (thesis 10.2.1).
 *     Messages may be lost, delayed, repeated and reordered; dropping one that
 *     cannot be sent is always allowed. A message held back for a sync may be
 *     dropped, never sent early.
 *  6. Apply entries up to `commit_lsn`, answer writes up to `ack_lsn` (ask
 *     raft_may_ack first if time has passed since the step), serve `reads`,
 *     start `snapshots`.
 *  7. Step RAFT_EV_TICK at `deadline_us` (later is allowed, never harmful to
 *     safety; earlier is harmless).
 *
 * `commit_lsn` may run ahead of what is durable locally: others hold it then.
 *
 * ## Terms and epochs
 *
 * A term is epoch (high 32 bits) | counter (low 32 bits). The epoch counts the
 * decisions about the write region; as the high half of the term, "a newer
 * decision wins" is Raft's own rule that a higher term wins.
 *
 * ## Memory
 *
 * The core owns what it allocates. Pointers in an event are borrowed for the
 * call. Pointers in an update belong to the core and are valid until the next
 * raft_step or raft_free on the same object. Bookkeeping is bounded by the
 * options and aborts when memory runs out (mem.h).
 */
#ifndef BASTIDE_CONSENSUS_RAFT_H
#define BASTIDE_CONSENSUS_RAFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "consensus/members.h"
#include "node/base/clock.h"

struct raft;
struct raft_trace;

/* ---- terms ----------------------------------------------------------------
 */

#define RAFT_TERM(epoch, counter)                                              \
    (((uint64_t)(epoch) << 32) | (uint64_t)(uint32_t)(counter))
#define RAFT_TERM_EPOCH(term) ((uint32_t)((uint64_t)(term) >> 32))
#define RAFT_TERM_COUNTER(term) ((uint32_t)((uint64_t)(term)&0xffffffffu))

/* ---- entries --------------------------------------------------------------
 */

enum raft_entry_type {
    RAFT_ENTRY_DATA = 1,   /* a proposal; its payload is the proposer's */
    RAFT_ENTRY_NOOP = 2,   /* first entry of a leader, empty (thesis 6.4) */
    RAFT_ENTRY_CONFIG = 3, /* payload: raft_config_encode of `config` */
};

/* The head of an entry: all the core ever sees of it. */
struct raft_entry {
    uint64_t term;
    uint32_t size; /* payload bytes; NOOP: 0; CONFIG: raft_config_encoded_size;
                    * DATA at a witness: 0 */
    uint8_t type;  /* enum raft_entry_type */
    /* For CONFIG entries, else NULL. Borrowed in events; in updates valid as
     * long as the update. */
    const struct raft_config *config;
};

/* ---- messages -------------------------------------------------------------
 */

#define RAFT_MSG_LIST(X)                                                       \
    X(APPEND, append)                                                          \
    X(APPEND_REPLY, append_reply)                                              \
    X(VOTE, vote)                                                              \
    X(VOTE_REPLY, vote_reply)                                                  \
    X(READ_INDEX, read_index)                                                  \
    X(READ_INDEX_REPLY, read_index_reply)                                      \
    X(TIMEOUT_NOW, timeout_now)                                                \
    X(SNAP_OFFER, snap_offer)                                                  \
    X(SNAP_STATUS, snap_status)                                                \
    X(ASK, ask)                                                                \
    X(TELL, tell)

enum raft_msg_type {
#define RAFT_MSG_ENUM(name, field) RAFT_MSG_##name,
    RAFT_MSG_LIST(RAFT_MSG_ENUM)
#undef RAFT_MSG_ENUM
        RAFT_MSG_TYPES
};

/* Leader to member: entries prev_lsn+1 .. prev_lsn+n; with n == 0 a heartbeat.
 */
struct raft_append {
    uint64_t prev_lsn;
    uint64_t prev_term;
    uint64_t commit_lsn;
    /* The leader's own clock when this was sent; the reply returns it. Means
     * nothing to anybody else. Never falls within a term. */
    int64_t sent_us;
    /* The leader's ack_lsn, if its lease held when this was made and an entry
     * of its own term is acknowledged; else 0. All that was acknowledged by
     * anybody before this was made then lies at or below it. */
    uint64_t ack_lsn;
    /* The newest `own_us` that this leader has from the receiver in this term,
     * and the life it belongs to; 0, 0: none, or ack_lsn is 0, or another node
     * was asked to take over. See raft_fresh_since. */
    int64_t echo_us;
    uint64_t echo_life;
    uint32_t n;
    uint32_t bytes; /* sum of the payload sizes, as far as they are sent */
    /* Incoming: n heads, borrowed from the event. Outgoing: NULL; the shell
     * attaches heads (raft_entry_at) and payloads when it sends. If the trail
     * no longer holds one of them, or holds another term at prev_lsn, by then,
     * drop the message. To a witness (raft_config_is_witness), DATA goes with
     * size 0 and without payload; to who is no member by then, nothing. */
    const struct raft_entry *entries;
};

struct raft_append_reply {
    bool accepted;
    /* accepted: the sender's durable log agrees with the leader's up to here.
     * rejected: the prev_lsn that did not match. */
    uint64_t lsn;
    /* rejected: where the leader should try next, (thesis 5.3 hint): the last
     * entry of the sender that may still agree. accepted: `lsn` again, with the
     * term it has here (0: not known), for the leader to compare. */
    uint64_t hint_lsn;
    uint64_t hint_term;
    int64_t sent_us; /* from the append */
    /* The replier's own clock when this was made. Means nothing to anybody
     * else: the leader returns it (append.echo_us). */
    int64_t own_us;
    uint64_t life; /* names one life of the replier, see raft_read_index */
    /* The replier's visible_lsn, as far as its log was found to be that of this
     * leader; 0: none of it was yet. */
    uint64_t seen_lsn;
};

struct raft_vote {
    bool pre;      /* pre-vote (thesis 9.6): promises and changes nothing */
    bool transfer; /* the leader asked for this election: stickiness is off */
    uint64_t last_lsn;
    uint64_t last_term;
};

struct raft_vote_reply {
    bool pre;
    bool granted;
    uint64_t last_lsn; /* of the voter's log */
    uint64_t last_term;
};

struct raft_read_index {
    /* Names one life of the sender: the answer to a question that was asked
     * before a restart says nothing about reads that came after it. */
    uint64_t life;
    uint64_t seq; /* all reads of the sender up to this number */
};

struct raft_read_index_reply {
    uint64_t life; /* from the request */
    uint64_t seq;
    uint64_t lsn; /* reads up to `seq` may be served once this is applied */
};

struct raft_timeout_now {
    uint64_t lsn; /* the leader's last LSN: campaign only with all of it */
};

/* First frame of a snapshot stream; built by raft_snapshot_offer. */
struct raft_snap_offer {
    uint64_t lsn;
    uint64_t lsn_term;
};

struct raft_snap_status {
    bool wanted;  /* answer to an offer: send it */
    uint64_t lsn; /* !wanted: the sender has everything up to here, durable */
};

/* An amnesiac asks every other voter, and its leader now and then. */
struct raft_ask {
    uint64_t life;     /* names one life of the sender, see raft_read_index,
                          and one round of its questions */
    uint64_t last_lsn; /* durable in the sender's log: no more than that may
                          be counted as acknowledged by it */
};

/* Voters that a raft_tell can name. */
#define RAFT_TELL_VOTERS_MAX (2 * RAFT_MEMBERS_MAX)

struct raft_tell {
    uint64_t life;     /* from the question */
    uint64_t last_lsn; /* of the sender's log */
    uint64_t last_term;
    /* As far as the sender knows, the asker alone may have acknowledged: it is
     * the only voter of the write region. */
    bool sole;
    /* All that vote by any configuration in the sender's log, from the newest
     * that it knows to be committed on. 0: it does not tell (an older release,
     * or they are too many). */
    uint32_t n_voters;
    raft_id voters[RAFT_TELL_VOTERS_MAX];
};

struct raft_msg {
    enum raft_msg_type type;
    raft_id from;
    raft_id to;
    uint64_t term; /* of the sender; of a pre-vote: the term it aims at */
    bool
        after_persist; /* outgoing only, see above; not part of the wire form */
    union {
        struct raft_append append;
        struct raft_append_reply append_reply;
        struct raft_vote vote;
        struct raft_vote_reply vote_reply;
        struct raft_read_index read_index;
        struct raft_read_index_reply read_index_reply;
        struct raft_timeout_now timeout_now;
        struct raft_snap_offer snap_offer;
        struct raft_snap_status snap_status;
        struct raft_ask ask;
        struct raft_tell tell;
    };
};

/* ---- events ---------------------------------------------------------------
 */

#define RAFT_EV_LIST(X)                                                        \
    X(TICK)                                                                    \
    X(MESSAGE)                                                                 \
    X(PROPOSE)                                                                 \
    X(CHANGE)                                                                  \
    X(PERSISTED)                                                               \
    X(TRANSFER)                                                                \
    X(READ)                                                                    \
    X(CAMPAIGN)                                                                \
    X(EPOCH)                                                                   \
    X(RECOVER)                                                                 \
    X(PEER)                                                                    \
    X(INSTALLED)                                                               \
    X(SNAPSHOT_SENT)                                                           \
    X(COMPACT)                                                                 \
    X(DOWN)

enum raft_event_type {
#define RAFT_EV_ENUM(name) RAFT_EV_##name,
    RAFT_EV_LIST(RAFT_EV_ENUM)
#undef RAFT_EV_ENUM
        RAFT_EV_TYPES
};

struct raft_event {
    enum raft_event_type type;
    /* Monotonic, same clock for all events of this object. Of a MESSAGE: read
     * after the message had arrived, not before. */
    usec_t now_us;
    union {
        /* A message for this node. Any content is allowed; what makes no sense
         * is ignored (ERR_PROTOCOL). The shell has already checked that `from`
         * is who the link says it is. */
        const struct raft_msg *message;

        /* Append n data entries. Result: ERR_OK and update.first_lsn, or
         * ERR_NOT_LEADER; ERR_THROTTLED (the uncommitted tail is at its cap:
         * nothing was appended); ERR_AGAIN (a transfer is under way: retry when
         * it ends or another leader appears); ERR_LIMIT (n is 0 or above
         * uncommitted_entries_max, or the bytes exceed the cap on their own).
         */
        struct {
            const uint32_t *sizes;
            uint32_t n;
        } propose;

        /* Change members, rule or epoch to `target` (not joint). The core
         * enters and leaves the joint configuration by itself; the change is
         * done when raft_config(r) equals `target` and is committed. A new
         * voter should be a learner first and have caught up, else commits wait
         * for it. Result: ERR_OK and update.first_lsn; ERR_NOT_LEADER;
         * ERR_AGAIN (another change or a transfer is under way, or this leader
         * has not committed an entry of its term yet); ERR_STALE (a newer
         * decision is known; the leader records that first); errors of
         * raft_config_enter. */
        struct {
            const struct raft_config *target;
        } change;

        /* All writes of updates up to number `seq` are durable. */
        struct {
            uint64_t seq;
        } persisted;

        /* Hand the leadership to voter `to`. ERR_NOT_LEADER; ERR_INVALID (no
         * voter, a witness, or this node itself); ERR_AGAIN (one is under way).
         * It is over when the role changes, or when raft_transferring(r) is 0
         * again: it then failed (transfer_timeout_us). */
        struct {
            raft_id to;
        } transfer;

        /* Ask for an LSN at which a linearizable read may be served. `id` is
         * the caller's and comes back in update.reads (possibly of this same
         * step). ERR_NO_LEADER (fails at once: nobody to ask); ERR_FULL
         * (RAFT_READS_MAX are waiting). With an error, `id` is not reported
         * again. */
        struct {
            uint64_t id;
        } read;

        /* TICK, CAMPAIGN: no fields. CAMPAIGN: start a pre-vote now if this
         * node is a voter and hears no leader, and keep trying at short
         * intervals for a while; a hint, never unsafe, and may be repeated at
         * will. Meant for a shard that never had a leader, and for the voters
         * of a new write region after EPOCH. Several may be told at once: who
         * has just promised a vote to another holds back for a moment. */

        /* The meta shard decided a forced failover: from `epoch` on,
         * acknowledge by `ack` in `write_region`. A decision not newer than
         * what is known is ignored. Tell it again after a restart: who sees a
         * term of an epoch it does not know waits for the decision instead of
         * campaigning. It takes effect when this node next campaigns; a leader
         * that is still heard is not deposed by it, but writes the decision
         * into its log. Elections by it may drop entries that only the old
         * write region had. The region must have voters here: as long as it has
         * none nobody can be elected, until a newer decision names one that
         * has. For a planned switch step CHANGE instead, and tell the decision
         * when that is committed.
         *
         * `recovered`: the newest epoch up to this one that began with RECOVER,
         * 0 when none did. A node whose log is older than that, and which was
         * not told RECOVER itself, may count voters that count no more: it does
         * not campaign until a leader has brought it up to date. */
        struct {
            uint32_t epoch;
            raft_region write_region;
            uint8_t ack;
            uint32_t recovered;
        } epoch;

        /* An operator gives up a majority of the voters for lost: what the
         * survivors have is from now on what counts. `config` (valid, not
         * joint): a newer epoch; the survivors vote, all others are learners or
         * no members. The node takes the epoch as its term at once, so it
         * never again follows a leader, or votes for a candidate, of an older
         * one; it campaigns by `config` alone; and the winner's first entry is
         * that CONFIG. Tell the same to every survivor, and again after a
         * restart until raft_config(r)->epoch has reached it; step CAMPAIGN to
         * make haste. What only the lost ones had, acknowledged or not, is
         * lost. They are fenced as soon as they hear of the new epoch: see
         * EPOCH, `recovered`, and raft_overruled.
         *
         * ERR_OK: taken, or taken before. ERR_INVALID: not a valid
         * configuration, or joint. ERR_STALE: the log's configuration, a
         * decision or the term is of this epoch's time or newer: nothing to do
         * (or the epoch is too low). ERR_AGAIN: this node hears a leader, so
         * the voters are not lost; CHANGE is for that. */
        struct {
            const struct raft_config *config;
        } recover;

        /* The link to `id` came up (in-flight messages are forgotten, the peer
         * is probed at once) or went down. */
        struct {
            raft_id id;
            bool reachable;
        } peer;

        /* A snapshot is installed and durable: state up to `lsn` (whose entry
         * had term `term`), configuration `config` in force there, sent by
         * leader `from`. Ignored (ERR_STALE) if this node has committed `lsn`
         * by now. update.reset tells whether the log must be dropped. */
        struct {
            raft_id from;
            uint64_t lsn;
            uint64_t term;
            const struct raft_config *config;
        } installed;

        /* At the leader: the stream that update.snapshots asked for ended. With
         * `ok` false it is asked for again after snapshot_retry_us. */
        struct {
            raft_id id;
            bool ok;
        } snapshot_sent;

        /* Forget the trail up to `lsn`; a snapshot at or above `lsn` can be
         * made. ERR_INVALID: above commit_lsn or not durable yet, or
         * raft_config_at(r, lsn) is empty (a node that was added does not know
         * the members of before that, so its snapshot would be of no use to
         * others). */
        struct {
            uint64_t lsn;
        } compact;

        /* The regions that are declared down; replaces what was said before,
         * and is forgotten by a restart. Only where there is a witness does it
         * matter: a leader tells witnesses of an entry once every other region
         * has its payload (docs/witness.md). A region that is not named any
         * more is awaited again as soon as it has caught up, or a new leader
         * begins. The leader's own may be named: its disks may hang. If all
         * are, its own is awaited. */
        struct {
            const raft_region *regions;
            uint32_t n; /* at most RAFT_MEMBERS_MAX */
        } down;
    };
};

/* ---- updates --------------------------------------------------------------
 */

enum raft_role {
    RAFT_FOLLOWER, /* learners and nodes outside the configuration included */
    RAFT_PRE_CANDIDATE,
    RAFT_CANDIDATE,
    RAFT_LEADER,
};

struct raft_read_done {
    uint64_t id;
    int result;   /* ERR_OK; ERR_NO_LEADER or ERR_TIMEOUT: ask again */
    uint64_t lsn; /* serve once this is applied */
};

/* Where the payloads of update.entries are. */
enum raft_payload {
    RAFT_PAYLOAD_EVENT, /* with the event: entry i is the event's
                           `payload_first + i` */
    RAFT_PAYLOAD_CORE,  /* nowhere: NOOP (empty) and CONFIG (encode `config`) */
};

struct raft_update {
    /* -- to write, see the obligations above -- */
    uint64_t seq; /* number of this update: 1, 2, 3, ... */
    bool write;   /* any of reset, truncate, n_entries, hard_state */
    bool reset;
    uint64_t reset_lsn;
    uint64_t reset_term;
    bool truncate;
    uint64_t truncate_lsn;
    uint64_t first_lsn;
    uint32_t n_entries;
    const struct raft_entry *entries;
    enum raft_payload payload;
    uint32_t payload_first;
    bool hard_state;
    uint64_t term; /* always filled */
    raft_id vote;  /* always filled */

    /* -- to send -- */
    const struct raft_msg *messages;
    size_t n_messages;

    /* -- to know -- */
    uint64_t commit_lsn; /* never falls while the object lives */
    uint64_t region_lsn; /* leader only, else 0; never falls within a term */
    /* Leader only, else 0: writes up to here may be acknowledged to clients
     * now: commit_lsn or region_lsn by the committed rule, and only while the
     * lease holds. Never falls within a term. */
    uint64_t ack_lsn;
    /* Entries up to here are known to be acknowledged, and equal here to those
     * of the leader that acknowledged them: what reads of the weaker levels may
     * see. At least commit_lsn; at the leader also at least ack_lsn. Falls only
     * by `truncate` and `reset`. May run ahead of what is durable here. After a
     * restart it begins at commit_lsn. */
    uint64_t visible_lsn;
    enum raft_role role;
    raft_id leader;    /* 0: unknown */
    bool role_changed; /* role, leader or term differ from before the step */
    /* This node stopped leading: the outcome of all its proposals above
     * ack_lsn is unknown until they are committed or truncated. */
    bool lost_leadership;
    bool config_changed; /* raft_config(r) differs from before the step */

    const struct raft_read_done *reads;
    size_t n_reads;
    /* Start sending a snapshot to each: first raft_snapshot_offer, then state
     * of an LSN at or above raft_base_lsn(r). End: RAFT_EV_SNAPSHOT_SENT. */
    const raft_id *snapshots;
    size_t n_snapshots;

    usec_t deadline_us; /* when RAFT_EV_TICK is due */
};

/* ---- life cycle -----------------------------------------------------------
 */

/* Most linearizable reads that may wait at one node at a time. */
#define RAFT_READS_MAX 4096
/* Clocks of two nodes may differ in rate by this much in all; the lease is
 * shorter than the shortest election timeout by this margin. */
#define RAFT_DRIFT_PERCENT 10

struct raft_options {
    raft_id self;
    uint64_t seed; /* unpredictable, another one at every start */
    /* This replica keeps no payloads (docs/witness.md). It never campaigns, and
     * refuses payloads. */
    bool witness;
    /* Configurations of older epochs are of before this replica was made: they
     * may name the node as the other kind, which it was then. What comes with
     * one of this epoch or a later one that does is refused. */
    uint32_t role_epoch;
    usec_t heartbeat_us;
    usec_t election_min_us; /* timeouts are drawn from [min, max] */
    usec_t election_max_us;
    usec_t priority_step_us;
    /* Who promises its vote to another holds its own campaign back that long,
     * so that votes are not split when several campaign at once: two round
     * trips and a sync, at best. 0: not at all. */
    usec_t vote_grace_us;
    usec_t lease_us; /* at most election_min less RAFT_DRIFT_PERCENT */
    /* A leader that no majority has answered for so long steps down. At least
     * lease_us. The shorter, the sooner those who hear it without being heard
     * look for another. */
    usec_t silence_us;
    usec_t transfer_timeout_us;
    usec_t read_timeout_us;
    usec_t snapshot_retry_us;
    /* A follower is told of a new commit_lsn this late, unless an append takes
     * the news along earlier: saves messages under load. */
    usec_t commit_notice_us;
    uint32_t
        append_bytes_max; /* payload per message; one entry may exceed it */
    uint32_t append_entries_max;
    uint32_t inflight_messages_max; /* unanswered appends per follower */
    uint64_t inflight_bytes_max;
    /* Each learner that is being brought on is sent that much a second, besides
     * what is appended meanwhile: nobody waits for it, and others need the
     * links, the disks and this node's time. 0: no bound. */
    uint64_t learner_bytes_per_s;
    uint32_t uncommitted_entries_max;
    uint64_t uncommitted_bytes_max;
    /* Every decision, as a record (trace.h). May be NULL. Called inside
     * raft_step; must not call back into the core. */
    void (*trace)(void *ctx, const struct raft_trace *record);
    void *trace_ctx;
};

/* Fills everything but `self`, `seed` and `trace` with values for links of up
 * to 150 ms round trip: heartbeat 100 ms, election 1 to 2 s. */
void raft_options_default(struct raft_options *o);

#define RAFT_ALSO_MAX 255

/* What a node finds at start. For a new shard: zeros and the first
 * configuration, the same on every member. For a node that waits to be added:
 * zeros and an empty configuration. */
struct raft_restored {
    uint64_t term;
    raft_id vote;
    uint64_t base_lsn; /* entries up to here are gone from the log */
    uint64_t base_term;
    const struct raft_config *base_config; /* in force at base_lsn */
    const struct raft_entry *entries; /* base_lsn+1 .. base_lsn+n, durable */
    size_t n_entries;
    uint64_t commit_lsn; /* known to be committed; base_lsn at least */
    /* This node lost its log, or its term and vote, some time ago, and
     * raft_amnesiac(r) was not RAFT_AMNESIA_NONE since. It then neither votes
     * nor campaigns until it has learned what it needs from ALL other voters;
     * see raft_amnesiac. Who they are it learns from the answers, beginning
     * with the configuration given here and with `also`: others that may know
     * more, members or not. */
    bool amnesia;
    const raft_id *also;
    size_t n_also; /* at most RAFT_ALSO_MAX */
    /* With `amnesia`: only the entries are lost. `term` and `vote` are those of
     * before, and the log ended with an entry of kept_term at kept_lsn. Then
     * nobody has to be asked for what this node may have promised. */
    bool kept;
    uint64_t kept_lsn, kept_term;
};

/* `options` and `restored` are borrowed for the call. ERR_INVALID: options that
 * contradict each other, or the configuration (witness), or amnesia without
 * anybody to ask. ERR_CORRUPT:
 * terms fall along the log or exceed `term`, a CONFIG entry lacks its
 * configuration, or commit_lsn lies outside the log. A voter that has ever seen
 * a term stays silent for one election timeout after its start: it may have
 * promised a leader not to vote. */
int raft_open(const struct raft_options *options,
              const struct raft_restored *restored, usec_t now_us,
              struct raft **raft_out);
/* NULL is allowed. */
void raft_free(struct raft *r);

/* Handles one event. `update` is the caller's, need not be initialised, and is
 * always filled, whatever the result (an error means that the event itself was
 * refused; obligations may be there all the same). ERR_OK, or what the event
 * lists above. */
int raft_step(struct raft *r, const struct raft_event *event,
              struct raft_update *update);

/* ---- questions ------------------------------------------------------------
 */

enum raft_role raft_role(const struct raft *r);
raft_id raft_leader(const struct raft *r);
uint64_t raft_term(const struct raft *r);
/* Whom it has voted for in that term; 0: nobody. */
raft_id raft_voted_for(const struct raft *r);
uint64_t raft_last_lsn(const struct raft *r);
uint64_t raft_commit_lsn(const struct raft *r);
/* As in the newest update. */
uint64_t raft_visible_lsn(const struct raft *r);
/* The newest LSN known here to be acknowledged, whether or not this log has it:
 * at least visible_lsn. The difference is how many entries this node lacks. */
uint64_t raft_known_lsn(const struct raft *r);
/* The newest time S of this node's own clock for which it is known that
 * everything acknowledged by anybody before S lies at or below visible_lsn
 * here; 0: none is known. Never above `now_us` (that of the newest step, or
 * later). Does not fall, except to 0 by truncation or reset.
 *
 * At a leader that may read by its lease: now. At a follower: the leader
 * returns the follower's own clock (echo_us) together with its ack_lsn, and as
 * soon as that LSN is visible here, everything acknowledged before the echoed
 * reply was made is. Clocks of two nodes are never compared; only the lease
 * trusts their rates (RAFT_DRIFT_PERCENT). Proof: docs/quorum.md.
 *
 * What a forced decision (EPOCH, RECOVER) dropped is not "acknowledged" in the
 * sense of this promise any more, once its leader leads. */
usec_t raft_fresh_since(const struct raft *r, usec_t now_us);
/* The leader's log contradicts what this node knows to be committed: entries
 * that a RECOVER elsewhere gave up. The node goes on refusing that leader's
 * entries and can never catch up: it must be rebuilt (docs/rebuild.md), after
 * whoever cares has saved what only it has. True until the object is freed. */
bool raft_overruled(const struct raft *r);
uint64_t raft_base_lsn(const struct raft *r);
/* Committed and durable here: the most that the shell may apply to a store for
 * good, and COMPACT. */
uint64_t raft_durable_lsn(const struct raft *r);
/* Whether it keeps no payloads, by its options or its newest configuration. */
bool raft_is_witness(const struct raft *r);
/* Whether the configuration does not have this node as the other kind of
 * replica than it is, or is history (raft_options.role_epoch). */
bool raft_role_fits(const struct raft *r, const struct raft_config *c);
/* Leader: whether a witness is told of an entry only once a majority of the
 * region's voters has its payload (RAFT_EV_DOWN). If it is so of every region,
 * what is acknowledged at commit_lsn survives the loss of any one of them. */
bool raft_awaits(const struct raft *r, raft_region region);
/* Newest configuration in the log. Borrowed until the next step. */
const struct raft_config *raft_config(const struct raft *r);
/* The newest committed one, by which a leader acknowledges. */
const struct raft_config *raft_config_committed(const struct raft *r);
/* The one in force at `lsn` (base_lsn to last_lsn, else CHECK): what a snapshot
 * of that LSN, and a restart from there, must name. Borrowed until the next
 * step. */
const struct raft_config *raft_config_at(const struct raft *r, uint64_t lsn);
/* How far a node has come that was opened with `amnesia` (docs/rebuild.md). The
 * shell records durably that it began before it first opens the node so, and
 * drops the record only after this has become NONE, which it does once what it
 * rests on is durable. */
enum raft_amnesia {
    RAFT_AMNESIA_NONE,   /* an ordinary member */
    RAFT_AMNESIA_ASKING, /* deaf until all other voters have told their terms */
    /* Follows a leader; votes only for who surely has what it lost. Once that
     * is itself it may stand, and lead, but is no ordinary member before that
     * is known here to be committed. */
    RAFT_AMNESIA_LEARNING,
};
enum raft_amnesia raft_amnesiac(const struct raft *r);
/* Whether a node with this configuration may be opened with `amnesia`: there is
 * another voter to learn from. */
bool raft_amnesia_possible(const struct raft_config *c, raft_id self);
/* ASKING: a voter whose answer is missing. 0: none is. */
raft_id raft_amnesia_waits_for(const struct raft *r);
/* Target of the transfer under way, 0 when none. */
raft_id raft_transferring(const struct raft *r);
/* Whether this node leads and a majority of all voters has answered it within
 * the lease: to be asked at the moment of acknowledging a write. */
bool raft_may_ack(const struct raft *r, usec_t now_us);
/* The same for answering from what this node holds: not in a term in which it
 * asked another to take over, who may be elected while the lease lasts. Then
 * RAFT_EV_READ tells when to answer. */
bool raft_may_read(const struct raft *r, usec_t now_us);
/* The head of an entry. ERR_NOT_FOUND outside (base_lsn, last_lsn]. */
int raft_entry_at(const struct raft *r, uint64_t lsn,
                  struct raft_entry *entry_out);
/* The term at `lsn`, base_lsn included. ERR_NOT_FOUND. */
int raft_term_at(const struct raft *r, uint64_t lsn, uint64_t *term_out);

/* The leader's message that opens a snapshot stream of state at `lsn`.
 * ERR_NOT_LEADER; ERR_NOT_FOUND: `lsn` is below base_lsn or above commit. */
int raft_snapshot_offer(const struct raft *r, raft_id to, uint64_t lsn,
                        struct raft_msg *msg_out);

enum raft_peer_state {
    RAFT_PEER_PROBE,     /* looking for where the logs agree, one at a time */
    RAFT_PEER_REPLICATE, /* agreed; appends are pipelined */
    RAFT_PEER_SNAPSHOT,  /* needs entries that are gone */
};

struct raft_peer_info {
    enum raft_peer_state state;
    uint64_t match_lsn;      /* durable there and equal to ours */
    usec_t answered_sent_us; /* newest append it answered was sent then */
    /* This node's clock when its newest reply arrived; before the first: when
     * this leadership, or its membership, began. */
    usec_t heard_us;
    uint64_t seen_lsn; /* its visible_lsn, by its replies; 0: none yet */
    raft_region region;
    bool reachable;
    /* It denies having entries that it had acknowledged: its log lost its end,
     * and it must be rebuilt (docs/rebuild.md). What it acknowledged goes on
     * being counted: it was there. False again when it has everything. Or it
     * is being rebuilt: true until it answers without asking any more. */
    bool forgot;
};
/* Another learner_bytes_per_s from now on. */
void raft_pace_learners(struct raft *r, uint64_t bytes_per_s);
/* To how many that pace applies now. */
uint32_t raft_learners_behind(const struct raft *r);

/* What a leader knows of a member. ERR_NOT_LEADER, ERR_NOT_FOUND. */
int raft_peer(const struct raft *r, raft_id id,
              struct raft_peer_info *info_out);

#endif
