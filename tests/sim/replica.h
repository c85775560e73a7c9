/* One replica as the simulator sees it: something that gets events, and asks
 * for writes and messages. The simulator knows nothing else of the code under
 * test; another replica (the whole shard logic) can take the place of the bare
 * core by filling in the same table.
 *
 * Messages and disk records are opaque blobs. A disk is a sequence of records:
 * a crash keeps those that were synced and loses a suffix of the others; after
 * it the replica is opened with what is left.
 */
#ifndef BASTIDE_SIM_REPLICA_H
#define BASTIDE_SIM_REPLICA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "consensus/raft.h"
#include "node/shard/op.h"

struct entry;
struct shard;

/* Counted, because the network may deliver a message twice. */
struct sim_blob {
    int refs;
    uint32_t size; /* pretended bytes on the wire */
    void (*destroy)(struct sim_blob *b);
};
void sim_blob_release(struct sim_blob *b);

/* What is left of a replica whose records were found to be damaged: what it
 * promised (raft_restored.kept), and the newest configuration it knew to be
 * committed, which it begins with. */
struct sim_kept {
    uint64_t lsn, term; /* of the last entry of its log */
    uint64_t hard_term;
    raft_id vote;
    struct raft_config config;
};

void sim_keep(const struct raft *r, struct sim_kept *kept_out);

/* What the world offers a replica. Blobs are handed over. */
struct sim_env {
    void *ctx;
    raft_id self;
    uint64_t seed;
    bool verbose;
    /* Of a whole shard: its number, and the core's options but for `self`,
     * `seed` and `trace`; NULL: small ones, made from the seed. */
    uint16_t shard;
    const struct raft_options *raft;
    /* Its owner tells a whole shard the policy (shard_set_policy); else it has
     * none to keep. */
    bool steered;
    /* Options that make rare meetings frequent: candidates that time out
     * together, logs that catch up one entry at a time. */
    bool turbulent;
    /* The disk was lost, and `amnesiac` has not answered false since. */
    bool amnesiac;
    /* With that: others to be asked who votes (raft_restored.also). */
    const raft_id *also;
    size_t n_also;
    /* Its records were lost since it first started, but not this: what it has
     * written down before, and, if `amnesiac`, where its log ended. NULL:
     * there is nothing of the kind. */
    const struct sim_kept *kept;
    bool witness; /* keeps no payload */
    /* `seq` never falls within one life. A checkpoint makes all earlier
     * records superfluous. */
    void (*write)(void *ctx, uint64_t seq, struct sim_blob *record,
                  bool checkpoint);
    /* Leaves when all writes up to `after_seq` are durable; 0: at once. */
    void (*send)(void *ctx, raft_id to, uint64_t after_seq,
                 struct sim_blob *msg);
    /* Observations for the checkers. */
    void (*led)(void *ctx, uint64_t term);
    void (*appended)(void *ctx, uint64_t lsn, uint64_t term, uint64_t prev_term,
                     uint64_t value);
    void (*applied)(void *ctx, uint64_t lsn, uint64_t term, uint64_t value,
                    uint64_t node_term);
    /* `committed`: a majority of all voters has it, not just the region. */
    void (*acked)(void *ctx, uint64_t request, uint64_t lsn, uint64_t term,
                  uint64_t value, bool committed);
    void (*read_done)(void *ctx, uint64_t request, int result, uint64_t lsn);
    /* Each entry that has become visible to readers of the weaker levels, and,
     * after that, since when (own clock) all that is acknowledged is. May be
     * NULL. */
    void (*shown)(void *ctx, uint64_t lsn, uint64_t term, bool leads);
    void (*fresh)(void *ctx, uint64_t lsn, usec_t since_us);
    /* Of a whole shard: the end of `submit`, and each operation that is
     * committed (0: none). */
    void (*answered)(void *ctx, uint64_t token, const struct op_result *result);
    void (*effect)(void *ctx, uint64_t operation, uint64_t lsn);
    /* Likewise, and may be NULL: each entry that it logs, in place of
     * `appended`; and each that is committed, NULL when all are to be read
     * anew. */
    void (*logged)(void *ctx, const struct entry *e, uint64_t prev_term);
    void (*committed)(void *ctx, const struct entry *e);
    void (*trace)(void *ctx, const char *text);
};

struct sim_replica;

struct sim_replica_ops {
    /* `config` is the first configuration, NULL for a node that waits to be
     * added. `records` is what the disk still has, oldest first. */
    struct sim_replica *(*open)(const struct sim_env *env,
                                const struct raft_config *config,
                                struct sim_blob *const *records, size_t n,
                                usec_t now_us);
    void (*close)(struct sim_replica *p);

    void (*tick)(struct sim_replica *p, usec_t now_us);
    void (*receive)(struct sim_replica *p, usec_t now_us,
                    const struct sim_blob *msg);
    void (*written)(struct sim_replica *p, usec_t now_us, uint64_t seq);
    void (*link)(struct sim_replica *p, usec_t now_us, raft_id peer, bool up);
    int (*propose)(struct sim_replica *p, usec_t now_us, uint64_t request,
                   uint64_t value);
    int (*read)(struct sim_replica *p, usec_t now_us, uint64_t request);
    /* In place of propose and read, where the replica is a whole shard: runs an
     * operation, which is copied; `answered` is called once. */
    void (*submit)(struct sim_replica *p, usec_t now_us, uint64_t token,
                   const struct op *op, usec_t patience_us);
    int (*change)(struct sim_replica *p, usec_t now_us,
                  const struct raft_config *target);
    int (*transfer)(struct sim_replica *p, usec_t now_us, raft_id to);
    void (*campaign)(struct sim_replica *p, usec_t now_us);
    /* NULL: not made for forced failovers. */
    void (*epoch)(struct sim_replica *p, usec_t now_us, uint32_t epoch,
                  raft_region region);
    /* The regions that are declared down. */
    void (*down)(struct sim_replica *p, usec_t now_us,
                 const raft_region *regions, uint32_t n);
    /* At the leader: sends its state to one whose store is damaged, which keeps
     * its log and takes it in place of its own. NULL: has no such. */
    void (*renew)(struct sim_replica *p, usec_t now_us, raft_id to);
    /* Makes a snapshot and forgets the log, but for `keep` entries. */
    void (*compact)(struct sim_replica *p, usec_t now_us, uint64_t keep);

    usec_t (*deadline)(const struct sim_replica *p);
    bool (*leads)(const struct sim_replica *p);
    /* See raft_awaits. */
    bool (*awaits)(const struct sim_replica *p, raft_region region);
    /* How many entries of a message or a record have their payload. */
    size_t (*payloads)(const struct sim_blob *b);
    bool (*amnesiac)(const struct sim_replica *p);
    void (*keep)(const struct sim_replica *p, struct sim_kept *kept_out);
    /* Of the log; 0 where it has no entry. `compacted_out` if it is too old. */
    uint64_t (*term_at)(const struct sim_replica *p, uint64_t lsn,
                        bool *compacted_out);
    uint64_t (*applied_lsn)(const struct sim_replica *p);
    uint64_t (*state_hash)(const struct sim_replica *p);
    /* Of a whole shard: all committed documents of a container. */
    void (*documents)(const struct sim_replica *p, uint32_t container,
                      void (*each)(void *user, uint64_t record,
                                   struct bytes text),
                      void *user);
    const struct raft_config *(*config)(const struct sim_replica *p);
    bool (*config_is_committed)(const struct sim_replica *p);
};

/* The bare core with a state machine that hashes what it applies. */
extern const struct sim_replica_ops sim_replica_raft;
/* A whole shard (node/shard), as it ships. */
extern const struct sim_replica_ops sim_replica_shard;

/* Of a replica that is a whole shard: the shard, for calls that the table has
 * not; each must be followed by sim_shard_turn. */
struct shard *sim_shard(const struct sim_replica *p);
void sim_shard_turn(struct sim_replica *p, usec_t now_us);

#endif
