/* The failover controller of one node: who is well, and what to do about it.
 * Pure: bytes and time in, bytes and plans out. Design: section 6.
 *
 *     report.h   what nodes tell each other; the proof of a round trip
 *     health.h   from reports to UP, SUSPECT, DOWN, ILL
 *     plan.h     from health to a decision, with reasons
 *
 * This header ties them together and is all that a shell needs:
 *
 *   - every FAILOVER_TICK_US: failover_tick with what the node knows of itself;
 *   - every FAILOVER_GOSSIP_US, for each peer with a link: failover_gossip, and
 *     send the bytes;
 *   - when such bytes arrive: failover_heard;
 *   - on the meta shard's leader, after a tick: failover_plan, and propose it;
 *   - anywhere, for status and refusals: failover_plan, too.
 *
 * All times are monotonic microseconds of this node; other nodes' clocks are
 * never compared. The module's own time stands still while the process does: if
 * no call comes for FAILOVER_PAUSE_US, what went beyond is not counted, and the
 * node begins to watch anew (health.h). Times that go out (`..._us` of health)
 * and come in (`changed_us` of a group) are translated. */
#ifndef BASTIDE_FAILOVER_FAILOVER_H
#define BASTIDE_FAILOVER_FAILOVER_H

#include "failover/health.h"
#include "failover/plan.h"
#include "failover/report.h"

#define FAILOVER_TICK_US (50 * USEC_PER_MS)
#define FAILOVER_PAUSE_US (500 * USEC_PER_MS)

struct failover;

/* `self` is this node's id, `incarnation` nonzero and higher than at its
 * earlier starts. `timing` NULL: the defaults. The caller frees. */
struct failover *failover_new(uint32_t self, uint64_t incarnation,
                              const struct failover_timing *timing, usec_t now);
void failover_free(struct failover *f); /* NULL is allowed */

/* Who there is; at first and whenever that changes. ERR_INVALID: see
 * failover_topology_check; the old one stays. */
int failover_set_topology(struct failover *f, const struct failover_topology *t,
                          usec_t now);

/* Makes this node's own report and judges all regions. `self` is copied. */
void failover_tick(struct failover *f, const struct failover_self *self,
                   usec_t now);

/* Appends the message for `peer` (a node of the topology, not this one), at
 * most FAILOVER_MESSAGE_MAX bytes. It must leave now, or be dropped: a message
 * that waits makes the way look slow. After the first tick. Errors of buf;
 * ERR_NOT_FOUND: no such peer. */
int failover_gossip(struct failover *f, uint32_t peer, usec_t now,
                    struct buf *out);

/* A message arrived from `peer`; the link vouches for the sender. ERR_OK;
 * ERR_MALFORMED, ERR_UNSUPPORTED: not such a message; ERR_IDENTITY: it names
 * another sender; ERR_NOT_FOUND: no node of the topology; ERR_STALE: overtaken
 * by a newer one, ignored. None is a reason to give the link up. */
int failover_heard(struct failover *f, uint32_t peer, struct bytes message,
                   usec_t now);

/* The plan for `g`; its `changed_us` is the shell's time (it is translated
 * here). */
void failover_plan(const struct failover *f, const struct failover_group *g,
                   struct failover_plan *plan_out);

/* Borrowed: for status, failover_rank and failover_check_switch. As of the last
 * tick. */
const struct failover_health *failover_health(const struct failover *f);

#endif
