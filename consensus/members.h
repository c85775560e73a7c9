/* Who belongs to a shard and by which rule it acknowledges: the configuration.
 *
 * A configuration is a value (no pointers, copy it freely). It is the payload
 * of a CONFIG entry and takes effect at a node as soon as the entry is in its
 * log, committed or not (Raft thesis 4.1). Membership changes go through joint
 * consensus (thesis 4.3, paper section 6): while `joint` is set the old and the
 * new voters form two halves, and every decision needs both.
 *
 * The acknowledgement rule (design section 3):
 *   RAFT_ACK_COMMIT  a write is acknowledged at commit_lsn: a majority of all
 *                    voters has it;
 *   RAFT_ACK_REGION  a write is acknowledged at region_lsn: a majority of the
 *                    voters of `write_region` has it. A candidate then also
 *                    needs the votes of such a majority.
 *
 * A witness is a member that keeps the head of each entry and no payload (that
 * of CONFIG entries is the configuration, which it needs). It counts in every
 * majority of all voters, and in none of a region; it never leads. What that is
 * good for, and when a leader tells it of an entry: docs/witness.md.
 */
#ifndef BASTIDE_CONSENSUS_MEMBERS_H
#define BASTIDE_CONSENSUS_MEMBERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/bytes.h"

/* Names one replica of a shard (in practice: a node). 0 means nobody. */
typedef uint32_t raft_id;
/* Numbers one region. 0 means none. */
typedef uint16_t raft_region;

/* Most replicas of one shard, learners and leaving voters included. */
#define RAFT_MEMBERS_MAX 32

enum raft_ack {
    RAFT_ACK_COMMIT = 0,
    RAFT_ACK_REGION = 1,
};

struct raft_member {
    raft_id id;
    raft_region region;
    /* 0 campaigns first; every step adds `priority_step_us` to the node's
     * election timeout. A preference, never a safety rule. */
    uint8_t priority;
    bool voter;     /* votes (in the new half, while joint) */
    bool voter_old; /* votes in the old half; only while joint */
    bool leaving;   /* only while joint: no member once that ends */
    bool witness;   /* no payload; as long as it is a member */
};

struct raft_config {
    /* The epoch in which `ack` and `write_region` were decided. Never falls
     * along a log. */
    uint32_t epoch;
    raft_region write_region; /* 0 unless ack is RAFT_ACK_REGION */
    uint8_t ack;              /* enum raft_ack */
    bool joint;
    uint32_t n;
    struct raft_member members[RAFT_MEMBERS_MAX]; /* by ascending id */
};

/* Adds a member, keeping the order. ERR_LIMIT when full, ERR_EXISTS. */
int raft_config_add(struct raft_config *c, struct raft_member m);
/* NULL when `id` is not a member. Borrowed from `c`. */
const struct raft_member *raft_config_find(const struct raft_config *c,
                                           raft_id id);
/* Votes in either half. */
bool raft_config_is_voter(const struct raft_config *c, raft_id id);
/* Of a member; false for who is none. */
bool raft_config_is_witness(const struct raft_config *c, raft_id id);
/* A voter, and no witness. */
bool raft_config_may_lead(const struct raft_config *c, raft_id id);
bool raft_config_equal(const struct raft_config *a,
                       const struct raft_config *b);

/* Whether the configuration makes sense: ids nonzero, ascending and unique, a
 * voter that is no witness in every half, voter_old only while joint, and with
 * RAFT_ACK_REGION such a voter of the write region in every half. The region of
 * a witness has witnesses only: it would be lost together with the payload, and
 * what goes to a region may be passed on there (replication/relay.h). In a half
 * where a witness votes, no other one does, the rest are of two regions at
 * least, and those of no region are a majority of all by themselves: what is
 * committed shall have its payload in two regions. ERR_INVALID otherwise. An
 * empty configuration (n == 0: a node that waits to be added) is not valid
 * here. */
int raft_config_check(const struct raft_config *c);

/* The first entry of a change from `now` to `target` (neither joint): a joint
 * configuration when the sets of voters differ, else `target` itself.
 * ERR_INVALID: `target` fails the check, is joint, has an older epoch, moves a
 * member to another region, makes a witness of another member or the other way
 * round (remove it first, and what it stores), or changes voters and the
 * acknowledgement rule at once (do one, then the other: both halves of a joint
 * configuration share one rule).
 * ERR_LIMIT: old and new members together exceed RAFT_MEMBERS_MAX. */
int raft_config_enter(const struct raft_config *now,
                      const struct raft_config *target,
                      struct raft_config *entry_out);
/* The entry that ends a joint configuration: the target of the change. */
void raft_config_leave(const struct raft_config *joint,
                       struct raft_config *entry_out);

/* Wire and disk form, little-endian: u8 version (1), u32 epoch, u16
 * write_region, u8 ack, u8 joint, u32 n, then per member u32 id, u16 region,
 * u8 priority, u8 flags (1 voter, 2 voter_old, 4 leaving, 8 witness). Encode
 * returns the errors of buf_append. Decode reads foreign bytes: ERR_MALFORMED
 * for anything else than one whole, valid configuration. */
/* How many bytes raft_config_encode appends. */
uint32_t raft_config_encoded_size(const struct raft_config *c);
int raft_config_encode(const struct raft_config *c, struct buf *out);
int raft_config_decode(struct bytes in, struct raft_config *config_out);

#endif
