/* What a node says of itself and of whom it can reach, and how it knows.
 *
 * Every node sends every other node one message each FAILOVER_GOSSIP_US: its
 * report (the same for all) and a pulse (for that one peer). The links carry it
 * as opaque bytes; nothing here is ever acknowledged or repeated, the next
 * message replaces it.
 *
 * ## The proof of a round trip
 *
 * A counts the messages it sends to B: 1, 2, 3... B's next message to A repeats
 * the newest number it got. When A hears a number of its own that it has not
 * heard before, then B got something from A and A got something from B: both
 * directions work. A notes the time. The age of that proof is what the report
 * says, never "I heard something from B": with a cut in one direction, one side
 * still hears the other, yet neither gets a new number of its own back, and so
 * both report that they do not reach each other.
 *
 *     A                        B
 *     | -- number 7 ---------> |      B's newest of A: 7
 *     | <-- number 4, echo 7 - |      A: 7 is mine and new: proved now
 *     | -- number 8, echo 4 -> |      B: 4 is mine and new: proved now
 *
 * Numbers begin anew when a process starts. So they travel with the
 * incarnation of the process that counted them, and an echo of somebody's
 * earlier life proves nothing.
 *
 * The age counts from the moment the echo arrived, not from when the number was
 * sent: a slow path is a path. (A number older than the last FAILOVER_PULSES
 * ones proves nothing any more.)
 *
 * ## Time
 *
 * `now` is monotonic and never falls. It should be time during which this
 * process ran (failover.h subtracts pauses): after a pause nothing has been
 * heard for long, which says more about us than about the peers.
 */
#ifndef BASTIDE_FAILOVER_REPORT_H
#define BASTIDE_FAILOVER_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/buf.h"
#include "node/base/bytes.h"
#include "node/base/clock.h"

/* Nodes of a cluster; ids are 1..FAILOVER_NODES_MAX. */
#define FAILOVER_NODES_MAX 255
/* How often every node should tell every other. */
#define FAILOVER_GOSSIP_US (200 * USEC_PER_MS)
/* Numbers under way that can still be recognised; 12 s of gossip. */
#define FAILOVER_PULSES 64
/* An age or a duration that is longer than can be told, or for ever. */
#define FAILOVER_NEVER_MS UINT16_MAX

/* What a node knows of itself. The shell measures it. */
struct failover_self {
    uint32_t disk_stall_ms; /* age of the oldest log write that has not ended;
                             * 0 when none is under way */
    bool no_space;          /* the last log write found the disk full */
    bool draining;          /* is about to stop: must not lead */
    uint32_t behind_ms;     /* how old the newest state is that the worst of its
                             * replicas lacks; 0: lacks nothing. UINT32_MAX: it
                             * does not know (no leader heard) */
    uint64_t behind_entries; /* likewise, as entries, of all replicas */
    uint32_t led;            /* shards it leads */
};

/* The way from the reporting node to another. */
struct failover_way {
    uint32_t node;
    uint16_t age_ms; /* of the last proof; FAILOVER_NEVER_MS: none */
    uint16_t rtt_ms; /* that round trip, the peer's waiting included */
};

struct failover_report {
    uint32_t node;        /* who reports */
    uint64_t incarnation; /* of its process; higher after each start */
    uint64_t seq;         /* of this report in that incarnation, from 1 */
    struct failover_self self;
    uint32_t n;
    struct failover_way ways[FAILOVER_NODES_MAX]; /* by ascending node, itself
                                                     not among them */
};

/* -- pulse: one per peer --------------------------------------------------- */

struct failover_pulse {
    uint64_t sent;                   /* our newest number to it; 0: none */
    usec_t sent_us[FAILOVER_PULSES]; /* number % FAILOVER_PULSES -> when */
    uint64_t echoed;                 /* newest number of ours that came back */
    usec_t proved_us;                /* when it did; meaningful if echoed > 0 */
    usec_t rtt_us;
    uint64_t peer_incarnation; /* 0: nothing heard yet */
    uint64_t peer_number;      /* its newest number */
};

/* The part of a message that is for one peer. */
struct failover_beat {
    uint64_t number;           /* the sender's */
    uint64_t echo_incarnation; /* of the receiver, as the sender knows it; 0 */
    uint64_t echo;             /* the receiver's newest number heard; 0 */
};

/* A pulse starts as {0}. Takes the next number; it leaves now. */
struct failover_beat failover_pulse_send(struct failover_pulse *p, usec_t now);
/* A beat of the peer's process `peer_incarnation` arrived; `own` is ours.
 * A peer that was started again begins anew; what it proved stays proved. */
void failover_pulse_heard(struct failover_pulse *p,
                          const struct failover_beat *beat,
                          uint64_t peer_incarnation, uint64_t own, usec_t now);
/* As it goes into a report: `age_ms` and `rtt_ms` of `way_out` (`node` is the
 * caller's). */
void failover_pulse_way(const struct failover_pulse *p, usec_t now,
                        struct failover_way *way_out);

/* -- the message ----------------------------------------------------------- */

/*  version u8 (1) | node u16 | incarnation u64 | seq u64
 *  number u64 | echo incarnation u64 | echo u64
 *  disk stall ms u32 | flags u8 (1 no space, 2 draining) | behind ms u32
 *  behind entries u64 | led u32 | n u8 | n times: node u8, age u16, rtt u16
 * little-endian. 1 to FAILOVER_MESSAGE_MAX bytes, far below what a link
 * takes. */
#define FAILOVER_MESSAGE_MAX (65 + 5 * FAILOVER_NODES_MAX)

/* Appends the message. Errors of buf. The report must be valid: ids within
 * bounds, ways ascending, without the node itself. */
int failover_message_encode(const struct failover_report *report,
                            const struct failover_beat *beat, struct buf *out);
/* ERR_MALFORMED: not such a message, or a report that is not valid (see
 * above); ERR_UNSUPPORTED: another version. */
int failover_message_decode(struct bytes in, struct failover_report *report_out,
                            struct failover_beat *beat_out);

#endif
