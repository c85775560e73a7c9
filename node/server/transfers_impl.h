/* Inside the transfers; not for their users (transfers.h). */
#ifndef BASTIDE_SERVER_TRANSFERS_IMPL_H
#define BASTIDE_SERVER_TRANSFERS_IMPL_H

#include "node/server/transfers.h"
#include "node/server/worker.h"
#include "node/shard/digest.h"

/* The stream is a sequence of engine chunks, each with a u32_le length before
 * it, cut into frames where it happens to. */
#define TRANSFER_STREAM_MAX (2 * ENGINE_CHUNK_BYTES_MAX)

/* How fast a transfer is, from when it last began to flow. */
struct transfer_speed {
    usec_t began_us; /* 0: it does not flow */
    uint64_t there;
};

struct outgoing {
    struct helper_job job; /* reads the next chunk */
    struct list node;
    struct replica *replica;
    raft_id to;
    uint64_t id;
    struct snapshot *snapshot; /* NULL: not open yet */
    uint64_t lsn, term;
    struct buf config;
    struct digest *digest; /* of what was read since the last rewind */
    uint8_t sum[DIGEST_LEN];
    struct buf stream; /* read, not yet sent */
    uint64_t seq;      /* of the next frame */
    uint64_t acked;    /* frames of this id that are stored */
    uint32_t window;   /* that the receiver takes before it has stored */
    bool reading;      /* the helper has the job */
    bool exhausted;    /* everything was read */
    bool done_sent;    /* the last frame was sent */
    bool lost;         /* to be sent anew once the receiver can be reached */
    bool over;         /* to be freed once the helper is done */
    bool admitted;     /* one of TRANSFERS_AT_ONCE */
    bool renews;       /* for a damaged store (renewal.h): raft knows nothing */
    /* At a leader: */
    bool tried; /* whether another node would send it was asked */
    bool asked; /* and it may be doing so */
    /* At who sends it at a leader's word: whom to answer (peer 0: none). There,
     * and where it renews: between which LSNs the state has to be, and at which
     * one is made if it is too old. */
    struct links_call call;
    uint64_t least, most, aim;
    bool aims; /* has the flusher aimed there, or at what is committed */
    int err;   /* of the read */
    usec_t began_us, progress_us;
    uint64_t bytes; /* sent */
    uint64_t there; /* read, what was skipped included; the helper's while it
                     * reads, and a copy */
    uint64_t there_shown, about;
    struct transfer_speed speed;
};

enum incoming_state {
    INCOMING_RECEIVING, /* waits for a frame */
    INCOMING_STORING,   /* the helper stores what has come */
    INCOMING_COMPLETE,  /* on disk; the shard is busy, ask again */
    INCOMING_RESETTING, /* the log's reset is on its way to the disk */
    INCOMING_RENEWING,  /* on disk, to take a damaged store's place */
    INCOMING_CLEARING,  /* the helper removes it; then it is freed */
};

struct incoming {
    struct helper_job job;
    struct list node;
    struct replica *replica;
    links_peer from;
    uint64_t id;
    uint64_t lsn, term;
    struct raft_config config;
    bool witness;   /* takes no records */
    bool misnamed;  /* by `config` it is a witness's, which is not what is here:
                     * by history, so that only a whole state will do */
    bool resumable; /* the sender asks what is there */
    bool renews;    /* see renewal.h */
    enum incoming_state state;
    struct ingest *ingest; /* helper's while storing, as the next four */
    struct buf stream;     /* received, not yet a whole chunk */
    struct digest *digest; /* of what is there */
    uint64_t there;        /* bytes of chunks, and of what was there before */
    struct buf place;      /* key of the last record that was there before */
    struct buf history;    /* once all is received: SHARD_INFO_DEDUPE */
    struct buf arrived;    /* frames that came while the helper stored */
    uint64_t seq;          /* of the frame that came last */
    uint64_t storing;  /* of the last frame that is stored or being stored */
    bool done;         /* `seq` is the last one */
    bool storing_done; /* `storing` is */
    bool has_sum;      /* the sender told `sum` */
    uint8_t sum[DIGEST_LEN];
    int err;
    uint64_t reset_update; /* durable: may be adopted */
    usec_t began_us, progress_us;
    uint64_t bytes, there_shown, about;
    struct transfer_speed speed;
};

/* A frame or an acknowledgement between worker 0 and the shard's worker. */
struct transfer_parcel {
    struct inbox_message message;
    struct list node; /* in transfer_pace */
    links_peer peer;
    struct snapshot_chunk chunk;
    struct snapshot_ack ack;
    uint8_t bytes[];
};

struct transfer_parcel *transfers_parcel(links_peer peer,
                                         const struct snapshot_chunk *chunk);
struct transfer_parcel *transfers_parcel_ack(links_peer peer,
                                             const struct snapshot_ack *ack);

/* Whether a snapshot may be at both ends; it is refused, and that noted, if
 * not. */
bool transfers_may_move(struct worker *w, uint32_t shard, uint32_t peer,
                        enum fence_carries carries, size_t bytes);

/* ---- transfers_pace.c: worker 0 ------------------------------------------ */
/* Every worker, at each tick: shares among the learners that this node brings
 * on what may leave of entries. */
void transfers_pace_learners(struct transfers *t);

void transfers_pace_init(struct transfers *t);
/* A frame from any worker, to be sent when the budget allows. One that cannot
 * be sent comes back to its shard's worker: transfers_unsent. */
void transfers_pace(struct worker *first, struct transfer_parcel *p);

/* ---- transfers_send.c ---------------------------------------------------- */

/* Whether the node may send one more; it is counted then, until the end of the
 * outgoing that has `admitted` set. Any thread. */
bool transfers_admit(struct node *n);
/* Begins at the next tick. */
struct outgoing *outgoing_new(struct replica *r, raft_id to);
void outgoing_acked(struct outgoing *o, const struct snapshot_ack *ack);
void outgoing_end(struct outgoing *o, bool ok);
/* The link is lost, or the receiver could not take it. */
void outgoing_lost(struct outgoing *o);
void outgoing_tick(struct outgoing *o, usec_t now);
/* The transfer of that id; NULL when it is over. */
struct outgoing *outgoing_find(struct transfers *t, uint32_t shard,
                               links_peer to, uint64_t id);
/* Whether there is one at all. */
bool outgoing_any(const struct transfers *t, uint32_t shard, links_peer to);
/* On the shard's worker. */
void transfers_unsent(struct inbox_message *m, void *owner);

/* ---- transfers_near.c ---------------------------------------------------- */

/* Whether another node was asked to send it: once for each. */
bool near_ask(struct outgoing *o);
/* Tells a leader what became of what it asked for. */
void near_answer(struct worker *w, struct links_call call, int err);

/* ---- transfers_take.c ---------------------------------------------------- */

void incoming_take(struct transfers *t, links_peer from,
                   const struct snapshot_chunk *chunk);
void incoming_tick(struct incoming *in, usec_t now);
void incoming_turn(struct incoming *in, usec_t now);
/* Leaves what was synced, for another attempt. */
void incoming_free(struct incoming *in);
/* Likewise; but what came to renew a store, which nobody goes on with, the
 * helper removes first. */
void incoming_leave(struct incoming *in);

#endif
