/* What becomes of one request that is passed on to members of a placement group
 * (transit.h): whom to ask next, when to wait, what may be believed in the end.
 * Pure.
 *
 *     begin -> next -> ASK node -> asked -> (later) answered or failed -> next
 *                   -> WAIT      until retry_us, then next
 *                   -> OVER      verdict
 *
 * In a round each member that is in reach is asked once, the best first. In
 * doubt is a write that an attempt may have made: from then on only an answer
 * that tells what became of the operation counts, and never one that says that
 * this attempt applied nothing.
 */
#ifndef BASTIDE_SERVER_TRANSIT_PLAN_H
#define BASTIDE_SERVER_TRANSIT_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "consensus/raft.h"
#include "node/base/clock.h"
#include "node/config/config.h"

/* Before all members are tried once more: the first pause, doubled each time so
 * that those who are full are not asked by everybody at once, and the longest.
 */
#define TRANSIT_RETRY_US (50 * USEC_PER_MS)
#define TRANSIT_RETRY_MAX_US (800 * USEC_PER_MS)

struct transit_plan {
    bool writes;
    bool in_doubt;   /* an attempt may have written */
    bool refused;    /* in this round a fence said no */
    bool full;       /* who was asked last had no room */
    bool too_large;  /* the answer is; the end */
    bool answered;   /* an answer is kept that another may do better than */
    usec_t began_us; /* the first attempt */
    usec_t find_until_us;      /* nobody is asked after that */
    usec_t retry_us, pause_us; /* when the next round is, and after how long */
    uint64_t tried[CONFIG_NODES_MAX / 64 + 1]; /* in this round, by node */
};

/* A member that is in reach and has replicas to answer from. */
struct transit_member {
    raft_id node;
    usec_t rtt_us;
    bool forwards; /* it is not where writes go */
};

enum transit_step { TRANSIT_ASK, TRANSIT_WAIT, TRANSIT_OVER };

void transit_plan_begin(struct transit_plan *p, bool writes, usec_t now,
                        usec_t timeout_us);
/* What to do now; with ASK, `node_out` is whom to ask and is noted as tried.
 * `stop`: nobody is to be asked any more. */
enum transit_step transit_plan_next(struct transit_plan *p, usec_t now,
                                    const struct transit_member *members,
                                    uint32_t n, bool stop, raft_id *node_out);
/* It could not be sent to whom it was for; the error of links_request. */
void transit_plan_unsent(struct transit_plan *p, int err);
/* It was not taken, or its answer is lost: `err` as links_handler has it. OVER
 * if nobody need be asked any more, else ASK, which stands for "next". */
enum transit_step transit_plan_failed(struct transit_plan *p, int err);
/* A member's API answered with that HTTP status; `elsewhere`: the container is
 * in another group, as it knows. OVER: that is the answer. Else it is one to
 * keep if keep_out is set, and the step is what comes next, ASK standing for
 * "next". */
enum transit_step transit_plan_answered(struct transit_plan *p, usec_t now,
                                        uint16_t status, bool elsewhere,
                                        bool *keep_out);
/* After OVER without an answer that is final: ERR_OK, the one that was kept
 * stands; TIMEOUT, a write may have been made; LIMIT, the answer is too large;
 * FORBIDDEN; THROTTLED, who was asked last had no room; UNAVAILABLE. */
int transit_plan_verdict(const struct transit_plan *p);
/* How long ago the first attempt was, for the next one to tell
 * (links_request_again); 0: none may have written. */
uint32_t transit_plan_age_ms(const struct transit_plan *p, usec_t now);

#endif
