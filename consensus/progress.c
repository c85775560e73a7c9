#include "consensus/progress.h"

#include "node/base/check.h"
#include "node/base/mem.h"

void progress_init(struct progress *p, raft_id id, uint64_t next,
                   uint32_t window)
{
    CHECK(next > 0 && window > 0);
    *p = (struct progress){
        .id = id,
        .state = RAFT_PEER_PROBE,
        .next = next,
        .reachable = true,
        .answered_us = -1,
        .ring_cap = window,
    };
}

void progress_free(struct progress *p)
{
    mem_free(p->ring);
    p->ring = NULL;
}

static void clear_ring(struct progress *p)
{
    p->ring_head = p->ring_n = 0;
    p->ring_bytes = 0;
}

void progress_probe(struct progress *p, uint64_t next)
{
    CHECK(next > p->match);
    p->state = RAFT_PEER_PROBE;
    p->next = next;
    p->probing = p->probe_lost = p->streaming = false;
    clear_ring(p);
}

void progress_replicate(struct progress *p, uint64_t window_bytes)
{
    p->state = RAFT_PEER_REPLICATE;
    p->next = p->match + 1;
    p->window_bytes = window_bytes;
    p->catching_up = true;
    p->probing = p->probe_lost = p->streaming = false;
    clear_ring(p);
}

void progress_snapshot(struct progress *p)
{
    p->state = RAFT_PEER_SNAPSHOT;
    p->next = p->match + 1;
    p->probing = p->probe_lost = p->streaming = false;
    p->retry_us = 0;
    clear_ring(p);
}

bool progress_may_send(const struct progress *p, uint64_t window_max)
{
    uint64_t window =
        p->window_bytes < window_max ? p->window_bytes : window_max;
    switch (p->state) {
    case RAFT_PEER_PROBE:
        return !p->probing;
    case RAFT_PEER_REPLICATE:
        return p->ring_n < p->ring_cap && p->ring_bytes < window;
    case RAFT_PEER_SNAPSHOT:
        return false;
    }
    CHECK_UNREACHABLE();
}

void progress_sent(struct progress *p, uint32_t n, uint32_t bytes)
{
    if (p->state == RAFT_PEER_PROBE) {
        /* `next` stays: only the answer tells whether the logs agree there. */
        p->probing = true;
        return;
    }
    CHECK(p->state == RAFT_PEER_REPLICATE && n > 0);
    CHECK(p->ring_n < p->ring_cap);
    if (p->ring == NULL)
        p->ring = mem_alloc(p->ring_cap * sizeof(*p->ring));
    p->next += n;
    uint32_t at = (p->ring_head + p->ring_n++) % p->ring_cap;
    p->ring[at] = (struct inflight){p->next - 1, bytes};
    p->ring_bytes += bytes;
}

bool progress_matched(struct progress *p, uint64_t lsn)
{
    while (p->ring_n > 0 && p->ring[p->ring_head].last_lsn <= lsn) {
        p->ring_bytes -= p->ring[p->ring_head].bytes;
        p->window_bytes += p->ring[p->ring_head].bytes;
        p->ring_head = (p->ring_head + 1) % p->ring_cap;
        p->ring_n--;
    }
    if (lsn <= p->match)
        return false;
    p->match = lsn;
    if (p->next <= lsn)
        p->next = lsn + 1;
    return true;
}
