/* Two channels joined in memory, for tests and simulations: what one writes the
 * other reads. No loop, no descriptor, no clock: bytes move and callbacks run
 * only inside chan_mem_run, so a test decides when anything happens.
 */
#ifndef BASTIDE_REPLICATION_LINK_CHAN_MEM_H
#define BASTIDE_REPLICATION_LINK_CHAN_MEM_H

#include "replication/link/chan.h"

struct chan_mem_options {
    size_t input_max;  /* 0: 256 KiB */
    size_t output_max; /* 0: 8 MiB */
    size_t step_bytes; /* most bytes one delivery moves; 0: no bound. 1 finds
                        * parsers that believe in whole messages */
    /* What chan_peer_uri says on the a side and on the b side (that is, the
     * identity of the other one). Borrowed for the channels' life; may be NULL.
     */
    const char *uri_seen_by_a;
    const char *uri_seen_by_b;
};

/* Makes both ends in state "opening". `options` may be NULL. Set the handlers,
 * then call chan_mem_run. Each end is freed by chan_free, in any order; what
 * one end's end means to the other: on_close(ERR_EOF). */
void chan_mem_pair(const struct chan_mem_options *options, struct chan **a_out,
                   struct chan **b_out);

/* Delivers one round: on_open if not yet, at most step_bytes each way, then
 * closes that are due. Returns true when anything happened. Either end may be
 * given; NULL is not allowed. */
bool chan_mem_step(struct chan *c);
/* Rounds until nothing happens any more. The channel given, and its other end,
 * may be freed by callbacks meanwhile. */
void chan_mem_run(struct chan *c);

/* Breaks the pair as a failing network does: queued bytes are lost, both users
 * hear on_close(err) with `reason` at the next step. */
void chan_mem_break(struct chan *c, int err, const char *reason);

#endif
