/* A network: every message is delayed, and may be lost, repeated or overtaken,
 * as the seed's swarm has it; links can be cut in one direction. */
#include "node/base/check.h"
#include "node/base/mem.h"
#include "tests/sim/world_impl.h"

static usec_t delay(struct world *w, raft_id from, raft_id to, uint32_t size)
{
    usec_t base =
        w->nodes[from].region == w->nodes[to].region ? 300 : w->swarm.wan_us;
    usec_t extra =
        (usec_t)prng_below(&w->prng, (uint64_t)w->swarm.jitter_us + 1);
    return base + extra + size / 100;
}

static void carry(struct world *w, raft_id from, raft_id to,
                  struct sim_blob *msg, usec_t echo_us)
{
    usec_t at = w->now_us + delay(w, from, to, msg->size) + echo_us;
    if (!w->swarm.reorder && echo_us == 0) {
        if (at <= w->link_free_us[from][to])
            at = w->link_free_us[from][to] + 1;
        w->link_free_us[from][to] = at;
    }
    world_schedule(
        w, at,
        (struct sim_event){
            .type = EV_DELIVER, .node = to, .from = from, .blob = msg});
}

static void transmit(struct node *n, raft_id to, struct sim_blob *msg)
{
    struct world *w = n->world;
    bool lost = w->cut[n->id][to] || to > w->n_nodes ||
                (!w->healed && world_chance(w, w->swarm.loss_permille));
    if (lost) {
        sim_blob_release(msg);
        return;
    }
    if (!w->healed && world_chance(w, w->swarm.dup_permille)) {
        msg->refs++;
        /* The copy may surface long after. */
        carry(w, n->id, to, msg, (usec_t)prng_below(&w->prng, ECHO_US));
    }
    carry(w, n->id, to, msg, 0);
}

void net_send(struct node *n, raft_id to, uint64_t after_seq,
              struct sim_blob *msg)
{
    CHECK(to != 0 && to != n->id);
    if (n->world->nodes[to].witness && n->world->ops->payloads(msg) > 0)
        world_fail(n->world, "payload is sent to a witness");
    if (after_seq == 0 || disk_durable(n, after_seq)) {
        transmit(n, to, msg);
        return;
    }
    if (n->n_held == n->cap_held) {
        n->cap_held = n->cap_held ? n->cap_held * 2 : 16;
        n->held = mem_realloc(n->held, n->cap_held * sizeof(*n->held));
    }
    n->held[n->n_held++] = (struct held){to, after_seq, msg};
}

void net_release_held(struct node *n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n->n_held; i++) {
        struct held h = n->held[i];
        if (disk_durable(n, h.after_seq))
            transmit(n, h.to, h.blob);
        else
            n->held[kept++] = h;
    }
    n->n_held = kept;
}

void net_drop_held(struct node *n)
{
    for (size_t i = 0; i < n->n_held; i++)
        sim_blob_release(n->held[i].blob);
    n->n_held = 0;
}

static void tell_link(struct world *w, raft_id at, raft_id peer, bool up)
{
    struct node *n = &w->nodes[at];
    if (!node_up(n))
        return;
    w->ops->link(n->replica, node_local_us(n), peer, up);
    node_after_step(n);
}

void net_cut(struct world *w, raft_id from, raft_id to, bool cut)
{
    if (from == to || w->cut[from][to] == cut)
        return;
    w->cut[from][to] = cut;
    world_say(w, "link n%u->n%u %s", from, to, cut ? "cut" : "healed");
    /* Links do not always notice. */
    if (world_chance(w, 500))
        tell_link(w, from, to, !cut);
}

void net_heal(struct world *w)
{
    for (raft_id a = 1; a <= w->n_nodes; a++) {
        for (raft_id b = 1; b <= w->n_nodes; b++)
            net_cut(w, a, b, false);
    }
}
