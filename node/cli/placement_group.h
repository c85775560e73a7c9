/* A placement group as nodes tell of it (docs/admin-api.md), for the commands
 * that show one or wait for it. */
#ifndef BASTIDE_CLI_PLACEMENT_GROUP_H
#define BASTIDE_CLI_PLACEMENT_GROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "node/catalog/catalog.h"
#include "node/cli/reach.h"
#include "node/cli/topology.h"

struct placement_group {
    char name[CATALOG_NAME_MAX + 1];
    bool fenced, settled, failback_automatic;
    bool transit, gather; /* allowed; leaders on one node */
    char regions[CONFIG_REGIONS_MAX][CONFIG_NAME_MAX + 1]; /* by priority */
    char keys_for[CONFIG_REGIONS_MAX][CONFIG_NAME_MAX + 1];
    char coming[CONFIG_REGIONS_MAX][CONFIG_NAME_MAX + 1]; /* of `regions` */
    char leaving[CONFIG_REGIONS_MAX][CONFIG_NAME_MAX + 1];
    char nodes[LAYOUT_NODES_MAX][CONFIG_NAME_MAX + 1];
    unsigned region_count, key_count, coming_count, leaving_count, node_count;
    bool level_known; /* `level` is one of those that this program knows */
    enum consistency_level level;
    int64_t prefix, interval; /* of bounded staleness */
    int64_t epoch, first_shard, shards;
    /* While it is split: the shards that are emptied, and containers. */
    struct placement_progress {
        int64_t first_shard, shards; /* 0: it is not split */
        int64_t left, moving, moved;
        int64_t eta_s;                         /* -1: not known */
        char waits_for[TOPOLOGY_TEXT_MAX + 1]; /* "": for nothing */
    } split;
    int64_t data_keys, sealing_key; /* versions; the one that is used */
    bool new_key_due, out_of_keys;  /* one is wanted, and there is no more */
    bool removing;                  /* it is being done away with */
    char write_region[CONFIG_NAME_MAX + 1];
    char witness[CONFIG_NAME_MAX + 1]; /* a node; "": none */
    char witness_leaving[CONFIG_NAME_MAX + 1];
    bool witness_coming;                     /* not all shards have it yet */
    char unavailable[TOPOLOGY_TEXT_MAX + 1]; /* "": writes go on */
};

/* Names of groups: lower-case letters, digits and '-'. For an option table;
 * `value` is a const char *. */
bool placement_name_option(const char *text, void *value);
/* The first word of a command line as a group's name. CMD_OK, or CMD_USAGE
 * after having said what is wrong; without a word, `question`. */
int placement_name_word(const char *command, const char *question, char **words,
                        unsigned count, const char **name_out);
/* "shop/orders" into its two names. */
bool placement_container_split(const char *text,
                               char database[RESOURCE_NAME_BYTES_MAX + 1],
                               char container[RESOURCE_NAME_BYTES_MAX + 1]);
#define PLACEMENT_NAME_EXPECTED "lower-case letters, digits and '-'"
#define PLACEMENT_GROUP_OPTION(group)                                          \
    {                                                                          \
        .name = "group", .kind = OPTION_OTHER, .value = (group),               \
        .read = placement_name_option, .expected = PLACEMENT_NAME_EXPECTED     \
    }

/* Reads one object of an answer. What is not there, or not understood, is
 * empty, 0 or false: a newer release may tell of a group that this program
 * knows only in part. */
void placement_group_read(const struct json *j, json_ref object,
                          struct placement_group *out);

/* Looks in an answer to GET /placement: `*object_out` is the one of that name.
 * ERR_NOT_FOUND: there is none. */
int placement_group_find(const struct json *j, const char *name,
                         json_ref *object_out, struct placement_group *out,
                         struct err_msg *msg);

/* Asks for all groups and looks in the answer, `a`. Errors of reach_any and
 * placement_group_find. */
int placement_group_ask(struct reach *r, const char *name,
                        struct reach_answer *a, json_ref *object_out,
                        struct placement_group *out, struct err_msg *msg);

/* The same as every node tells it: only the one that leads a split says what it
 * waits for. Errors of placement_group_ask: as long as one node answers, it is
 * ERR_OK. */
int placement_split_ask(struct reach *r, const char *name,
                        struct placement_group *out, struct err_msg *msg);
/* "2 of 7 containers are left, 1 of them is moving; about 20 s". */
void placement_split_text(const struct placement_progress *p,
                          char out[TOPOLOGY_TEXT_MAX + 1]);

/* A table of the objects of `list`, with a line for each group whose writes
 * stop. */
void placement_groups_print(FILE *out, const struct json *j, json_ref list);

/* What the nodes' status says of a group's shards. */
struct placement_shard {
    char leader[CONFIG_NAME_MAX + 1]; /* "": nobody knows one */
    unsigned replicas;                /* of nodes that answered */
    bool ready; /* it has a leader, and the keys have come to it */
};
struct placement_shards {
    const struct placement_group *group;
    unsigned answered;            /* nodes of the group that did */
    struct placement_shard *list; /* placement_shards_count; mem_free */
};
/* The group's shards, those being emptied last. */
int64_t placement_shards_count(const struct placement_group *g);
int64_t placement_shards_id(const struct placement_group *g, int64_t index);
/* Asks every node. The answer of a node that leads is believed before what
 * others say. */
void placement_shards_ask(struct reach *r, const struct placement_group *g,
                          struct placement_shards *out);
unsigned placement_shards_ready(const struct placement_shards *s);

#endif
