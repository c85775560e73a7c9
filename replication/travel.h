/* How long the frames of one connection were on their way, at most. Pure.
 *
 * A write that is sent again says how old its first attempt is, so that a shard
 * which has forgotten that one refuses (node/shard/dedupe.h). What it says was
 * so when the frame was written. A frame can be kept for long after that: the
 * peer is frozen, the queue is deep, the link is slow. So who gets it adds what
 * the frame took, and for that a request says what its sender's clock was.
 *
 *     own clock    asked |------------- answered | . . . . now
 *                         \             ^                   ^
 *     peer's clock         +- clock ---+  . . sent --------+
 *
 * A pong says what the peer's clock was when the ping was answered. That was
 * not before the ping was sent, so whatever the peer's clock shows later was
 * `asked + (sent - clock)` by ours, or later. The most that a frame took is
 * therefore
 *
 *     now - asked - (sent - clock)
 *
 * however long pings, pongs and frames wait; it is too much by what the ping
 * was on its way, and never too little. Clocks drift, so a part of the time
 * from `clock` to `sent` is added (TRAVEL_DRIFT_PPM between the two). The pong
 * that says the least is kept. The last one is, too: what left after it was
 * answered took no longer than `now - asked`, however the clocks run.
 * Before the first one, a frame took no longer than its connection exists: it
 * was written for it. So nothing is kept across connections.
 *
 * Clocks that stop or jump. The clocks are monotonic ones that go on while the
 * machine sleeps (clock.h) or the process is stopped, so what is left is a
 * virtual machine that its host stops with all of its clocks, and clocks that
 * run fast on request.
 *  - The peer's stood still: its frames seem to take that much longer, which is
 *    the safe side, until the next pong.
 *  - Ours stood still, or runs slower than it may: a frame comes that seems to
 *    have left later than now. What that rests on is dropped then, until the
 *    next pong, so that what is believed of a clock that runs too slow is never
 *    wrong by more than the fastest frame took. The last pong still counts: it
 *    does not ask how fast the clocks run. But what waited in this machine
 *    while it stood still looks as if it had not, and nothing here can tell.
 *    That is why travel_since takes one silence of a link off what was sent
 *    again. A machine that stood still for longer was given up by everybody: it
 *    leads nothing any more, and passes no operation of another node on. What
 *    is left open is a request of a node outside a group's fence that waited in
 *    it (node/server/transit.h), and a sender that stood still between two
 *    attempts of its own and takes the first one for younger than it is.
 */
#ifndef BASTIDE_REPLICATION_TRAVEL_H
#define BASTIDE_REPLICATION_TRAVEL_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/clock.h"

/* How much faster or slower than ours the peer's clock may run: chrony turns
 * either by up to 83,333, raft bears 10 % between the two (RAFT_DRIFT_PERCENT).
 * With a ping every 200 ms that makes a frame 40 ms slower than it was. */
#define TRAVEL_DRIFT_PPM 200000
/* A peer whose clock shows more does not show a clock: 146,000 years. */
#define TRAVEL_CLOCK_MAX (INT64_MAX / 2)
/* A first attempt that seems to have taken no longer is new: travel_since. */
#define TRAVEL_NEW_US (250 * USEC_PER_MS)

struct travel_pong {
    usec_t asked_us; /* by our clock */
    usec_t clock_us; /* of the peer, when it answered */
};

struct travel {
    usec_t began_us;
    bool answered; /* there is a last one */
    bool known;    /* there is a best one */
    struct travel_pong last, best;
};

/* The connection is being made, or was just accepted. */
void travel_begin(struct travel *t, usec_t now);
/* A frame came that says that the peer's clock was `clock_us` when it left. */
void travel_heard(struct travel *t, usec_t now, uint64_t clock_us);
/* A pong came: the ping left at `asked_us`, as it says, and was answered at
 * `clock_us` by the peer's clock. What no such pong can say is not used. */
void travel_answered(struct travel *t, usec_t now, uint64_t asked_us,
                     uint64_t clock_us);
/* The most that the frame took that comes now and says that it was written at
 * `clock_us` by the peer's clock: a travel_heard, too. Whole milliseconds,
 * rounded up, at least 1. */
uint32_t travel_most_ms(struct travel *t, usec_t now, uint64_t clock_us);

/* When the first attempt of a request was made that comes `now`, not too late,
 * never 0. Or 0: it is the first one, and nobody can have made another that a
 * shard may have forgotten already. `age_ms` is what the request says (0: it is
 * the first one), `way_most_ms` what travel_most_ms says of it (0: its sender
 * does not tell its clock), `silence_us` the silence after which a link is
 * ended.
 *
 * A first attempt is dangerous, too: its sender gives it up when the connection
 * breaks and asks somebody else, while the frame waits for a frozen peer to
 * read it. The second one is done and forgotten, and then the peer goes on and
 * reads the first. So one that took long counts as an attempt that began when
 * it was written; whoever has forgotten no write since then does it as ever.
 * One that took less than TRAVEL_NEW_US need not (as measured, which adds the
 * way of a ping, so about a round trip of the link): within that time the
 * second attempt and then DEDUPE_CLIENT_MAX other writes of the same shard
 * would have had to be done, more than 28,000 in a second. */
usec_t travel_since(usec_t now, usec_t silence_us, uint32_t age_ms,
                    uint32_t way_most_ms);

#endif
