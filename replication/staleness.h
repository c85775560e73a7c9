/* The staleness governor of a shard's leader: keeps every replica that may
 * answer bounded reads within K entries and T of the newest acknowledged write,
 * by refusing writes before the bound is broken. Pure; time comes in.
 *
 * ## The argument
 *
 * Words. `seen` of a node: a lower bound of its visible LSN (raft.h), taken
 * from its newest reply. A node's state is *fresh* at some moment of its own
 * clock if everything that was acknowledged anywhere STALENESS_FRESH_US before
 * is visible there; a node serves a bounded read from its own state only while
 * that holds. It concludes so from an *echo*: the leader returns, beside its
 * ack LSN, the own-clock time at which the node made the newest reply that the
 * leader got. When the node has that LSN, it has everything that was
 * acknowledged before it made that reply (raft_fresh_since).
 *
 * K. Let L be the newest acknowledged LSN at the moment a node N serves, and V
 * what N has visible. The leader *counts* N while N may be fresh: until
 * STALENESS_LEASE_US of the leader's clock have passed since it received the
 * reply that the last echo it let through to N may have named. N made that
 * reply earlier than the leader received it, and is fresh for at most
 * STALENESS_FRESH_US of its own clock after making it. The lease is longer than
 * that by more than the clocks' drift (RAFT_DRIFT_PERCENT in rate; the clocks
 * themselves are never compared), so a node that serves is counted. While N is
 * counted the leader accepts an LSN only if LSN - seen(N) <= K, and seen(N) <=
 * V, so L - V <= K.
 *
 * (A bound that begins, or becomes tighter, speaks of what is accepted from
 * then on: until all that was accepted before is seen, a node may lag by that
 * much.)
 *
 * Not counted again by being heard alone: a node that was silent for long is
 * far behind, and counting it would stop all writes until it has caught up. It
 * is *trusted* again once it is nearly there; until then the leader lets no
 * echo through to it (the shard sends it appends without), so it cannot become
 * fresh.
 *
 * A new leader does not know what its predecessor let through. It counts every
 * node as if it had been heard when the leadership began, and accepts nothing
 * until it has heard from each, or the lease is over: *learning*. That is
 * enough: a leader lets echoes through only while its own lease holds and it
 * has not asked another to take over, so the replies that they name were made
 * before the next leader was elected.
 *
 * Nor does a new leader know those who left under its predecessor, and may be
 * fresh. Whoever removes a node sends it nothing from then on, so the last echo
 * to it was let through before any follower took up the configuration without
 * it. A leader therefore also accepts nothing until the lease is over that
 * begins when it took up such a configuration as a follower
 * (staleness_left). That each leader has heard of everybody who may be fresh is
 * for the shard to see to: it lets no echo through to a node before the
 * configuration that names it is committed.
 *
 * T. For reads it follows from the freshness rule alone, since
 * STALENESS_FRESH_US is less than the smallest T (1 s), by a margin for drift.
 * The governor besides refuses writes while the oldest entry that a counted
 * node has not seen is older than 0.8 T, so that a live region never lags so
 * far that losing the write region would lose more than T. When an entry was
 * logged is known from samples, closer together the younger they are: an age is
 * never understated, and overstated by an eighth at most. What was logged
 * before the leadership began counts as logged then.
 *
 * LSNs also count a leader's own entries (NOOP, CONFIG), which no client sees:
 * the lag in writes is at most the lag in LSNs. A leader's own entries are not
 * asked for here.
 */
#ifndef BASTIDE_REPLICATION_STALENESS_H
#define BASTIDE_REPLICATION_STALENESS_H

#include <stdbool.h>
#include <stdint.h>

#include "consensus/raft.h"
#include "node/base/clock.h"

/* A state older than this answers no bounded read. Replicas whose round trip to
 * the leader and two heartbeats fit in are fresh all the time; and a new leader
 * waits hardly longer for a node that does not answer. */
#define STALENESS_FRESH_US (500 * USEC_PER_MS)
/* How long after its last reply a node counts: longer by the drift. */
#define STALENESS_LEASE_US                                                     \
    (STALENESS_FRESH_US * (100 + RAFT_DRIFT_PERCENT) / 90)
/* A silent node is trusted again when the oldest entry it has not seen is
 * younger than half of T, and younger than this if it lags more than K. */
#define STALENESS_REJOIN_US USEC_PER_SEC
/* Samples of (LSN, time): enough for one every STALENESS_SAMPLE_US at first,
 * and one for every eighth of an age, up to the longest T there is (a day). */
#define STALENESS_SAMPLES 320
#define STALENESS_SAMPLE_US (5 * USEC_PER_MS)
/* Members, and those that left and may still be fresh. */
#define STALENESS_NODES_MAX (2 * RAFT_MEMBERS_MAX)
/* What a refused client is told to wait lies between these. */
#define STALENESS_RETRY_MIN_MS 5
#define STALENESS_RETRY_MAX_MS 2000

struct staleness_bound {
    bool on; /* off: everything is accepted and everybody trusted */
    uint32_t entries;
    usec_t lag_us;
    uint32_t n_down; /* regions declared down */
    raft_region down[RAFT_MEMBERS_MAX];
};

struct staleness_sample {
    uint64_t lsn; /* the first one logged at... */
    usec_t at_us;
};

struct staleness_node {
    raft_id id;
    raft_region region;
    bool member;     /* else it left, and is forgotten when its lease is over */
    bool trusted;    /* echoes are let through */
    bool known;      /* it answered this leadership */
    uint64_t seen;   /* 0 until then */
    usec_t lease_us; /* it counts until then at least */
    usec_t delay_us; /* how long after its logging `seen` was heard of */
};

/* Of one leadership, in the shard that leads. */
struct staleness {
    struct staleness_bound bound;
    uint64_t last_lsn;
    struct staleness_node nodes[STALENESS_NODES_MAX];
    uint32_t n_nodes;
    struct staleness_sample samples[STALENESS_SAMPLES]; /* ascending */
    uint32_t n_samples;
    /* Without looking further, LSNs up to `pass_lsn` are accepted before
     * `pass_us`. */
    uint64_t pass_lsn;
    usec_t pass_us;
    usec_t left_us; /* until then somebody may be fresh who left before this
                     * leadership */
};

enum staleness_verdict {
    STALENESS_ACCEPT,
    STALENESS_REFUSE, /* some node would fall behind: THROTTLED */
    STALENESS_LEARN,  /* some node's state is not known yet: UNAVAILABLE */
};

/* No bound. */
void staleness_init(struct staleness *g);
/* The account's bound, at any time. Where there was none, members are to be
 * told anew (staleness_member, staleness_heard). */
void staleness_set_bound(struct staleness *g, usec_t now,
                         const struct staleness_bound *bound);
/* This node begins to lead, with a log that ends at `last_lsn`; the members
 * follow. Nothing below is asked of a node that does not lead, but for
 * staleness_left. */
void staleness_lead(struct staleness *g, usec_t now, uint64_t last_lsn);
/* The log's end, whenever it has grown. */
void staleness_logged(struct staleness *g, usec_t now, uint64_t last_lsn);
/* This node, which does not lead, has just taken up a configuration without
 * somebody who was a member before; or does not know whether it had lately. */
void staleness_left(struct staleness *g, usec_t now);
/* Every member but the leader itself, at the beginning and whenever they
 * change; who is not named again has left. `since_us`: when the leadership, or
 * the bound, begins: the time of the newest reply that the node may have been
 * told of, as this leader knows it; at the least when the leadership began. 0
 * for who joins later, and where neither begins. */
void staleness_members_begin(struct staleness *g);
void staleness_member(struct staleness *g, usec_t now, raft_id id,
                      raft_region region, usec_t since_us);
/* A node's newest reply of this leadership came at `heard_us` and told `seen`
 * (above 0). Before the echo that names this reply goes out. */
void staleness_heard(struct staleness *g, usec_t now, raft_id id, uint64_t seen,
                     usec_t heard_us);
/* It is too far behind to be counted: it needs a snapshot. Its lease runs out.
 */
void staleness_lost(struct staleness *g, raft_id id);
/* Whether the node's echo may go out with an append now. */
bool staleness_trusts(struct staleness *g, usec_t now, raft_id id);
/* Whether an entry with this LSN may be accepted. If not: when to try again. */
enum staleness_verdict staleness_admit(struct staleness *g, usec_t now,
                                       uint64_t lsn,
                                       uint32_t *retry_after_ms_out);
/* How long ago `lsn` was logged; 0 for an LSN that is not. */
usec_t staleness_age(const struct staleness *g, usec_t now, uint64_t lsn);

#endif
