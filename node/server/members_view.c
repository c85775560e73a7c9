#include "node/server/members_view.h"

#include "node/base/mem.h"

struct member_view {
    raft_id node;
    bool votes, witness;
    const char *state;
    bool reachable;
    uint64_t match_lsn, behind;
};

struct shard_view {
    uint32_t n;
    struct member_view list[RAFT_MEMBERS_MAX];
};

struct worker_view {
    usec_t now;
    size_t n;
    struct transfer_view list[MEMBERS_VIEW_TRANSFERS_MAX];
};

struct members_view {
    const struct node *node;
    const struct shard_set *set;
    struct shard_view **shards; /* by index in the set; NULL: not led here */
    struct worker_view *workers;
};

struct members_view *members_view_new(const struct node *n,
                                      const struct shard_set *set)
{
    struct members_view *v = mem_zalloc(sizeof(*v));
    v->node = n;
    v->set = set;
    v->shards = mem_zalloc(set->n * sizeof(struct shard_view *));
    v->workers = mem_zalloc(n->worker_count * sizeof(*v->workers));
    return v;
}

void members_view_free(struct members_view *v)
{
    if (v == NULL)
        return;
    for (uint32_t i = 0; i < v->set->n; i++)
        mem_free(v->shards[i]);
    mem_free(v->shards);
    mem_free(v->workers);
    mem_free(v);
}

/* ---- on each worker ---------------------------------------------------------
 */

static const char *state_name(enum raft_peer_state state)
{
    switch (state) {
    case RAFT_PEER_PROBE:
        return "probed";
    case RAFT_PEER_REPLICATE:
        return "replicating";
    case RAFT_PEER_SNAPSHOT:
        return "snapshot";
    }
    return "?";
}

static struct member_view view_member(const struct raft *raft,
                                      const struct raft_member *m)
{
    struct raft_peer_info info;
    struct member_view v = {.node = m->id,
                            .votes = m->voter || m->voter_old,
                            .witness = m->witness,
                            .state = "leader",
                            .reachable = true,
                            .match_lsn = raft_last_lsn(raft)};
    if (raft_peer(raft, m->id, &info) == ERR_OK) {
        v.state = state_name(info.state);
        v.reachable = info.reachable;
        v.match_lsn = info.match_lsn;
    }
    uint64_t commit = raft_commit_lsn(raft);
    v.behind = commit > v.match_lsn ? commit - v.match_lsn : 0;
    return v;
}

static struct shard_view *view_shard(const struct raft *raft)
{
    const struct raft_config *c = raft_config(raft);
    struct shard_view *v = mem_zalloc(sizeof(*v));
    for (uint32_t i = 0; i < c->n; i++)
        v->list[v->n++] = view_member(raft, &c->members[i]);
    return v;
}

void members_view_collect(struct worker *w, struct members_view *v)
{
    struct worker_view *view = &v->workers[w->index];
    view->now = clock_mono_us();
    view->n = transfers_view(&w->transfers, view->now, view->list,
                             MEMBERS_VIEW_TRANSFERS_MAX);
    for (uint32_t i = 0; i < w->replica_count; i++) {
        const struct raft *raft = shard_raft(w->replicas[i]->shard);
        uint32_t k = shard_set_find(v->set, w->replicas[i]->id);
        if (k < v->set->n && raft_role(raft) == RAFT_LEADER)
            v->shards[k] = view_shard(raft);
    }
}

/* ---- on worker 0 ------------------------------------------------------------
 */

static void put_node(const struct members_view *v, const char *key,
                     raft_id node, struct json_writer *out)
{
    const struct config_node *n = config_find_node(v->node->config, node, NULL);
    json_write_member_str(out, key, n != NULL ? n->name : "?");
}

static void put_number(struct json_writer *out, const char *key, uint64_t value)
{
    json_write_key(out, key);
    json_write_uint64(out, value);
}

void members_view_put_shard(const struct members_view *v, uint32_t shard,
                            struct json_writer *out)
{
    uint32_t k = shard_set_find(v->set, (uint16_t)shard);
    const struct shard_view *s = k < v->set->n ? v->shards[k] : NULL;
    if (s == NULL)
        return;
    json_write_key(out, "members");
    json_write_array_begin(out);
    for (uint32_t i = 0; i < s->n; i++) {
        const struct member_view *m = &s->list[i];
        json_write_object_begin(out);
        put_node(v, "node", m->node, out);
        json_write_member_bool(out, "votes", m->votes);
        if (m->witness)
            json_write_member_bool(out, "witness", true);
        json_write_member_str(out, "state", m->state);
        json_write_member_bool(out, "reachable", m->reachable);
        put_number(out, "match_lsn", m->match_lsn);
        put_number(out, "behind", m->behind);
        json_write_object_end(out);
    }
    json_write_array_end(out);
}

static void put_transfer(const struct members_view *v, usec_t now,
                         const struct transfer_view *t, struct json_writer *out)
{
    json_write_object_begin(out);
    put_number(out, "shard", t->shard);
    put_node(v, "from", t->from, out);
    put_node(v, "to", t->to, out);
    put_number(out, "lsn", t->lsn);
    put_number(out, "bytes", t->bytes);
    put_number(out, "there_bytes", t->there);
    put_number(out, "about_bytes", t->about);
    put_number(out, "for_s", (uint64_t)((now - t->began_us) / USEC_PER_SEC));
    json_write_key(out, "eta_s");
    if (t->eta_us == USEC_NEVER)
        json_write_null(out);
    else
        json_write_uint64(out, (uint64_t)(t->eta_us / USEC_PER_SEC) + 1);
    json_write_member_bool(out, "waits", t->waits);
    json_write_object_end(out);
}

void members_view_put_transfers(const struct members_view *v,
                                struct json_writer *out)
{
    json_write_key(out, "transfers");
    json_write_array_begin(out);
    for (uint32_t i = 0; i < v->node->worker_count; i++)
        for (size_t k = 0; k < v->workers[i].n; k++)
            put_transfer(v, v->workers[i].now, &v->workers[i].list[k], out);
    json_write_array_end(out);
}
