/* The state of the core and what its files call in each other.
 *
 *   raft.c         life cycle, dispatch, output, questions
 *   election.c     roles, timers, campaigns, tallies
 *   replicate.c    appends, heartbeats, commit_lsn, region_lsn, lease
 *   change.c       proposals, membership, epoch, transfer
 *   read_index.c   linearizable reads
 *   visible.c      what weaker reads may see, and how fresh it is
 *   amnesia.c      a replica that lost its disk
 *   witness.c      members without payload
 *   recv_*.c       one message each
 *
 * Internal to consensus/.
 */
#ifndef BASTIDE_CONSENSUS_RAFT_IMPL_H
#define BASTIDE_CONSENSUS_RAFT_IMPL_H

#include "consensus/progress.h"
#include "consensus/quorum.h"
#include "consensus/raft.h"
#include "consensus/trace.h"
#include "consensus/trail.h"
#include "node/base/prng.h"

#define RAFT_MAGIC MAGIC('r', 'a', 'f', 't')

/* Read-index requests a follower keeps under way; later reads share the next.
 */
#define READ_ROUNDS_MAX 4
/* Pairs of (acknowledged LSN, own clock) that wait until the LSN is visible. */
#define FRESH_PAIRS_MAX 16

/* A write that is not known to be durable yet. */
struct pending_write {
    uint64_t seq;
    uint64_t last_lsn; /* end of the log once it is */
};

struct vote_slot {
    raft_id id;
    enum quorum_vote vote;
};

/* Everything acknowledged before `us` (own clock) is at or below `lsn`. */
struct fresh_pair {
    uint64_t lsn;
    usec_t us;
};

/* A rule to elect by: the log's, or that of a decision. */
struct rule {
    uint32_t epoch;
    raft_region region;
    uint8_t ack;
};

struct waiting_read {
    raft_id from;  /* 0: asked for here */
    uint64_t id;   /* here: the caller's */
    uint64_t life; /* the asking node's life, and its number */
    uint64_t seq;
    int64_t
        stamp; /* leader: an answer to an append sent then or later will do */
    usec_t deadline_us;
};

/* A region whose payload is not awaited, see witness.c. */
struct excuse {
    raft_region region;
    bool down; /* as DOWN said last; else it is behind */
    /* Behind: what it must get, and since when; 0: not known yet. */
    uint64_t goal;
    usec_t since_us;
};

/* See amnesia.c. */
struct amnesia {
    enum raft_amnesia state;
    usec_t ask_us; /* ask (again) then */
    struct told_end {
        raft_id id;
        uint64_t last_lsn, last_term; /* the furthest it told of */
        bool sole;
        bool votes;     /* by its own log, or it does not tell */
        uint32_t round; /* the newest in which it told */
    } told[RAFT_ALSO_MAX + 1];
    size_t n_told;
    uint32_t round; /* of questions: all are asked twice at least */
    bool fresh;     /* somebody told for the first time in this one */
    raft_id also[RAFT_ALSO_MAX];
    size_t n_also;
    /* Who must tell, by the furthest log told of that says so; 0: by the own
     * configuration. */
    raft_id need[RAFT_TELL_VOTERS_MAX];
    size_t n_need;
    uint64_t term;      /* the highest one told */
    uint64_t need_term; /* the furthest end of a log told: who said `need` */
    uint64_t need_lsn;
    uint64_t last_term; /* the same of those that were needed */
    uint64_t last_lsn;
    bool sole; /* one of those told so */
    bool kept; /* nobody has to tell: raft_restored.kept */
};

struct raft {
    uint32_t magic;
    struct raft_options opt;
    struct prng prng;
    usec_t now_us;

    /* Paper figure 2: persistent state. */
    uint64_t term;
    raft_id vote;
    struct trail trail;

    /* What of it is durable. */
    uint64_t seq;           /* number of the update being made */
    uint64_t persisted_seq; /* writes of updates up to here are durable */
    uint64_t hard_seq;      /* update that last changed term or vote */
    usec_t hard_us;         /* when that was */
    uint64_t persisted_lsn;
    struct pending_write *pending; /* ascending seq */
    size_t n_pending;
    size_t cap_pending;

    /* Volatile state. */
    enum raft_role role;
    raft_id leader;
    uint64_t commit_lsn;
    uint64_t region_lsn;
    uint64_t ack_lsn;
    uint64_t visible_lsn;
    uint64_t verified_lsn;  /* here as at this term's leader; follower */
    uint64_t announced_lsn; /* this term's leader's ack_lsn; follower */
    usec_t fresh_us;        /* what was acknowledged before is visible */
    struct fresh_pair fresh[FRESH_PAIRS_MAX];
    size_t n_fresh;
    bool overruled;
    usec_t election_us;      /* when the election timeout ends */
    usec_t promise_until_us; /* no votes before: a leader was heard */
    struct rule decided;     /* newest decision of the meta shard */
    /* From RECOVER: counts until the log holds one of its epoch or newer. */
    struct raft_config recovery;
    uint32_t recovered;    /* a log older than this epoch may not elect by it */
    uint32_t heard_epoch;  /* the newest that a candidate has named */
    bool eager;            /* CAMPAIGN was asked for: retry fast at term 0 */
    usec_t hurry_until_us; /* and for a while in any term */
    usec_t hold_until_us;  /* another was promised a vote: let it try */
    usec_t hold_since_us;  /* others are let first since then; 0: not */

    struct amnesia amnesia;
    struct excuse excuses[RAFT_MEMBERS_MAX];
    size_t n_excuses;

    /* Candidates. */
    struct vote_slot votes[RAFT_MEMBERS_MAX];
    size_t n_votes;
    uint64_t aim_term; /* the term campaigned for */
    struct rule campaign_rule;
    bool yielded;    /* already waited for a longer log */
    bool saw_longer; /* a voter's log is longer than ours */

    /* Leader. */
    struct progress peers[RAFT_MEMBERS_MAX];
    size_t n_peers;
    usec_t peer_since_us[RAFT_MEMBERS_MAX]; /* grace of check-quorum */
    usec_t heartbeat_us;                    /* next one */
    usec_t notice_us;                       /* tell followers of commits */
    uint64_t first_lsn;                     /* of this leadership */
    int64_t stamp;                          /* goes into appends as sent_us */
    bool stamp_used;
    int64_t round_stamp; /* of the last heartbeat round */
    uint64_t uncommitted_bytes;
    uint64_t appended_bytes; /* ever, in this life */
    raft_id transfer_to;
    usec_t transfer_us;     /* give up then */
    usec_t transfer_ask_us; /* send TIMEOUT_NOW (again) then */
    bool lease_given_up;    /* TIMEOUT_NOW was sent in this term */

    /* Reads, oldest first: reads[reads_head .. reads_head + n_reads). */
    struct waiting_read *reads;
    size_t reads_head;
    size_t n_reads;
    size_t cap_reads;
    uint64_t life;          /* random: see struct raft_read_index */
    uint64_t read_seq;      /* last one given out */
    uint64_t read_sent_seq; /* follower: asked the leader for up to here */
    uint32_t read_rounds;   /* follower: requests under way */
    usec_t read_resend_us;

    /* Output of the step under way. */
    bool out_reset;
    bool out_truncate;
    uint64_t out_truncate_lsn;
    uint64_t out_first_lsn;
    struct raft_entry *out_entries;
    size_t n_out_entries;
    size_t cap_out_entries;
    enum raft_payload out_payload;
    uint32_t out_payload_first;
    bool out_hard_state;
    bool out_lost_leadership;
    struct raft_msg *out_msgs;
    size_t n_out_msgs;
    size_t cap_out_msgs;
    struct raft_read_done *out_reads;
    size_t n_out_reads;
    size_t cap_out_reads;
    raft_id out_snapshots[RAFT_MEMBERS_MAX];
    size_t n_out_snapshots;
};

/* ---- raft.c ----------------------------------------------------------------
 */

/* A new outgoing message of the current term; fill in the body. Valid until
 * the next one is made. */
struct raft_msg *raft_emit(struct raft *r, enum raft_msg_type type, raft_id to);
void raft_note(struct raft *r, enum raft_trace_type type, raft_id peer,
               uint64_t lsn, uint64_t value);
/* Changes the hard state and asks for it to be written. */
void raft_set_hard_state(struct raft *r, uint64_t term, raft_id vote);
bool raft_hard_state_durable(const struct raft *r);
/* Adds an entry to the trail and to the output. */
void raft_log_append(struct raft *r, const struct raft_entry *e,
                     enum raft_payload payload, uint32_t payload_index);
void raft_log_truncate(struct raft *r, uint64_t from);
void raft_log_reset(struct raft *r, uint64_t lsn, uint64_t term,
                    const struct raft_config *config);
void raft_commit_to(struct raft *r, uint64_t lsn);
void raft_report_read(struct raft *r, uint64_t id, int result, uint64_t lsn);

/* ---- election.c ------------------------------------------------------------
 */

/* Whom this node counts when it campaigns: the newest configuration of its
 * log, or that of a RECOVER that the log does not hold yet. */
const struct raft_config *raft_electorate(const struct raft *r);

void raft_reset_election_timer(struct raft *r);
/* Whether this node promised (by hearing, or by being, a leader) not to help
 * depose it. */
bool raft_hears_leader(const struct raft *r);
/* A message of this term's leader arrived. ERR_PROTOCOL when this node leads
 * the same term, or follows another leader in it. */
int raft_heard_leader(struct raft *r, raft_id from);
void raft_become_follower(struct raft *r, uint64_t term, raft_id leader);
/* CAMPAIGN was asked for. */
void raft_hurry(struct raft *r);
/* `peer` was promised a vote; `longer`: its log is longer than ours. */
void raft_hold_back(struct raft *r, raft_id peer, bool longer);
/* A candidate was told that our log is longer: it may not be able to win. */
void raft_stand_soon(struct raft *r);
/* A decision came: those whom it names go first. */
void raft_let_others_go_first(struct raft *r);
/* A real election. `transfer`: at the old leader's wish. */
void raft_campaign(struct raft *r, bool transfer);
void raft_record_vote(struct raft *r, raft_id from, bool granted);
/* Acts on the votes so far. */
void raft_tally(struct raft *r);
void raft_election_timeout(struct raft *r);
/* Whether a log ending so is at least as good as ours (paper 5.4.1). */
bool raft_log_is_current(const struct raft *r, uint64_t last_lsn,
                         uint64_t last_term);

/* ---- replicate.c -----------------------------------------------------------
 */

struct progress *raft_find_peer(struct raft *r, raft_id id);
/* Makes the list of peers follow the configuration. */
void raft_sync_peers(struct raft *r);
void raft_drop_peers(struct raft *r);
/* A leader's own entry. */
void raft_append_own(struct raft *r, uint8_t type, uint32_t size,
                     const struct raft_config *config);
/* Sends what windows allow. */
void raft_replicate(struct raft *r);
void raft_heartbeat(struct raft *r);
void raft_send_heartbeat(struct raft *r, struct progress *p);
/* What a majority of a region's voters has, UINT64_MAX where there are none;
 * and what that of every awaited region has, as far as that cannot be replaced
 * any more: 0 unless it ends with an entry of this term. */
uint64_t raft_region_match(const struct raft *r, raft_region region);
uint64_t raft_payload_lsn(const struct raft *r, quorum_region_fn awaited);
/* Recomputes commit_lsn and region_lsn, and acts on configurations that became
 * committed. */
void raft_advance(struct raft *r);
/* Raises ack_lsn if the lease holds. */
void raft_advance_ack(struct raft *r);
/* Since when a majority of all voters is known to follow; -1: not yet. */
int64_t raft_followed_since(const struct raft *r, usec_t now_us);
bool raft_lease_holds(const struct raft *r, usec_t now_us);
/* The election rule's and check-quorum's view, with grace for new members. */
bool raft_quorum_is_silent(const struct raft *r);
void raft_leader_timers(struct raft *r);
/* Tells what is newly acknowledged or committed, if it is time and nothing that
 * was sent has taken the news along. */
void raft_notify(struct raft *r);
usec_t raft_leader_deadline(struct raft *r);

/* ---- change.c --------------------------------------------------------------
 */

int raft_propose(struct raft *r, const struct raft_event *ev);
int raft_change(struct raft *r, const struct raft_event *ev);
int raft_transfer(struct raft *r, const struct raft_event *ev);
int raft_epoch(struct raft *r, const struct raft_event *ev);
int raft_recover(struct raft *r, const struct raft_event *ev);
/* A leader that outlives a decision records it in the log. */
void raft_adopt_decision(struct raft *r);
/* Sends TIMEOUT_NOW if the target has caught up. */
void raft_transfer_progress(struct raft *r);
void raft_transfer_abort(struct raft *r);

/* ---- read_index.c ----------------------------------------------------------
 */

int raft_read(struct raft *r, const struct raft_event *ev);
int raft_recv_read_index(struct raft *r, const struct raft_msg *m);
int raft_recv_read_index_reply(struct raft *r, const struct raft_msg *m);
/* Serves, asks and expires; at the end of every step. */
void raft_reads_progress(struct raft *r);
void raft_reads_role_changed(struct raft *r, bool was_leader);
/* The leader or the link to it changed: ask again. */
void raft_reads_resend(struct raft *r);
usec_t raft_reads_deadline(const struct raft *r);

/* ---- visible.c -------------------------------------------------------------
 */

/* An append of this term's leader was accepted. */
void raft_visible_hear(struct raft *r, const struct raft_append *a);
/* Makes visible what may be; at the end of every step. */
void raft_visible_advance(struct raft *r);
void raft_visible_new_term(struct raft *r);
/* The log now ends, or is known to agree with others, at `lsn`. */
void raft_visible_cut(struct raft *r, uint64_t lsn);

/* ---- amnesia.c -------------------------------------------------------------
 */

/* Whether there is another voter to ask. */
void raft_amnesia_begin(struct raft *r, const struct raft_restored *restored);
/* Whether the message must be ignored. */
bool raft_amnesia_bars(struct raft *r, const struct raft_msg *m);
void raft_amnesia_ask_soon(struct raft *r);
int raft_recv_ask(struct raft *r, const struct raft_msg *m);
int raft_recv_tell(struct raft *r, const struct raft_msg *m);
/* Whether it may campaign, though it is one: its log has come far enough. */
bool raft_amnesia_may_stand(const struct raft *r);
/* Asks, and ends it; at the end of every step. */
void raft_amnesia_progress(struct raft *r);
usec_t raft_amnesia_deadline(const struct raft *r);
/* At a leader: whether a peer is, as far as its questions tell. */
bool raft_amnesia_of_peer(const struct raft *r, const struct progress *p);

/* ---- witness.c -------------------------------------------------------------
 */

/* raft_role_fits, before there is a core. */
bool raft_options_fit(const struct raft_options *o,
                      const struct raft_config *c);
int raft_regions_down(struct raft *r, const struct raft_event *ev);
/* A leadership begins; a heartbeat round does. */
void raft_excuses_forget(struct raft *r);
void raft_excuses_round(struct raft *r);
/* The last entry that the peer may be told of. */
uint64_t raft_told_limit(const struct raft *r, const struct progress *p);

/* ---- recv_*.c --------------------------------------------------------------
 * Terms were compared already: APPEND and SNAP_OFFER are of this term, replies
 * too; VOTE may be of any term. All return ERR_OK or ERR_PROTOCOL. */

int raft_recv_append(struct raft *r, const struct raft_msg *m);
int raft_recv_append_reply(struct raft *r, const struct raft_msg *m);
int raft_recv_vote(struct raft *r, const struct raft_msg *m);
int raft_recv_vote_reply(struct raft *r, const struct raft_msg *m);
int raft_recv_timeout_now(struct raft *r, const struct raft_msg *m);
int raft_recv_snap_offer(struct raft *r, const struct raft_msg *m);
int raft_recv_snap_status(struct raft *r, const struct raft_msg *m);
int raft_installed(struct raft *r, const struct raft_event *ev);
int raft_snapshot_sent(struct raft *r, const struct raft_event *ev);

#endif
