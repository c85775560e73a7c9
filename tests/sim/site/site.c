/* The clock, the phases of a run, the verdict. */
#include "tests/sim/site/site.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/mem.h"
#include "node/govern/home.h"
#include "node/shard/conflict.h"
#include "tests/sim/site/judge.h"
#include "tests/sim/site/site_impl.h"

/* All is well for so long before the next thing happens. */
#define WELL_US (500 * USEC_PER_MS)

void site_schedule(struct site *s, usec_t at_us, struct sim_event ev)
{
    CHECK(at_us >= s->now_us);
    sim_queue_put(&s->queue, at_us, ev);
}

void site_say(struct site *s, const char *format, ...)
{
    if (s->loud == 0)
        return;
    printf("# %9.3fms ", (double)s->now_us / 1000.0);
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

void site_fail(struct site *s, const char *format, ...)
{
    if (!s->result->ok)
        return;
    s->over = true;
    s->result->ok = false;
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    snprintf(s->result->text, sizeof(s->result->text), "%s (at %.3f ms)", text,
             (double)s->now_us / 1000.0);
    site_say(s, "VIOLATION %s", text);
}

bool site_chance(struct site *s, uint32_t permille)
{
    return permille > 0 && prng_below(&s->prng, 1000) < permille;
}

raft_id site_leader(struct site *s, uint16_t shard)
{
    raft_id best = 0;
    uint64_t term = 0;
    for (raft_id i = 1; i <= s->n_nodes; i++) {
        const struct site_node *n = &s->nodes[i];
        if (!site_node_up(n))
            continue;
        const struct raft *r =
            shard_raft(sim_shard(n->replicas[shard].replica));
        if (raft_role(r) == RAFT_LEADER && raft_term(r) > term) {
            best = i;
            term = raft_term(r);
        }
    }
    return best;
}

/* ---- whether all is well ----------------------------------------------------
 */

const struct govern_record *site_record(struct site *s)
{
    raft_id id = site_leader(s, SHARD_META);
    return id != 0 && s->nodes[id].has_record ? &s->nodes[id].record : NULL;
}

bool site_is_member(const struct site *s, raft_id id)
{
    const struct govern_record *newest = NULL;
    for (raft_id i = 1; i <= s->n_nodes; i++) {
        const struct site_node *n = &s->nodes[i];
        if (n->has_record &&
            (newest == NULL || n->record.epoch > newest->epoch))
            newest = &n->record;
    }
    return newest == NULL || govern_wants(newest, id);
}

/* Of a member: a node that left hears of nothing any more. */
static bool node_unwell(const struct govern_record *r,
                        const struct site_node *n, char *why, size_t cap)
{
    if (!site_node_up(n))
        return snprintf(why, cap, "n%u is not there", n->id);
    if (n->amnesiac)
        return snprintf(why, cap, "n%u is being rebuilt", n->id);
    for (uint16_t i = 0; i < n->site->n_shards; i++)
        if (n->replicas[i].mending)
            return snprintf(why, cap, "n%u rebuilds shard %u", n->id, i);
    if (!n->has_record)
        return snprintf(why, cap, "n%u does not know the group", n->id);
    if (memcmp(r, &n->record, sizeof(*r)) != 0)
        return snprintf(why, cap, "n%u knows another record than the leader",
                        n->id);
    return false;
}

static bool record_unwell(struct site *s, const struct govern_record *r,
                          char *why, size_t cap)
{
    if (r == NULL)
        return snprintf(why, cap, "nobody who leads knows the group");
    if (!r->settled)
        return snprintf(why, cap, "epoch %u is not settled", r->epoch);
    if (r->leaving != 0 || r->coming != 0)
        return snprintf(why, cap, "regions %#x are leaving, %#x coming",
                        r->leaving, r->coming);
    if (r->down != 0)
        return snprintf(why, cap, "regions %#x are declared down", r->down);
    if (r->failback && !r->manual && r->write_region != r->priority[0])
        return snprintf(why, cap, "region %u has not got its writes back",
                        r->priority[0]);
    if (site_apart(s))
        return snprintf(why, cap, "%u of %u nodes are members", r->n_members,
                        s->n_nodes);
    return false;
}

static bool shard_unwell(struct site *s, const struct govern_record *record,
                         uint16_t shard, char *why, size_t cap)
{
    raft_id leader = site_leader(s, shard);
    if (leader == 0)
        return snprintf(why, cap, "nobody leads shard %u", shard);
    const struct site_node *n = &s->nodes[leader];
    if (n->region != record->write_region)
        return snprintf(why, cap, "n%u leads shard %u, outside region %u",
                        leader, shard, record->write_region);
    const struct raft *r = shard_raft(sim_shard(n->replicas[shard].replica));
    raft_id home =
        govern_home(raft_config(r), n->region, shard, record->gather, ~0ull);
    if (shard != SHARD_META && leader != home)
        return snprintf(why, cap, "n%u leads shard %u, whose home is n%u",
                        leader, shard, home);
    if (!govern_members_are(record, raft_config_committed(r)))
        return snprintf(why, cap, "shard %u has not the members of the record",
                        shard);
    for (raft_id i = 1; i <= s->n_nodes; i++) {
        struct raft_peer_info info;
        if (i != leader && govern_wants(record, i) &&
            (raft_peer(r, i, &info) != ERR_OK ||
             info.state != RAFT_PEER_REPLICATE ||
             info.match_lsn + 200 < raft_last_lsn(r)))
            return snprintf(why, cap, "n%u does not follow shard %u", i, shard);
    }
    return false;
}

bool site_unwell(struct site *s, char *why, size_t cap)
{
    const struct govern_record *r = site_record(s);
    if (record_unwell(s, r, why, cap))
        return true;
    for (raft_id i = 1; i <= s->n_nodes; i++)
        if (govern_wants(r, i) && node_unwell(r, &s->nodes[i], why, cap))
            return true;
    for (uint16_t i = 0; i < s->n_shards; i++)
        if (shard_unwell(s, r, i, why, cap))
            return true;
    return false;
}

/* Of a cluster at rest: replicas that do not agree, conflicts not delivered. */
static bool unsettled(struct site *s, char *why, size_t cap)
{
    if (site_unwell(s, why, cap))
        return true;
    if (!site_clients_idle(s))
        return snprintf(why, cap, "a client waits");
    for (uint16_t i = 0; i < s->n_shards; i++) {
        const struct sim_replica *first =
            s->nodes[site_leader(s, i)].replicas[i].replica;
        for (raft_id id = 1; id <= s->n_nodes; id++) {
            const struct sim_replica *r = s->nodes[id].replicas[i].replica;
            if (!site_is_member(s, id))
                continue;
            if (sim_replica_shard.applied_lsn(r) !=
                    sim_replica_shard.applied_lsn(first) ||
                sim_replica_shard.applied_lsn(r) !=
                    raft_last_lsn(shard_raft(sim_shard(r))))
                return snprintf(why, cap, "shard %u: n%u applied %" PRIu64, i,
                                id, sim_replica_shard.applied_lsn(r));
            if (shard_salvage_pending(sim_shard(r)) > 0)
                return snprintf(
                    why, cap, "shard %u: n%u has conflicts to deliver", i, id);
        }
    }
    return false;
}

/* ---- the verdict ------------------------------------------------------------
 */

struct reading {
    struct site *s;
    uint16_t shard;
    uint64_t versions[SITE_KEYS];
};

static void read_document(void *user, uint64_t record, struct bytes text)
{
    (void)record;
    struct reading *r = user;
    uint64_t version = site_version_of(r->s, text);
    if (version == 0)
        return;
    uint32_t key = r->s->history->seen.ops[version - 1].key;
    if (r->versions[key] != 0)
        site_fail(r->s, "two documents of one id: %u/%u", r->shard, key);
    r->versions[key] = version;
}

static bool text_between(struct bytes text, const char *before, char end,
                         char *out, size_t cap)
{
    const uint8_t *at = memmem(text.data, text.len, before, strlen(before));
    if (at == NULL)
        return false;
    at += strlen(before);
    size_t n = 0;
    while (at + n < text.data + text.len && at[n] != (uint8_t)end &&
           n + 1 < cap) {
        out[n] = (char)at[n];
        n++;
    }
    out[n] = '\0';
    return true;
}

static void read_conflict(void *user, uint64_t record, struct bytes text)
{
    (void)record;
    struct reading *r = user;
    struct conflict_id id;
    char field[64];
    if (!text_between(text, "{\"id\":\"", '"', field, sizeof(field)) ||
        conflict_id_parse(bytes_str(field), &id) != ERR_OK) {
        site_fail(r->s, "a conflict that has no name: %.*s",
                  (int)(text.len < 150 ? text.len : 150), text.data);
        return;
    }
    struct hist_conflict c = {.shard = id.shard, .at = {id.lsn, id.term}};
    if (text_between(text, "\\\"v\\\":", ',', field, sizeof(field)))
        c.version = strtoull(field, NULL, 10);
    site_say(r->s, "conflict: %u#%" PRIu64 " of shard %u, operation %" PRIu64,
             RAFT_TERM_EPOCH(id.term), id.lsn, id.shard, c.version);
    observed_conflict(&r->s->history->seen, &c);
    r->s->result->conflicts++;
}

/* What replicas hold is the state at the end of the committed branch. */
static void check_documents(struct site *s, uint16_t shard)
{
    struct hist_place end = {.lsn = s->history->top[shard]};
    end.term = end.lsn == 0 ? 0 : s->history->committed[shard][end.lsn];
    for (raft_id i = 1; i <= s->n_nodes; i++) {
        const struct sim_replica *r = s->nodes[i].replicas[shard].replica;
        if (s->nodes[i].witness || !site_is_member(s, i))
            continue;
        struct reading reading = {.s = s, .shard = shard};
        sim_replica_shard.documents(r, CONTAINER_FIRST_USER, read_document,
                                    &reading);
        for (uint32_t key = 0; key < SITE_KEYS; key++) {
            uint64_t version = history_state(s->history, shard, key, end);
            if (version != reading.versions[key])
                site_fail(s,
                          "n%u holds operation %" PRIu64 " in document %u/%u, "
                          "not %" PRIu64,
                          i, reading.versions[key], shard, key, version);
        }
        if (i == site_leader(s, shard))
            sim_replica_shard.documents(
                r, CONTAINER_FIRST_USER | CONTAINER_CONFLICTS, read_conflict,
                &reading);
    }
}

static void verdict(struct site *s)
{
    char why[VERDICT_TEXT_MAX];
    s->over = true;
    for (raft_id id = 1; id <= s->n_nodes; id++)
        s->history->left |= site_is_member(s, id) ? 0 : 1u << id;
    for (uint16_t i = 1; i < s->n_shards; i++)
        check_documents(s, i);
    if (!judge_history(s->history, why))
        site_fail(s, "%s", why);
}

/* ---- phases -----------------------------------------------------------------
 */

static void enter(struct site *s, enum site_phase phase)
{
    s->phase = phase;
    s->phase_us = s->now_us;
    s->well_us = 0;
}

static void mark_elections(struct site *s)
{
    memcpy(s->elections_at, s->elections, sizeof(s->elections));
}

static void check_elections(struct site *s)
{
    for (uint16_t i = 0; i < s->n_shards; i++)
        if (s->elections[i] - s->elections_at[i] > SITE_CALM_ELECTIONS_MAX)
            site_fail(s,
                      "election storm: %" PRIu64 " leaders of shard %u in a "
                      "healthy cluster",
                      s->elections[i] - s->elections_at[i], i);
}

/* True once all has been well for a while; a violation if that takes longer
 * than it may. */
static bool is_well(struct site *s, bool (*bad)(struct site *, char *, size_t),
                    usec_t max_us)
{
    char why[160];
    if (bad(s, why, sizeof(why))) {
        s->well_us = 0;
        if (s->now_us - s->phase_us > max_us)
            site_fail(s, "no progress after healing: %s", why);
        return false;
    }
    if (s->well_us == 0)
        s->well_us = s->now_us;
    return s->now_us - s->well_us >= WELL_US;
}

static void watch(struct site *s)
{
    site_promise_watch(s);
    switch (s->phase) {
    case SITE_STORM:
        if (s->now_us < SITE_STORM_US)
            break;
        site_storm_heal(s);
        enter(s, SITE_CALM);
        break;
    case SITE_CALM:
        if (!is_well(s, site_unwell, SITE_CALM_MAX_US))
            break;
        enter(s, SITE_DRILL);
        mark_elections(s);
        site_drill_begin(s);
        break;
    case SITE_DRILL:
        site_drill_watch(s);
        if (s->now_us - s->phase_us < site_drill_us(s))
            break;
        check_elections(s);
        site_drill_end(s);
        enter(s, SITE_RETURN);
        break;
    case SITE_RETURN:
        if (!is_well(s, site_unwell, SITE_CALM_MAX_US))
            break;
        enter(s, SITE_REST);
        mark_elections(s);
        s->resting = true;
        break;
    case SITE_REST:
        check_elections(s);
        if (is_well(s, unsettled, SITE_REST_MAX_US))
            verdict(s);
        break;
    }
    if (!s->over)
        site_schedule(s, s->now_us + SITE_WATCH_US,
                      (struct sim_event){.type = SITE_WATCH});
}

static void handle(struct site *s, const struct sim_event *ev)
{
    switch ((enum site_event)ev->type) {
    case SITE_CLIENT:
        site_client_wake(s, ev->node, ev->number);
        break;
    case SITE_FAULT:
        site_storm_strike(s);
        break;
    case SITE_UNDO:
        site_storm_undo(s, ev);
        break;
    case SITE_OPERATE:
        site_operate(s);
        break;
    case SITE_WATCH:
        watch(s);
        break;
    default:
        site_node_event(&s->nodes[ev->node], ev);
        break;
    }
}

/* ---- set-up -----------------------------------------------------------------
 */

uint32_t site_regions(const struct site *s)
{
    return s->shape.regions + s->shape.witness;
}

static void add_members(struct site *s, const struct site_node *n)
{
    struct raft_member m = {.id = n->id,
                            .region = n->region,
                            .voter = n->voter,
                            .priority = (uint8_t)(n->region - 1)};
    CHECK(raft_config_add(&s->first_config, m) == ERR_OK);
    m.witness = n->witness;
    CHECK(raft_config_add(&s->first_documents, m) == ERR_OK);
    s->topology.nodes[s->topology.n_nodes++] = (struct failover_node){
        .id = n->id, .region = n->region, .voter = n->voter};
}

static void make_nodes(struct site *s)
{
    uint32_t regions = s->shape.regions;
    uint32_t per_region = s->shape.voters + s->shape.learners;
    s->n_nodes = regions * per_region + s->shape.witness;
    CHECK(s->n_nodes <= SITE_NODES_MAX && site_regions(s) <= SITE_REGIONS_MAX);
    s->topology.n_regions = site_regions(s);
    for (uint32_t r = 0; r < site_regions(s); r++) {
        s->topology.regions[r].number = (failover_region)(r + 1);
        snprintf(s->topology.regions[r].name,
                 sizeof(s->topology.regions[r].name), "region %u", r + 1);
    }
    for (raft_id i = 1; i <= s->n_nodes; i++) {
        struct site_node *n = &s->nodes[i];
        *n = (struct site_node){.site = s, .id = i};
        n->witness = s->shape.witness && i == s->n_nodes;
        n->region =
            (raft_region)(n->witness ? site_regions(s) : 1 + (i - 1) % regions);
        n->voter = n->witness || (i - 1) / regions < s->shape.voters;
        /* Two clocks drift apart by 8% at most: within RAFT_DRIFT_PERCENT. */
        if (s->swarm.drift)
            n->drift_permille = (int64_t)prng_range(&s->prng, 0, 80) - 40;
        n->offset_us = (usec_t)prng_below(&s->prng, 1000 * USEC_PER_SEC);
        n->drive.mean_us = (usec_t)prng_range(&s->prng, 100, 3000);
        add_members(s, n);
    }
    CHECK(raft_config_check(&s->first_config) == ERR_OK);
    CHECK(raft_config_check(&s->first_documents) == ERR_OK);
}

/* As nodes have them by default, but windows so small that they are met, and
 * with regions that are soon trusted again. */
static void make_options(struct site *s)
{
    raft_options_default(&s->raft);
    s->raft.priority_step_us = s->raft.election_min_us / 4;
    s->raft.silence_us = s->raft.election_min_us;
    s->raft.append_entries_max = 4 + (uint32_t)(s->seed % 29);
    s->raft.append_bytes_max = 4000;
    s->raft.inflight_messages_max = 2 + (uint32_t)(s->seed % 7);
    s->raft.inflight_bytes_max = 8000;
    s->raft.learner_bytes_per_s = s->seed % 3 == 0 ? 0 : 4000;
    s->timing = failover_timing_default;
    s->timing.up_us = 2 * USEC_PER_SEC;
    s->timing.up_max_us = 4 * USEC_PER_SEC;
    s->timing.start_us = USEC_PER_SEC;
    s->timing.dwell_us = USEC_PER_SEC;
    s->timing.failback_us = 2 * USEC_PER_SEC;
}

static void tear_down(struct site *s)
{
    for (raft_id i = 1; i <= s->n_nodes; i++)
        site_node_free(&s->nodes[i]);
    sim_queue_free(&s->queue);
    history_free(s->history);
    mem_free(s->versions);
    mem_free(s);
}

static void begin(struct site *s)
{
    s->history = history_new();
    s->versions = mem_zalloc((SITE_OPS_MAX + 1) * sizeof(*s->versions));
    s->n_shards = 2 + (uint32_t)prng_below(&s->prng, 2);
    site_swarm_choose(s);
    site_level_draw(s, &s->ordered);
    s->drill.kind = (enum site_drill_kind)prng_below(&s->prng, DRILLS);
    make_options(s);
    if (s->loud > 0)
        site_swarm_print(s);
    make_nodes(s);
    observed_promise(
        &s->history->seen,
        &(struct hist_promise){
            .level = s->ordered.level,
            .max_entries = (uint64_t)s->ordered.max_staleness_prefix,
            .max_us =
                (usec_t)s->ordered.max_staleness_interval * USEC_PER_SEC});
    site_say(s, "level %s, K %d, T %d s, %u shards",
             consistency_name(s->ordered.level),
             s->ordered.max_staleness_prefix, s->ordered.max_staleness_interval,
             s->n_shards - 1);
    for (raft_id i = 1; i <= s->n_nodes; i++)
        site_node_start(&s->nodes[i]);
    site_clients_start(s);
    site_schedule(s, 2 * USEC_PER_SEC, (struct sim_event){.type = SITE_FAULT});
    site_schedule(s, 2 * USEC_PER_SEC,
                  (struct sim_event){.type = SITE_OPERATE});
    site_schedule(s, SITE_WATCH_US, (struct sim_event){.type = SITE_WATCH});
}

void site_run(const struct site_shape *shape, uint64_t seed, int loud,
              struct sim_result *result_out)
{
    struct site *s = mem_zalloc(sizeof(*s));
    *result_out = (struct sim_result){.ok = true};
    s->shape = *shape;
    s->seed = seed;
    s->loud = loud;
    s->result = result_out;
    prng_seed(&s->prng, seed + ((uint64_t)shape->regions << 56) +
                            ((uint64_t)shape->voters << 48));
    prng_seed(&s->prng, prng_u64(&s->prng));
    begin(s);
    while (!s->over) {
        struct sim_event ev = sim_queue_take(&s->queue);
        s->now_us = ev.at_us;
        result_out->events++;
        handle(s, &ev);
    }
    result_out->acked = s->acked;
    result_out->reads = s->reads;
    for (uint16_t i = 0; i < s->n_shards; i++)
        result_out->elections += s->elections[i];
    if (!result_out->ok && loud == 0)
        site_swarm_print(s);
    tear_down(s);
}
