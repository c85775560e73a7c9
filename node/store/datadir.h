/* A node's data directory: whose it is, that one process at a time uses it,
 * and where things are in it.
 *
 *   <dir>/            0700
 *     identity        0600, text: format, cluster, cluster id, node, workers
 *     lock            0600, held by flock(2) while the node runs; its pid
 *     wal/<worker>/   the worker's log (wal.h)
 *     shards/<id>/    a shard's engine (engine.h)
 *     gone-<id>       empty: the shard is of no group any more
 *     role-<id>       text: what kind of replica the shard's is
 *     damaged         text: why the last start was refused
 *     rebuilding      there while the replicas here must not vote
 *     discarded-<n>/  what datadir_discard put away
 *     rebuilding-<id> there while that shard's replica must not vote, or the
 *                     next one, where there is none now
 *     quarantine-<id> the same, and its store is still to be put away
 *     discarded-shard-<id>/  that store, until datadir_drop_discarded or
 *                     the next start deletes it
 *
 * Made at first use. All functions block: call them at start or on a helper
 * thread.
 */
#ifndef BASTIDE_STORE_DATADIR_H
#define BASTIDE_STORE_DATADIR_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/bytes.h"
#include "node/base/err.h"

#define DATADIR_NAME_MAX 63
#define DATADIR_PATH_MAX 4096
#define DATADIR_WORKERS_MAX 256
#define DATADIR_FORMAT 1
#define DATADIR_GONE "gone-"
#define DATADIR_ROLE "role-"

struct datadir_identity {
    char cluster[DATADIR_NAME_MAX + 1];    /* the cluster's name */
    char cluster_id[DATADIR_NAME_MAX + 1]; /* unique id (cluster.keys) */
    char node[DATADIR_NAME_MAX + 1];       /* the node's name */
    uint32_t workers;                      /* how the shards are divided */
};

struct datadir;

/* Opens (or makes and marks) the directory and locks it.
 * ERR_BUSY       another process uses it; the message has its pid
 * ERR_IDENTITY   it belongs to another cluster or node; the message has both
 * ERR_UNSUPPORTED a newer format
 * ERR_FORBIDDEN  not ours, or open to others (mode not 0700)
 * ERR_CORRUPT    the identity file cannot be understood
 * ERR_NO_SPACE, ERR_IO, ERR_INVALID (a name that is empty or too long)
 * The number of workers is fixed when the directory is made; a different
 * `want->workers` is not an error: see datadir_workers. */
int datadir_open(const char *path, const struct datadir_identity *want,
                 struct err_msg *msg, struct datadir **datadir_out);
/* Unlocks it. */
void datadir_close(struct datadir *d);

/* The recorded number of workers, which the node must use. */
uint32_t datadir_workers(const struct datadir *d);
const char *datadir_path(const struct datadir *d);

/* Makes `wal/<worker>` if missing and writes its path. */
int datadir_wal_path(struct datadir *d, uint32_t worker,
                     char path_out[DATADIR_PATH_MAX]);
/* Makes `shards/<shard>` if missing and writes its path. */
int datadir_shard_path(struct datadir *d, uint32_t shard,
                       char path_out[DATADIR_PATH_MAX]);
/* Remembers, durably, that the shard is of no group any more: there will never
 * be a replica of it here again, and what there is of one may be deleted. */
int datadir_retire_shard(struct datadir *d, uint32_t shard);
bool datadir_shard_retired(const struct datadir *d, uint32_t shard);
/* What kind of replica a shard's is, from before its store is made until after
 * that is deleted: a log without payloads must never pass for another. */
struct datadir_role {
    bool witness;   /* keeps no payloads (docs/witness.md) */
    uint32_t epoch; /* of the record by which it was made (consensus/raft.h,
                     * role_epoch) */
};
/* Durably. ERR_NO_SPACE, ERR_IO. */
int datadir_set_role(struct datadir *d, uint32_t shard,
                     const struct datadir_role *role);
/* ERR_NOT_FOUND: nothing was written down: what its configurations say, ever
 * since. ERR_CORRUPT, ERR_IO. */
int datadir_role(const struct datadir *d, uint32_t shard,
                 struct datadir_role *out);
int datadir_drop_role(struct datadir *d, uint32_t shard);
/* Calls `each` with the number of every `shards/<shard>` there is, in no order.
 * ERR_IO. */
int datadir_each_shard(struct datadir *d,
                       void (*each)(void *user, uint32_t shard), void *user);

/* The operator's way on after ERR_CORRUPT: puts wal/ and shards/ away under
 * `discarded-<n>/` (crash-safe, nothing is deleted) so that the node starts
 * empty and is rebuilt from its peers. A voter that forgot its votes and log is
 * a danger to its quorum: the directory is marked as rebuilding before, and
 * stays so until datadir_rebuilt. */
int datadir_discard(struct datadir *d, struct err_msg *msg);
/* Whether replicas opened from here must be opened as amnesiacs (raft.h). */
bool datadir_rebuilding(const struct datadir *d);
/* All of them are cured, durably: drops the mark, durably. Any thread, as long
 * as nothing else is called meanwhile. */
int datadir_rebuilt(struct datadir *d);

/* The same for one shard, whose store was found to be damaged while the node
 * runs, or is of a replica that left: puts shards/<id> away and marks the shard
 * as rebuilding, in one step that the next start finishes. `mark` is the
 * caller's to find again. The log is shared and stays; the caller voids what it
 * has of the shard. Whatever was put away of that shard before is deleted.
 * ERR_NO_SPACE, ERR_IO: the mark may be there, the store may be gone from its
 * place; the next start goes on, or the next call with the same mark. Until
 * then the mark must stay true. */
int datadir_quarantine(struct datadir *d, uint32_t shard, struct bytes mark,
                       struct err_msg *msg);
/* Calls `each` with the number of every shard that has a mark, in no order.
 * ERR_IO. */
int datadir_each_mark(struct datadir *d,
                      void (*each)(void *user, uint32_t shard), void *user);
/* Appends the mark. ERR_NOT_FOUND: the shard is not being rebuilt. */
int datadir_shard_mark(const struct datadir *d, uint32_t shard,
                       struct buf *out);
/* The replica is cured, durably: drops the mark, durably. */
int datadir_shard_rebuilt(struct datadir *d, uint32_t shard);
/* Deletes what of the shard was put away. ERR_IO. Any thread. */
int datadir_drop_discarded(const struct datadir *d, uint32_t shard);

/* What was put away last: writes the path of `discarded-<n>`. ERR_NOT_FOUND. */
int datadir_discarded(const struct datadir *d, char path_out[DATADIR_PATH_MAX]);

/* Whether there is a log or a store to be thrown away. */
bool datadir_has_data(const struct datadir *d);
/* Remembers that a start was refused because of damage, or (NULL) forgets it.
 * Failure to do so is harmless and not told. */
void datadir_note_damage(struct datadir *d, const char *what);
bool datadir_damaged(const struct datadir *d);

#endif
