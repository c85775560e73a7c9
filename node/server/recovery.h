/* What a worker's log and engines hold when the process starts: replayed into
 * the state each replica begins with. */
#ifndef BASTIDE_SERVER_RECOVERY_H
#define BASTIDE_SERVER_RECOVERY_H

#include "node/base/err.h"
#include "node/shard/shard.h"
#include "node/store/wal.h"

struct worker;
struct replica;

/* Collected per replica during replay. */
struct recovered {
    uint16_t shard;
    uint64_t term;
    raft_id vote;
    uint64_t commit_lsn;
    uint64_t reset_lsn, reset_term; /* last snapshot adopted by the log */
    struct entry **entries;         /* without gaps, ascending */
    size_t count, cap;
    struct shard_salvage *salvage; /* not delivered, by rising number */
    size_t n_salvage, salvage_cap;
    uint32_t salvage_number; /* the highest the log has seen */
};

/* Opens the worker's log, replays it, then opens the engine and the shard of
 * each of its replicas. The replicas' `id`, `worker` and `path` are filled.
 * Errors of wal_open, engine_recover, engine_open and shard_open; the message
 * says which file, and how to go on. */
int recovery_run(struct worker *w, struct err_msg *msg);

/* A replica of a shard that this node has not had: makes and opens its engine,
 * empty, with the configuration that the shard begins with. `path` is filled.
 * On a helper thread. Errors of engine_recover, engine_open, engine_flush. */
int recovery_make_engine(struct replica *r, const struct raft_config *first,
                         struct err_msg *msg);
/* Opens the shard on it, on the worker's loop, with what a replica that was
 * here before has promised (quarantine_leave). Errors of quarantine_find and
 * shard_open. */
int recovery_open_new(struct replica *r, struct err_msg *msg);
/* A replica whose store was just put away (quarantine.h), with what it has
 * voted: opens an empty engine and the shard on it, on the worker's loop.
 * Errors of engine_recover, engine_open and shard_open. */
int recovery_open_anew(struct replica *r, uint64_t term, raft_id vote,
                       struct err_msg *msg);

#endif
