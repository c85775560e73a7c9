/* The catalog: which databases, containers and groups exist. Built in memory,
 * on every node, from the committed records of the meta shard.
 *
 * Feed it every record of shard 0 in any order at start-up (catalog_put with
 * the record's LSN), then the effects of each committed entry in log order. A
 * database's containers vanish with it. Records that are not databases,
 * containers, the account or groups are ignored.
 *
 * Look-ups resolve a path segment as a name first and as a RID second, as the
 * service does. What they return is immutable and counted: valid until the next
 * put, delete or clear, or for as long as the caller holds a reference.
 *
 * One catalog belongs to one worker. Pure: no clock, file, thread or global.
 */
#ifndef BASTIDE_CATALOG_CATALOG_H
#define BASTIDE_CATALOG_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/bytes.h"
#include "node/base/err.h"
#include "node/catalog/container.h"
#include "node/catalog/rid.h"

/* The API refuses to create more than these (403). */
#define CATALOG_DATABASES_MAX 5000
#define CATALOG_CONTAINERS_MAX 20000

struct catalog;

struct catalog_database {
    uint32_t magic;
    uint32_t refs;
    uint32_t number;
    struct rid rid;
    struct bytes name;
    struct bytes etag; /* with its quotes */
    int64_t ts;
    struct bytes json; /* stored text, system properties included */
    uint64_t record;   /* counter of its record in shard 0 */
    char *storage;     /* private */
};

enum consistency_level {
    CONSISTENCY_STRONG,
    CONSISTENCY_BOUNDED,
    CONSISTENCY_SESSION,
    CONSISTENCY_PREFIX,
    CONSISTENCY_EVENTUAL,
    CONSISTENCY_COUNT
};
/* "Strong", "BoundedStaleness", "Session", "ConsistentPrefix", "Eventual". */
const char *consistency_name(enum consistency_level level);
/* Ignoring case. ERR_INVALID. */
int consistency_parse(struct bytes text, enum consistency_level *level_out);

struct consistency_policy {
    enum consistency_level level;
    int32_t max_staleness_prefix;   /* entries; bounded staleness */
    int32_t max_staleness_interval; /* seconds */
};
/* Whether both promise the same: bounds count at bounded staleness only. */
bool consistency_same(const struct consistency_policy *a,
                      const struct consistency_policy *b);
/* `want`, with the bounds that it leaves 0 as in `now`. */
struct consistency_policy
consistency_over(const struct consistency_policy *now,
                 const struct consistency_policy *want);

/* Record of CONTAINER_ACCOUNT. The account's consistency is that of its group
 * `default`. */
#define CATALOG_NAME_MAX 63
/* placement_rules.h */
#define PLACEMENT_RULES_MAX 64
#define PLACEMENT_PATTERN_MAX 127 /* bytes */
#define PLACEMENT_TARGET_MAX 511  /* bytes */
struct placement_rule {
    char database[PLACEMENT_PATTERN_MAX + 1];
    char container[PLACEMENT_PATTERN_MAX + 1];
    char group[PLACEMENT_TARGET_MAX + 1]; /* or a placement map */
};
struct placement_rules {
    bool required; /* a container that would be in default is refused */
    uint8_t count;
    struct placement_rule list[PLACEMENT_RULES_MAX]; /* the first match wins */
};
/* Ranges of removed shards; neighbours are one. */
#define CATALOG_REMOVED_MAX 256
#define GROUP_REGIONS_MAX 32
struct catalog_account {
    char id[CATALOG_NAME_MAX + 1];
    struct placement_rules placement;
    /* The number and first shard of the next placement group: given out by
     * writing the record on the condition that nobody else did. 0: no group
     * but default was ever made. */
    uint16_t next_group;
    uint16_t next_shard;
    /* Shards of groups that were removed, rising, apart from each other: what a
     * node has of them is to be deleted. */
    uint16_t removed_count;
    struct shard_range {
        uint16_t first, count;
    } removed[CATALOG_REMOVED_MAX];
    /* Regions that clients see under another name (server/region_names.h). */
    uint8_t shown_count;
    struct shown_region {
        char region[CATALOG_NAME_MAX + 1];
        char name[CATALOG_NAME_MAX + 1];
    } shown[GROUP_REGIONS_MAX];
    uint32_t feature_level; /* the cluster's (base/feature.h); 0: none recorded
                             * yet */
};

/* Who acknowledges a group's writes, and by which rule (design section 3). One
 * part of the group's record, so that it changes as a whole; every change of
 * write region or rule is a new epoch (node/govern/govern.h). */
struct group_decision {
    uint32_t epoch;
    char write_region[CATALOG_NAME_MAX + 1];
    /* The write region of the epoch before, for reports. */
    char from_region[CATALOG_NAME_MAX + 1];
    struct consistency_policy consistency;
    bool forced;   /* the old write region was lost: elections go by this
                    * decision at once. Else the leaders change over first */
    bool settled;  /* every shard follows it */
    bool manual;   /* an operator chose the region: no fail-back */
    int64_t at_us; /* wall clock, when it was made */
    char reason[160];
};

/* Record of CONTAINER_GROUPS. The group `default` spans all regions, and its
 * keys are wrapped with the cluster's own, which every node has. Every other
 * group is fenced: its regions are where its data may exist (design section 5),
 * and its keys are wrapped for each of them alone. */
#define GROUP_DEFAULT 0 /* its number */
#define GROUP_DEFAULT_NAME "default"
#define GROUPS_MAX 32        /* of a cluster */
#define GROUP_MEMBERS_MAX 32 /* nodes */
#define GROUP_WRAPPED_KEY_MAX 80
/* Data keys that a group can have had. */
#define GROUP_KEY_VERSIONS_MAX 16
struct wrapped_key {
    uint8_t bytes[GROUP_WRAPPED_KEY_MAX];
    uint16_t len;
};
/* A group's keys as one region can open them. */
struct group_keys {
    char region[CATALOG_NAME_MAX + 1]; /* "": any, in group default */
    struct wrapped_key index;
    uint8_t versions; /* of the data key, which are all readable: */
    struct wrapped_key data[GROUP_KEY_VERSIONS_MAX];
};
/* Shards one after the other; count 0: none. */
struct catalog_span {
    uint16_t first, count;
};
static inline bool catalog_span_has(struct catalog_span s, uint32_t shard)
{
    return shard >= s.first && shard - s.first < s.count;
}
/* All shards that a group has: those of its newest layout, then those being
 * emptied. */
struct catalog_shards {
    struct catalog_span newest, emptied;
};
static inline uint32_t catalog_shards_count(struct catalog_shards s)
{
    return (uint32_t)s.newest.count + s.emptied.count;
}
static inline uint16_t catalog_shards_at(struct catalog_shards s,
                                         uint32_t index)
{
    return (uint16_t)(index < s.newest.count
                          ? s.newest.first + index
                          : s.emptied.first + index - s.newest.count);
}
static inline bool catalog_shards_has(struct catalog_shards s, uint32_t shard)
{
    return catalog_span_has(s.newest, shard) ||
           catalog_span_has(s.emptied, shard);
}
/* The shards of a group are its layout. A split gives it another, of more
 * shards, and moves its containers there one after the other
 * (node/server/splitter.h). Layouts have numbers from 0; each has at least
 * twice the shards of the one before. */
#define GROUP_RETIRED_MAX 12
struct catalog_group {
    uint16_t number; /* names the group in sealed data */
    char name[CATALOG_NAME_MAX + 1];
    uint16_t first_shard; /* of its newest layout */
    uint16_t shard_count;
    /* The layout before, until no container is in it any more; none: there is
     * no split under way. */
    struct catalog_span emptied;
    int64_t split_us; /* wall clock, when the last split began; 0: never */
    /* Those before that, oldest first: their shards are gone, and their numbers
     * not used again. */
    uint8_t retired_count;
    struct catalog_span retired[GROUP_RETIRED_MAX];
    /* Of group default: one, wrapped with the cluster's own key
     * (crypt/keyring.h). Of the others: one per region (crypt/region_key.h), by
     * the leader of the first shard; none until it has made them. */
    struct group_keys keys[GROUP_REGIONS_MAX];
    uint8_t key_count;
    uint8_t sealing; /* version of the data key that new entries are sealed
                      * with: every member has it */
    bool removing;   /* by an administrator (server/placement_remove.h) */
    bool rekey;      /* there shall be a new version (server/group_keys.h) */
    /* By id: the nodes that should hold a replica (of default, none: all did
     * when the cluster was made, and nothing was changed since), and those that
     * did when its newest layout was made, with which its shards' logs begin
     * (none: default, before any split; the configuration says so). */
    uint8_t member_count;
    uint8_t members[GROUP_MEMBERS_MAX];
    uint8_t first_count;
    uint8_t first_members[GROUP_MEMBERS_MAX];
    /* The node of another region that votes without holding payload
     * (docs/witness.md), also a member; 0: none. */
    uint8_t witness;
    bool witness_coming;     /* not all shards have it yet */
    uint8_t witness_leaving; /* one that was; some may still have it */
    uint8_t first_witness;   /* of `first_members` */
    uint8_t region_count;    /* by priority, the preferred write region first */
    char regions[GROUP_REGIONS_MAX][CATALOG_NAME_MAX + 1];
    bool down[GROUP_REGIONS_MAX]; /* declared down, by index into `regions` */
    bool leaving[GROUP_REGIONS_MAX]; /* inside the fence until emptied */
    bool coming[GROUP_REGIONS_MAX];  /* not all members are there yet */
    bool failback; /* go back to the preferred region when it has returned */
    /* Of a fenced group: nodes outside may pass requests and their answers
     * through (docs/fences.md). */
    bool transit;
    bool gather;        /* one node leads all shards; else they are spread */
    uint32_t recovered; /* times that survivors were made a cluster of their
                         * own */
    uint32_t recovered_epoch; /* in which it last happened */
    struct group_decision decision;
};
/* How records, requests and commands call the two settings. */
#define GROUP_TRANSIT_ALLOW "allow"
#define GROUP_TRANSIT_DENY "deny"
#define GROUP_LEADERS_SPREAD "spread"
#define GROUP_LEADERS_GATHER "gather"
/* Whether data of the group may exist in fewer than all regions. */
static inline bool catalog_group_fenced(const struct catalog_group *g)
{
    return g->number != GROUP_DEFAULT;
}
/* Whether the node keeps heads of entries alone, now or until it has gone. */
static inline bool catalog_group_has_witness(const struct catalog_group *g,
                                             uint32_t node)
{
    return node != 0 && (node == g->witness || node == g->witness_leaving);
}
/* Its layouts, the one being emptied included: number of the newest. */
static inline uint16_t catalog_group_layout(const struct catalog_group *g)
{
    return (uint16_t)(g->retired_count + (g->emptied.count > 0));
}
/* The shards of the layout of that number; none: they are gone, or not known
 * here yet. */
struct catalog_span catalog_group_span(const struct catalog_group *g,
                                       uint16_t layout);
/* The number of shards that the group began with. */
uint16_t catalog_group_first_count(const struct catalog_group *g);
static inline struct catalog_shards
catalog_group_shards(const struct catalog_group *g)
{
    return (struct catalog_shards){{g->first_shard, g->shard_count},
                                   g->emptied};
}
static inline bool catalog_group_has_shard(const struct catalog_group *g,
                                           uint32_t shard)
{
    return catalog_shards_has(catalog_group_shards(g), shard);
}
/* Whether the shard was of a layout that is gone. */
bool catalog_group_retired(const struct catalog_group *g, uint32_t shard);
/* Makes `count` shards from `first` on the newest layout, and empties the one
 * before. ERR_BUSY: one is being emptied; ERR_INVALID: `count` is no multiple,
 * or no more, of what there is; ERR_FULL: GROUP_RETIRED_MAX. */
int catalog_group_split(struct catalog_group *g, uint16_t first, uint16_t count,
                        int64_t now_us);
/* Nothing is left in the layout being emptied. */
void catalog_group_retire(struct catalog_group *g);
/* Adds shards to those that were removed. ERR_EXISTS: they are there.
 * ERR_LIMIT: CATALOG_REMOVED_MAX. */
int catalog_account_remove(struct catalog_account *a, uint16_t first,
                           uint16_t count);
/* What `region` can open; NULL: nothing, or not yet. */
const struct group_keys *catalog_group_keys(const struct catalog_group *g,
                                            const char *region);
/* How many versions of the data key there are; 0: it is not made yet. */
uint32_t catalog_group_key_versions(const struct catalog_group *g);
/* Index into `regions`; region_count when it is none of them. */
size_t catalog_group_region(const struct catalog_group *g, const char *name);
/* Whether that region may have the group's documents: all, without a fence. */
bool catalog_group_inside(const struct catalog_group *g, const char *region);

/* The records as JSON: what is stored, and the reverse (ERR_CORRUPT with a
 * message). Formatters append; errors of buf. */
int catalog_account_format(const struct catalog_account *a, struct buf *out);
int catalog_account_parse(struct bytes json, struct catalog_account *a_out,
                          struct err_msg *msg);
int catalog_group_format(const struct catalog_group *g, struct buf *out);
int catalog_group_parse(struct bytes json, struct catalog_group *g_out,
                        struct err_msg *msg);

/* -- building ------------------------------------------------------------ */

struct catalog *catalog_new(void);
void catalog_free(struct catalog *c); /* NULL is allowed */
/* Forgets everything (before a snapshot is read in). */
void catalog_clear(struct catalog *c);

/* A record was written at `lsn`: `container` is one of CONTAINER_* of
 * numbers.h, `record` its counter, `json` the opened text (copied).
 * Putting the same record again replaces it.
 * ERR_CORRUPT with a message when the text is not what such a record holds;
 * the catalog is then as before, except for its LSN. */
int catalog_put(struct catalog *c, uint32_t container, uint64_t record,
                struct bytes json, uint64_t lsn, struct err_msg *msg);
/* A record was deleted at `lsn`; unknown ones are fine. */
void catalog_delete(struct catalog *c, uint32_t container, uint64_t record,
                    uint64_t lsn);
/* An entry without catalog records was applied. */
void catalog_advance(struct catalog *c, uint64_t lsn);
/* The highest LSN seen; 0 at first. */
uint64_t catalog_lsn(const struct catalog *c);

/* -- looking up ---------------------------------------------------------- */

/* `segment` is the percent-decoded path segment. NULL when there is none. */
struct catalog_database *catalog_database(const struct catalog *c,
                                          struct bytes segment);
struct container_def *catalog_container(const struct catalog *c,
                                        const struct catalog_database *db,
                                        struct bytes segment);
/* By the store's container number; NULL when gone. */
struct container_def *catalog_container_number(const struct catalog *c,
                                               uint32_t number);

/* The layout that a container, or its part there, is in of a group of its, and
 * the shards of that. A layout that is gone has nothing: who names it is in the
 * newest. */
uint16_t catalog_container_layout(const struct catalog_group *g,
                                  const struct container_def *def);
struct catalog_span catalog_container_span(const struct catalog_group *g,
                                           const struct container_def *def);
/* Whether that is so of this layout of any group. */
bool catalog_container_at(const struct catalog_group *g,
                          const struct container_def *def, uint16_t layout);
/* The group at the other end of a container's move, or of its last one. NULL:
 * it was removed; the catalog knows of no move before it knows of its groups.
 */
const struct catalog_group *catalog_move_other(const struct catalog *c,
                                               const struct container_def *def);
/* Before `move`, which begins as the container's last one, is made another one:
 * adds to move->gone what that has left, and forgets what is not there any
 * more, or is where the container is. */
void catalog_note_gone(const struct catalog *c, const struct container_def *def,
                       struct container_move *move);
/* A page of the containers of all databases, as below. */
size_t catalog_list_all(const struct catalog *c, uint32_t after,
                        struct container_def **list_out, size_t max);
/* Likewise those that move or ever moved (container.h).
 */
size_t catalog_list_moved(const struct catalog *c, uint32_t after,
                          struct container_def **list_out, size_t max);

struct catalog_database *catalog_database_ref(struct catalog_database *db);
void catalog_database_unref(struct catalog_database *db); /* NULL allowed */

size_t catalog_database_count(const struct catalog *c);
size_t catalog_container_count(const struct catalog *c); /* of all databases */

/* A page in RID order: up to `max` databases (containers of `db`) whose number
 * is above `after` (0 to begin). Returns how many; when that is `max`, ask
 * again with the last one's number. */
size_t catalog_list_databases(const struct catalog *c, uint32_t after,
                              struct catalog_database **list_out, size_t max);
size_t catalog_list_containers(const struct catalog *c,
                               const struct catalog_database *db,
                               uint32_t after, struct container_def **list_out,
                               size_t max);

/* NULL until their records were put. */
const struct catalog_account *catalog_account(const struct catalog *c);
const struct catalog_group *catalog_group(const struct catalog *c,
                                          const char *name);
/* The group that a container's placement names: empty is default. */
const struct catalog_group *catalog_group_named(const struct catalog *c,
                                                struct bytes name);
const struct catalog_group *catalog_group_at(const struct catalog *c,
                                             size_t index);
/* The one that `shard` is of; NULL for the meta shard, and while the group's
 * record is not there. */
const struct catalog_group *catalog_group_of_shard(const struct catalog *c,
                                                   uint32_t shard);
/* Whether a group says that the shard was of a layout of its that is gone. */
bool catalog_shard_retired(const struct catalog *c, uint32_t shard);
const struct catalog_group *catalog_group_number(const struct catalog *c,
                                                 uint16_t number);
/* By the counter of its record in shard 0. */
const struct catalog_group *catalog_group_of_record(const struct catalog *c,
                                                    uint64_t record);
/* Whether the shard is of a group that was removed. */
bool catalog_shard_removed(const struct catalog *c, uint32_t shard);

#endif
