/* Quorum arithmetic over a configuration: what a majority has, and whether a
 * set of votes suffices. Pure functions of their arguments.
 *
 * Every question is answered for both halves of a joint configuration (thesis
 * 4.3) by requiring both.
 */
#ifndef BASTIDE_CONSENSUS_QUORUM_H
#define BASTIDE_CONSENSUS_QUORUM_H

#include "consensus/members.h"

/* Tells one value per voter: an LSN it holds, or a time it answered. */
typedef int64_t (*quorum_value_fn)(const void *ctx, raft_id id);

enum quorum_vote {
    QUORUM_VOTE_MISSING = 0, /* has not answered */
    QUORUM_VOTE_GRANTED,
    QUORUM_VOTE_DENIED,
};
typedef enum quorum_vote (*quorum_vote_fn)(const void *ctx, raft_id id);

enum quorum_result {
    QUORUM_PENDING, /* could still go either way */
    QUORUM_WON,
    QUORUM_LOST, /* cannot be won any more */
};

/* The largest value that a majority of all voters has reached (in each half).
 * With LSNs: what may be committed (paper 5.3, 5.4.2). With times: since when
 * a majority is known to follow. `c` must pass raft_config_check. */
int64_t quorum_majority_value(const struct raft_config *c,
                              quorum_value_fn value, const void *ctx);
/* The same over the voters of `region` alone, witnesses left out: they have
 * nothing that could be read there. -1 when a half has none. */
int64_t quorum_region_value(const struct raft_config *c, raft_region region,
                            quorum_value_fn value, const void *ctx);

/* The largest value that, in every region of which `awaited` is true, a
 * majority of its voters has reached, witnesses left out (in each half).
 * INT64_MAX when there is no such region. */
typedef bool (*quorum_region_fn)(const void *ctx, raft_region region);
int64_t quorum_payload_value(const struct raft_config *c,
                             quorum_region_fn awaited, quorum_value_fn value,
                             const void *ctx);

/* Whether a candidate has won: a majority of all voters and, when `ack` is
 * RAFT_ACK_REGION, also a majority of the voters of `region` (design section
 * 3). The rule is passed beside the configuration because a forced failover
 * campaigns by a rule that no log holds yet. */
enum quorum_result quorum_votes(const struct raft_config *c, enum raft_ack ack,
                                raft_region region, quorum_vote_fn vote,
                                const void *ctx);

#endif
