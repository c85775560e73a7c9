#include "node/server/status.h"

#include <stdio.h>

#include "node/base/check.h"
#include "node/json/json.h"
#include "node/server/decision.h"
#include "node/server/faults.h"
#include "node/server/features.h"
#include "node/server/governor.h"
#include "node/server/members_view.h"
#include "node/server/node.h"
#include "node/server/peers.h"
#include "node/server/shard_set.h"
#include "node/server/worker.h"

static const char *status_role(const struct shard_status *s)
{
    if (s->amnesia != RAFT_AMNESIA_NONE)
        return "rebuilding";
    switch (s->role) {
    case RAFT_LEADER:
        return "leader";
    case RAFT_FOLLOWER:
        return "follower";
    default:
        return "candidate";
    }
}

static const char *node_name(const struct config *c, uint32_t id)
{
    const struct config_node *n = config_find_node(c, id, NULL);
    return n != NULL ? n->name : NULL;
}

/* What a replica that is being rebuilt waits for. */
void status_rebuild_reason(const struct config *c, const struct shard_status *s,
                           char out[STATUS_REASON_MAX])
{
    const char *name = node_name(c, s->told_missing);
    if (s->amnesia == RAFT_AMNESIA_ASKING)
        snprintf(out, STATUS_REASON_MAX,
                 "rebuilding: shard %u waits for node %s to tell its term",
                 s->id, name != NULL ? name : "?");
    else
        snprintf(out, STATUS_REASON_MAX, "rebuilding: shard %u waits for %s",
                 s->id, s->leader == 0 ? "a leader" : "its leader's log");
}

static void put_number(struct json_writer *out, const char *key, uint64_t v)
{
    json_write_key(out, key);
    json_write_uint64(out, v);
}

/* How old the state here may be; null: it cannot tell. */
static void put_fresh(struct json_writer *out, const struct shard_status *s)
{
    json_write_key(out, "fresh_us");
    if (s->fresh_us == USEC_NEVER)
        json_write_null(out);
    else
        json_write_uint64(out, (uint64_t)s->fresh_us);
}

/* Who acknowledges, as committed. */
static void put_rule(struct json_writer *out, const struct config *c,
                     const struct shard_status *s)
{
    const struct shard_rule *rule = &s->rule_committed;
    put_number(out, "epoch", rule->epoch);
    json_write_key(out, "acknowledged_by");
    if (rule->ack == RAFT_ACK_REGION)
        json_write_str(out, decision_region_name(c, rule->write_region));
    else
        json_write_str(out, "majority");
}

/* Where it is, and what it holds. */
static void put_positions(struct json_writer *out, const struct config *c,
                          const struct shard_status *s)
{
    put_number(out, "term", s->term);
    put_number(out, "lsn", s->last_lsn);
    put_number(out, "commit_lsn", s->commit_lsn);
    put_number(out, "applied_lsn", s->installing ? 0 : s->commit_lsn);
    put_number(out, "visible_lsn", s->visible_lsn);
    put_number(out, "ack_lsn", s->ack_lsn);
    put_number(out, "at_risk_entries", s->at_risk_entries);
    put_number(out, "at_risk_us", (uint64_t)s->at_risk_us);
    put_fresh(out, s);
    put_rule(out, c, s);
    put_number(out, "flushed_lsn", s->flushed_lsn);
    put_number(out, "base_lsn", s->base_lsn);
    put_number(out, "memtable_bytes", s->memtable_bytes);
    put_number(out, "log_bytes_in_memory", s->entry_bytes);
    put_number(out, "waiting", s->waiting);
}

/* What has happened to it, and how it is. */
static void put_condition(struct json_writer *out, const struct config *c,
                          const struct shard_status *s)
{
    put_number(out, "handover_us", (uint64_t)s->handover_us);
    put_number(out, "throttled", s->throttled);
    put_number(out, "session_waits", s->session_waits);
    put_number(out, "session_behind", s->session_behind);
    put_number(out, "bounded_refused", s->bounded_refused);
    put_number(out, "conflicts_pending", s->salvage_pending);
    json_write_member_bool(out, "overruled", s->overruled);
    json_write_member_bool(out, "distrusted", s->distrusted);
    if (s->amnesia != RAFT_AMNESIA_NONE) {
        char text[STATUS_REASON_MAX];
        status_rebuild_reason(c, s, text);
        json_write_key(out, "rebuilding");
        json_write_str(out, text);
    }
    json_write_key(out, "writable");
    json_write_bool(out, !s->no_space && s->has_key);
}

static void put_shard(struct json_writer *out, const struct worker *w,
                      const struct shard_status *s,
                      const struct members_view *members)
{
    const struct config *c = w->node->config;
    const char *leader = node_name(c, s->leader);
    json_write_object_begin(out);
    put_number(out, "shard", s->id);
    json_write_key(out, "group");
    const struct catalog_group *g = catalog_group_of_shard(w->catalog, s->id);
    json_write_str(out, s->id == SHARD_META ? "meta"
                        : g != NULL         ? g->name
                                            : GROUP_DEFAULT_NAME);
    json_write_key(out, "role");
    json_write_str(out, status_role(s));
    json_write_key(out, "leader");
    if (leader != NULL)
        json_write_str(out, leader);
    else
        json_write_null(out);
    put_positions(out, c, s);
    put_condition(out, c, s);
    members_view_put_shard(members, s->id, out);
    json_write_object_end(out);
}

/* What the two nodes agreed on, or that they refuse each other. */
static void put_agreed(struct json_writer *out, const struct links_stats *s)
{
    put_number(out, "refusals", s->refusals);
    if (s->state == PEER_STREAMING) {
        put_number(out, "protocol", s->version);
        put_number(out, "feature_level", s->feature_level);
        json_write_member_bool(out, "region_proved", s->region_proved);
    } else {
        json_write_member_bool(out, "refused", peer_is_refusal(s->last_err));
    }
}

static void put_links(struct json_writer *out, const struct worker *w)
{
    const struct config *c = w->node->config;
    json_write_array_begin(out);
    for (size_t i = 0; i < c->region_count; i++) {
        for (size_t j = 0; j < c->regions[i].node_count; j++) {
            const struct config_node *n = &c->regions[i].nodes[j];
            struct links_stats stats;
            if (n->id == c->id ||
                links_get_stats(peers_links(w->peers), n->id, &stats) != ERR_OK)
                continue;
            json_write_object_begin(out);
            json_write_key(out, "node");
            json_write_str(out, n->name);
            json_write_key(out, "region");
            json_write_str(out, c->regions[i].name);
            json_write_key(out, "state");
            json_write_str(out, stats.state == PEER_STREAMING
                                    ? "up"
                                    : peer_state_name(stats.state));
            put_number(out, "rtt_us", (uint64_t)stats.rtt_us);
            put_number(out, "bytes_in", stats.bytes_in);
            put_number(out, "bytes_out", stats.bytes_out);
            put_number(out, "raft_bytes_out", stats.raft_bytes_out);
            put_number(out, "raft_entries_out", stats.raft_entries_out);
            put_number(out, "appends_shared", stats.shared_out);
            put_number(out, "appends_bare", stats.bare_out);
            put_number(out, "entries_passed_on", stats.passed_out);
            put_number(out, "entries_missed", stats.missed);
            put_number(out, "dropped", stats.raft_dropped);
            put_number(out, "duplicated", stats.raft_duplicated);
            put_agreed(out, &stats);
            if (stats.state != PEER_STREAMING && stats.last_err != ERR_OK)
                json_write_member_str(out, "reason", stats.last_reason);
            faults_put_link(out, &stats);
            json_write_object_end(out);
        }
    }
    json_write_array_end(out);
}

/* What this node applies; null before it knows. */
static void put_account(struct json_writer *out, const struct worker *w)
{
    const struct govern_record *rec = governor_now(w->governor, GROUP_DEFAULT);
    json_write_key(out, "account");
    if (rec == NULL) {
        json_write_null(out);
        return;
    }
    json_write_object_begin(out);
    json_write_member_str(out, "level",
                          consistency_name(rec->consistency.level));
    put_number(out, "max_staleness_prefix",
               (uint64_t)rec->consistency.max_staleness_prefix);
    put_number(out, "max_staleness_interval",
               (uint64_t)rec->consistency.max_staleness_interval);
    put_number(out, "epoch", rec->epoch);
    json_write_member_str(
        out, "write_region",
        decision_region_name(w->node->config, rec->write_region));
    json_write_object_end(out);
}

/* What this node has sent to the nodes of each region. */
static void put_traffic(struct json_writer *out, const struct worker *w)
{
    const struct config *c = w->node->config;
    json_write_array_begin(out);
    for (size_t i = 0; i < c->region_count; i++) {
        uint64_t bytes = 0, raft = 0, entries = 0;
        for (size_t j = 0; j < c->regions[i].node_count; j++) {
            struct links_stats s;
            if (links_get_stats(peers_links(w->peers),
                                c->regions[i].nodes[j].id, &s) != ERR_OK)
                continue; /* itself */
            bytes += s.bytes_out;
            raft += s.raft_bytes_out;
            entries += s.raft_entries_out;
        }
        json_write_object_begin(out);
        json_write_key(out, "region");
        json_write_str(out, c->regions[i].name);
        put_number(out, "bytes_out", bytes);
        put_number(out, "raft_bytes_out", raft);
        put_number(out, "raft_entries_out", entries);
        json_write_object_end(out);
    }
    json_write_array_end(out);
}

static void put_features(struct json_writer *out, const struct node *n)
{
    json_write_key(out, "protocol");
    json_write_object_begin(out);
    put_number(out, "min", PEER_VERSION_MIN);
    put_number(out, "max", PEER_VERSION_MAX);
    json_write_object_end(out);
    json_write_key(out, "feature_level");
    json_write_object_begin(out);
    put_number(out, "active", feature_level(&n->features));
    put_number(out, "supported", feature_supported);
    put_number(out, "wanted", features_wanted(n->config));
    json_write_object_end(out);
}

void status_write(struct worker *w, const struct shard_set *set,
                  const struct shard_status *shards,
                  const struct members_view *members, bool ready,
                  struct buf *body)
{
    const struct config *c = w->node->config;
    struct json_writer out;
    json_writer_init(&out, body);
    json_write_object_begin(&out);
    json_write_key(&out, "cluster");
    json_write_str(&out, c->cluster);
    json_write_key(&out, "region");
    json_write_str(&out, c->region);
    json_write_key(&out, "node");
    json_write_str(&out, c->node);
    put_number(&out, "id", c->id);
    json_write_key(&out, "version");
    json_write_str(&out, NODE_VERSION);
    put_features(&out, w->node);
    json_write_key(&out, "ready");
    json_write_bool(&out, ready);
    put_number(&out, "uptime_s",
               (uint64_t)((clock_wall_us() - w->node->started_wall_us) /
                          USEC_PER_SEC));
    put_number(&out, "workers", w->node->worker_count);
    put_account(&out, w);
    json_write_key(&out, "shards");
    json_write_array_begin(&out);
    SHARD_SET_EACH(set, i)
    put_shard(&out, w, &shards[i], members);
    json_write_array_end(&out);
    members_view_put_transfers(members, &out);
    json_write_key(&out, "links");
    put_links(&out, w);
    json_write_key(&out, "traffic");
    put_traffic(&out, w);
    json_write_member_bool(&out, "fault_injection", c->fault_injection);
    json_write_key(&out, "faults");
    faults_put_list(&out, w);
    put_number(&out, "disk_stalled_us",
               (uint64_t)log_pipe_node_stalled_us(w->node, clock_mono_us()));
    json_write_object_end(&out);
}
