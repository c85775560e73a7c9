/* The configuration of one node: read once, checked once, then constant.
 *
 * Three sources, later ones win: one YAML file, environment variables, flags.
 * Every scalar setting has one dotted name, used by all three:
 *
 *     file          listen:  { admin: "127.0.0.1:9091" }
 *     environment   BASTIDE_LISTEN_ADMIN=127.0.0.1:9091
 *     flag          --set listen.admin=127.0.0.1:9091
 *
 * BASTIDE_<NAME>_FILE instead of BASTIDE_<NAME> names a file whose content is
 * the value (at most CONFIG_VALUE_MAX bytes, without line ends at its end);
 * giving both is refused.
 *
 * (the regions list can only be given by the file). Unknown keys, unknown
 * BASTIDE_* variables, duplicate keys and bad values are refused with where
 * they stand, what was found and what was expected. docs/configuration.md
 * lists all names with their defaults; `config_describe` prints the same table.
 *
 * Relative paths are relative to the folder of the file. After config_load the
 * paths are absolute, every value is within its range, the node is found in
 * its own region's list, and the relations between settings hold (for example
 * lease < election), so that users need not check again. Files that the
 * settings name (keys, certificates) are not opened here, the account keys
 * apart: their owners do that and say more about it.
 */
#ifndef BASTIDE_CONFIG_CONFIG_H
#define BASTIDE_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/err.h"
#include "node/base/log.h"
#include "node/crypt/region_key.h"

#define CONFIG_REGIONS_MAX 32      /* regions of a cluster */
#define CONFIG_REGION_NODES_MAX 32 /* nodes of one region */
#define CONFIG_NODES_MAX 255       /* nodes of a cluster; ids are 1..255 */
#define CONFIG_NAME_MAX 63         /* bytes of a cluster, region or node name */
#define CONFIG_HOST_MAX 253        /* bytes of a host name */
#define CONFIG_FILE_MAX (1 << 20)  /* bytes of a configuration file */
#define CONFIG_VALUE_MAX                                                       \
    (64 * 1024) /* bytes of a value in a file of its own                       \
                 */
#define CONFIG_WORKERS_MAX 64
#define CONFIG_LATENCIES_MAX 528 /* pairs of CONFIG_REGIONS_MAX regions */
#define CONFIG_RTT_MAX_US 10000000
#define CONFIG_SHARDS_MAX 1024

/* An address to listen on or to connect to. `host` is an IPv4 address, an
 * IPv6 address (without brackets) or a host name. */
struct config_addr {
    char host[CONFIG_HOST_MAX + 1];
    uint16_t port; /* 1..65535 */
};

struct config_node {
    char name[CONFIG_NAME_MAX + 1];
    uint32_t id;             /* unique in the cluster, 1..CONFIG_NODES_MAX */
    struct config_addr peer; /* where other nodes connect to */
    bool added; /* came after the cluster was made: no member until the records
                 * say so, and none of those that the logs begin with */
    char *endpoint; /* public URL served by this node alone */
};

/* The public part of a region's key (crypt/region_key.h). Either all regions
 * have one, each its own, or none: a cluster made by an older `bastide init`,
 * which can have no fenced groups until `bastide init --region-keys`. */
struct config_region_key {
    bool given;
    uint8_t public_key[REGION_KEY_LEN];
};

struct config_region {
    char name[CONFIG_NAME_MAX + 1];
    uint32_t priority;         /* 0 = first choice for writes; unique */
    char *endpoint;            /* public URL, "https://host:port/" */
    struct config_addr listen; /* what the region's nodes bind for it */
    struct config_region_key key;
    struct config_node *nodes; /* room for CONFIG_REGION_NODES_MAX */
    size_t node_count;         /* at least 1 */
};

/* The account's consistency level, strongest first: the order is that of
 * catalog.h's levels. K and T matter to bounded staleness only. */
enum config_level {
    CONFIG_LEVEL_STRONG,
    CONFIG_LEVEL_BOUNDED,
    CONFIG_LEVEL_SESSION,
    CONFIG_LEVEL_PREFIX,
    CONFIG_LEVEL_EVENTUAL
};
#define CONFIG_STALENESS_PREFIX_DEFAULT 100000 /* K, entries */
#define CONFIG_STALENESS_INTERVAL_DEFAULT 300  /* T, seconds */
#define CONFIG_STALENESS_PREFIX_MAX 2147483647
#define CONFIG_STALENESS_INTERVAL_MAX 86400
struct config_consistency {
    enum config_level level;
    uint32_t max_staleness_prefix;   /* K, 1 or more */
    uint32_t max_staleness_interval; /* T, 1 or more */
};

/* A round trip time to be imitated between two regions (or inside one). Empty
 * names stand for every pair of different regions. */
struct config_latency {
    char a[CONFIG_NAME_MAX + 1];
    char b[CONFIG_NAME_MAX + 1];
    uint32_t rtt_us; /* at most CONFIG_RTT_MAX_US */
    bool world;      /* "world": names and time are not known yet; never after
                      * config_load (config/latency.h) */
};
struct config_latencies {
    struct config_latency *list; /* later ones win */
    size_t count;
};

/* Which addresses the account document gives: the order is that of
 * cosmos_advertise (cosmos/cosmos.h), which says more. */
enum config_advertise {
    CONFIG_ADVERTISE_LISTED,
    CONFIG_ADVERTISE_HOST,
    CONFIG_ADVERTISE_REQUEST
};

/* The public URL of a region, instead of the one in the regions list. */
struct config_endpoint {
    char region[CONFIG_NAME_MAX + 1];
    char *url;
};
struct config_endpoints {
    struct config_endpoint *list; /* later ones win */
    size_t count;                 /* at most CONFIG_REGIONS_MAX */
};

enum config_tls { CONFIG_TLS_1_2 = 12, CONFIG_TLS_1_3 = 13 };
/* "auto" is text on a terminal and JSON otherwise; config_log_format tells. */
enum config_log_format { CONFIG_LOG_AUTO, CONFIG_LOG_TEXT, CONFIG_LOG_JSON };

struct config {
    /* Who this is. */
    char cluster[CONFIG_NAME_MAX + 1]; /* cluster */
    char region[CONFIG_NAME_MAX + 1];  /* region */
    char node[CONFIG_NAME_MAX + 1];    /* node */
    uint32_t id;                       /* id: equal to the list's entry */
    char *data_dir;                    /* data_dir, absolute */
    char *file;                        /* the file read, absolute; or NULL */
    uint32_t workers; /* workers: 0 = one per core. Only the first start of a
                       * data directory decides: its owner stores the number */
    bool stand_in;    /* stand_in: also listen on the region addresses of
                       * regions whose nodes are all dead (shared hosts) */

    struct {
        struct config_addr account; /* shared by all nodes (SO_REUSEPORT) */
        struct config_addr region;  /* shared by the nodes of the region */
        struct config_addr node;    /* this node alone */
        struct config_addr admin;   /* /livez /readyz /status, mTLS */
        struct config_addr peer;    /* links of other nodes, mTLS */
    } listen;

    char *account_endpoint;          /* account.endpoint: URL any node serves */
    enum config_advertise advertise; /* advertise */
    struct config_endpoints advertise_regions; /* advertise_regions: they stand
                                                * in `regions` already */

    struct {
        char *ca;                    /* PEM, the cluster's CA certificate */
        char *cert;                  /* PEM, this node's certificate */
        char *key;                   /* PEM, its private key */
        enum config_tls min_version; /* of the HTTPS front; links: always 1.3 */
    } tls;

    struct {
        char *kek;     /* key-encryption key file (crypt/keyring.h) */
        char *cluster; /* wrapped data keys (crypt/keyring.h) */
        char *account; /* account master keys (config_account_keys_load) */
        char *region;  /* the own region's private key (crypt/region_key.h);
                        * there only if the regions have keys */
    } keys;

    struct config_consistency consistency; /* consistency: of a new account; the
                                            * account's record counts later */
    bool forward_writes; /* forward_writes: outside the write region, pass
                          * clients' writes on to it; else 403/3 */
    struct config_latencies latency; /* latency: for tests and demos */
    bool fault_injection; /* fault_injection: administrators may make this node
                           * fail (server/faults.h) */

    uint32_t feature_level_max; /* feature_level_max: the cluster's level may
                                 * not rise above it (base/feature.h); 0: any */

    uint32_t shards; /* shards of group `default`; fixed for a cluster's life */

    struct config_region *regions;          /* sorted by priority */
    size_t region_count;                    /* at least 1 */
    const struct config_region *own_region; /* points into `regions` */
    const struct config_node *own_node;

    struct {
        uint64_t memtable_bytes;    /* per worker, all its shards together */
        uint32_t connections;       /* client connections of the whole node */
        uint32_t header_bytes;      /* request line and headers */
        uint32_t body_bytes;        /* request body */
        uint32_t log_segment_bytes; /* a log file's size before the next */
        uint64_t map_bytes;         /* LMDB map size, per worker */
        uint64_t snapshot_rate;     /* bytes/s of snapshots sent, in all */
    } limits;

    struct {
        uint32_t heartbeat_ms;    /* leader to followers */
        uint32_t election_ms;     /* shortest; the longest is twice that */
        uint32_t lease_ms;        /* leader lease, < election_ms */
        uint32_t link_silence_ms; /* a peer link without bytes is broken */
        uint32_t region_down_ms;  /* out of reach for that long is lost */
        uint32_t region_up_ms;    /* well for that long is up again */
        uint32_t connect_ms;      /* TCP and TLS to a peer */
        uint32_t request_ms;      /* one operation on a shard, then 408/503 */
        uint32_t handshake_ms;    /* TLS handshake of a client */
        uint32_t header_ms;       /* first byte to the end of the headers */
        uint32_t body_ms;         /* end of headers to the end of the body */
        uint32_t idle_ms;         /* kept-alive connection without a request */
        uint32_t drain_ms;        /* what a stopping node waits for requests */
    } timeouts;

    struct {
        uint32_t interval_s; /* between two rounds of a shard; 0: none by
                              * themselves (server/scrubber.h) */
        uint64_t rate_bytes; /* a second, of a worker's replicas together */
    } scrub;

    struct {
        enum log_level level;
        enum config_log_format format;
    } log;

    char *faults; /* BASTIDE_FAULTS, for fault_arm; NULL when absent. Only the
                   * environment can set it: a fault is for tests */
};

/* The environment's word for where the file is, where none is named: what
 * `bastide node` and `bastide status --ready` read in a container. No setting,
 * and ignored by config_load. */
#define CONFIG_ENV_FILE "BASTIDE_CONFIG"

struct config_sources {
    const char *file;        /* path; NULL = no file */
    const char *const *env;  /* NAME=value, NULL-terminated; NULL = none */
    const char *const *sets; /* "name=value" of flags, in order */
    size_t set_count;
};

/* Reads and checks everything. On failure the message is one line that begins
 * with the place ("node.yaml:12: ", "BASTIDE_WORKERS: ", "--set workers: ").
 * ERR_NOT_FOUND, ERR_FORBIDDEN, ERR_IO: the file cannot be read;
 * ERR_LIMIT: larger than CONFIG_FILE_MAX; ERR_MALFORMED: not YAML;
 * ERR_INVALID: an unknown key, a bad value, a missing setting, a broken
 * relation. The caller owns the result: config_free. */
int config_load(const struct config_sources *sources,
                struct config **config_out, struct err_msg *msg);
void config_free(struct config *config); /* NULL is allowed */

/* Finds nodes by id; NULL when there is none. `region_out` may be NULL. */
const struct config_node *
config_find_node(const struct config *config, uint32_t id,
                 const struct config_region **region_out);
const struct config_region *config_find_region(const struct config *config,
                                               const char *name);

/* Whether all nodes of a region came after the cluster was made. */
bool config_region_added(const struct config_region *region);

/* Takes over what `newer` has at the end of its list of regions, and at the end
 * of a region's list of nodes, beyond `config`: pointers into `config` stay
 * good. `newer` is emptied of it and still freed by the caller. Nobody else may
 * be reading `config`. ERR_INVALID with a message: something else in the list
 * of regions differs; nothing was taken. */
int config_grow(struct config *config, struct config *newer,
                struct err_msg *msg);

/* Whether the regions have keys. */
bool config_has_region_keys(const struct config *config);

/* The round trip time to imitate between a node of region `a` and one of
 * region `b`, in either order; 0 = none. */
uint32_t config_rtt_us(const struct config *config, const char *a,
                       const char *b);

/* What log.format means for descriptor `fd`. */
enum log_format config_log_format(const struct config *config, int fd);

/* Every scalar setting, in the order of the documentation. */
struct config_setting {
    const char *name;     /* "limits.memtable_bytes" */
    const char *expected; /* "a size from 1 MiB to 64 GiB" */
    const char *fallback; /* default as text; NULL = must be given */
    const char *help;     /* one line */
};
/* The i-th setting, false past the end. The strings live for ever. */
bool config_describe(size_t i, struct config_setting *setting_out);

/* Parses "host:port" or "[v6]:port". ERR_INVALID with what was expected. */
int config_parse_addr(const char *text, struct config_addr *addr_out,
                      struct err_msg *msg);
/* Reads "strong", "bounded[,K=entries][,T=seconds]", "session", "prefix" or
 * "eventual"; the names of the REST API ("BoundedStaleness") mean the same, in
 * any case. ERR_INVALID with what was expected. */
int config_parse_consistency(const char *text,
                             struct config_consistency *consistency_out,
                             struct err_msg *msg);
/* "strong"; "bounded,K=10,T=5". */
#define CONFIG_CONSISTENCY_TEXT_MAX 48
void config_format_consistency(const struct config_consistency *consistency,
                               char out[CONFIG_CONSISTENCY_TEXT_MAX]);
/* Reads "eastus:westeurope=80ms,westeurope:westeurope=500us"; a time alone
 * ("80ms") is that of every pair of different regions, "world" what was
 * measured between Azure's (latency_expand); "" is an empty list. Appends to
 * `list`, which config_latencies_free ends. ERR_INVALID with what was expected;
 * ERR_LIMIT beyond CONFIG_LATENCIES_MAX. */
int config_parse_latencies(const char *text, struct config_latencies *list,
                           struct err_msg *msg);
/* Appends one. ERR_LIMIT. */
int config_latencies_add(struct config_latencies *list,
                         const struct config_latency *latency,
                         struct err_msg *msg);
void config_latencies_free(struct config_latencies *list);
/* Reads "eastus=https://localhost:8082/,westeurope=https://..."; "" is an empty
 * list. Appends to `list`, which config_endpoints_free ends. ERR_INVALID with
 * what was expected; ERR_LIMIT beyond CONFIG_REGIONS_MAX. */
int config_parse_endpoints(const char *text, struct config_endpoints *list,
                           struct err_msg *msg);
void config_endpoints_free(struct config_endpoints *list);
/* Whether a cluster, region or node name is legal: a-z, 0-9 and '-', begins
 * and ends with a letter or digit, at most CONFIG_NAME_MAX bytes. */
bool config_name_ok(const char *name);

/* The four master keys of the account, from a file of lines
 *
 *     primary: <base64 of 64 bytes>
 *     secondary: ...
 *     primary_readonly: ...
 *     secondary_readonly: ...
 *
 * whose mode lets nobody but the owner read it. */
#define CONFIG_MASTER_KEY_LEN 64
#define CONFIG_MASTER_KEY_TEXT_LEN 88 /* its base64 form */
enum config_master_key {
    CONFIG_KEY_PRIMARY,
    CONFIG_KEY_SECONDARY,
    CONFIG_KEY_PRIMARY_READONLY,
    CONFIG_KEY_SECONDARY_READONLY,
    CONFIG_KEY_COUNT
};
struct config_account_keys {
    uint8_t raw[CONFIG_KEY_COUNT][CONFIG_MASTER_KEY_LEN];
    char text[CONFIG_KEY_COUNT][CONFIG_MASTER_KEY_TEXT_LEN + 1];
};
/* ERR_NOT_FOUND, ERR_FORBIDDEN (unreadable, or others may read it), ERR_IO,
 * ERR_INVALID (a key missing, twice, of a wrong length or not base64); the
 * message names the file and line, never key bytes. Wipe with
 * config_account_keys_wipe. */
int config_account_keys_load(const char *path,
                             struct config_account_keys *keys_out,
                             struct err_msg *msg);
/* Makes four random keys and writes the file with mode 0600. ERR_EXISTS when
 * it is there already; ERR_NOT_FOUND, ERR_FORBIDDEN, ERR_NO_SPACE, ERR_IO. */
int config_account_keys_create(const char *path, struct err_msg *msg);
/* Replaces one of the keys in a file by a new random one; the other three stay.
 * Errors of config_account_keys_load, and those of writing. */
int config_account_keys_rotate(const char *path, enum config_master_key which,
                               struct err_msg *msg);
/* "primary", "secondary", "primary_readonly", "secondary_readonly". */
const char *config_master_key_name(enum config_master_key which);
void config_account_keys_wipe(struct config_account_keys *keys);

#endif
