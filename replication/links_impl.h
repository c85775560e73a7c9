/* What links.c and links_relay.c share (private to the links). */
#ifndef BASTIDE_REPLICATION_LINKS_IMPL_H
#define BASTIDE_REPLICATION_LINKS_IMPL_H

#include <ev.h>
#include <uthash.h>

#include "node/base/buf.h"
#include "node/base/check.h"
#include "node/base/list.h"
#include "replication/links.h"
#include "replication/relay.h"
#include "replication/travel.h"

#define LINKS_MAGIC MAGIC('l', 'n', 'k', 's')
#define LINK_MAGIC MAGIC('l', 'i', 'n', 'k')
#define GUEST_MAGIC MAGIC('g', 's', 't', ' ')

/* A request of ours without an answer. */
struct pending {
    uint64_t id;
    uint64_t end; /* of its frame, in bytes ever queued on the channel */
    uint32_t kind;
    uint64_t shard;
    enum fence_carries carries; /* it and its answer */
    usec_t deadline_us;
    links_peer peer;   /* that was asked */
    int err;           /* once it has failed */
    struct list node;  /* in links->orphans, or among those failing now */
    UT_hash_handle hh; /* in link->pending */
};

/* A snapshot that we send. */
struct transfer {
    uint64_t shard;
    uint64_t id;
    uint64_t next;  /* seq of the next chunk */
    uint64_t acked; /* chunks below this are acknowledged */
    bool done;      /* the last one was sent */
    UT_hash_handle hh;
};

#define LINK_ANSWER_NOTE 16

struct link {
    uint32_t magic;
    struct links *links;
    links_peer id;
    struct peer peer;
    char *address;
    struct chan *chan;      /* of the states dialing, proving, streaming */
    uint32_t session;       /* counts channels */
    failover_region region; /* by the certificate shown on `chan`; 0 before */
    bool proved;            /* by the HELLO on `chan`; or need not be */
    uint64_t written;       /* bytes queued on `chan` or waiting in `line` */
    struct travel travel;   /* of the frames that come by `chan` */
    struct impairment out, in;
    struct delay_line line; /* frames that wait for their time */
    usec_t free_us;         /* of impair_send */
    bool expel;             /* end the connection: its handshake fails now */
    /* An end that is not noticed yet; `late_us` is USEC_NEVER without one. */
    usec_t late_us;
    enum peer_event_type late_event;
    int late_err;
    char late_reason[PEER_REASON_MAX];
    int alarm_fd;    /* a timer of the kernel's; -1 until needed */
    usec_t alarm_us; /* what it is set to */
    ev_io alarm;     /* the first of them is due */
    struct pending *pending;
    struct transfer *transfers;
    ev_timer timer;
    unsigned busy;
    bool removed;
    struct buf answers;  /* of large ones perhaps unsent: u64 end, u64 bytes */
    size_t answer_bytes; /* sum of these */
    struct list held;    /* Raft frames behind a bare append, oldest first */
    size_t held_bytes;
    char *logged; /* the failure that was logged last, NULL after success */
    char last_reason[PEER_REASON_MAX];
    struct links_stats stats; /* the counters; the rest is filled on demand */
};

/* A channel that belongs to no peer: not proved yet, or on its way out. */
struct guest {
    uint32_t magic;
    struct links *links;
    struct chan *chan;
    struct list node;
};

struct links {
    uint32_t magic;
    struct chan_loop *cl;
    struct tls_ctx *tls;
    struct chan_judge judge;
    struct peer_hello own;
    const struct fence *fence;
    failover_region region; /* own; links_create compared the certificate */
    struct peer_timing timing;
    struct prng prng;
    const struct links_handler *handler;
    void *user;
    struct chan_listener *listener;
    struct link *peers[LINKS_PEERS_MAX];
    size_t n_peers;
    struct list guests;
    size_t n_guests;
    char *logged_guest; /* last refusal of a guest that was logged */
    struct codec *codec;
    struct buf frame; /* the frame being encoded */
    struct buf spare; /* another, or an append put together */
    struct relay_sender relay;
    struct relay_box box;
    ev_timer patience; /* the first held append has waited long enough */
    uint64_t next_request;
    size_t open_requests;
    struct list orphans; /* requests of removed peers, to be reported */
    ev_timer expiry;
};

/* Shows a test every frame that is queued for a peer (its node's name), in a
 * build made with LINKS_DUMPABLE (tests/lib/links_dump.c); no other has that.
 */
#ifdef LINKS_DUMPABLE
void links_dump(const struct links *links, const char *peer,
                const struct buf *frame);
#define LINKS_DUMP(links, peer, frame) links_dump(links, peer, frame)
#else
#define LINKS_DUMP(links, peer, frame) ((void)0)
#endif

/* -- of links.c ------------------------------------------------------------ */

struct link *link_find(const struct links *links, links_peer id);
bool link_streaming(const struct link *l);
/* Between these the link's memory stays, also when it is removed; look at
 * `removed` after each call that may have called a user. */
void link_enter(struct link *l);
void link_leave(struct link *l);
/* Queues the frame in links->frame, if that leaves at most `max` unsent.
 * ERR_FULL, ERR_UNAVAILABLE. */
int link_queue(struct link *l, size_t max);
/* Begins to connect, unless a cut lets nothing through: then the attempt has no
 * channel and ends by its deadline. */
void link_dial(struct link *l);
/* The channel has bytes to be read, or may be read again. */
void link_read(struct link *l);
/* A raft frame's payload: to the user. An error means that the peer broke the
 * protocol. */
int link_raft(struct link *l, struct bytes payload);
/* Ends the link because the peer did. */
void link_violation(struct link *l, int err, const char *frame);
/* The channel is over: LOST, REFUSED or VIOLATION. */
void link_failed(struct link *l, enum peer_event_type type, int err,
                 const char *reason);
struct link *link_find_node(const struct links *links, const char *node);

/* How often open requests are checked for passed deadlines. */
#define LINKS_EXPIRY_TICK_US (10 * USEC_PER_MS)
/* Has that done from `after_us` on, if it is not already. */
void links_expiry_start(struct links *links, usec_t after_us);

/* -- of links_impair.c ------------------------------------------------------
 */

void link_impair_init(struct link *l);
void link_alarm_close(struct link *l);
void links_judge_init(struct links *links);
/* Nothing of the old channel is left. */
void link_impair_reset(struct link *l);
/* The URI of the peer's certificate (may be NULL), as this node shall find it;
 * `storage` holds another one. */
const char *link_uri(struct link *l, const char *uri,
                     char storage[PEER_URI_MAX + 1]);
/* As link_failed, later where the end of a connection is to be noticed late. */
void link_ended(struct link *l, enum peer_event_type type, int err,
                const char *reason);
/* Whether the connection has ended and nobody has noticed. */
static inline bool link_is_late(const struct link *l)
{
    return l->late_us != USEC_NEVER;
}
bool link_is_cut(const struct link *l);
/* Whether a frame that is sent now has to wait; and making it wait: ERR_FULL.
 */
bool link_delays(const struct link *l);
int link_put_delayed(struct link *l, const void *data, size_t len);
/* Gives these bytes at the front of the line to the channel. */
void link_release(struct link *l, struct bytes frames);
/* Bytes that wait, in the line or in the channel. */
size_t link_unsent(const struct link *l);
void link_forget_answers(struct link *l);

/* -- of links_fence.c ------------------------------------------------------
 */

/* What is about to cross, as far as a fence wants to know. */
struct links_cargo {
    uint64_t shard;
    enum fence_carries carries;
    const char *what;
    size_t bytes;
};
/* ERR_OK, or why not, counted and told to the user: ERR_FORBIDDEN,
 * ERR_UNAVAILABLE (the shard's group is not known here). */
int link_may_send(struct link *l, const struct links_cargo *cargo);
int link_may_receive(struct link *l, const struct links_cargo *cargo);
/* A witness gets an append's heads and no more (consensus/raft.h), and whole
 * configurations, which are no payload. */
enum fence_carries links_raft_carries(const struct raft_msg *m);
/* The same of a frame that arrived; it is decoded only where the shard's group
 * has a witness. */
enum fence_carries links_frame_carries(struct links *links, uint64_t shard,
                                       struct bytes raft);
/* Both as the owner says; payload if it does not. */
enum fence_carries links_request_carries(const struct links *links,
                                         uint32_t kind);
enum fence_carries links_snapshot_carries(const struct links *links,
                                          struct bytes data);
/* The number of the region in a certificate's URI (may be NULL); 0: none. */
failover_region link_certified_region(const struct links *links,
                                      const char *uri);
/* That, once the peer has proved it or need not; 0: as good as none. */
failover_region link_region(const struct link *l);
/* The peer has said HELLO and owes a proof. */
bool link_owes_proof(const struct link *l);
/* Whether some regions may not hold the shard. */
bool links_fenced(const struct links *links, uint64_t shard);

/* -- of links_relay.c: the shell of relay.h -------------------------------- */

void links_relay_init(struct links *links);
void links_relay_free(struct links *links);
/* Turns the raft frame of an append in links->frame into the one to send. The
 * result tells relay_sent. */
struct relay_sending {
    bool shared, bare;
    struct relay_key key;
};
struct relay_sending links_relay_outgoing(struct link *l, uint64_t shard,
                                          const struct raft_msg *message);
/* It was queued, or not. */
void links_relay_sent(struct link *l, const struct relay_sending *sending,
                      int err);
/* A frame of the types RAFT, RAFT_SHARED, RAFT_BARE, PASSED, PASSED_FOR or
 * MISSED. Errors as link_raft. */
int links_relay_frame(struct link *l, const struct frame *f);
/* The link's connection is over. */
void links_relay_close(struct link *l);

#endif
