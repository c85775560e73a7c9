/* What a node's shards are connected to: log pipe, links, catalog. */
#ifndef BASTIDE_SERVER_SHARD_ENV_H
#define BASTIDE_SERVER_SHARD_ENV_H

#include "node/config/config.h"
#include "node/shard/shard.h"

/* `user` of the environment is unused; each call finds its replica by
 * shard_user. */
extern const struct shard_env server_shard_env;

struct worker;
/* Whether a user's container (or that of its conflicts) existed and is gone, as
 * far as the worker's catalog knows. A number comes from the meta log's LSN, so
 * one above what the catalog has seen belongs to a container that is just being
 * created. */
bool server_container_deleted(const struct worker *w, uint32_t container);

/* Raft's timing and windows for a node of this configuration. */
void server_raft_options(const struct config *c, struct raft_options *out);

#endif
