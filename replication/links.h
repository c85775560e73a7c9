/* Links: this node's connections to all its peers. The shell around peer.h,
 * frame.h and codec.h, on one libev loop.
 *
 * One mTLS 1.3 connection per pair of nodes carries all shards. It is opened,
 * proved, watched and reopened by itself (the rules are peer.h's); users see
 * on_peer_up, on_peer_down, messages in order, and honest errors:
 *
 *     raft messages   fire and forget. Dropped (and counted) when the link is
 *                     down or LINKS_RAFT_QUEUE_MAX bytes are unsent; Raft
 *                     repeats what matters
 *     requests        one answer each, or one failure that says whether the
 *                     peer can have seen it
 *     snapshots       chunks under a window of LINKS_SNAPSHOT_WINDOW unacked
 *                     ones per transfer and LINKS_SNAPSHOT_QUEUE_MAX unsent
 *                     bytes per peer
 *
 * Everything sent during one loop turn leaves together, in few TLS records,
 * before the loop sleeps. Order is kept per peer, across kinds; nothing is kept
 * across a reconnect.
 *
 * Pings leave every `timing.ping_us` (200 ms unless told otherwise) and are
 * answered at once. Both carry the users' gossip, so that a number which the
 * peer's gossip echoes proves a round trip within one round trip and a ping.
 *
 * Entries for several nodes of another region cross to it once, where both ends
 * have FEATURE_RELAY in their feature level (relay.h): one node passes
 * them on to its neighbours. Users see no difference.
 *
 * Fences (failover/fence.h): what is of a shard leaves for, and is taken from,
 * nodes alone whose region may hold it, and only if this node's may; both ends
 * judge by the certificates. Refused are whole messages, whatever is in them.
 * Gossip, acknowledgements and failures of requests are of no shard.
 *
 * From FEATURE_REGION_PROOF on a certificate is not enough: the peer's HELLO
 * must prove that it holds its region's key. Where a fence stands, a peer that
 * does not is refused as a whole, since who may write to the meta shard can
 * move fences. A link from before the first fence stays, and its peer counts as
 * one of no region, which is outside every fence.
 *
 * A direction of a link can be impaired on purpose (impair.h, links_impair).
 * Frames that wait for their time count as unsent, so every class keeps its
 * limit: Raft messages beyond it are dropped, requests and chunks refused.
 * While either direction is cut, no connection is made and none is accepted;
 * the attempt ends as one to a silent network does. The end of a connection is
 * noticed late on request; sends then go nowhere until it is, or until silence
 * tells.
 *
 * A `struct links` belongs to one loop and thread. Callbacks come from the
 * loop, never from inside a links_* call, except links_free, which calls
 * nobody. Peers are named by the number the caller gave them (the node's Raft
 * id).
 */
#ifndef BASTIDE_REPLICATION_LINKS_H
#define BASTIDE_REPLICATION_LINKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "failover/fence.h"
#include "node/base/bytes.h"
#include "node/base/clock.h"
#include "node/base/err.h"
#include "replication/codec.h"
#include "replication/impair.h"
#include "replication/link/chan_tls.h"
#include "replication/peer.h"

#define LINKS_PEERS_MAX 64
/* Unsent bytes to one peer above which a class is not queued any more. The
 * classes differ so that a snapshot cannot starve requests, requests cannot
 * starve Raft, and nothing can starve pings and small answers. */
#define LINKS_SNAPSHOT_QUEUE_MAX (1 * 1024 * 1024)
#define LINKS_REQUEST_QUEUE_MAX (8 * 1024 * 1024)
#define LINKS_RAFT_QUEUE_MAX (16 * 1024 * 1024)
#define LINKS_OUTPUT_MAX (40 * 1024 * 1024)
/* Answers with a body of more than LINKS_ANSWER_SMALL: below Raft, which they
 * would starve else, since what is answered with may be far more than what was
 * asked. The asker of one that has no room is told so at once. */
#define LINKS_ANSWER_QUEUE_MAX (14 * 1024 * 1024)
#define LINKS_ANSWER_SMALL 4096
/* These, and as many as LINKS_ANSWERS_MAX, may be unsent whatever else is: Raft
 * that brings on who was away must not keep it from being answered. */
#define LINKS_ANSWER_SHARE (8 * 1024 * 1024)
#define LINKS_ANSWERS_MAX 1024
/* Requests to one peer without an answer yet. */
#define LINKS_REQUESTS_MAX 4096
/* Unacknowledged chunks of one transfer, and transfers to one peer (one per
 * shard: a chunk 0 with another `transfer` ends the one before). */
#define LINKS_SNAPSHOT_WINDOW 4
#define LINKS_TRANSFERS_MAX 256
/* Accepted channels that have not proved who they are, or are being closed. */
#define LINKS_GUESTS_MAX 64

struct links;
typedef uint32_t links_peer; /* never 0 */

/* A request that waits for our answer: a value, to be copied. */
struct links_call {
    links_peer peer;
    uint32_t session; /* of the connection it came by */
    uint64_t id;
    uint64_t shard; /* that it concerns */
    enum fence_carries carries;
    uint32_t age_ms; /* see links_request_again */
    /* It was on its way for no longer (travel.h); 0: not known. */
    uint32_t way_most_ms;
};

/* A message that a fence keeps from crossing a link. */
struct links_refusal {
    enum fence_wall wall; /* SEND: it would have left; RECEIVE: it arrived */
    bool known;           /* false: nobody may have it before its shard's group
                           * is known here */
    links_peer peer;
    uint64_t shard;
    bool unproved; /* the peer's region is not proved, whatever it may have */
    const char *what; /* "raft message"; static */
    size_t bytes;     /* of its payload, roughly */
};

/* Every pointer in an argument is borrowed for the call. Any member may be
 * NULL: on_request's absence answers ERR_UNSUPPORTED, the others are ignored.
 */
struct links_handler {
    void (*on_peer_up)(void *user, links_peer peer,
                       const struct peer_hello *hello);
    /* `err` and `reason` say why: ERR_EOF (it stopped in order), ERR_IO (its
     * process died, the connection broke), ERR_TIMEOUT (silent),
     * ERR_IDENTITY, ERR_AUTH, ERR_PROTOCOL. Requests without an answer fail
     * before this is called. */
    void (*on_peer_down)(void *user, links_peer peer, int err,
                         const char *reason);
    /* `payloads` has one element per entry of an append (codec.h), else it is
     * NULL. `message->from` is `from`: anything else is refused before. */
    void (*on_raft)(void *user, links_peer from, uint64_t shard,
                    const struct raft_msg *message,
                    const struct bytes *payloads);
    /* Answer with links_reply, inside the call or later. */
    void (*on_request)(void *user, struct links_call call, uint32_t kind,
                       uint32_t deadline_ms, struct bytes body);
    /* The one answer to links_request's `kind` and `id`: `err` is what the peer
     * gave to links_reply; ERR_FORBIDDEN or ERR_UNAVAILABLE from the links
     * themselves: the peer's fence refused the request, nothing was done. */
    void (*on_response)(void *user, links_peer from, uint32_t kind, uint64_t id,
                        int err, struct bytes body);
    /* No answer will come. ERR_UNAVAILABLE: the request certainly did not reach
     * the peer. ERR_TIMEOUT: its outcome is unknown (the deadline passed, or
     * the connection broke after it was sent). */
    void (*on_request_failed)(void *user, links_peer peer, uint32_t kind,
                              uint64_t id, int err);
    /* The shard that a request concerns, read from its body; 0 when it concerns
     * none. Absent: none does. Calls nothing of the links. */
    uint64_t (*request_shard)(void *user, uint32_t kind, struct bytes body);
    /* What requests of that kind and their answers carry of their shard. NULL:
     * payload. Calls nothing of the links. */
    enum fence_carries (*request_carries)(uint32_t kind);
    /* A fence held something back, in or out. Alone among these it is called
     * from inside links_send_*, too, so it calls nothing of the links. */
    void (*on_refused)(void *user, const struct links_refusal *refusal);
    /* Makes what proves to that node, on the connection that `binding` names
     * (CHAN_BINDING_LEN bytes), that this one holds its region's key. False, or
     * no such member: there is none. Calls nothing of the links, likewise the
     * next. */
    bool (*prove_region)(void *user, const struct peer_identity *to,
                         const uint8_t *binding,
                         uint8_t proof_out[PEER_PROOF_LEN]);
    /* Whether that is such a proof, by that node. `proof` is NULL where it sent
     * none. Absent, or where regions have no keys: whoever has a certificate is
     * believed. */
    bool (*believes_region)(void *user, const struct peer_identity *from,
                            const uint8_t *binding, const uint8_t *proof);
    /* What a chunk's data carries of its shard. NULL: payload. */
    enum fence_carries (*snapshot_carries)(struct bytes data);
    /* A chunk arrived. Acknowledge it with links_snapshot_ack once it is
     * stored; that is what lets the sender go on. */
    void (*on_snapshot)(void *user, links_peer from,
                        const struct snapshot_chunk *chunk);
    void (*on_snapshot_ack)(void *user, links_peer from,
                            const struct snapshot_ack *ack);
    /* What the peer attached to its ping or pong. */
    void (*on_gossip)(void *user, links_peer from, struct bytes gossip);
    /* The bytes to attach to the next ping or pong, at most GOSSIP_MAX; they
     * must live until this is called again. */
    struct bytes (*gossip)(void *user, links_peer to);
};

struct links_options {
    const char *cluster; /* own identity; must be what the certificate says */
    const char *region;
    const char *node;
    uint64_t incarnation;
    uint32_t feature_level; /* as in struct peer_hello, likewise the next two */
    uint32_t feature_active;
    uint32_t feature_wanted;
    const char *listen; /* "10.0.0.7:7000"; NULL: accept nobody */
    bool reuse_port;
    struct tls_ctx *tls;       /* of tls_ctx_peer; a reference is taken */
    struct peer_timing timing; /* zero fields: peer_timing_default */
    uint64_t seed;             /* jitter */
    /* Outlives the links. Regions should have their names in it before peers
     * are added: a connection keeps the number that its region had. */
    const struct fence *fence;
    const struct links_handler *handler; /* must outlive the links */
    void *user;
};

/* ERR_OK; or with a message: ERR_INVALID (a name), ERR_IDENTITY (the
 * certificate of `tls` names someone else), and chan_listen's errors. */
int links_create(struct chan_loop *cl, const struct links_options *options,
                 struct err_msg *msg, struct links **links_out);
/* Says BYE where it can, closes everything, calls nobody. Not from inside a
 * callback. NULL is allowed. */
void links_free(struct links *links);
/* The port of the listener, 0 without one. */
uint16_t links_port(const struct links *links);

/* Adds a peer and begins to connect (or to expect it). The strings are copied.
 * ERR_EXISTS (number or node name), ERR_FULL (LINKS_PEERS_MAX), ERR_INVALID
 * (number 0, a name, an address without a port, our own name). */
int links_add_peer(struct links *links, links_peer peer, const char *region,
                   const char *node, const char *address);
/* Closes the link and forgets the peer; for its open requests
 * on_request_failed is called from the loop, on_peer_down is not.
 * ERR_NOT_FOUND.
 */
int links_remove_peer(struct links *links, links_peer peer);

/* All of the following: ERR_NOT_FOUND when there is no such peer,
 * ERR_UNAVAILABLE while its link is not streaming, ERR_LIMIT when the message
 * would be larger than FRAME_MAX or one of codec.h's bounds. What is of a shard
 * also: ERR_FORBIDDEN when its fence says so, ERR_UNAVAILABLE when its group is
 * not known here. On any error nothing was sent. */

/* `payloads` as codec_put_raft wants them; everything is copied before the call
 * returns. ERR_FULL: dropped, counted in links_stats. */
int links_send_raft(struct links *links, links_peer to, uint64_t shard,
                    const struct raft_msg *message,
                    const struct bytes *payloads);
/* Asks `to` something about `shard` (0: about none). The answer or failure
 * arrives within `deadline_ms` (1 or more) or little later. ERR_FULL:
 * LINKS_REQUESTS_MAX or LINKS_REQUEST_QUEUE_MAX. */
int links_request(struct links *links, links_peer to, uint32_t kind,
                  uint64_t shard, uint32_t deadline_ms, struct bytes body,
                  uint64_t *id_out);
/* The same for a request that somebody may have carried out already: it was
 * first sent `age_ms` ago. Who gets it hears that in links_call, and how long
 * the request itself was on its way; a release from before there was such a
 * member takes it for a new one. 0: it is. */
int links_request_again(struct links *links, links_peer to, uint32_t kind,
                        uint64_t shard, uint32_t deadline_ms, uint32_t age_ms,
                        struct bytes body, uint64_t *id_out);
/* Answers; `err` is a code of err.h. ERR_FORBIDDEN, ERR_UNAVAILABLE: a fence
 * keeps the body here, and the asker gets ERR_TIMEOUT instead: the outcome is
 * unknown there. ERR_CLOSED: the connection it came by is
 * gone, and with it whoever asked. ERR_FULL: LINKS_ANSWER_QUEUE_MAX has no room
 * for the body, and the asker gets ERR_TIMEOUT instead, as above (or, where
 * LINKS_OUTPUT_MAX is reached too, nothing before its deadline). */
int links_reply(struct links *links, struct links_call call, int err,
                struct bytes body);
/* How many bytes of a body larger than LINKS_ANSWER_SMALL an answer to that
 * peer may have now, roughly. 0: none, or the link is down. */
size_t links_answer_room(struct links *links, links_peer peer);
/* Chunks of a transfer are sent in the order of their `seq`, from 0; one behind
 * another that could not be sent is ERR_UNAVAILABLE, too. ERR_AGAIN:
 * the window is full, go on after the next on_snapshot_ack; or the queue is, go
 * on a moment later. ERR_FULL: LINKS_TRANSFERS_MAX. A transfer does not survive
 * its connection: after on_peer_down begin a new one. */
int links_send_snapshot(struct links *links, links_peer to,
                        const struct snapshot_chunk *chunk);
int links_snapshot_ack(struct links *links, links_peer to,
                       const struct snapshot_ack *ack);

/* The cluster's feature level has risen: peer_require for every link, those
 * that are added later included. A lower level than before is not one. */
void links_require(struct links *links, uint32_t feature_active);

/* -- impairments ----------------------------------------------------------- */

/* Replaces the impairment of one direction, from now on. What waits already
 * keeps its time and its order, unless it waits for a bounded rate that is
 * changed; what a cut held back is due when it heals. An open connection is
 * ended from the loop when the peer's certificate becomes bad, or more
 * handshakes fail than before.
 * ERR_INVALID: impairment_ok says no. ERR_NOT_FOUND. ERR_IO: no descriptor for
 * a timer. */
int links_impair(struct links *links, links_peer peer,
                 enum impair_direction direction,
                 const struct impairment *impairment);

/* -- looking at it --------------------------------------------------------- */

struct links_stats {
    enum peer_state state;
    usec_t rtt_us;       /* of the last ping; 0 before the first */
    usec_t heard_us;     /* monotonic; 0 when never */
    size_t output_bytes; /* unsent, those that wait for their time included */
    struct impairment out, in;
    uint32_t requests_open;
    uint32_t attempts;      /* failed ones in a row */
    uint64_t refusals;      /* attempts and links that one side refused */
    uint32_t feature_heard; /* as in struct peer */
    /* Of the link that streams, else 0: agreed protocol version, and what the
     * peer said in its HELLO. */
    uint32_t version;
    uint32_t feature_level;
    uint32_t feature_wanted;
    bool region_proved; /* likewise: it was, or need not be */
    uint64_t connects;  /* times the link came up */
    uint64_t frames_in, frames_out;
    uint64_t bytes_in, bytes_out; /* payloads and frame headers */
    uint64_t raft_bytes_out;      /* of that: frames of Raft messages */
    uint64_t raft_entries_out;    /* bytes of entries' payloads in them */
    uint64_t raft_dropped;        /* also by an impairment */
    uint64_t raft_duplicated;     /* by an impairment */
    uint64_t shared_out;          /* appends whose entries the peer passed on */
    uint64_t bare_out;         /* appends whose entries a neighbour passed on */
    uint64_t passed_out;       /* bytes of entries passed on to the peer */
    uint64_t missed;           /* times the peer said that they did not come */
    uint64_t requests_refused; /* ERR_FULL given to links_request */
    uint64_t requests_failed;
    uint64_t answers_refused; /* ERR_FULL given to links_reply */
    uint64_t late_responses;  /* arrived after their deadline */
    uint64_t fence_refused_out, fence_refused_in; /* messages */
    int last_err;            /* why the link was last lost or refused */
    const char *last_reason; /* lives until the peer is removed */
};
/* ERR_NOT_FOUND. */
int links_get_stats(const struct links *links, links_peer peer,
                    struct links_stats *stats_out);
bool links_is_up(const struct links *links, links_peer peer);

#endif
