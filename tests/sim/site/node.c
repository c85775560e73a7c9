/* A node: replicas of all shards, the failover controller, and the glue between
 * them that ships (node/govern). Only the loop around them is the simulator's:
 * it does what node/server does. */
#include <inttypes.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/mem.h"
#include "node/shard/salvage.h"
#include "node/store/effects.h"
#include "tests/sim/site/site_impl.h"

#define GOSSIP_CHORES (FAILOVER_GOSSIP_US / SITE_CHORE_US)
#define DELIVERY_PATIENCE_US (2 * USEC_PER_SEC)
#define WALL_US ((int64_t)1700000000 * USEC_PER_SEC)

/* ---- clocks -----------------------------------------------------------------
 */

usec_t site_local_us(const struct site_node *n)
{
    usec_t t = n->site->now_us;
    return n->offset_us + t + t * n->drift_permille / 1000;
}

static usec_t true_us(const struct site_node *n, usec_t local_us)
{
    return (local_us - n->offset_us) * 1000 / (1000 + n->drift_permille) + 1;
}

int64_t site_wall_us(const struct site *s)
{
    return WALL_US + s->now_us;
}

bool site_node_up(const struct site_node *n)
{
    return n->up && !n->paused;
}

/* ---- what a shard asks for --------------------------------------------------
 */

static bool is_witness(const struct site_node *n, uint16_t shard)
{
    return n->witness && shard != SHARD_META;
}

static void env_write(void *ctx, uint64_t seq, struct sim_blob *record,
                      bool checkpoint)
{
    (void)checkpoint;
    struct site_replica *r = ctx;
    if (is_witness(r->node, r->shard) && sim_replica_shard.payloads(record) > 0)
        site_fail(r->node->site, "a witness keeps payload");
    site_drive_write(r->node, r->shard, seq, record);
}

static void env_send(void *ctx, raft_id to, uint64_t after_seq,
                     struct sim_blob *msg)
{
    struct site_replica *r = ctx;
    CHECK(after_seq == 0);
    if (is_witness(&r->node->site->nodes[to], r->shard) &&
        sim_replica_shard.payloads(msg) > 0)
        site_fail(r->node->site, "payload is sent to a witness");
    struct site_msg *m = site_msg_new(SITE_MSG_SHARD);
    m->base.size = msg->size;
    m->shard = r->shard;
    m->inner = msg;
    site_send(r->node, to, m);
}

static void env_led(void *ctx, uint64_t term)
{
    struct site_replica *r = ctx;
    struct site *s = r->node->site;
    s->elections[r->shard]++;
    site_say(s, "n%u of region %u leads shard %u in term %u.%u", r->node->id,
             r->node->region, r->shard, RAFT_TERM_EPOCH(term),
             RAFT_TERM_COUNTER(term));
}

/* The operation of an entry, and whether it delivers a conflict. */
static void read_payload(const struct entry *e, struct hist_entry *out)
{
    struct effects_head head;
    struct effects_iter iter;
    struct effect effect;
    if (e->type != RAFT_ENTRY_DATA)
        return;
    out->data = true;
    CHECK(effects_open(entry_payload(e), &head, &iter) == ERR_OK);
    out->op = site_operation(head.op_id);
    while (effects_next(&iter, &effect))
        if (effect.key.len > 1 &&
            (effect.key.data[1] & (CONTAINER_CONFLICTS >> 24)) != 0)
            out->delivery = true;
}

static void env_logged(void *ctx, const struct entry *e, uint64_t prev_term)
{
    struct site_replica *r = ctx;
    if (is_witness(r->node, r->shard))
        return; /* a head says nothing of what was done */
    struct hist_entry h = {
        .shard = r->shard, .at = {e->lsn, e->term}, .prev_term = prev_term};
    read_payload(e, &h);
    history_logged(r->node->site->history, r->node->id, &h);
}

static void env_committed(void *ctx, const struct entry *e)
{
    (void)e;
    struct site_replica *r = ctx;
    if (r->shard == SHARD_META)
        r->node->record_stale = true;
}

static void env_applied(void *ctx, uint64_t lsn, uint64_t term, uint64_t value,
                        uint64_t node_term)
{
    (void)value;
    (void)node_term;
    struct site_replica *r = ctx;
    history_committed(r->node->site->history, r->node->id, r->shard,
                      (struct hist_place){lsn, term});
}

static void env_acked(void *ctx, uint64_t request, uint64_t lsn, uint64_t term,
                      uint64_t value, bool committed)
{
    (void)request;
    (void)value;
    struct site_replica *r = ctx;
    if (r->shard == SHARD_META)
        return;
    const struct raft *raft = shard_raft(sim_shard(r->replica));
    struct hist_ack ack = {.us = r->node->site->now_us,
                           .shard = r->shard,
                           .at = {lsn, term},
                           .node = r->node->id};
    if (!committed) {
        ack.region = raft_config_committed(raft)->write_region;
        ack.epoch = raft_config_committed(raft)->epoch;
    }
    history_acked(r->node->site->history, &ack);
}

static void env_answered(void *ctx, uint64_t token,
                         const struct op_result *result)
{
    struct site_replica *r = ctx;
    struct site_node *n = r->node;
    if (!n->up)
        return;
    struct site_msg *m = site_msg_new(SITE_MSG_ANSWER);
    m->call = token;
    m->by_leader = sim_replica_shard.leads(r->replica);
    site_copy_result(&m->result, result);
    site_schedule(n->site, n->site->now_us,
                  (struct sim_event){.type = SITE_ANSWERED,
                                     .node = n->id,
                                     .number = n->life,
                                     .blob = &m->base});
}

static void env_trace(void *ctx, const char *text)
{
    struct site_replica *r = ctx;
    if (r->node->site->loud > 1)
        site_say(r->node->site, "shard %u: %s", r->shard, text);
}

/* ---- the group's record -----------------------------------------------------
 */

static struct op record_op(enum op_kind kind)
{
    struct op op = {.kind = kind, .shard = SHARD_META};
    op.at.container = CONTAINER_GROUPS;
    return op;
}

static void say_record(const struct site_node *n, const struct govern_record *r)
{
    site_say(
        n->site,
        "n%u knows: epoch %u, region %u writes, %s%s%s, down %#x, %u members, "
        "regions leaving %#x, coming %#x: %s",
        n->id, r->epoch, r->write_region,
        consistency_name(r->consistency.level), r->forced ? ", forced" : "",
        r->settled ? ", settled" : "", r->down, r->n_members, r->leaving,
        r->coming, r->reason);
}

static void learn(void *user, uint64_t record, struct bytes text)
{
    (void)record;
    struct site_node *n = user;
    struct govern_record r;
    CHECK(text.len == sizeof(r));
    memcpy(&r, text.data, sizeof(r));
    if (n->has_record && memcmp(&r, &n->record, sizeof(r)) == 0)
        return;
    if (!n->has_record || r.epoch != n->record.epoch)
        n->changed_us = site_local_us(n);
    n->has_record = true;
    n->record = r;
    say_record(n, &r);
    observed_switch(&n->site->history->seen,
                    &(struct hist_switch){.us = n->site->now_us,
                                          .epoch = r.epoch,
                                          .region = r.write_region,
                                          .forced = r.forced});
}

static void steer(struct site_node *n);

static void learn_record(struct site_node *n)
{
    struct shard *meta = sim_shard(n->replicas[SHARD_META].replica);
    n->has_been_fresh |=
        raft_fresh_since(shard_raft(meta), site_local_us(n)) > 0;
    if (!n->record_stale || shard_installing(meta))
        return;
    n->record_stale = false;
    struct govern_record before = n->record;
    CHECK(shard_each_record(meta, CONTAINER_GROUPS, learn, n) == ERR_OK);
    if (memcmp(&before, &n->record, sizeof(before)) != 0)
        steer(n);
}

static struct op write_op(struct site_node *n, enum op_write_mode mode,
                          const struct govern_record *r)
{
    struct op op = record_op(OP_WRITE);
    op.mode = mode;
    op.resource = OP_RESOURCE_INTERNAL;
    op.body = bytes_of((const uint8_t *)r, sizeof(*r));
    uint64_t id[2] = {prng_u64(&n->site->prng), 0};
    memcpy(op.id, id, sizeof(op.id));
    return op;
}

static void proposed(struct site_node *n, struct site_call *c,
                     const struct op_result *result)
{
    (void)c;
    n->proposing = false;
    site_say(n->site, "n%u proposed epoch %u: %s", n->id, n->proposal.epoch,
             err_name(result->err));
}

/* The record was read; it is what the proposal was made for, or not. */
static void compared(struct site_node *n, struct site_call *c,
                     const struct op_result *result)
{
    (void)c;
    n->proposing = false;
    if (result->err != ERR_OK ||
        buf_len(&result->body) != sizeof(n->proposal_of) ||
        memcmp(buf_bytes(&result->body), &n->proposal_of,
               sizeof(n->proposal_of)) != 0)
        return;
    struct op op = write_op(n, OP_REPLACE, &n->proposal);
    op.condition = OP_COND_IF_MATCH;
    op.etag = result->etag;
    struct site_call *w = site_call_new(n, &op, 2 * USEC_PER_SEC);
    if (w == NULL)
        return;
    w->asker = SITE_ASKER_SELF;
    w->done = proposed;
    n->proposing = true;
    site_call_run(n, w);
}

int site_node_propose(struct site_node *n, const struct govern_record *next)
{
    if (n->proposing)
        return ERR_AGAIN;
    struct op op = record_op(OP_READ);
    struct site_call *c = site_call_new(n, &op, 2 * USEC_PER_SEC);
    if (c == NULL)
        return ERR_AGAIN;
    c->asker = SITE_ASKER_SELF;
    c->done = compared;
    n->proposing = true;
    n->proposal_of = n->record;
    n->proposal = *next;
    site_call_run(n, c);
    return ERR_OK;
}

/* ---- the chores of a meta leader --------------------------------------------
 */

static bool leads(const struct site_node *n, uint16_t shard)
{
    return sim_replica_shard.leads(n->replicas[shard].replica);
}

static void create_record(struct site_node *n)
{
    struct site *s = n->site;
    struct govern_record r;
    memset(&r, 0, sizeof(r));
    r.epoch = 1;
    r.write_region = r.from_region = 1;
    r.consistency = s->ordered;
    r.failback = s->swarm.failback;
    r.gather = s->seed % 2 == 0;
    r.n_regions = (uint8_t)s->shape.regions;
    for (uint32_t i = 0; i < s->shape.regions; i++)
        r.priority[i] = (raft_region)(i + 1);
    r.at_us = site_wall_us(s);
    struct op op = write_op(n, OP_CREATE, &r);
    struct site_call *c = site_call_new(n, &op, USEC_PER_SEC);
    if (c == NULL)
        return;
    c->asker = SITE_ASKER_SELF;
    c->done = proposed;
    n->proposing = true;
    n->proposal = r;
    site_call_run(n, c);
}

/* The epoch that this node's replicas follow, as it tells the others; 0. */
static uint32_t follows(const struct site_node *n)
{
    if (!n->has_record)
        return 0;
    for (uint16_t i = 1; i < n->site->n_shards; i++)
        if (!steer_settled(&n->record, sim_shard(n->replicas[i].replica)))
            return 0;
    return n->record.epoch;
}

/* As far as this node's replicas know, or as a member says: a node that left
 * does not hear of it (node/server/governor.c). */
static bool all_settled(struct site_node *n)
{
    const struct govern_record *r = &n->record;
    n->follows[n->id] = follows(n);
    if (r->n_members == 0)
        return n->follows[n->id] == r->epoch;
    for (uint32_t i = 0; i < r->n_members; i++)
        if (n->follows[r->members[i].id] == r->epoch)
            return true;
    return false;
}

static void decide(struct site_node *n)
{
    struct failover_group group;
    struct failover_plan plan;
    struct govern_record next;
    if (n->proposing || !leads(n, SHARD_META))
        return;
    if (!n->has_record) {
        create_record(n);
        return;
    }
    govern_group(&n->record, "default", n->changed_us, &group);
    if (n->site->shape.witness)
        group.witness = n->site->n_nodes; /* the last one */
    failover_plan(n->failover, &group, &plan);
    if (n->site->loud > 1)
        site_say(n->site, "n%u sees %s: %s", n->id,
                 failover_situation_name(plan.situation), plan.reason);
    if (!govern_decide(&n->record, &plan, all_settled(n), site_wall_us(n->site),
                       &next))
        return;
    if (plan.action != FAILOVER_NONE)
        site_say(n->site, "n%u decides %s (%s) to region %u: %s", n->id,
                 failover_action_name(plan.action),
                 failover_situation_name(plan.situation), plan.to, plan.reason);
    (void)site_node_propose(n, &next);
}

/* ---- the chores of every node -----------------------------------------------
 */

static struct failover_self self_report(const struct site_node *n)
{
    struct failover_self self = {
        .disk_stall_ms = (uint32_t)(site_drive_stall_us(n) / USEC_PER_MS)};
    for (uint16_t i = 0; i < n->site->n_shards; i++) {
        struct shard_status status;
        shard_status(sim_shard(n->replicas[i].replica), site_local_us(n),
                     &status);
        uint32_t behind = status.fresh_us == USEC_NEVER
                              ? UINT32_MAX
                              : (uint32_t)(status.fresh_us / USEC_PER_MS);
        self.behind_ms = behind > self.behind_ms ? behind : self.behind_ms;
        self.led += status.role == RAFT_LEADER;
    }
    return self;
}

static void gossip(struct site_node *n)
{
    for (raft_id to = 1; to <= n->site->n_nodes; to++) {
        if (to == n->id)
            continue;
        struct site_msg *m = site_msg_new(SITE_MSG_GOSSIP);
        m->follows = follows(n);
        if (n->has_record)
            govern_tell(&n->record, &m->knows);
        CHECK(failover_gossip(n->failover, to, site_local_us(n), &m->gossip) ==
              ERR_OK);
        site_send(n, to, m);
    }
}

static bool votes(const struct raft_config *c, raft_id id)
{
    const struct raft_member *m = raft_config_find(c, id);
    return m != NULL && m->voter;
}

/* Of a step from one configuration to the next, made just now: who comes votes
 * once it follows, who goes does when they all vote, and has heard of it; and
 * nothing changes while a voter is rebuilt. */
static void check_change(const struct site_node *n, uint16_t shard,
                         const struct raft_config *before)
{
    const struct raft *r = shard_raft(sim_shard(n->replicas[shard].replica));
    const struct raft_config *now = raft_config(r);
    bool comes = false, goes = false;
    for (raft_id id = 1; id <= n->site->n_nodes; id++) {
        struct raft_peer_info info;
        comes |= govern_wants(&n->record, id) && !votes(before, id);
        goes |= votes(before, id) && !votes(now, id);
        if (id == n->id || raft_peer(r, id, &info) != ERR_OK)
            continue;
        if (votes(now, id) && !votes(before, id) &&
            info.state != RAFT_PEER_REPLICATE)
            site_fail(n->site, "shard %u: n%u votes before it follows", shard,
                      id);
        if (votes(before, id) && info.forgot && govern_wants(&n->record, id))
            site_fail(n->site,
                      "shard %u: voters change while n%u is being rebuilt",
                      shard, id);
    }
    if (goes && comes)
        site_fail(n->site,
                  "shard %u: somebody goes before all who come do vote", shard);
    if (goes && shard == SHARD_META && !n->record.settled)
        site_fail(n->site, "somebody goes from the meta shard without having "
                           "heard of it");
}

static bool same_voters(const struct raft_config *a,
                        const struct raft_config *b)
{
    for (raft_id id = 1; id <= SITE_NODES_MAX; id++)
        if (votes(a, id) != votes(b, id))
            return false;
    return true;
}

/* Also of what it was told while its disk hung, as node/server does. */
static const struct govern_record *newest_record(const struct site_node *n)
{
    return n->hint.epoch > n->record.epoch ? &n->hint : &n->record;
}

static void steer_replica(struct site_node *n, uint16_t shard,
                          const struct steer_health *health)
{
    struct site_replica *r = &n->replicas[shard];
    struct shard *s = sim_shard(r->replica);
    struct raft_config before = *raft_config(shard_raft(s));
    steer_shard(&r->steer, site_local_us(n), newest_record(n), health, n->id,
                s);
    if (!same_voters(&before, raft_config(shard_raft(s))))
        check_change(n, shard, &before);
    sim_shard_turn(r->replica, site_local_us(n));
    site_node_after(n, shard);
}

static void steer(struct site_node *n)
{
    if (!n->has_record)
        return;
    struct failover_self self = self_report(n);
    struct steer_health health;
    steer_health_of(failover_health(n->failover), n->id, &self, &health);
    for (uint16_t i = 0; i < n->site->n_shards; i++)
        steer_replica(n, i, &health);
}

static void delivered(struct site_node *n, struct site_call *c,
                      const struct op_result *result)
{
    struct site_replica *r = &n->replicas[c->op.shard];
    struct salvage_delivery *d = c->delivery;
    c->delivery = NULL;
    site_say(n->site, "n%u delivered a conflict of shard %u: %s", n->id,
             r->shard, err_name(result->err));
    shard_salvage_done(sim_shard(r->replica), site_local_us(n), d, result);
    mem_free(d);
}

static void salvage(struct site_node *n, uint16_t shard)
{
    struct site_replica *r = &n->replicas[shard];
    struct shard *s = sim_shard(r->replica);
    for (;;) {
        struct salvage_delivery *d = mem_zalloc(sizeof(*d));
        if (shard_salvage_next(s, site_local_us(n), d) != ERR_OK) {
            mem_free(d);
            break;
        }
        struct site_call *c = site_call_new(n, &d->op, DELIVERY_PATIENCE_US);
        if (c == NULL) {
            shard_salvage_drop(d);
            mem_free(d);
            break;
        }
        c->asker = SITE_ASKER_SELF;
        c->done = delivered;
        c->delivery = d;
        site_call_run(n, c);
    }
    sim_shard_turn(r->replica, site_local_us(n));
    site_node_after(n, shard);
}

static void schedule_chore(struct site_node *n)
{
    site_schedule(n->site, n->site->now_us + SITE_CHORE_US,
                  (struct sim_event){
                      .type = SITE_CHORE, .node = n->id, .number = n->life});
}

/* Majorities are of the meta shard's voters. */
static void follow_voters(struct site_node *n)
{
    const struct raft_config *c = raft_config_committed(
        shard_raft(sim_shard(n->replicas[SHARD_META].replica)));
    bool changed = false;
    for (uint32_t i = 0; i < n->topology.n_nodes && c->n > 0; i++) {
        struct failover_node *of = &n->topology.nodes[i];
        changed |= votes(c, of->id) != of->voter;
        of->voter = votes(c, of->id);
    }
    if (changed)
        CHECK(failover_set_topology(n->failover, &n->topology,
                                    site_local_us(n)) == ERR_OK);
}

/* Once it has again what it may have promised, in all shards. */
static void check_cured(struct site_node *n)
{
    bool any = false;
    for (uint16_t i = 0; i < n->site->n_shards; i++) {
        bool amnesiac = sim_replica_shard.amnesiac(n->replicas[i].replica);
        n->replicas[i].mending &= amnesiac;
        any |= amnesiac;
    }
    if (!n->amnesiac || any)
        return;
    site_say(n->site, "n%u is cured", n->id);
    n->amnesiac = false;
}

static void chore(struct site_node *n)
{
    schedule_chore(n);
    check_cured(n);
    struct failover_self self = self_report(n);
    follow_voters(n);
    failover_tick(n->failover, &self, site_local_us(n));
    if (n->chores++ % GOSSIP_CHORES == 0)
        gossip(n);
    learn_record(n);
    steer(n);
    decide(n);
    for (uint16_t i = 1; i < n->site->n_shards; i++)
        if (shard_salvage_pending(sim_shard(n->replicas[i].replica)) > 0)
            salvage(n, i);
    site_calls_chore(n);
}

/* ---- life -------------------------------------------------------------------
 */

void site_node_after(struct site_node *n, uint16_t shard)
{
    struct site_replica *r = &n->replicas[shard];
    if (shard == SHARD_META)
        learn_record(n);
    usec_t local = sim_replica_shard.deadline(r->replica);
    if (local == USEC_NEVER)
        return;
    usec_t at = true_us(n, local);
    if (at < n->site->now_us)
        at = n->site->now_us;
    if (at >= r->tick_us)
        return;
    r->tick_us = at;
    site_schedule(n->site, at,
                  (struct sim_event){.type = SITE_TICK,
                                     .node = n->id,
                                     .from = shard,
                                     .number = n->life});
}

static void open_replica(struct site_node *n, uint16_t shard)
{
    struct site *s = n->site;
    struct site_replica *r = &n->replicas[shard];
    r->node = n;
    r->shard = shard;
    r->tick_us = USEC_NEVER;
    r->steer = (struct steer){0};
    struct sim_env env = {
        .ctx = r,
        .self = n->id,
        .seed = prng_u64(&s->prng),
        .verbose = s->loud > 1,
        .shard = shard,
        .raft = &s->raft,
        .steered = true,
        .amnesiac = n->amnesiac || r->mending,
        .kept = r->kept ? &r->mark : NULL,
        .witness = is_witness(n, shard),
        .write = env_write,
        .send = env_send,
        .led = env_led,
        .applied = env_applied,
        .acked = env_acked,
        .answered = env_answered,
        .logged = env_logged,
        .committed = env_committed,
        .trace = env_trace,
    };
    size_t n_records = 0;
    struct sim_blob **records = mem_alloc((n->drive.n + 1) * sizeof(*records));
    for (size_t i = 0; i < n->drive.n; i++)
        if (n->drive.records[i].shard == shard)
            records[n_records++] = n->drive.records[i].blob;
    const struct raft_config *config = r->kept ? &r->mark.config
                                       : shard == SHARD_META
                                           ? &s->first_config
                                           : &s->first_documents;
    r->replica = sim_replica_shard.open(&env, config, records, n_records,
                                        site_local_us(n));
    mem_free(records);
}

void site_node_start(struct site_node *n)
{
    struct site *s = n->site;
    CHECK(!n->up);
    site_say(s, "n%u of region %u starts", n->id, n->region);
    n->paused = false;
    n->has_record = n->has_been_fresh = n->proposing = false;
    n->record_stale = true;
    n->chores = (uint32_t)prng_below(&s->prng, GOSSIP_CHORES);
    memset(&n->record, 0, sizeof(n->record));
    memset(&n->hint, 0, sizeof(n->hint));
    memset(n->follows, 0, sizeof(n->follows));
    n->topology = s->topology;
    n->failover =
        failover_new(n->id, n->life + 1, &s->timing, site_local_us(n));
    CHECK(failover_set_topology(n->failover, &n->topology, site_local_us(n)) ==
          ERR_OK);
    for (uint16_t i = 0; i < s->n_shards; i++)
        open_replica(n, i);
    n->up = true;
    for (uint16_t i = 0; i < s->n_shards; i++) {
        if (n->id == 1)
            sim_replica_shard.campaign(n->replicas[i].replica,
                                       site_local_us(n));
        site_node_after(n, i);
    }
    schedule_chore(n);
}

static void drop_backlog(struct site_node *n)
{
    for (size_t i = 0; i < n->n_backlog; i++)
        if (n->backlog[i].blob != NULL)
            sim_blob_release(n->backlog[i].blob);
    n->n_backlog = 0;
}

static void stop(struct site_node *n)
{
    n->up = n->paused = false;
    site_calls_drop(n);
    for (uint16_t i = 0; i < n->site->n_shards; i++) {
        sim_replica_shard.close(n->replicas[i].replica);
        n->replicas[i].replica = NULL;
    }
    failover_free(n->failover);
    n->failover = NULL;
    drop_backlog(n);
}

void site_node_crash(struct site_node *n)
{
    if (!n->up)
        return;
    site_say(n->site, "n%u of region %u dies", n->id, n->region);
    stop(n);
    n->life++;
    site_drive_crash(n);
    site_clients_lose(n->site, n->id);
}

void site_node_forget(struct site_node *n)
{
    site_node_crash(n);
    site_say(n->site, "n%u has lost its disk", n->id);
    site_drive_wipe(n, UINT16_MAX);
    for (uint16_t i = 0; i < n->site->n_shards; i++)
        n->replicas[i].mending = n->replicas[i].kept = false;
    n->amnesiac = true;
}

void site_node_quarantine(struct site_node *n, uint16_t shard)
{
    struct site_replica *r = &n->replicas[shard];
    sim_replica_shard.keep(r->replica, &r->mark);
    site_say(n->site, "n%u puts away its store of shard %u", n->id, shard);
    sim_replica_shard.close(r->replica);
    site_drive_wipe(n, shard);
    r->mending = r->kept = true;
    open_replica(n, shard);
    site_node_after(n, shard);
}

void site_node_free(struct site_node *n)
{
    if (n->up)
        stop(n);
    for (size_t i = 0; i < n->drive.n; i++)
        sim_blob_release(n->drive.records[i].blob);
    mem_free(n->drive.records);
    mem_free(n->backlog);
    mem_free(n->calls);
}

void site_node_pause(struct site_node *n)
{
    if (!site_node_up(n))
        return;
    site_say(n->site, "n%u of region %u stands still", n->id, n->region);
    n->paused = true;
}

void site_node_resume(struct site_node *n)
{
    if (!n->up || !n->paused)
        return;
    site_say(n->site, "n%u of region %u goes on", n->id, n->region);
    n->paused = false;
    struct sim_event *backlog = n->backlog;
    size_t count = n->n_backlog;
    n->backlog = NULL;
    n->n_backlog = n->cap_backlog = 0;
    for (size_t i = 0; i < count; i++)
        site_node_event(n, &backlog[i]);
    mem_free(backlog);
}

/* ---- events -----------------------------------------------------------------
 */

static void put_off(struct site_node *n, const struct sim_event *ev)
{
    if (n->n_backlog == n->cap_backlog) {
        n->cap_backlog = n->cap_backlog ? n->cap_backlog * 2 : 64;
        n->backlog =
            mem_realloc(n->backlog, n->cap_backlog * sizeof(*n->backlog));
    }
    n->backlog[n->n_backlog++] = *ev;
}

/* A node whose disk hangs cannot follow the meta shard's log
 * (node/server/governor.c). */
static void take_hint(struct site_node *n, const struct govern_hint *said)
{
    const struct failover_timing *t =
        failover_health_timing(failover_health(n->failover));
    if (site_drive_stall_us(n) >= t->stall_us && n->has_record &&
        govern_learn(&n->record, said, &n->hint))
        site_say(n->site, "n%u is told of epoch %u, region %u writes", n->id,
                 said->epoch, said->write_region);
}

static void receive(struct site_node *n, raft_id from, struct site_msg *m)
{
    switch (m->kind) {
    case SITE_MSG_SHARD:
        sim_replica_shard.receive(n->replicas[m->shard].replica,
                                  site_local_us(n), m->inner);
        site_node_after(n, m->shard);
        break;
    case SITE_MSG_GOSSIP:
        n->follows[from] = m->follows;
        take_hint(n, &m->knows);
        (void)failover_heard(
            n->failover, from,
            bytes_of(buf_bytes(&m->gossip), buf_len(&m->gossip)),
            site_local_us(n));
        break;
    case SITE_MSG_CALL:
        site_call_foreign(n, from, m);
        break;
    case SITE_MSG_ANSWER:
        site_call_answered(n, m);
        break;
    }
}

static void tick(struct site_node *n, uint16_t shard)
{
    struct site_replica *r = &n->replicas[shard];
    r->tick_us = USEC_NEVER;
    if (site_local_us(n) >= sim_replica_shard.deadline(r->replica))
        sim_replica_shard.tick(r->replica, site_local_us(n));
    site_node_after(n, shard);
}

void site_node_event(struct site_node *n, const struct sim_event *ev)
{
    bool of_a_life = ev->type != SITE_DELIVER && ev->type != SITE_CALL;
    if (!n->up || (of_a_life && ev->number != n->life)) {
        if (ev->blob != NULL)
            sim_blob_release(ev->blob);
        return;
    }
    if (n->paused) {
        put_off(n, ev);
        return;
    }
    switch ((enum site_event)ev->type) {
    case SITE_DELIVER:
        /* A cut also loses what is on its way. */
        if (!site_is_cut(n->site, ev->from, n->id))
            receive(n, ev->from, (struct site_msg *)ev->blob);
        sim_blob_release(ev->blob);
        break;
    case SITE_TICK:
        tick(n, (uint16_t)ev->from);
        break;
    case SITE_CHORE:
        chore(n);
        break;
    case SITE_SYNCED:
        site_drive_synced(n);
        break;
    case SITE_ANSWERED:
        site_call_result(n, (struct site_msg *)ev->blob);
        sim_blob_release(ev->blob);
        break;
    case SITE_RETRY:
        site_calls_chore(n);
        break;
    case SITE_CALL:
        site_client_call(n->site, n, ev->number);
        break;
    default:
        CHECK_UNREACHABLE();
    }
}
