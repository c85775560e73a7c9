/* The clock, the scheduler, the nodes, and a run from seed to verdict. */
#include "tests/sim/world.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "consensus/canary.h"
#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/mem.h"
#include "tests/sim/world_impl.h"

void world_schedule(struct world *w, usec_t at_us, struct sim_event ev)
{
    CHECK(at_us >= w->now_us);
    sim_queue_put(&w->queue, at_us, ev);
}

/* ---- saying and failing
 * -------------------------------------------------------- */

void world_say(struct world *w, const char *format, ...)
{
    if (!w->verbose)
        return;
    printf("# %9.3fms ", (double)w->now_us / 1000.0);
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

void world_fail(void *ctx, const char *text)
{
    struct world *w = ctx;
    if (w->over && !w->result->ok)
        return;
    w->over = true;
    w->result->ok = false;
    snprintf(w->result->text, sizeof(w->result->text), "%s (at %.3f ms)", text,
             (double)w->now_us / 1000.0);
    world_say(w, "VIOLATION %s", text);
}

bool world_chance(struct world *w, uint32_t permille)
{
    return permille > 0 && prng_below(&w->prng, 1000) < permille;
}

/* ---- clocks
 * --------------------------------------------------------------------- */

usec_t node_local_us(const struct node *n)
{
    usec_t t = n->world->now_us;
    return n->offset_us + t + t * n->drift_permille / 1000;
}

static usec_t node_real_us(const struct node *n, usec_t local_us)
{
    return (local_us - n->offset_us) * 1000 / (1000 + n->drift_permille) + 1;
}

/* ---- what replicas ask for
 * --------------------------------------------------------- */

static void env_write(void *ctx, uint64_t seq, struct sim_blob *record,
                      bool checkpoint)
{
    disk_write(ctx, seq, record, checkpoint);
}

static void env_send(void *ctx, raft_id to, uint64_t after_seq,
                     struct sim_blob *msg)
{
    net_send(ctx, to, after_seq, msg);
}

static void env_led(void *ctx, uint64_t term)
{
    struct node *n = ctx;
    n->led_term = term;
    world_say(n->world, "n%u leads term %" PRIu64, n->id, term);
    if (n->witness)
        world_fail(n->world, "a witness leads");
    faults_new_leader(n->world, n->id);
    check_led(n->world->check, n->id, term, n->world->ops, n->replica);
}

static void env_appended(void *ctx, uint64_t lsn, uint64_t term,
                         uint64_t prev_term, uint64_t value)
{
    struct node *n = ctx;
    if (n->witness)
        check_head_appended(n->world->check, n->id, lsn, term, prev_term);
    else
        check_appended(n->world->check, n->id, lsn, term, prev_term, value);
}

static void env_applied(void *ctx, uint64_t lsn, uint64_t term, uint64_t value,
                        uint64_t node_term)
{
    struct node *n = ctx;
    if (n->witness)
        check_head_applied(n->world->check, n->id, lsn, term);
    else
        check_applied(n->world->check, n->id, lsn, term, value, node_term);
}

static void env_acked(void *ctx, uint64_t request, uint64_t lsn, uint64_t term,
                      uint64_t value, bool committed)
{
    struct node *n = ctx;
    world_say(n->world, "n%u acks request %" PRIu64 " lsn %" PRIu64 "%s", n->id,
              request, lsn, committed ? "" : " (region)");
    check_acked(n->world->check, lsn, term, value, n->led_term, committed);
    shown_acked(n->world->shown, n->world->now_us, lsn, term);
}

static void env_shown(void *ctx, uint64_t lsn, uint64_t term, bool leads)
{
    struct node *n = ctx;
    shown_entry(n->world->shown, n->id, lsn, term, leads);
}

static void env_fresh(void *ctx, uint64_t lsn, usec_t since_us)
{
    struct node *n = ctx;
    /* Rounded down, which claims less. */
    usec_t real = node_real_us(n, since_us) - 2;
    shown_fresh(n->world->shown, n->id, lsn, real);
}

static void env_read_done(void *ctx, uint64_t request, int result, uint64_t lsn)
{
    load_read_done(ctx, request, result, lsn);
}

static void env_answered(void *ctx, uint64_t token,
                         const struct op_result *result)
{
    struct node *n = ctx;
    docs_answered(n->world->docs, n, token, result);
}

static void env_effect(void *ctx, uint64_t operation, uint64_t lsn)
{
    struct node *n = ctx;
    docs_effect(n->world->docs, n, operation, lsn);
}

static void env_trace(void *ctx, const char *text)
{
    struct node *n = ctx;
    world_say(n->world, "%s", text);
}

/* ---- nodes
 * ---------------------------------------------------------------------------
 */

bool node_up(const struct node *n)
{
    return n->replica != NULL && !n->paused;
}

raft_id world_leader(struct world *w)
{
    for (raft_id i = 1; i <= w->n_nodes; i++) {
        struct node *n = &w->nodes[i];
        if (node_up(n) && w->ops->leads(n->replica))
            return i;
    }
    return 0;
}

/* A real node goes by what it knows to be committed from then on: by the meta
 * shard it learns which other replicas of it lost something. */
static void node_rebuilt(struct node *n)
{
    struct world *w = n->world;
    uint64_t lsn = w->ops->applied_lsn(n->replica);
    world_say(w, "n%u is rebuilt", n->id);
    n->amnesiac = false;
    if (lsn >= n->knew_lsn)
        return;
    char text[96];
    snprintf(text, sizeof(text),
             "n%u counts as rebuilt, but knows %" PRIu64 " of %" PRIu64, n->id,
             lsn, n->knew_lsn);
    world_fail(w, text);
}

void node_after_step(struct node *n)
{
    struct world *w = n->world;
    if (n->amnesiac && !w->ops->amnesiac(n->replica))
        node_rebuilt(n);
    usec_t local = w->ops->deadline(n->replica);
    if (local == USEC_NEVER)
        return;
    usec_t at = node_real_us(n, local);
    if (at < w->now_us)
        at = w->now_us;
    if (at >= n->tick_us)
        return;
    n->tick_us = at;
    world_schedule(
        w, at,
        (struct sim_event){.type = EV_TICK, .node = n->id, .number = n->life});
}

void node_start(struct node *n)
{
    struct world *w = n->world;
    CHECK(n->replica == NULL);
    n->paused = false;
    n->tick_us = USEC_NEVER;
    struct sim_env env = {
        .ctx = n,
        .self = n->id,
        .seed = prng_u64(&w->prng),
        .verbose = w->verbose,
        .shard = 1,
        .turbulent = w->swarm.turbulent,
        .amnesiac = n->amnesiac,
        .also = w->everybody,
        .n_also = w->n_nodes,
        .kept = n->kept ? &n->mark : NULL,
        .witness = n->witness,
        .write = env_write,
        .send = env_send,
        .led = env_led,
        .appended = env_appended,
        .applied = env_applied,
        .acked = env_acked,
        .read_done = env_read_done,
        .shown = env_shown,
        .fresh = env_fresh,
        .answered = env_answered,
        .effect = env_effect,
        .trace = env_trace,
    };
    struct sim_blob **records =
        mem_alloc((n->n_records + 1) * sizeof(*records));
    for (size_t i = 0; i < n->n_records; i++)
        records[i] = n->records[i].blob;
    bool founder = raft_config_find(&w->first_config, n->id) != NULL;
    const struct raft_config *config = n->kept   ? &n->mark.config
                                       : founder ? &w->first_config
                                                 : NULL;
    world_say(w, "n%u starts with %zu records", n->id, n->n_records);
    n->replica =
        w->ops->open(&env, config, records, n->n_records, node_local_us(n));
    mem_free(records);
    faults_tell(n);
    if (n->id == 1)
        w->ops->campaign(n->replica, node_local_us(n));
    node_after_step(n);
}

static void drop_backlog(struct node *n)
{
    for (size_t i = 0; i < n->n_backlog; i++) {
        if (n->backlog[i].blob != NULL)
            sim_blob_release(n->backlog[i].blob);
    }
    n->n_backlog = 0;
}

void node_crash(struct node *n)
{
    struct world *w = n->world;
    if (n->replica == NULL)
        return;
    world_say(w, "n%u crashes", n->id);
    n->last_config = *w->ops->config(n->replica);
    uint64_t lsn = w->ops->applied_lsn(n->replica);
    n->knew_lsn = lsn > n->knew_lsn ? lsn : n->knew_lsn;
    w->ops->close(n->replica);
    n->replica = NULL;
    n->life++;
    n->paused = false;
    drop_backlog(n);
    net_drop_held(n);
    disk_crash(n);
    for (size_t i = 0; i < READS_MAX; i++) {
        if (w->reads[i].node == n->id)
            w->reads[i].request = 0;
    }
}

void node_quarantine(struct node *n)
{
    CHECK(n->n_synced == n->n_records && n->syncing == 0);
    n->world->ops->keep(n->replica, &n->mark);
    node_crash(n);
    world_say(n->world, "n%u was damaged and begins anew", n->id);
    disk_lose(n);
    n->kept = true;
    node_start(n);
}

/* As node/server/quarantine.h has it: one that was to get back what it had must
 * get that, and the next one here, too; who did not know it, asks. */
void node_wipe(struct node *n)
{
    bool asks = n->amnesiac && !n->kept;
    struct sim_kept before = n->mark;
    CHECK(n->n_synced == n->n_records && n->syncing == 0);
    n->world->ops->keep(n->replica, &n->mark);
    n->mark.config = n->world->first_config;
    bool further = before.term > n->mark.term ||
                   (before.term == n->mark.term && before.lsn > n->mark.lsn);
    if (n->amnesiac && !asks && further) {
        n->mark.lsn = before.lsn;
        n->mark.term = before.term;
    }
    if (CANARY(LEFT_END_FORGOTTEN))
        n->mark.lsn = n->mark.term = 0;
    node_crash(n);
    world_say(n->world, "n%u is deleted and made anew", n->id);
    disk_lose(n);
    n->kept = !asks;
    node_start(n);
}

/* ---- events
 * ----------------------------------------------------------------------------
 */

static void put_off(struct node *n, const struct sim_event *ev)
{
    if (n->n_backlog == n->cap_backlog) {
        n->cap_backlog = n->cap_backlog ? n->cap_backlog * 2 : 64;
        n->backlog =
            mem_realloc(n->backlog, n->cap_backlog * sizeof(*n->backlog));
    }
    n->backlog[n->n_backlog++] = *ev;
}

static void deliver(struct world *w, struct node *n, const struct sim_event *ev)
{
    /* A cut also loses what is on its way. */
    if (n->replica != NULL && !w->cut[ev->from][n->id]) {
        w->ops->receive(n->replica, node_local_us(n), ev->blob);
        node_after_step(n);
    }
    sim_blob_release(ev->blob);
}

static void tick(struct world *w, struct node *n)
{
    n->tick_us = USEC_NEVER;
    if (node_local_us(n) >= w->ops->deadline(n->replica))
        w->ops->tick(n->replica, node_local_us(n));
    node_after_step(n);
}

static void node_event(struct world *w, const struct sim_event *ev)
{
    struct node *n = &w->nodes[ev->node];
    bool of_a_life = ev->type == EV_TICK || ev->type == EV_SYNCED;
    if (of_a_life && (n->replica == NULL || ev->number != n->life))
        return;
    if (n->paused) {
        put_off(n, ev);
        return;
    }
    if (ev->type == EV_DELIVER)
        deliver(w, n, ev);
    else if (ev->type == EV_TICK)
        tick(w, n);
    else
        disk_synced(n);
    if (ev->type == EV_SYNCED)
        faults_after_sync(w, n->id);
}

static void resume(struct world *w, const struct sim_event *ev)
{
    struct node *n = &w->nodes[ev->node];
    if (!n->paused || ev->number != n->life)
        return;
    world_say(w, "resume n%u", n->id);
    n->paused = false;
    faults_tell(n);
    struct sim_event *backlog = n->backlog;
    size_t count = n->n_backlog;
    n->backlog = NULL;
    n->n_backlog = n->cap_backlog = 0;
    for (size_t i = 0; i < count; i++)
        node_event(w, &backlog[i]);
    mem_free(backlog);
}

static void restart(struct world *w, const struct sim_event *ev)
{
    struct node *n = &w->nodes[ev->node];
    if (n->replica == NULL && (n->region != w->lost_region))
        node_start(n);
}

static void repeat(struct world *w, enum world_event_type type, usec_t mean_us)
{
    usec_t wait = (usec_t)prng_range(&w->prng, (uint64_t)mean_us / 2,
                                     (uint64_t)mean_us * 3 / 2);
    world_schedule(w, w->now_us + wait, (struct sim_event){.type = type});
}

/* ---- the end
 * ------------------------------------------------------------------------------
 */

/* The first thing that is not as it should be in a healed cluster at rest;
 * false if there is none. */
static bool unsettled(struct world *w, char *why, size_t cap)
{
    raft_id leader = world_leader(w);
    if (leader == 0)
        return snprintf(why, cap, "no progress: nobody leads after healing");
    struct sim_replica *l = w->nodes[leader].replica;
    const struct raft_config *c = w->ops->config(l);
    uint64_t lsn = w->ops->applied_lsn(l);
    if (check_acked_count(w->check) == w->acked_at_heal)
        return snprintf(why, cap,
                        "no progress: nothing acknowledged after healing");
    if (c->joint || !w->ops->config_is_committed(l))
        return snprintf(why, cap, "no progress: a change of members hangs");
    if (w->shape.late && !faults_witness_settled(w))
        return snprintf(why, cap, "no progress: the witness does not go");
    for (uint32_t i = 0; i < c->n; i++) {
        const struct node *n = &w->nodes[c->members[i].id];
        if (w->ops->applied_lsn(n->replica) != lsn)
            return snprintf(
                why, cap,
                "no convergence: n%u applied %" PRIu64 ", leader n%u %" PRIu64,
                n->id, w->ops->applied_lsn(n->replica), leader, lsn);
        if (!n->witness &&
            w->ops->state_hash(n->replica) != w->ops->state_hash(l))
            return snprintf(why, cap, "no convergence: n%u has another state",
                            n->id);
    }
    for (raft_region r = 1; w->shape.witness && r <= w->shape.regions; r++) {
        if (!w->ops->awaits(l, r))
            return snprintf(
                why, cap, "no convergence: region %u is up and not awaited", r);
    }
    uint64_t missing = check_missing(w->check, lsn);
    if (missing != 0)
        return snprintf(why, cap, "acknowledged write lost: lsn %" PRIu64,
                        missing);
    return w->docs != NULL && docs_unsettled(w->docs, why, cap);
}

static usec_t settle_from_us(const struct world *w)
{
    return SAFETY_US + HEAL_US + (w->shape.witness ? DRILL_US : 0);
}

/* Every so often once the load has stopped: all is well, or not yet. */
static void judge(struct world *w)
{
    char why[256];
    if (w->docs != NULL)
        docs_finish(w->docs);
    uint64_t elections = check_elections(w->check) - w->elections_at_heal;
    if (elections > HEALED_ELECTIONS_MAX) {
        snprintf(why, sizeof(why),
                 "election storm: %" PRIu64 " elections after healing",
                 elections);
        world_fail(w, why);
    } else if (!unsettled(w, why, sizeof(why))) {
        w->over = true;
    } else if (w->now_us >= settle_from_us(w) + SETTLE_US) {
        world_fail(w, why);
    } else {
        world_schedule(w, w->now_us + SETTLE_POLL_US,
                       (struct sim_event){.type = EV_JUDGE});
    }
}

static void heal(struct world *w)
{
    world_say(w, "heal");
    faults_heal(w);
    w->acked_at_heal = check_acked_count(w->check);
    w->elections_at_heal = check_elections(w->check);
    if (w->shape.witness)
        world_schedule(w, w->now_us + DRILL_AFTER_US - DRILL_NOTICE_US,
                       (struct sim_event){.type = EV_DRILL});
    if (w->shape.late)
        world_schedule(w, w->now_us, (struct sim_event){.type = EV_WITNESS});
}

static void world_event(struct world *w, const struct sim_event *ev)
{
    switch (ev->type) {
    case EV_DELIVER:
    case EV_TICK:
    case EV_SYNCED:
        node_event(w, ev);
        break;
    case EV_RESTART:
        restart(w, ev);
        break;
    case EV_RESUME:
        resume(w, ev);
        break;
    case EV_WRITE:
        if (w->settling)
            break;
        load_write(w);
        repeat(w, EV_WRITE, WRITE_EVERY_US);
        break;
    case EV_READ:
        if (w->settling)
            break;
        load_read(w);
        repeat(w, EV_READ, READ_EVERY_US);
        break;
    case EV_FAULT:
        faults_strike(w);
        break;
    case EV_TOPPLE:
        faults_topple(w, ev->node);
        break;
    case EV_UNDO:
        faults_undo(w, ev);
        break;
    case EV_DECIDE:
        if (w->lost_region != 0)
            faults_decide(w);
        break;
    case EV_RETURN:
        faults_return(w);
        break;
    case EV_DRILL:
        if (ev->node == 0)
            faults_announce_drill(w);
        else
            faults_drill(w, ev->node);
        break;
    case EV_LOSE:
        faults_lose(w, (raft_region)ev->number);
        break;
    case EV_DRILLED:
        faults_drilled(w);
        break;
    case EV_WITNESS:
        faults_step_witness(w);
        world_schedule(w, w->now_us + WITNESS_EVERY_US,
                       (struct sim_event){.type = EV_WITNESS});
        break;
    case EV_HEAL:
        heal(w);
        break;
    case EV_SETTLE:
        w->settling = w->dismissed = true;
        judge(w);
        break;
    case EV_JUDGE:
        judge(w);
        break;
    }
}

/* ---- set-up
 * --------------------------------------------------------------------------------
 */

static uint32_t witnesses(const struct world *w)
{
    return w->shape.late ? LATE_WITNESSES : w->shape.witness;
}

static void make_nodes(struct world *w)
{
    uint32_t founders = w->shape.regions * w->shape.per_region;
    uint32_t with_payload = founders + w->shape.spare;
    w->n_nodes = with_payload + witnesses(w);
    for (uint32_t i = 0; i < w->n_nodes; i++)
        w->everybody[i] = i + 1;
    CHECK(w->n_nodes <= NODES_MAX);
    for (raft_id i = 1; i <= w->n_nodes; i++) {
        struct node *n = &w->nodes[i];
        *n = (struct node){.world = w, .id = i};
        n->witness = i > with_payload;
        n->region = n->witness
                        ? (raft_region)(w->shape.regions + i - with_payload)
                        : (raft_region)(1 + (i - 1) % w->shape.regions);
        /* Two clocks drift apart by 8% at most: within RAFT_DRIFT_PERCENT. */
        if (w->swarm.drift)
            n->drift_permille = (int64_t)prng_range(&w->prng, 0, 80) - 40;
        n->offset_us = (usec_t)prng_below(&w->prng, 1000 * USEC_PER_SEC);
        n->sync_us = (usec_t)prng_range(&w->prng, 100, 3000);
        if (i > founders && (!n->witness || w->shape.late))
            continue;
        struct raft_member m = {
            .id = i, .region = n->region, .voter = true, .witness = n->witness};
        m.priority = w->swarm.prefer ? (uint8_t)(n->region - 1) : 0;
        CHECK(raft_config_add(&w->first_config, m) == ERR_OK);
    }
    if (w->swarm.region_ack) {
        w->first_config.ack = RAFT_ACK_REGION;
        w->first_config.write_region = 1;
    }
    CHECK(raft_config_check(&w->first_config) == ERR_OK);
}

static void tear_down(struct world *w)
{
    for (raft_id i = 1; i <= w->n_nodes; i++) {
        struct node *n = &w->nodes[i];
        if (n->replica != NULL)
            w->ops->close(n->replica);
        drop_backlog(n);
        net_drop_held(n);
        for (size_t k = 0; k < n->n_records; k++)
            sim_blob_release(n->records[k].blob);
        mem_free(n->records);
        mem_free(n->held);
        mem_free(n->backlog);
    }
    sim_queue_free(&w->queue);
    check_free(w->check);
    shown_free(w->shown);
    docs_free(w->docs);
    mem_free(w);
}

void sim_run(const struct sim_replica_ops *ops, const struct sim_shape *shape,
             uint64_t seed, bool verbose, struct sim_result *result_out)
{
    struct world *w = mem_zalloc(sizeof(*w));
    *result_out = (struct sim_result){.ok = true};
    w->ops = ops;
    w->shape = *shape;
    w->seed = seed;
    w->verbose = verbose;
    w->result = result_out;
    /* Through the generator once: its states are an arithmetic sequence, and
     * neighbouring seeds would share all but one draw. */
    prng_seed(&w->prng, seed + ((uint64_t)shape->regions << 56) +
                            ((uint64_t)shape->per_region << 48));
    prng_seed(&w->prng, prng_u64(&w->prng));
    w->check = check_new(world_fail, w);
    w->shown = shown_new(world_fail, w);
    if (ops->submit != NULL)
        w->docs = docs_new(w);
    faults_choose(w);
    if (verbose)
        faults_print(w);
    make_nodes(w);
    for (raft_id i = 1; i <= w->n_nodes; i++)
        node_start(&w->nodes[i]);
    repeat(w, EV_WRITE, WRITE_EVERY_US);
    repeat(w, EV_READ, READ_EVERY_US);
    repeat(w, EV_FAULT, 500 * USEC_PER_MS);
    world_schedule(w, SAFETY_US, (struct sim_event){.type = EV_HEAL});
    world_schedule(w, settle_from_us(w), (struct sim_event){.type = EV_SETTLE});
    while (!w->over) {
        struct sim_event ev = sim_queue_take(&w->queue);
        w->now_us = ev.at_us;
        result_out->events++;
        world_event(w, &ev);
    }
    result_out->acked = check_acked_count(w->check);
    result_out->reads = check_reads(w->check);
    result_out->elections = check_elections(w->check);
    if (!result_out->ok && !verbose)
        faults_print(w);
    tear_down(w);
}
