/* Messages to frames and back. Pure: links protobuf-c for computation only.
 *
 * A frame's payload has a head and an attachment:
 *
 *     | u32 le: bytes of the head | head | attachment |
 *
 * The head is a protobuf message of wire/; the attachment is bulk bytes (entry
 * payloads, bodies, snapshot data) that protobuf would only copy once more on
 * each side.
 *
 * Encoders append one whole frame (frame.h) to `out`. They answer ERR_LIMIT
 * when a bound below or the buffer's maximum would be passed, ERR_NO_MEMORY;
 * `out` is then as before.
 *
 * Decoders take a frame's payload, which is foreign: each count, length and
 * enumeration is checked before it is used, and the memory a decoder takes is
 * bounded by CODEC_ARENA_MAX, whatever the bytes say. They answer
 * ERR_MALFORMED for bytes that are no such message, ERR_LIMIT for one that
 * passes a bound. Decoded messages borrow from the payload (attachments) and
 * from the `struct codec` (the rest), and live until either changes, that is,
 * until the next decode.
 *
 * Unknown fields are skipped (a newer peer within our protocol version may send
 * them); missing ones have their zero value.
 */
#ifndef BASTIDE_REPLICATION_CODEC_H
#define BASTIDE_REPLICATION_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "consensus/raft.h"
#include "node/base/buf.h"
#include "node/base/bytes.h"
#include "replication/frame.h"
#include "replication/peer.h"

/* Bounds. Everything also fits FRAME_MAX. */
#define CODEC_ENTRIES_MAX 4096 /* in one append */
#define GOSSIP_MAX (16 * 1024)
#define SNAPSHOT_CHUNK_MAX (256 * 1024)
#define SNAPSHOT_SUM_MAX 64
#define SNAPSHOT_PLACE_MAX 1024
#define CODEC_TEXT_MAX 255 /* reasons */
/* Most bytes of a head; the largest is that of a full append. */
#define CODEC_HEAD_MAX (512 * 1024)
#define CODEC_BODY_MAX (FRAME_MAX - 64) /* of a request or response */
#define CODEC_ARENA_MAX (4 * 1024 * 1024)

/* Scratch memory of decoders, reused from message to message. */
struct codec;
struct codec *codec_new(void);
void codec_free(struct codec *c); /* NULL is allowed */

/* -- link control ---------------------------------------------------------- */

int codec_put_hello(struct buf *out, const struct peer_hello *hello);
int codec_get_hello(struct codec *c, struct bytes payload,
                    struct peer_hello *hello_out);

/* Why a side ends the connection: a code of err.h and words. */
struct bye {
    int err;
    const char *reason; /* cut at CODEC_TEXT_MAX */
};
int codec_put_bye(struct buf *out, const struct bye *bye);
int codec_get_bye(struct codec *c, struct bytes payload, struct bye *bye_out);

/* A pong repeats the ping's `sent_us`, which only its sender understands. */
struct ping {
    uint64_t sent_us;
    struct bytes gossip; /* at most GOSSIP_MAX */
    uint64_t clock_us;   /* of a pong: the answering node's clock; 0: unknown */
};
int codec_put_ping(struct buf *out, enum frame_type ping_or_pong,
                   const struct ping *ping);
int codec_get_ping(struct codec *c, struct bytes payload,
                   struct ping *ping_out);

/* -- consensus ------------------------------------------------------------- */

/* All fields of the message but `after_persist`, which is not part of the wire
 * form: what is put is what is got. An append needs its `n` heads in
 * `entries` and one payload of the head's `size` per entry in `payloads` (NULL
 * for other messages and heartbeats); the payload of a CONFIG entry is not
 * looked at, it is encoded from the head.
 *
 * Decoded heads, payloads and configurations borrow from the payload and the
 * codec. A CONFIG entry arrives with its encoded form as payload, as the log
 * wants it. Checked here: every type and number is in its range, the sizes
 * agree with the payloads and `bytes` with the sizes, configurations decode.
 * Anything else is the core's to judge. */
int codec_put_raft(struct buf *out, uint64_t shard, const struct raft_msg *msg,
                   const struct bytes *payloads);
int codec_get_raft(struct codec *c, struct bytes payload, uint64_t *shard_out,
                   struct raft_msg *msg_out, const struct bytes **payloads_out);

/* The shard that a raft frame or a snapshot chunk says it is of, without
 * decoding the rest: our encoders write it first. A peer may write other bytes,
 * so whoever decodes the frame afterwards compares: a frame whose shard is
 * another than this one is ERR_MALFORMED. ERR_MALFORMED: no head. */
int codec_peek_shard(struct bytes payload, uint64_t *shard_out);
/* Whether anything follows the head: entries' payloads, or a chunk's data. */
bool codec_has_attachment(struct bytes payload);

/* -- requests -------------------------------------------------------------- */

struct request {
    uint64_t id;
    uint32_t deadline_ms; /* how long the asker waits, from sending */
    uint32_t kind;        /* the users' own numbering */
    struct bytes body;
    uint32_t age_ms;  /* since it was first sent to somebody who may have done
                       * it; 0: never before */
    uint64_t sent_us; /* the sender's clock when it was made; 0: unknown */
};
int codec_put_request(struct buf *out, const struct request *request);
int codec_get_request(struct codec *c, struct bytes payload,
                      struct request *request_out);

struct response {
    uint64_t id;
    int err; /* of err.h; a number we do not know arrives as ERR_IO */
    struct bytes body;
};
int codec_put_response(struct buf *out, const struct response *response);
int codec_get_response(struct codec *c, struct bytes payload,
                       struct response *response_out);

/* -- snapshots ------------------------------------------------------------- */

struct snapshot_chunk {
    uint64_t shard;
    uint64_t transfer;   /* chosen by the sender, unique per link and shard */
    uint64_t lsn;        /* the snapshot holds everything up to here */
    uint64_t term;       /* of that entry */
    uint64_t seq;        /* 0, 1, 2, ... */
    bool done;           /* the last one */
    struct bytes data;   /* at most SNAPSHOT_CHUNK_MAX; may be empty */
    struct bytes config; /* the membership at `lsn`, encoded by its owner; in
                          * chunk 0 only; at most SNAPSHOT_CHUNK_MAX */
    bool resumable;      /* chunk 0, then without data: the sender asks in the
                          * acknowledgement what the receiver has of it */
    uint64_t about;      /* bytes in all, roughly; 0: not told */
    struct bytes sum; /* in the last one: the sender's digest of all records, or
                       * nothing; at most SNAPSHOT_SUM_MAX */
};
int codec_put_snapshot(struct buf *out, const struct snapshot_chunk *chunk);
int codec_get_snapshot(struct codec *c, struct bytes payload,
                       struct snapshot_chunk *chunk_out);

struct snapshot_ack {
    uint64_t shard;
    uint64_t transfer;
    uint64_t seq;       /* every chunk up to and including this one is stored */
    int err;            /* not ERR_OK: the receiver gave the transfer up */
    uint32_t window;    /* chunks it takes before it has stored them; 0: one */
    struct bytes place; /* of chunk 0: what it has; empty: nothing. At most
                         * SNAPSHOT_PLACE_MAX */
};
int codec_put_snapshot_ack(struct buf *out, const struct snapshot_ack *ack);
int codec_get_snapshot_ack(struct codec *c, struct bytes payload,
                           struct snapshot_ack *ack_out);

#endif
