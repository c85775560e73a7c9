/* Links that only note what they are asked to send, in place of replication/'s:
 * a test program that includes this is linked without them, and drives worker
 * 0's parts with a worker of its own making. Each test program has its own. */
#ifndef BASTIDE_TESTS_UNIT_NODE_SERVER_FAKE_LINKS_H
#define BASTIDE_TESTS_UNIT_NODE_SERVER_FAKE_LINKS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "node/server/peers.h"

#define FAKE_SENT_MAX 8192

struct fake_request {
    links_peer to;
    uint32_t kind, deadline_ms, age_ms;
    uint64_t shard;
};

struct fake_answer {
    struct links_call call;
    int err;
    size_t len;
};

struct links {
    bool up[CONFIG_NODES_MAX + 1];
    usec_t rtt_us[CONFIG_NODES_MAX + 1];
    size_t unsent[CONFIG_NODES_MAX + 1];
    int refuse[CONFIG_NODES_MAX + 1];        /* what requests to it end with */
    struct fake_request sent[FAKE_SENT_MAX]; /* by id - 1 */
    uint32_t n_sent;
    struct fake_answer answers[FAKE_SENT_MAX];
    uint32_t n_answers;
};

static struct links fake_links;

struct links *peers_links(struct peers *p)
{
    (void)p;
    return &fake_links;
}

/* A marker; what it is for is tested in the links. */
usec_t peers_since(const struct config *c, const struct links_call *call)
{
    (void)c;
    return (call->age_ms + call->way_most_ms) * USEC_PER_MS;
}

bool links_is_up(const struct links *l, links_peer peer)
{
    return l->up[peer];
}

int links_get_stats(const struct links *l, links_peer peer,
                    struct links_stats *out)
{
    *out = (struct links_stats){.rtt_us = l->rtt_us[peer],
                                .output_bytes = l->unsent[peer]};
    return ERR_OK;
}

size_t links_answer_room(struct links *l, links_peer peer)
{
    return l->up[peer] && l->unsent[peer] < LINKS_ANSWER_QUEUE_MAX
               ? LINKS_ANSWER_QUEUE_MAX - l->unsent[peer]
               : 0;
}

int links_request_again(struct links *l, links_peer to, uint32_t kind,
                        uint64_t shard, uint32_t deadline_ms, uint32_t age_ms,
                        struct bytes body, uint64_t *id_out)
{
    assert_true(deadline_ms > 0 && body.len > 0);
    if (!l->up[to])
        return ERR_UNAVAILABLE;
    if (l->refuse[to] != ERR_OK)
        return l->refuse[to];
    assert_true(l->n_sent < FAKE_SENT_MAX);
    l->sent[l->n_sent++] =
        (struct fake_request){to, kind, deadline_ms, age_ms, shard};
    *id_out = l->n_sent;
    return ERR_OK;
}

/* As links.h says of a queue that is full. */
int links_reply(struct links *l, struct links_call call, int err,
                struct bytes body)
{
    bool full = body.len > LINKS_ANSWER_SMALL &&
                l->unsent[call.peer] + body.len > LINKS_ANSWER_QUEUE_MAX;
    if (!l->up[call.peer])
        return ERR_CLOSED;
    assert_true(l->n_answers < FAKE_SENT_MAX);
    l->answers[l->n_answers++] = (struct fake_answer){
        call, full ? ERR_TIMEOUT : err, full ? 0 : body.len};
    l->unsent[call.peer] += full ? 0 : body.len;
    return full ? ERR_FULL : ERR_OK;
}

#endif
