/* What nodes ask each other when they scrub: requests over the links, from and
 * to the workers that own the shards.
 *
 *   DIGEST   "digest your replica at this LSN": answered with a scrub_answer
 *   REPLACE  from the leader: "yours is wrong: quarantine it"
 *   ROUND    to the leader: "mine may be wrong: have a round now"
 *   RENEW    from the leader: "yours is damaged: I send a new store"; sent when
 *            that is answered. An older release answers that it does not know
 *            it, and stays as it is
 *
 * The body, little-endian: u8 version (1), u8 what, u16 shard, u64 lsn. They
 * are of their shard, so fences hold them to its members; none has payload. */
#ifndef BASTIDE_SERVER_SCRUB_LINK_H
#define BASTIDE_SERVER_SCRUB_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "consensus/raft.h"
#include "node/base/bytes.h"
#include "replication/links.h"

struct worker;
struct scrub_awaited;

/* Kind of links_request. */
#define SCRUB_LINK_REQUEST 3

enum scrub_ask {
    SCRUB_ASK_DIGEST = 1,
    SCRUB_ASK_REPLACE,
    SCRUB_ASK_ROUND,
    SCRUB_ASK_RENEW
};

/* From any worker, about one of its shards. Of a DIGEST, scrubber_answered
 * tells the end, with this number, on the same worker; of a RENEW
 * scrubber_may_renew; of the others nobody hears. */
void scrub_link_ask(struct worker *from, raft_id to, enum scrub_ask what,
                    uint16_t shard, uint64_t lsn, uint64_t round);

/* Worker 0, from the links' callbacks. */
void scrub_link_on_request(struct worker *w, struct links_call call,
                           struct bytes body);
/* The answer to a request, or its failure. False: none of here waits for one;
 * the links answer each once, so the caller takes that for a bug. */
bool scrub_link_on_response(struct worker *w, uint64_t id, int err,
                            struct bytes body);
/* The shard of a request; SHARD_META where it cannot be read. */
uint64_t scrub_link_shard(struct bytes body);

#endif
