/* Relaying appends inside a region: entries cross to a region once, however
 * many of its nodes need them. Pure; links_relay.c is its shell.
 *
 *     leader ---- shared append: entries, "pass them on to B" ----> A
 *        \                                                          | entries
 *         \--- bare append: everything but the entries, digest ---> B
 *
 * The leader sends the append for the first node of a remote region with its
 * entries, names the neighbours that will need the same ones, and sends theirs
 * without. A neighbour waits for the entries and reads the append as if it had
 * come in one piece.
 *
 * Why it is safe
 *  - Every message comes from the leader itself, over its own connection. What
 *    a neighbour passes on is bytes without a sender; they are used only if
 *    their SHA-256 is the one in a bare append. So a relay can withhold
 *    entries, but neither invent nor change nor reorder any.
 *  - Bytes are passed on to nodes of one's own region alone, and taken from
 *    such alone; entries never go where the leader would not send them. They
 *    say of which shard they are (PASSED_FOR), so that fences are asked at
 *    each step; nodes that cannot say it relay shards without a fence only.
 *  - Messages of one peer keep their order: what comes after a bare append that
 *    waits, waits behind it. If the entries are not there in RELAY_WAIT_US, the
 *    append is lost, as any Raft message may be, and the leader is told
 *    (missed): it sends that node everything itself for RELAY_PAUSE_US.
 *
 * Equal (shard, term, prev_lsn, n, bytes) from one leader mean equal entries:
 * Raft's log matching. That is how the leader knows, without comparing bytes,
 * that B is about to get what A got; the mark it leaves is good for a moment
 * and for one append to each neighbour, so a repeated append goes in full.
 * Entries that were passed on for nothing (B lags and needs others) are
 * dropped there; a neighbour that does not use them is left out for a while.
 */
#ifndef BASTIDE_REPLICATION_RELAY_H
#define BASTIDE_REPLICATION_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/bytes.h"
#include "node/base/clock.h"
#include "node/base/list.h"

#define RELAY_DIGEST_LEN 32
/* Neighbours that one shared append can name; more get theirs in full. */
#define RELAY_NEIGHBOURS_MAX 16
/* Fewer bytes of entries are sent to each. */
#define RELAY_BYTES_MIN 256
/* Peers whose pauses are remembered. */
#define RELAY_PEERS_MAX 64

#define RELAY_MARKS_MAX 64
#define RELAY_MARK_US (20 * USEC_PER_MS)
#define RELAY_WAIT_US (150 * USEC_PER_MS)
#define RELAY_PAUSE_US (1 * USEC_PER_SEC)
/* That many unused entries in a row, and a neighbour is left out. */
#define RELAY_UNUSED_MAX 8

/* -- frames (their payloads; `raft` is that of a raft frame, codec.h) --------
 */

/* The entries inside a raft frame's payload; empty when it is malformed. */
struct bytes relay_entries(struct bytes raft);
void relay_digest(struct bytes entries, uint8_t digest_out[RELAY_DIGEST_LEN]);

/* All of them append one frame and answer as frame_begin does. */
int relay_put_shared(struct buf *out, const uint32_t *neighbours, size_t n,
                     struct bytes raft);
int relay_put_bare(struct buf *out, const uint8_t digest[RELAY_DIGEST_LEN],
                   struct bytes raft);

struct relay_shared {
    uint32_t neighbours[RELAY_NEIGHBOURS_MAX];
    size_t n;
    struct bytes raft; /* borrowed */
};
/* ERR_MALFORMED, ERR_LIMIT. */
int relay_get_shared(struct bytes payload, struct relay_shared *shared_out);

/* Entries passed on, with the shard that they are of: u64 le, entries. */
int relay_put_passed_for(struct buf *out, uint64_t shard, struct bytes entries);
/* ERR_MALFORMED. */
int relay_get_passed_for(struct bytes payload, uint64_t *shard_out,
                         struct bytes *entries_out);

struct relay_bare {
    const uint8_t *digest; /* RELAY_DIGEST_LEN bytes, borrowed */
    struct bytes head;     /* the raft frame's payload without the entries */
};
/* ERR_MALFORMED. */
int relay_get_bare(struct bytes payload, struct relay_bare *bare_out);

/* -- the leader's side ----------------------------------------------------- */

/* Which entries an append carries. */
struct relay_key {
    uint64_t shard, term, prev_lsn;
    uint32_t n, bytes;
};

struct relay_mark {
    struct relay_key key;
    usec_t made_us;
    uint32_t relay; /* who got the entries; 0: the mark is free */
    uint32_t waiting[RELAY_NEIGHBOURS_MAX];
    size_t n_waiting;
    uint8_t digest[RELAY_DIGEST_LEN];
};

struct relay_peer {
    uint32_t id;
    uint32_t unused;
    usec_t paused_until_us;
};

struct relay_sender {
    struct relay_mark marks[RELAY_MARKS_MAX];
    size_t next_mark;
    struct relay_peer peers[RELAY_PEERS_MAX];
    size_t n_peers;
};

enum relay_way { RELAY_PLAIN, RELAY_SHARED, RELAY_BARE };
struct relay_choice {
    enum relay_way way;
    uint32_t neighbours[RELAY_NEIGHBOURS_MAX]; /* SHARED: to be named */
    size_t n;
    uint8_t digest[RELAY_DIGEST_LEN]; /* BARE */
};

void relay_sender_init(struct relay_sender *s);
/* How to send an append with these entries to `to`. `neighbours` are the other
 * nodes of its region that can be reached now and understand relaying. Must be
 * followed by sending it that way, or by relay_failed. */
void relay_choose(struct relay_sender *s, usec_t now,
                  const struct relay_key *key, struct bytes entries,
                  uint32_t to, const uint32_t *neighbours, size_t n,
                  struct relay_choice *choice_out);
/* The shared append of this key was not sent to `relay` after all. */
void relay_failed(struct relay_sender *s, const struct relay_key *key,
                  uint32_t relay);
/* `peer` missed entries: it gets everything in full for a while. */
void relay_pause(struct relay_sender *s, usec_t now, uint32_t peer);

/* -- the neighbour's side -------------------------------------------------- */

/* Entries passed on that no bare append has asked for yet. The oldest give way
 * beyond these bounds. */
#define RELAY_BOX_BYTES_MAX (16 * 1024 * 1024)
#define RELAY_BOX_COUNT_MAX 256
#define RELAY_BOX_AGE_US (1 * USEC_PER_SEC)

struct relay_box {
    struct list parcels; /* oldest first */
    size_t count, bytes;
};

void relay_box_init(struct relay_box *b);
void relay_box_free(struct relay_box *b); /* empty and usable again */
/* Keeps a copy, under its own digest. Longer than RELAY_BOX_BYTES_MAX: not. */
void relay_box_put(struct relay_box *b, usec_t now, struct bytes entries);
/* Appends the entries with that digest to `out` and forgets them. False when
 * there are none (or no memory). */
bool relay_box_take(struct relay_box *b, const uint8_t digest[RELAY_DIGEST_LEN],
                    struct buf *out);

#endif
