/* A network between regions: near within a region, far between two, slower
 * still where a region is slow; loss, repetition, reordering as the seed has
 * them; cuts in one direction or both. A cut in one direction is one in both
 * after a while, because a link needs both. */
#include "node/base/check.h"
#include "node/base/mem.h"
#include "tests/sim/site/site_impl.h"

#define NEAR_US 300
#define ECHO_US (300 * USEC_PER_MS)
/* Who hears nothing for so long gives the link up, in both directions. */
#define SILENCE_US (USEC_PER_SEC)
#define AGAIN_US (200 * USEC_PER_MS)

static void msg_destroy(struct sim_blob *base)
{
    struct site_msg *m = (struct site_msg *)base;
    if (m->inner != NULL)
        sim_blob_release(m->inner);
    buf_free(&m->gossip);
    buf_free(&m->body);
    op_result_free(&m->result);
    mem_free(m);
}

struct site_msg *site_msg_new(enum site_msg_kind kind)
{
    struct site_msg *m = mem_zalloc(sizeof(*m));
    m->base.refs = 1;
    m->base.size = 64;
    m->base.destroy = msg_destroy;
    m->kind = kind;
    buf_init(&m->gossip, FAILOVER_MESSAGE_MAX);
    buf_init(&m->body, OP_BODY_MAX);
    op_result_init(&m->result);
    return m;
}

static usec_t delay(struct site *s, const struct site_node *from,
                    const struct site_node *to, uint32_t size)
{
    usec_t base = from->region == to->region
                      ? NEAR_US
                      : s->wan_us[from->region][to->region] +
                            s->slow_us[from->region] + s->slow_us[to->region];
    usec_t extra =
        (usec_t)prng_below(&s->prng, (uint64_t)s->swarm.jitter_us + 1);
    return base + extra + size / 100;
}

static void carry(struct site *s, struct site_node *from, raft_id to,
                  struct site_msg *m, usec_t echo_us)
{
    usec_t at =
        s->now_us + delay(s, from, &s->nodes[to], m->base.size) + echo_us;
    bool ordered = !s->swarm.reorder || m->kind != SITE_MSG_SHARD;
    if (ordered && echo_us == 0) {
        if (at <= s->link_free_us[from->id][to])
            at = s->link_free_us[from->id][to] + 1;
        s->link_free_us[from->id][to] = at;
    }
    site_schedule(s, at,
                  (struct sim_event){.type = SITE_DELIVER,
                                     .node = to,
                                     .from = from->id,
                                     .blob = &m->base});
}

bool site_is_cut(const struct site *s, raft_id from, raft_id to)
{
    return s->cut[from][to] ||
           (s->cut[to][from] && s->now_us >= s->cut_us[to][from] + SILENCE_US);
}

static bool is_stuck(const struct site *s, const struct site_node *from,
                     const struct site_node *to, const struct site_msg *m)
{
    bool crosses = (from->region == s->stuck) != (to->region == s->stuck);
    return s->stuck != 0 && crosses && m->kind == SITE_MSG_SHARD &&
           m->shard != SHARD_META;
}

void site_send(struct site_node *n, raft_id to, struct site_msg *m)
{
    struct site *s = n->site;
    CHECK(to != 0 && to != n->id && to <= s->n_nodes);
    bool lost = !s->healed && site_chance(s, s->swarm.loss_permille);
    bool again = m->kind == SITE_MSG_CALL || m->kind == SITE_MSG_ANSWER;
    if (site_is_cut(s, n->id, to) || is_stuck(s, n, &s->nodes[to], m) ||
        (lost && !again)) {
        sim_blob_release(&m->base);
        return;
    }
    if (!s->healed && m->kind == SITE_MSG_SHARD &&
        site_chance(s, s->swarm.dup_permille)) {
        m->base.refs++;
        carry(s, n, to, m, (usec_t)prng_below(&s->prng, ECHO_US));
    }
    /* What must not be lost is sent again, and late. */
    carry(s, n, to, m, lost ? AGAIN_US : 0);
}

static void tell_link(struct site *s, raft_id at, raft_id peer, bool up)
{
    struct site_node *n = &s->nodes[at];
    if (!site_node_up(n))
        return;
    for (uint16_t i = 0; i < s->n_shards; i++) {
        sim_replica_shard.link(n->replicas[i].replica, site_local_us(n), peer,
                               up);
        site_node_after(n, i);
    }
}

void site_cut(struct site *s, raft_id from, raft_id to, bool cut)
{
    if (from == to || s->cut[from][to] == cut)
        return;
    s->cut[from][to] = cut;
    s->cut_us[from][to] = s->now_us;
    /* Links do not always notice. */
    if (site_chance(s, 500))
        tell_link(s, from, to, !cut);
}

void site_cut_region(struct site *s, raft_region region, bool out, bool in,
                     bool cut)
{
    for (raft_id a = 1; a <= s->n_nodes; a++) {
        for (raft_id b = 1; b <= s->n_nodes; b++) {
            bool from = s->nodes[a].region == region;
            bool to = s->nodes[b].region == region;
            if (from != to && ((from && out) || (to && in)))
                site_cut(s, a, b, cut);
        }
    }
}

void site_heal_wire(struct site *s)
{
    for (raft_id a = 1; a <= s->n_nodes; a++)
        for (raft_id b = 1; b <= s->n_nodes; b++)
            site_cut(s, a, b, false);
}
