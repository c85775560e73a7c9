/* One request from its arrival to its answer.
 *
 *     on_request -> call_begin -> verify -> faults -> route -> handler
 *                                                   |  call_submit(op, done)
 *                                                   v
 *                                      done(call, result) -> reply_*
 *
 * Exactly one reply_* function ends a call; after it the pointer is dead.
 * Handlers may use cosmos->json between two waits only: another call will have
 * used it since. Whatever an operation borrows (body, query) is kept in the
 * call.
 */
#ifndef BASTIDE_COSMOS_CALL_H
#define BASTIDE_COSMOS_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/check.h"
#include "node/base/prng.h"
#include "node/base/rng.h"
#include "node/catalog/catalog.h"
#include "node/catalog/partition_key.h"
#include "node/catalog/spread.h"
#include "node/cosmos/cosmos.h"
#include "node/cosmos/headers.h"
#include "node/cosmos/meters.h"
#include "node/cosmos/passage.h"
#include "node/cosmos/route.h"
#include "node/cosmos/status.h"
#include "node/http/http.h"
#include "node/json/json.h"
#include "node/shard/backend.h"

#define CALL_MAGIC MAGIC('c', 'a', 'l', 'l')
#define COSMOS_MAGIC MAGIC('c', 'o', 's', 'm')
/* Ended calls that are kept for the next requests. */
#define CALLS_KEPT 256
/* Times that a call looks for a container that moves while it is asked for. */
#define CALL_MOVED_MAX 20
/* A kept call's buffer above this size is given back. */
#define CALL_TEXT_KEPT (64u * 1024)

struct page; /* page.h */

typedef void call_step(struct call *c);
typedef void call_done(struct call *c, struct op_result *result);

/* One run of call_submit's loop, on its stack. */
struct call_turn {
    bool again; /* the next operation was set up inside the last one's result */
    bool ended; /* the call is gone */
};

/* What of the account decides about requests (struct cosmos_account). */
struct cosmos_place {
    enum consistency_level level;
    bool removed;
    bool writes_here;   /* this is the write region */
    bool refuse_writes; /* and this is not the write region */
    bool isolated;
    bool elsewhere; /* writes will do better there */
    bool unproven;  /* whatever `level` says, read strongly */
    char id[COSMOS_NAME_MAX + 1];
    char write_region[COSMOS_NAME_MAX + 1];
    char reason[COSMOS_REASON_MAX + 1];
};

struct cosmos {
    uint32_t magic;
    struct cosmos_config config;    /* `account` not valid after start-up */
    char *account_json;             /* as listed, for most requests */
    struct cosmos_account *account; /* what it says */
    struct cosmos_place place;
    struct session_floor *floor;
    bool owns_floor;
    struct json json;   /* the worker's parser */
    struct buf scratch; /* short texts, between two waits */
    struct prng prng;   /* activity and operation ids: unique, not secret */
    struct call *kept;
    size_t kept_count;
    size_t running;
    struct cosmos_meters meters;
};

struct call {
    uint32_t magic;
    struct call *next_kept;
    struct cosmos *cosmos;
    struct http_request *http;
    struct cosmos_headers headers;
    struct route_path path;
    char activity[RNG_UUID_LEN + 1];
    usec_t started_us;
    double charge;
    enum consistency_level level; /* of its reads */
    enum cosmos_operation operation;
    bool writes;    /* by method and headers */
    bool read_only; /* of the key that signed it */

    /* It came by transit (transit.h): for the group with this first shard, and
     * the id of the operation that writes, and when an earlier attempt at it
     * began (op.since_us, op.again). */
    bool passed, passed_again;
    uint16_t passed_shard;
    usec_t passed_since_us;
    uint8_t passed_id[OP_ID_LEN];

    /* What the path names, once call_resolve found it; counted references. */
    struct catalog_database *database;
    struct container_def *container;
    struct spread spread; /* the container's shards */
    /* Of the group that the request is about, now: call_enter. */
    bool outside;     /* of its fence is where this node is */
    bool writes_here; /* this region acknowledges its writes */
    bool isolated;    /* this node is, from who leads its shards; before a group
                       * is known, from the rest of the cluster */
    bool want_container;
    bool looked_again; /* the catalog was brought up to date once */
    call_step *found;  /* goes on when the path was resolved */
    call_step *again;  /* the same, should the container have moved meanwhile */
    call_step *synced; /* goes on when the catalog is up to date */

    /* The operation that runs, or ran last. */
    struct op op;
    call_done *done;
    struct call_turn *turn; /* not NULL while the backend is being called */
    struct buf text;        /* what the operation borrows */
    struct op_result held;  /* a result kept across a later wait */
    int status;             /* of the answer, once it succeeds */
    unsigned attempts;
    unsigned moved; /* times that it began anew because the container moved */

    /* Documents: which partition, and which of the container's slots; state of
     * that shard, for the session token. lsn 0 while unknown. */
    struct partition_key pk;
    uint32_t slot;
    bool item_level; /* responses carry range, session and paths */
    uint64_t lsn;
    uint64_t term;
    bool behind; /* the answer is 404/1002: it repeats the client's token */
    bool by_rid; /* the path names the item by its RID */

    struct cosmos_strike strike; /* not struck unless a fault was */
    struct page *page;           /* feeds and queries; owned, page_free */
};

/* -- life -------------------------------------------------------------------
 */

/* Takes a request; NULL when COSMOS_CALLS_MAX are running. */
struct call *call_begin(struct cosmos *cosmos, struct http_request *http);
/* A new activity id: unique, not secret, so that no system call is needed. */
void call_activity(struct prng *prng, char out[RNG_UUID_LEN + 1]);
/* Ends a call and keeps or frees its memory. Only reply.c calls this. */
void call_end(struct call *c);
/* Frees the memory of an ended call. */
void call_free(struct call *c);

/* -- resolving the path ------------------------------------------------------
 */

/* The placement group that a container names, or would: `name` empty is
 * default. NULL when this node knows none of that name. */
const struct catalog_group *call_group(const struct call *c, struct bytes name);
/* The number in x-ms-documentdb-partitionkeyrangeid: "3", or "<container
 * RID>,3" as some SDKs send it. ERR_MALFORMED; ERR_LIMIT: beyond 32 bits;
 * ERR_NOT_FOUND: there is none. */
int call_range_named(const struct call *c, uint32_t *id_out);
/* Finds the database (segment 1) or also the container (segment 3) in the
 * catalog, then goes on with `then`. When it is not there, the catalog is first
 * brought up to date (another node may just have created it); when it is still
 * missing, answers 404: plain for the resource the path addresses, 1003 for an
 * owner of it. A path to documents of a container whose fence this node is
 * outside of is passed on if the group allows transit, else answered 403; of a
 * container with a placement map, that is only known when call_enter says so.
 */
void call_with_database(struct call *c, call_step *then);
void call_with_container(struct call *c, call_step *then);

/* Whether the path is of documents of a container, or below them. */
bool call_wants_documents(const struct call *c);
/* Answers 403 with the regions of the group that the call is about. */
void call_refuse_outside(struct call *c);

/* -- which shards
 * --------------------------------------------------------------
 */

/* The request is about this slot of the container from now on: by its group go
 * the fence, the level and where writes are acknowledged. Asked again for each
 * of several. False after answering: this node is outside that fence (403), the
 * request asks for more than the group's level (400), the session has seen
 * the part elsewhere, and this node cannot look where (503, call_stale), or it
 * does not hold the group's keys (503). */
bool call_enter(struct call *c, uint32_t slot);
/* The same for where the documents of c->pk are, which then is c->slot, and all
 * that the request is about: so it may also have been passed on. False as well
 * when the container's placement map rejects the key: answered 400, or 503
 * where lines may be missing (call_stale), unless the map was looked up anew
 * first and the call began again. That the keys are here, who makes an address
 * finds out: call_hash. */
bool call_enter_key(struct call *c);
/* Lets go of what the call has so far and goes on from where
 * call_with_container found the container, with what the catalog says once it
 * is up to date. */
void call_again(struct call *c);
/* The same because the container has moved: a limited number of times. */
void call_moved(struct call *c);

/* -- operations --------------------------------------------------------------
 */

/* Clears c->op for a new operation of this kind on this shard. */
struct op *call_op(struct call *c, enum op_kind kind, uint16_t shard);
/* Runs c->op. A backend may answer at once; when the next operation is
 * submitted from inside that answer it starts after `done` has returned, so
 * that long chains of operations do not deepen the stack. When the container
 * turns out to have moved, nothing was done; the call goes on from where
 * call_with_container found it, with what the catalog says now. */
void call_submit(struct call *c, call_done *done);
/* Waits until this node has `lsn` of the meta shard (0: everything acknowledged
 * so far), then goes on. Answers the request when that cannot be had; but on an
 * isolated node goes on at once with what is known here. */
void call_sync_catalog(struct call *c, uint64_t lsn, call_step *then);
/* Whether that was tried where it could not be: this node is isolated, and what
 * it does not know of may exist all the same. */
bool call_stale(const struct call *c);
/* Like call_sync_catalog after a successful write at `lsn`, whose answer must
 * not become a failure any more: goes on in any case. */
void call_await_catalog(struct call *c, uint64_t lsn, call_step *then);

/* -- request parts ------------------------------------------------------------
 */

/* Parses the body as a JSON object of at most `max` bytes into cosmos->json
 * (root: node 0). On failure the call is answered and false returned. */
bool call_body_object(struct call *c, size_t max);
/* Puts If-Match and, when `none_match`, If-None-Match into c->op. */
void call_conditions(struct call *c, bool none_match);
/* The hash for a shard's addresses; NULL after answering 503. */
const struct keyed_hash *call_hash(struct call *c, uint16_t shard);
/* Shard number of a slot of the call's container, or of one that it left
 * (struct spread). */
static inline uint16_t call_shard(const struct call *c, uint32_t slot)
{
    return spread_shard(&c->spread, slot);
}
/* The move that brought what is in a slot to its shard; 0: none. */
static inline uint64_t call_arrival(const struct call *c, uint32_t slot)
{
    return spread_part(&c->spread, slot)->move;
}
/* What clients know range `index` of the container by: ids of the ranges that
 * it had in other shards are not used again. */
static inline uint32_t call_range_id(const struct call *c, uint32_t index)
{
    return c->container->move.ranges + index;
}
/* The same for the range that a slot is in. */
static inline uint32_t call_slot_range_id(const struct call *c, uint32_t slot)
{
    return call_range_id(c, spread_range_of(&c->spread, slot));
}
usec_t call_now(const struct call *c);

#endif
