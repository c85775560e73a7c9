/* The Cosmos DB for NoSQL REST API over the shards.
 *
 *     http request -> authorization -> route -> handler -> operation(s) on
 *     shards through the backend -> http response
 *
 * A `struct cosmos` belongs to one worker and runs on its loop only. It holds
 * no data of its own: what exists comes from the worker's catalog, documents
 * from the shards. Every request is one `struct call` (call.h) that lives from
 * on_request to its one http_respond; a handler that waits for a shard is
 * continued by that operation's result. There is no anonymous endpoint here:
 * every request is verified (node/auth) before its path means anything.
 *
 * Files, by what a client asks for: account.c, database.c, container.c,
 * document.c, feed.c, query.c; unsupported.c lists what is not there yet.
 * Levels and sessions: level.c (which reads get what), session.c (tokens).
 * Faults on request: fault.c.
 * Requests through nodes outside a fence: transit.c, passage.c.
 * Shared: route.c (paths), headers.c (request headers), call.c (life of a
 * request), reply.c (responses), status.h (every refusal), continuation.c
 * (page tokens), charge.h (request units), advertise.c (addresses of regions).
 */
#ifndef BASTIDE_COSMOS_COSMOS_H
#define BASTIDE_COSMOS_COSMOS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/auth/signature.h"
#include "node/base/clock.h"
#include "node/base/err.h"
#include "node/base/feature.h"
#include "node/catalog/catalog.h"
#include "node/cosmos/session.h"
#include "node/crypt/seal.h"
#include "node/http/http.h"
#include "node/inject/inject.h"
#include "node/shard/backend.h"

/* Regions of an account. */
#define COSMOS_REGIONS_MAX 32
/* Bytes of an account id, a region name, an endpoint. */
#define COSMOS_NAME_MAX 255
/* Requests that wait for a shard at the same time, per worker: beyond it 429.
 * The HTTP front's limits on connections and pipelining come before. */
#define COSMOS_CALLS_MAX 8192
/* How long one operation on a shard may take before the client gets 408 (its
 * outcome unknown) or 503, unless configured. Clients give up after 60 s. */
#define COSMOS_OP_TIMEOUT_US (10 * USEC_PER_SEC)
/* A page of a feed or query is sent with what there is after this long. */
#define COSMOS_PAGE_SLICE_US (5 * USEC_PER_SEC)
/* The same limit for weak reads on an isolated node: long enough for a session
 * read to wait for its token (SHARD_SESSION_WAIT). */
#define COSMOS_ISOLATED_TIMEOUT_US (1 * USEC_PER_SEC)
/* A write that came by transit must be done by then: its sender may have had it
 * from another node meanwhile. The sender tries for longer. */
#define COSMOS_PASSED_TIMEOUT_US (1 * USEC_PER_SEC)
/* Rows of a page when the client does not say, and when it leaves it to us. */
#define COSMOS_PAGE_ROWS_DEFAULT 100
#define COSMOS_PAGE_ROWS_SERVER 1000
/* Bytes of rows that end a page; one row may pass it. */
#define COSMOS_PAGE_BYTES (4u * 1024 * 1024 - 64 * 1024)

struct cosmos_region {
    const char *name;     /* "eastus", as clients see it */
    const char *endpoint; /* "https://127.0.0.1:8082/": absolute, with the
                             trailing slash; the same text every time */
    bool down;            /* declared lost (the group record's `down`) */
};

/* Which addresses the account document gives for the regions. */
enum cosmos_advertise {
    COSMOS_ADVERTISE_LISTED, /* their endpoints, as they are listed */
    COSMOS_ADVERTISE_HOST,   /* the host that the request was sent to (its Host
                              * header), with each region's listed port */
    COSMOS_ADVERTISE_REQUEST /* the host and port that the request was sent to,
                              * for every region: one mapped port is enough */
};

/* What this node knows of the account and of its own place in it: the account
 * document, and what follows for requests.
 *
 * The document names as writable the write region alone, and as readable the
 * write region, then the others by priority: a client without preferences uses
 * the first of each list, and must find its writes where it reads. Regions that
 * are down are in neither list, since SDKs do not leave a host that refuses
 * connections by themselves. While the write region is down and no other has
 * been decided on yet, the first region by priority that is not down stands in
 * for it: its nodes answer, forward or say why they cannot. (Both lists must
 * have an entry: were all regions down, the write region would stay.) */
struct cosmos_account {
    const char *id;                      /* never "localhost" */
    const struct cosmos_region *regions; /* by priority, first is preferred */
    size_t region_count;                 /* 1..COSMOS_REGIONS_MAX */
    size_t write_region;                 /* index into regions */
    struct consistency_policy consistency;
    enum cosmos_advertise advertise;

    /* This node's region, index into regions; not used when `removed`. */
    size_t own_region;
    /* This node's region is no longer one of the account's: everything but
     * GET / is answered 403/1008, upon which SDKs read the account anew. */
    bool removed;
    /* forward_writes is off: outside the write region, writes are answered
     * 403/3 and not forwarded. */
    bool refuse_writes;
    /* No contact with the meta shard's leader for some seconds: writes and
     * strong reads are answered 503 at once (but not what a database or
     * container is, as far as known here), weaker reads are tried for
     * COSMOS_ISOLATED_TIMEOUT_US, names that are not known are not looked for
     * elsewhere. */
    bool isolated;
    /* Isolated since a moment ago: others may have taken over. If this is the
     * write region as far as it knows, writes are answered 403/3 instead, upon
     * which SDKs read the account anew, elsewhere if they can, and try again.
     */
    bool elsewhere;
    /* The node has started and not yet had any contact: the level that it knows
     * may be one that was replaced since. All reads are strong until then. */
    bool unproven;
    /* Why service is limited, in words for whoever reads a 503; NULL or "":
     * nothing to add. "regions westus and northeu are lost; writes stop because
     * one region of three is no majority: see bastide region recover". */
    const char *reason;
};
/* Longest `reason`; more is cut. */
#define COSMOS_REASON_MAX 400

/* What faults do to one request. */
struct cosmos_strike {
    /* `fault`, a copy, decides about the answer: it is one of respond, reset,
     * truncate and key-rotated. */
    bool struck;
    struct inject_fault fault;
    uint32_t delay_ms; /* the answer, whichever, is sent that much later */
};

/* Faults on request that face clients (node/inject), asked about every request
 * once it is authorized and before it is carried out. */
struct cosmos_faults {
    /* How many there are. With none a request costs one relaxed load: one that
     * is under way when a fault is added may miss it. NULL: never any. */
    const _Atomic uint32_t *active;
    /* Fills `strike_out`, all zero before but for `fault`. From the worker's
     * loop. */
    void (*strike)(void *user, const struct inject_request *r,
                   struct cosmos_strike *strike_out);
    void *user;
};

/* A request to be passed on to a node of a placement group's own
 * (node/cosmos/transit.h). */
struct cosmos_pass {
    const struct catalog_group *group; /* borrowed for the call */
    bool writes;         /* tried elsewhere only as its outcome allows */
    usec_t timeout_us;   /* for finding who takes it */
    struct buf *passage; /* encoded (passage.h); its storage is taken */
};
/* What became of it. ERR_OK: `answer`, encoded, borrowed for the call. Else
 * nothing was done, with ERR_TIMEOUT perhaps: ERR_UNAVAILABLE (nobody takes
 * it), ERR_FORBIDDEN (a fence), ERR_LIMIT (too large), ERR_THROTTLED. */
struct cosmos_passed {
    int err;
    struct bytes answer;
};
typedef void cosmos_passed_cb(void *user, const struct cosmos_passed *passed);

/* All pointers are borrowed and must outlive the cosmos, but for `account`,
 * which is copied. */
struct cosmos_config {
    struct backend *backend;
    const struct catalog *catalog;
    /* The first four in the order of enum inject_key. */
    const struct auth_keys *keys;
    /* The keyed hash of the placement group that `shard` belongs to, under
     * which partition keys and ids become addresses; NULL while the node does
     * not have that group's key (the client gets 503). */
    const struct keyed_hash *(*index_hash)(void *user, uint16_t shard);
    /* Authenticates continuation tokens; the same key on every node of the
     * cluster, so that a token is valid everywhere. */
    const struct keyed_hash *token_hash;
    usec_t (*mono_us)(void *user);
    usec_t (*wall_us)(void *user);
    /* A request for documents of a fenced group was refused because this node
     * is outside. NULL: nobody wants to know. */
    void (*outside)(void *user, const struct catalog_group *group);
    /* Whether this node's replica of a shard of a fenced group has had contact
     * with the shard's leader in the last seconds, or, leading it, with a
     * majority. NULL: never while the node is isolated. */
    bool (*in_contact)(void *user, uint16_t shard);
    /* Passes a request on; `done` is called exactly once, from the worker's
     * loop, also from inside. NULL: there is nobody to pass it to. */
    void (*pass_on)(void *user, const struct cosmos_pass *pass,
                    cosmos_passed_cb *done, void *done_user);
    void *user;         /* for the functions above */
    const char *region; /* this node's; borrowed */
    /* What all nodes of the cluster can read. */
    const struct feature_gate *features;
    usec_t op_timeout_us; /* 0: COSMOS_OP_TIMEOUT_US */
    /* The node's, shared by all workers (session.h). NULL: one of its own, for
     * a node with one worker. */
    struct session_floor *floor;
    struct cosmos_faults faults;
    struct cosmos_account account;
};

struct cosmos;

/* ERR_INVALID with a message: the account is not one (cosmos_set_account). */
int cosmos_new(const struct cosmos_config *config, struct cosmos **cosmos_out,
               struct err_msg *msg);
/* No request may be running (cosmos_running is 0). NULL is allowed. */
void cosmos_free(struct cosmos *c);

/* Replaces what GET / answers and which levels and writes are accepted, for all
 * requests that arrive from now on. Call it, on every worker, whenever any of
 * these changes: the account record's consistency, the group record's regions,
 * write_region or down, whether the node is isolated, the reason. Cheap enough
 * for each of them (the document is made once, here).
 * ERR_INVALID with a message when the id is empty or "localhost", there is no
 * region or too many, the write region (or, unless removed, the own region) is
 * none of them, or an endpoint is no absolute https URL with a trailing slash;
 * the old account stays then. Everything is copied. */
int cosmos_set_account(struct cosmos *c, const struct cosmos_account *account,
                       struct err_msg *msg);

/* What it counts (meters.h), on its worker's thread. Lives as long as it. */
struct cosmos_meters;
const struct cosmos_meters *cosmos_meters(const struct cosmos *c);

/* Requests taken and not yet answered. */
size_t cosmos_running(const struct cosmos *c);

/* For struct http_front_options: the handler, with the cosmos as its user. It
 * answers every request with a JSON body, also those the front refuses. */
extern const struct http_handler cosmos_http_handler;

/* A request that a node outside the fence of its container's placement group
 * has passed on. It is verified already; the request's life is as that of
 * others. Faults that face clients are not asked about. `since_us` and
 * `again`: as in struct op. */
struct passage;
void cosmos_on_passage(struct cosmos *c, struct http_request *r,
                       const struct passage *passage, usec_t since_us,
                       bool again);

/* How records of the catalog and documents are addressed, for those who write
 * them elsewhere (bootstrap, tests): keyed hashes of the partition key's
 * canonical bytes (node/catalog/partition_key.h; databases: empty; containers:
 * the 4 bytes of the database's RID) and of the id's bytes. */
void cosmos_address(const struct keyed_hash *hash, uint32_t container,
                    struct bytes pk_canonical, struct bytes id,
                    struct op_address *address_out);

#endif
