/* Inside of a shard; for the files of this folder only. */
#ifndef BASTIDE_SHARD_SHARD_IMPL_H
#define BASTIDE_SHARD_SHARD_IMPL_H

#include "node/json/json.h"
#include "node/shard/dedupe.h"
#include "node/shard/entries.h"
#include "node/shard/shard.h"
#include "node/shard/terms.h"
#include "node/store/memtable.h"

#define SHARD_MAGIC MAGIC('s', 'h', 'r', 'd')
/* Messages that wait for a sync; beyond it the oldest is dropped, which Raft
 * allows. */
#define SHARD_HELD_MAX 4096
/* How often requests are checked against their deadlines. */
#define SHARD_EXPIRY_US (50 * USEC_PER_MS)
/* How often entries that were kept for lagging followers are looked at: all of
 * them are, and they may be many. */
#define SHARD_DROP_US USEC_PER_SEC
/* Keys looked at in one turn for a flush, and for a long scan. */
#define SHARD_COLLECT_BUDGET 4000

struct held_message {
    struct list node;
    uint64_t after; /* goes when this update is durable */
    struct raft_msg msg;
};

/* See salvage.h. */
struct salvage {
    struct list parts; /* conflicts that are not final, oldest first */
    uint32_t pending;  /* how many */
    uint32_t inflight;
    uint32_t last_number; /* the last SALVAGE record's */
    uint32_t marked;      /* the last SALVAGED record's */
    size_t bytes;         /* of the entries of those without an answer */
};

struct shard {
    uint32_t magic;
    uint16_t id;
    raft_id self;
    void *user;
    const struct shard_env *env;
    struct raft *raft;
    struct sealer *sealer;
    struct kv kv;

    /* Log and records. `commit_seen`: on_committed was called up to here. */
    struct entries entries;
    struct memtable *memtable;
    struct dedupe dedupe;
    struct terms terms;
    struct salvage salvage;
    uint64_t commit_seen;
    uint64_t ack_seen;        /* raft's ack_lsn; 0 unless leading */
    uint64_t region_seen;     /* raft's region_lsn; 0 unless leading */
    uint64_t visible_seen;    /* raft's visible_lsn: what weak reads see... */
    uint64_t visible_term;    /* ...and the term of its entry */
    uint64_t committed_bytes; /* of all entries up to commit_seen, ever */
    uint64_t appended_bytes;  /* of all entries up to the last, ever */

    /* Writes of this turn: evaluated, in the memtable, not yet proposed. Entry
     * i has LSN raft_last_lsn + 1 + i. */
    struct entry **queue;
    uint32_t queue_len, queue_cap;
    size_t queue_bytes; /* of their payloads */
    struct list queued; /* their requests, by LSN */
    /* The highest LSN that something was sealed for in `sealed_term`, whether
     * or not it was logged: never to be sealed for again (seal.h). */
    uint64_t sealed_lsn, sealed_term;

    struct list writes;      /* logged, not yet acknowledged; by LSN */
    struct list refusals;    /* writes that failed, see request.c; by LSN */
    struct list reads_new;   /* of this turn, need a read-index round */
    struct list reads_asked; /* in a round */
    struct list reads_lsn;   /* know their LSN, not applied yet */
    struct list reads_token; /* wait for their session's state */
    struct list scans;       /* long scans under way */
    uint32_t waiting;        /* requests in all lists */
    uint64_t read_round;

    /* The bound of the account, while leading; see govern.c. */
    struct staleness governor;
    uint32_t policy_epoch;  /* of the newest policy told */
    uint64_t governed_term; /* the governor knows of this leadership */
    usec_t transfer_us;     /* a transfer is under way since; 0: none is */
    usec_t handover_us;
    usec_t append_us; /* the newest append came */
    usec_t step_us;   /* the newest step */
    uint64_t throttled, session_waits, session_behind, bounded_refused;
    uint64_t damaged;

    /* Durability. */
    uint64_t written; /* last update that wrote */
    uint64_t durable; /* all updates up to here are durable */
    struct list held;
    uint32_t held_count;

    uint32_t key_id;
    uint32_t retain_entries;
    size_t retain_lagging;
    uint64_t retain_from; /* see shard_retain */
    bool retains_more;    /* entries that only lagging followers need */
    bool witness;         /* keeps no payload */
    bool has_key;
    bool no_space;
    bool installing;
    bool contradicted; /* see shard_contradicted */
    bool distrusted;   /* see shard_distrust */
    bool hold;         /* see shard_hold */
    bool stepping;     /* inside raft_step and what follows from it */
    bool closing;

    struct flush *flush; /* being collected */
    bool flushing;       /* begun and not ended */
    usec_t raft_deadline;
    usec_t expiry_at, drop_at;
    /* Scratch for one append message of at most `heads_max` entries. */
    struct raft_entry *heads;
    struct entry **refs;
    uint32_t heads_max;
    struct json json; /* scratch for scans */
};

/* ---- request.c --------------------------------------------------------------
 */

/* The LSN at which a read sees the records: by its level. */
/* Whether the replica's state at `lsn` has what a read of `op` is about, where
 * its container was ever moved (mark.h); the caller is inside kv_begin. ERR_OK;
 * ERR_MOVED; ERR_NOT_LEADER: the leader may know better. */
int shard_read_moved(const struct shard *s, const struct op *op, uint64_t lsn);
uint64_t shard_read_lsn(const struct shard *s, const struct op *op);
/* What the answer of a read reflects. */
void shard_set_state(struct shard *s, struct op_result *result, uint64_t lsn);
/* Ends a request: takes it out of its list, counts, calls done. */
void shard_finish(struct shard *s, struct shard_request *req);
void shard_fail(struct shard *s, struct shard_request *req, int err);
/* All of a list; what their callbacks submit is not among them. */
void shard_fail_all(struct shard *s, struct list *requests, int err);
/* Answers the requests of a list whose deadline has passed. */
void shard_expire(struct shard *s, usec_t now, struct list *requests, int err);

/* Answers session reads that waited long enough. */
void shard_expire_sessions(struct shard *s, usec_t now);
/* Where the lease does not hold, refusals wait for a read-index round. */
void shard_ask_refusals(struct shard *s, usec_t now);
/* Serves what waited for an LSN that is applied by now, or for a state that is
 * visible by now. */
void shard_serve_ready(struct shard *s);
/* A read-index round came back. */
void shard_reads_done(struct shard *s, const struct raft_read_done *done);
/* Answers the writes up to s->ack_seen, and the refusals that rest on no more
 * than that. */
void shard_answer_writes(struct shard *s, usec_t now);
/* The turn's writes will not be proposed: their effects disappear, their
 * requests and all refusals go to `cancelled`, to be answered NOT_LEADER. */
void shard_cancel_queue(struct shard *s, struct list *cancelled);

/* ---- step.c
 * ------------------------------------------------------------------
 */

/* Where the payloads of a step's entries are. */
struct step_payloads {
    const struct bytes *bytes; /* of a message */
    struct entry **entries;    /* of a proposal: references are taken over */
};

/* Steps the core and carries out what it asks for. `payloads` may be NULL. */
int shard_step(struct shard *s, const struct raft_event *event,
               const struct step_payloads *payloads);

/* ---- govern.c
 * ------------------------------------------------------------------
 */

/* Before the messages of a step leave: what it says about the other replicas.
 */
void shard_govern(struct shard *s, const struct raft_event *event,
                  const struct raft_update *u);
/* Whether the account's bound allows one more entry. ERR_OK; ERR_THROTTLED and
 * ERR_UNAVAILABLE with *retry_after_ms_out. */
int shard_govern_write(struct shard *s, usec_t now, uint64_t lsn,
                       uint32_t *retry_after_ms_out);
/* Whether a member may be told how fresh it is. */
bool shard_trusts(struct shard *s, usec_t now, raft_id id);

/* ---- salvage.c
 * ------------------------------------------------------------------
 */

void salvage_init(struct salvage *v);
void salvage_free(struct shard *s);
/* Takes over the references of r->salvage. ERR_CORRUPT. */
int salvage_restore(struct shard *s, const struct shard_restored *r);
/* The entries from `from` on go, because of a leader of `term`: salvages those
 * that it must. `visible` is raft's visible_lsn before that. */
void salvage_cut(struct shard *s, uint64_t from, uint64_t term,
                 uint64_t visible);
/* Whether nothing more may be cut off for now. */
bool salvage_full(const struct shard *s);

/* ---- keep.c
 * ------------------------------------------------------------------
 */

/* Now and then: lets go of what was kept for followers that have it by now. */
void shard_drop_retained(struct shard *s, usec_t now);

/* SHARD_INFO_DEDUPE: what the shard remembers of its log up to `upto`,
 *     u8 version (2)  u32 length  the operations (dedupe.h)  the terms
 * (terms.h) or, from before there was more to remember, the operations alone.
 */
int shard_history_encode(const struct shard *s, uint64_t upto, struct buf *out);
/* Adds to a fresh history that knows `lsn` alone. ERR_MALFORMED: it is so
 * again. */
int shard_history_decode(struct shard *s, usec_t now, struct bytes in,
                         uint64_t lsn, uint64_t term);

/* ---- scan.c
 * ------------------------------------------------------------------
 */

/* A long or short scan. Answers at once, or puts the request into s->scans. */
void shard_scan_start(struct shard *s, struct shard_request *req);
/* One slice of the oldest long scan; true when some are left. */
bool shard_scan_slice(struct shard *s);
/* Entries from this LSN on are gone: ends the long scans that saw them. */
void shard_scans_truncate(struct shard *s, uint64_t from);
void shard_scan_free(struct shard_request *req);

#endif
