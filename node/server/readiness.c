#include "node/server/readiness.h"

#include <stdio.h>

#include "node/json/json.h"
#include "node/server/governor.h"
#include "node/server/status.h"

static bool shard_ready(const struct shard_status *s)
{
    return s->leader != 0 && (s->has_key || s->witness) && !s->installing &&
           s->amnesia == RAFT_AMNESIA_NONE && !s->overruled;
}

bool readiness_ok(const struct readiness *r)
{
    if (!r->group_known || r->worker->draining)
        return false;
    SHARD_SET_EACH(r->set, i)
    if (!shard_ready(&r->shards[i]))
        return false;
    return true;
}

/* ---- what it waits for --------------------------------------------------- */

static const char *shard_reason(const struct shard_status *s)
{
    return s->overruled ? "was overruled by a recovery: start the node anew, "
                          "or with --rebuild --yes"
           : s->installing              ? "is receiving a snapshot"
           : s->leader == 0             ? "has no leader"
           : !s->has_key && !s->witness ? "has no key yet"
                                        : NULL;
}

static void put_shard(const struct config *c, const struct shard_status *s,
                      struct json_writer *out)
{
    char text[STATUS_REASON_MAX];
    if (s->amnesia != RAFT_AMNESIA_NONE) {
        status_rebuild_reason(c, s, text);
        json_write_str(out, text);
    }
    const char *why = shard_reason(s);
    if (why == NULL)
        return;
    snprintf(text, sizeof(text), "shard %u %s", s->id, why);
    json_write_str(out, text);
}

static void put_waits(const struct readiness *r, struct json_writer *out)
{
    if (r->worker->draining)
        json_write_str(out, "the node is stopping");
    if (governor_now(r->worker->governor, GROUP_DEFAULT) == NULL)
        json_write_str(out, "the catalog does not say yet where writes go");
    if (!r->group_known)
        json_write_str(out, "the keys of group default are not known yet");
    SHARD_SET_EACH(r->set, i)
    put_shard(r->worker->node->config, &r->shards[i], out);
}

/* ---- what limits it ------------------------------------------------------ */

static bool disk_refuses(const struct readiness *r)
{
    SHARD_SET_EACH(r->set, i)
    if (r->shards[i].no_space)
        return true;
    return false;
}

static void put_stall(const struct readiness *r, struct json_writer *out)
{
    char text[STATUS_REASON_MAX];
    const struct failover_health *h = governor_health(r->worker->governor);
    usec_t stalled = log_pipe_node_stalled_us(r->worker->node, clock_mono_us());
    if (stalled < failover_health_timing(h)->stall_us)
        return;
    snprintf(text, sizeof(text),
             "the disk hangs: an append to the log has not ended for %.1f s",
             (double)stalled / USEC_PER_SEC);
    json_write_str(out, text);
}

static void put_limits(const struct readiness *r, struct json_writer *out)
{
    const struct steering_news *news = &r->worker->steering.news;
    if (disk_refuses(r))
        json_write_str(out, "the disk is full or cannot be written: writes are "
                            "refused, reads go on");
    put_stall(r, out);
    if (news->cut_off)
        json_write_str(out, "isolated: no majority of the nodes is in reach");
    else if (news->isolated)
        json_write_str(out,
                       "isolated: the meta shard's leader is out of reach");
    if (news->reason[0] != '\0')
        json_write_str(out, news->reason);
}

void readiness_write(const struct readiness *r, bool verbose, struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_write_object_begin(&w);
    json_write_member_bool(&w, "ready", readiness_ok(r));
    if (verbose) {
        json_write_key(&w, "waits_for");
        json_write_array_begin(&w);
        put_waits(r, &w);
        json_write_array_end(&w);
        json_write_key(&w, "limited_by");
        json_write_array_begin(&w);
        put_limits(r, &w);
        json_write_array_end(&w);
    }
    json_write_object_end(&w);
}
