#include "node/cli/members_progress.h"

#include <stdio.h>
#include <string.h>

#include "node/base/mem.h"
#include "node/cli/topology.h"

void members_progress_init(struct members_progress *p, const struct reach *r,
                           const struct members_change *c)
{
    *p = (struct members_progress){
        .change = c,
        .reach = r,
        .first_behind = -1,
        .shards = mem_zalloc(MEMBERS_SHARDS_MAX * sizeof(*p->shards))};
}

void members_progress_free(struct members_progress *p)
{
    mem_free(p->shards);
    p->shards = NULL;
}

void members_progress_begin(struct members_progress *p)
{
    p->shard_count = p->snapshots = 0;
    p->there = p->about = p->bytes = p->eta_s = 0;
}

static struct members_shard *find_shard(struct members_progress *p, int64_t id)
{
    for (unsigned i = 0; i < p->shard_count; i++)
        if (p->shards[i].shard == id)
            return &p->shards[i];
    if (p->shard_count == MEMBERS_SHARDS_MAX)
        return NULL;
    struct members_shard *s = &p->shards[p->shard_count++];
    *s = (struct members_shard){.shard = id, .lowest = -1};
    return s;
}

static void take_shard(struct members_progress *p, const struct json *j,
                       json_ref object, bool comes)
{
    char group[CONFIG_NAME_MAX + 1];
    int64_t id = 0, lsn = 0, commit = 0;
    topology_get_text(j, object, "group", group, sizeof(group));
    if (strcmp(group, "meta") != 0 && strcmp(group, GROUP_DEFAULT_NAME) != 0)
        return;
    (void)json_get_int64(j, object, "shard", &id);
    (void)json_get_int64(j, object, "lsn", &lsn);
    (void)json_get_int64(j, object, "commit_lsn", &commit);
    struct members_shard *s = find_shard(p, id);
    if (s == NULL)
        return;
    if (commit > s->commit)
        s->commit = commit;
    if (comes && (s->lowest < 0 || lsn < s->lowest))
        s->lowest = lsn;
}

/* A snapshot that the node tells of which receives it. */
static void take_transfer(struct members_progress *p, const struct json *j,
                          json_ref object, const char *node)
{
    char to[CONFIG_NAME_MAX + 1];
    int64_t there = 0, about = 0, bytes = 0, eta = 0;
    topology_get_text(j, object, "to", to, sizeof(to));
    if (strcmp(to, node) != 0)
        return;
    (void)json_get_int64(j, object, "there_bytes", &there);
    (void)json_get_int64(j, object, "about_bytes", &about);
    (void)json_get_int64(j, object, "bytes", &bytes);
    (void)json_get_int64(j, object, "eta_s", &eta);
    p->snapshots++;
    p->there += there;
    p->about += about;
    p->bytes += bytes;
    if (eta > p->eta_s)
        p->eta_s = eta;
}

static void take_transfers(struct members_progress *p, const struct json *j,
                           const char *node)
{
    json_ref list = json_get_str(j, 0, "transfers");
    if (list == JSON_NONE || json_type(j, list) != JSON_ARRAY)
        return;
    for (json_ref t = json_first(j, list); t != JSON_NONE;
         t = json_next(j, list, t))
        take_transfer(p, j, t, node);
}

void members_progress_heard(void *progress, unsigned node, int err,
                            const struct reach_answer *a,
                            const struct err_msg *why)
{
    struct members_progress *p = progress;
    const struct members_change *c = p->change;
    const char *name = p->reach->nodes[node].name;
    (void)why;
    json_ref list =
        err == ERR_OK ? json_get_str(&a->json, 0, "shards") : JSON_NONE;
    if (list == JSON_NONE || json_type(&a->json, list) != JSON_ARRAY)
        return;
    bool comes = members_has(&c->comes, name);
    for (json_ref s = json_first(&a->json, list); s != JSON_NONE;
         s = json_next(&a->json, list, s))
        take_shard(p, &a->json, s, comes);
    if (comes)
        take_transfers(p, &a->json, name);
}

/* Entries that the furthest replica of a shard lacks. */
static int64_t behind(const struct members_shard *s)
{
    int64_t has = s->lowest < 0 ? 0 : s->lowest;
    return s->commit > has ? s->commit - has : 0;
}

/* A handful of entries is always under way. */
#define LEVEL_ENTRIES 16

static void put_eta(struct members_progress *p, int64_t left, usec_t now_us,
                    char out[48])
{
    out[0] = '\0';
    if (p->first_behind < 0) {
        p->first_behind = left;
        p->began_us = now_us;
    }
    int64_t done = p->first_behind - left;
    usec_t took = now_us - p->began_us;
    if (done > 0 && took > USEC_PER_SEC && left > LEVEL_ENTRIES)
        snprintf(out, 48, ", about %lld s more",
                 (long long)((double)took / (double)done * (double)left /
                             USEC_PER_SEC) +
                     1);
}

static void put_snapshots(const struct members_progress *p, unsigned level,
                          char out[MEMBERS_PROGRESS_TEXT])
{
    char eta[48] = "";
    if (p->eta_s > 0)
        snprintf(eta, sizeof(eta), ", about %lld s more", (long long)p->eta_s);
    snprintf(out, MEMBERS_PROGRESS_TEXT,
             "%u of %u shards have caught up, %u snapshot%s %lld%% there, "
             "%lld MiB%s",
             level, p->shard_count, p->snapshots,
             p->snapshots == 1 ? " is" : "s are",
             (long long)(p->about > 0 ? 100 * p->there / p->about : 0),
             (long long)(p->bytes >> 20), eta);
}

void members_progress_text(struct members_progress *p,
                           const struct members *now_members, usec_t now_us,
                           char out[MEMBERS_PROGRESS_TEXT])
{
    char eta[48];
    int64_t left = 0;
    unsigned level = 0;
    const struct members_shard *worst = NULL;
    for (unsigned i = 0; i < p->shard_count; i++) {
        const struct members_shard *s = &p->shards[i];
        left += behind(s);
        level += behind(s) <= LEVEL_ENTRIES;
        if (worst == NULL || behind(s) > behind(worst))
            worst = s;
    }
    if (p->change->comes.count == 0 || worst == NULL) {
        snprintf(out, MEMBERS_PROGRESS_TEXT, "%u nodes are to be members",
                 now_members->nodes.count);
        return;
    }
    put_eta(p, left, now_us, eta);
    if (p->snapshots > 0)
        put_snapshots(p, level, out);
    else if (level < p->shard_count)
        snprintf(out, MEMBERS_PROGRESS_TEXT,
                 "%u of %u shards have caught up, shard %lld is %lld of %lld "
                 "entries behind%s",
                 level, p->shard_count, (long long)worst->shard,
                 (long long)behind(worst), (long long)worst->commit, eta);
    else
        snprintf(out, MEMBERS_PROGRESS_TEXT,
                 "all %u shards have caught up, votes are given and taken",
                 p->shard_count);
}
