/* How far the replicas are that come, from the nodes' status. */
#ifndef BASTIDE_CLI_MEMBERS_PROGRESS_H
#define BASTIDE_CLI_MEMBERS_PROGRESS_H

#include "node/cli/members.h"

#define MEMBERS_PROGRESS_TEXT 240
/* The meta shard and those of group default; further ones are not counted. */
#define MEMBERS_SHARDS_MAX (CONFIG_SHARDS_MAX + 1)

struct members_shard {
    int64_t shard, commit;
    int64_t lowest; /* of the replicas that come; -1: none has told */
};

struct members_progress {
    const struct members_change *change;
    const struct reach *reach;
    usec_t began_us;
    int64_t first_behind; /* when it began to be known; -1: not yet */
    struct members_shard *shards;
    unsigned shard_count;
    /* Snapshots on their way to those who come, as these tell. */
    unsigned snapshots;
    int64_t there, about, bytes;
    int64_t eta_s; /* of the slowest; 0: none can tell */
};

void members_progress_init(struct members_progress *p, const struct reach *r,
                           const struct members_change *c);
void members_progress_free(struct members_progress *p);

/* For reach_each with GET /status, after members_progress_begin. */
void members_progress_begin(struct members_progress *p);
void members_progress_heard(void *progress, unsigned node, int err,
                            const struct reach_answer *a,
                            const struct err_msg *why);

/* "2 of 3 shards have caught up, shard 1 is 120 of 140 entries behind, about 4
 * s more"; or "..., 2 snapshots are 40% there, 31 MiB, about 20 s more".
 * `now_us` is monotonic. */
void members_progress_text(struct members_progress *p,
                           const struct members *now_members, usec_t now_us,
                           char out[MEMBERS_PROGRESS_TEXT]);

#endif
