/* A worker's part in where writes go: makes its replicas follow the group's
 * decision (node/govern/steer.h), tells the rest of the node how they are, and
 * the API what the account is now.
 *
 *   catalog_feed --group record--> steering of every worker
 *   governor (worker 0) --health, isolation--> steering of every worker
 *   steering --board--> governor: settled, lag, entries at risk
 */
#ifndef BASTIDE_SERVER_STEERING_H
#define BASTIDE_SERVER_STEERING_H

#include <stdbool.h>
#include <stdint.h>

#include "node/catalog/catalog.h"
#include "node/cosmos/cosmos.h"
#include "node/govern/steer.h"

struct worker;

/* What a worker last saw of one of its shards, for other workers to read
 * without asking. Written by the owner alone; each member by itself is whole,
 * together they may be of two looks. */
struct shard_board {
    uint32_t settled_epoch; /* newest epoch that the shard follows wholly */
    uint32_t config_epoch;  /* of its committed configuration */
    uint32_t handover_ms;   /* its last hand-over from this node */
    uint32_t behind_ms;     /* UINT32_MAX: cannot tell */
    uint64_t behind_entries;
    uint64_t at_risk_entries; /* led here, else 0 */
    uint32_t at_risk_ms;
    bool leads;
    bool no_space;
    bool stuck; /* led here by a replica that should not (shard_distrust), and
                 * cannot hand over */
    bool here;  /* this node has a replica; see node_has_shard */
};

/* What the node as a whole knows, made by the governor. */
struct steering_news {
    struct steer_health health;
    bool proven;    /* had contact once since the start */
    bool isolated;  /* no contact with the meta shard's leader or a majority */
    bool cut_off;   /* no majority in reach: no write can succeed */
    bool elsewhere; /* for a short time now: others may have taken over */
    char reason[COSMOS_REASON_MAX]; /* why service is limited, or "" */
};

/* What a worker follows of one placement group. */
struct steering_group {
    uint16_t number;
    struct catalog_shards shards;
    struct govern_record record;
    struct govern_record hint; /* a newer one by gossip; epoch 0: none */
};

struct steering {
    struct worker *worker;
    struct steering_group groups[GROUPS_MAX];
    uint32_t group_count;
    struct steering_news news;
    usec_t next_us;
};

void steering_init(struct steering *s, struct worker *w);
/* A group's record was put, or is gone, or all are; from the catalog feed. */
void steering_put_group(struct steering *s, const struct catalog_group *g);
/* The account's record was put; likewise. */
void steering_account_changed(struct steering *s);
void steering_drop_group(struct steering *s, uint16_t number);
void steering_forget_groups(struct steering *s);
/* NULL while the group's record is not known here. Valid until the next turn.
 */
const struct steering_group *steering_group(const struct steering *s,
                                            uint16_t number);
/* The group whose decision a shard follows: the meta shard goes where group
 * default goes. Likewise. */
const struct steering_group *steering_group_of(const struct steering *s,
                                               uint16_t shard);
/* From the governor; `news` is copied. On the worker's own thread. */
void steering_take_news(struct steering *s, const struct steering_news *news);
/* From the governor: a committed decision about a group that this node's own
 * meta replica cannot learn of now. Its replicas follow it, and its clients are
 * told of it, until it knows better. */
void steering_take_hint(struct steering *s, uint16_t group,
                        const struct govern_record *hint);
/* Whether the replica here of a shard of a fenced group has heard from its
 * leader, or leading from a majority, in the last GOVERNOR_ISOLATED_US. From
 * any worker. */
bool steering_in_contact(const struct worker *w, uint32_t shard);
/* Writes on the board whether this node has a replica of one of the worker's
 * shards. */
void steering_here(struct worker *w, uint16_t shard, bool here);
/* At the end of this turn, whether or not it is due. */
void steering_soon(struct steering *s);
/* Once a turn: looks at the replicas when that is due. */
void steering_turn(struct steering *s, usec_t now);

/* Whether this worker leads a shard that some other node could lead. */
bool steering_can_hand_over(const struct steering *s);

/* The account as a worker's API should show it before the group is known. */
void steering_first_account(const struct worker *w,
                            struct cosmos_region regions[COSMOS_REGIONS_MAX],
                            struct cosmos_account *account_out);

/* One look at another worker's shard. */
struct shard_board steering_board(const struct worker *w, uint32_t shard);

#endif
