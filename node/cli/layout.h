/* What a cluster made by `init` or `demo` consists of: names, addresses and
 * the files of each node. Nothing is touched on disk but by
 * layout_write_config.
 *
 * One host (the default, 127.0.0.1), base port P:
 *
 *     account      P              shared by all nodes
 *     region i     P + 1 + i      shared by the region's nodes
 *     node n       P + 10 + n     client endpoint of the n-th node alone, by
 *     admin        P + 1010 + n   their ids, the first is 0
 *     peer         P + 2010 + n
 *
 * A host per node, given as a pattern such as {node}.example.org: nodes listen
 * on all addresses, the client endpoints share port P, admin is P + 1010 and
 * peer P + 2010 everywhere. The account's and the regions' host names come
 * from the same pattern with the cluster's and the region's name.
 */
#ifndef BASTIDE_CLI_LAYOUT_H
#define BASTIDE_CLI_LAYOUT_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/err.h"
#include "node/config/config.h"

#define LAYOUT_REGIONS_MAX 9 /* ports P+1 to P+9 */
#define LAYOUT_NODES_PER_REGION_MAX 9
#define LAYOUT_LATENCIES_MAX 64   /* more than pairs of regions */
#define LAYOUT_SANS_MAX 16        /* further names in certificates */
#define LAYOUT_SANS_TEXT_MAX 2048 /* bytes of all of them, with commas */
#define LAYOUT_NODES_MAX (LAYOUT_REGIONS_MAX * LAYOUT_NODES_PER_REGION_MAX)
#define LAYOUT_BASE_PORT 8081
#define LAYOUT_BASE_PORT_MAX (65535 - 2010 - LAYOUT_NODES_MAX)
#define LAYOUT_URL_MAX (CONFIG_HOST_MAX + 24)

struct layout_node {
    char name[CONFIG_NAME_MAX + 1]; /* "<region>-<number>" */
    uint32_t id;                    /* 1.. in the order of their making */
    unsigned region;                /* index */
    bool added;                     /* by layout_join */
    char host[CONFIG_HOST_MAX + 1];
    uint16_t port, admin_port, peer_port;
};

struct layout_region {
    char name[CONFIG_NAME_MAX + 1];
    uint32_t priority;
    char host[CONFIG_HOST_MAX + 1];
    uint16_t port;
    char key[REGION_PUBLIC_TEXT_LEN + 1]; /* public part; "": none */
};

struct layout {
    char cluster[CONFIG_NAME_MAX + 1];
    char host[CONFIG_HOST_MAX + 1];   /* of the account endpoint */
    char listen[CONFIG_HOST_MAX + 1]; /* address to bind */
    uint16_t port;
    bool stand_in; /* one host: nodes can stand in for a lost region */
    unsigned shards;
    struct config_consistency consistency; /* of the new account */
    struct config_latency latencies[LAYOUT_LATENCIES_MAX];
    unsigned latency_count;
    bool fault_injection;
    /* "a,b": hosts and addresses that nodes' certificates hold besides their
     * own, their region's and the account's. Only for creating. */
    char sans[LAYOUT_SANS_TEXT_MAX + 1];
    struct layout_region regions[LAYOUT_REGIONS_MAX];
    unsigned region_count;
    struct layout_node nodes[LAYOUT_NODES_MAX];
    unsigned node_count;
};

struct layout_options {
    const char *cluster;
    const char *regions; /* "a,b,c", first choice for writes first */
    unsigned nodes_per_region;
    unsigned base_port;
    const char *host; /* a host, or a pattern with {node} */
    unsigned shards;
    struct config_consistency consistency;
    bool fault_injection; /* for demos and tests only */
    const char *sans;     /* as in struct layout; NULL = none */
};

/* ERR_INVALID with what is wrong: a name, a duplicate, a number. */
int layout_make(const struct layout_options *options, struct layout *layout_out,
                struct err_msg *msg);

/* Reads back what a folder was made as, from its nodes' node.yaml files: of
 * these the one that knows the most nodes counts, since the others may not have
 * been told yet. ERR_NOT_FOUND when the folder holds no cluster; otherwise the
 * errors of config_load, and ERR_INVALID when node folders are missing. */
int layout_load(const char *dir, struct layout *layout_out,
                struct err_msg *msg);
/* The same of a folder that `init --join` may have left half done: nodes that
 * were added need not have a node.yaml yet. */
int layout_load_unfinished(const char *dir, struct layout *layout_out,
                           struct err_msg *msg);
/* What a single node.yaml says; admin ports are 0. Errors of config_load;
 * ERR_INVALID: more regions or nodes than a layout has. */
int layout_read(const char *path, struct layout *layout_out,
                struct err_msg *msg);

/* Makes `region` have `nodes` nodes, at the end of the list of regions or of
 * the region's nodes, with names, ids and ports that nobody has. Nothing
 * changes where it has them already; 0 stands for one, or as many as there are.
 * `host` as in layout_options; NULL: as the others have. ERR_INVALID with what
 * is wrong. */
int layout_join(struct layout *layout, const char *region, unsigned nodes,
                const char *host, struct err_msg *msg);

/* Whether both are the same cluster in the same places: names, regions, nodes,
 * hosts, ports and shards. Keys and what a running node can change do not
 * count. */
bool layout_same(const struct layout *a, const struct layout *b);

/* Gives all ports anew, from another base port. */
void layout_set_ports(struct layout *layout, unsigned base_port);

/* Sets the round trip times that nodes imitate, in the words of
 * node/config/latency.h; "" for none. ERR_INVALID with what is wrong. */
int layout_set_latency(struct layout *layout, const char *text,
                       struct err_msg *msg);

/* Writes "<dir>/<node>/node.yaml", replacing one that is there. */
int layout_write_config(const struct layout *layout,
                        const struct layout_node *node, const char *dir,
                        struct err_msg *msg);

/* Appends the entry of a region, with all its nodes, or of one node, as they
 * stand in node.yaml's list of regions. */
void layout_put_region(struct buf *b, const struct layout *layout,
                       unsigned region);
void layout_put_node(struct buf *b, const struct layout_node *node);

/* Further names for certificates, as in layout_options. ERR_INVALID. */
int layout_set_sans(struct layout *layout, const char *text,
                    struct err_msg *msg);

/* The account's keys as the folder has them; wiped with
 * config_account_keys_wipe. Errors of config_account_keys_load. */
int layout_account_keys(const char *dir, struct config_account_keys *keys_out,
                        struct err_msg *msg);

/* "https://host:port/" into `out`, LAYOUT_URL_MAX + 1 bytes. */
void layout_url(const char *host, unsigned port, char *out);

/* "<dir>/<a>" or "<dir>/<a>/<b>" (b may be NULL) into `out`, PATH_MAX bytes.
 * ERR_LIMIT, with a message, when too long. */
int layout_path(const char *dir, const char *a, const char *b, char *out,
                struct err_msg *msg);

#endif
