/* Replica repair: compares the replicas of every shard in the background, reads
 * back what they store, and has a wrong one made anew from the others.
 *
 *   the leader's worker, for one of its shards at a time, when that is due:
 *     its commit LSN --scrub_link--> every member with payload digests its
 * store at that LSN and opens each sealed record (digester.h), at `scrub.rate`
 *     their answers --shard/scrub.h--> who is wrong
 *       a follower, and the others are enough: told to go (quarantine.h)
 *       it is damaged, and they are not: it gets a new store beside the old one
 *         (renewal.h)
 *       itself: hands the leadership over; the next leader's round sees to it
 *       nobody can tell: said in log, audit, metrics and `bastide scrub`
 *
 * Due is a shard every `scrub.interval`, counted from the last round that its
 * leader or this node saw; at once, when somebody asks (`bastide scrub`), or
 * when a replica has met a damaged record or store: in a client's read, in a
 * flush, in a digest. That replica answers no reads from then on, and asks its
 * leader until a round has found it well or replaced it; rounds that do neither
 * become rarer. Shards that are due at the same time take turns.
 *
 * Nothing is compared while a replica of the shard is being rebuilt or renewed
 * (it does not answer), before all nodes understand it (FEATURE_PARTS), or on
 * witnesses.
 */
#ifndef BASTIDE_SERVER_SCRUBBER_H
#define BASTIDE_SERVER_SCRUBBER_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/clock.h"
#include "node/shard/scrub.h"

struct replica;
struct worker;

/* What the last round of a shard found, at the node that led it. */
struct scrub_report {
    usec_t ended_us; /* wall clock */
    uint64_t lsn;
    uint32_t n;
    struct scrub_answer answers[RAFT_MEMBERS_MAX];
    struct scrub_judgement judged;
    raft_id replaced; /* who was told to go; 0: nobody */
    raft_id renewed;  /* who was told to take a new store; 0: nobody */
    raft_id kept;     /* who is wrong, and could not be spared; 0: nobody */
};

/* A replica's own. */
struct scrub_state {
    bool due;        /* a round, if it leads */
    bool wanted;     /* likewise, by a member in doubt: but not before */
    usec_t pause_us; /* this after the last round that was led here */
    usec_t ended_us; /* ended */
    usec_t next_us;  /* of the next round by itself; 0: not yet known */
    usec_t asked_us; /* its leader was asked for a round */
    usec_t doubt_us; /* since when it is distrusted; 0: it is not */
    uint64_t met;    /* shard_status.damaged, as seen so far */
    bool broken;     /* a flush found the store damaged */
    struct scrub_report *last; /* of a round led here; NULL: none yet */
    /* For metrics, since the process started. */
    uint64_t rounds;      /* led here, ended */
    uint64_t bytes;       /* digested here */
    uint64_t mismatches;  /* wrong or doubtful replicas, in rounds led here */
    uint64_t quarantines; /* of this replica */
    uint64_t renewals;    /* likewise, of its store */
};

/* Now and then, on each worker. */
void scrubber_check(struct worker *w);
/* An operator wants a round, now, if this node leads the shard.
 * ERR_NOT_LEADER. */
int scrubber_want(struct replica *r);
/* Likewise a member in doubt, which asks again and again: at once, and after a
 * round that did not make everything well in 2 s, 4 s, ... a quarter of an hour
 * or the interval. */
int scrubber_asked(struct replica *r);
/* Its store is damaged, for that reason: it answers no reads from now on, and
 * asks for a round. */
void scrubber_doubt(struct replica *r, const char *why);
/* Its store cannot be written because it is damaged. */
void scrubber_broken(struct replica *r);
/* It has another store, which is not damaged as far as is known; the next round
 * reads it. */
void scrubber_renewed(struct replica *r);
/* The replica is about to be freed. */
void scrubber_forget(struct replica *r);

/* -- for scrub_link.c -------------------------------------------------------
 */

/* Digests a replica here at `lsn`; `told` is called later, once, with `node`,
 * `voter` and `witness` left open. `r` NULL: there is none. */
typedef void scrubber_told(void *user, const struct scrub_answer *answer);
void scrubber_digest(struct replica *r, uint64_t lsn, scrubber_told *told,
                     void *user);
/* What a member answered that was told to take a new store. ERR_OK: it waits
 * for it; renewal_begin's errors, and that the message did not arrive, or is
 * not known there: it stays as it is until the next round. */
void scrubber_may_renew(struct worker *w, uint16_t shard, raft_id node,
                        int err);
/* A member's answer, or that there is none (err). */
void scrubber_answered(struct worker *w, uint64_t round, raft_id node,
                       const struct scrub_answer *answer);

#endif
