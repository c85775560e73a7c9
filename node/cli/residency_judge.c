/* Residency statements: what the nodes' reports must say. */
#include <stdlib.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/mem.h"
#include "node/cli/residency_impl.h"
#include "node/server/worker.h"
#include "node/shard/op.h"

#define REGIONS_TEXT_MAX 256
#define DIGEST_TEXT_MAX 64   /* hex of one */
#define BUCKETS_TEXT_MAX 256 /* hex of all buckets' beginnings */
#define BUCKET_TEXT 16       /* of one of them */

/* ---- the authority's definitions --------------------------------------------
 */

static json_ref groups(const struct residency *r)
{
    return residency_list(&r->authority->json, 0, "groups");
}

static bool in_span(const struct json *j, json_ref group, const char *first_key,
                    const char *count_key, uint32_t shard)
{
    int64_t first = residency_number(j, group, first_key, INT64_MAX);
    return shard >= first &&
           shard - first < residency_number(j, group, count_key, 0);
}

/* In the authority. JSON_NONE: there is none, or it is the meta shard. */
static json_ref residency_group_of(const struct residency *r, uint32_t shard)
{
    const struct json *j = &r->authority->json;
    RESIDENCY_EACH(j, groups(r), g)
    {
        if (shard != SHARD_META &&
            (in_span(j, g, "first_shard", "shards", shard) ||
             in_span(j, g, "emptied_first_shard", "emptied_shards", shard)))
            return g;
    }
    return JSON_NONE;
}

static json_ref residency_group_number(const struct residency *r,
                                       int64_t number)
{
    const struct json *j = &r->authority->json;
    RESIDENCY_EACH(j, groups(r), g)
    if (residency_number(j, g, "number", -1) == number)
        return g;
    return JSON_NONE;
}

json_ref residency_node(const struct residency *r, int64_t id)
{
    const struct json *j = &r->authority->json;
    RESIDENCY_EACH(j, residency_list(j, 0, "nodes"), n)
    if (residency_number(j, n, "id", -1) == id)
        return n;
    return JSON_NONE;
}

static bool is_fenced(const struct residency *r, json_ref group)
{
    bool fenced = true; /* unless it says otherwise */
    if (group == JSON_NONE)
        return false;
    (void)json_get_bool(&r->authority->json, group, "fenced", &fenced);
    return fenced;
}

static bool residency_allows(const struct residency *r, json_ref group,
                             const char *region)
{
    const struct json *j = &r->authority->json;
    if (!is_fenced(r, group))
        return true;
    RESIDENCY_EACH(j, residency_list(j, group, "regions"), v)
    if (json_type(j, v) == JSON_STRING &&
        json_string_equal(j, v, bytes_str(region)))
        return true;
    return false;
}

void residency_group_name(const struct residency *r, json_ref group,
                          char out[RESIDENCY_NAME_MAX + 1])
{
    strcpy(out, group == JSON_NONE ? "meta" : "?");
    if (group != JSON_NONE)
        (void)residency_text(&r->authority->json, group, "name", out,
                             RESIDENCY_NAME_MAX + 1);
}

bool residency_in_scope(const struct residency *r, json_ref group)
{
    char name[RESIDENCY_NAME_MAX + 1];
    residency_group_name(r, group, name);
    return r->group[0] == '\0' ||
           (group != JSON_NONE && strcmp(name, r->group) == 0);
}

json_ref residency_replica(const struct residency *r, const char *node,
                           uint32_t shard,
                           const struct residency_report **report_out)
{
    for (size_t i = r->report_count; i > 0; i--) {
        const struct residency_report *p = &r->reports[i - 1];
        if (strcmp(p->node, node) != 0)
            continue;
        RESIDENCY_EACH(&p->json, residency_list(&p->json, 0, "replicas"), v)
        if (residency_number(&p->json, v, "shard", -1) == shard) {
            *report_out = p;
            return v;
        }
    }
    return JSON_NONE;
}

/* ---- whether all speak of the same cluster ----------------------------------
 */

static bool same_member(const struct residency_report *a,
                        const struct residency_report *b, const char *key)
{
    json_ref x = residency_list(&a->json, 0, key);
    json_ref y = residency_list(&b->json, 0, key);
    return x != JSON_NONE && y != JSON_NONE &&
           bytes_equal(json_raw(&a->json, x), json_raw(&b->json, y));
}

static void judge_definitions(struct residency *r)
{
    for (size_t i = 0; i < r->report_count; i++) {
        const struct residency_report *p = &r->reports[i];
        if (!same_member(p, r->authority, "groups"))
            residency_add_problem(r,
                                  "%s and %s do not define the groups alike: "
                                  "verify again when a change has settled",
                                  p->node, r->authority->node);
        if (!same_member(p, r->authority, "nodes"))
            residency_add_problem(
                r, "%s and %s do not name the same nodes in their settings",
                p->node, r->authority->node);
    }
}

static bool reported(const struct residency *r, const char *node,
                     const char *region)
{
    for (size_t i = 0; i < r->report_count; i++)
        if (strcmp(r->reports[i].node, node) == 0 &&
            strcmp(r->reports[i].region, region) == 0)
            return true;
    return false;
}

/* Why, as who made the statement says. */
static void why_missing(const struct residency *r, const char *node,
                        char out[ERR_MSG_MAX / 2])
{
    const struct json *j = &r->json;
    strcpy(out, "it was not asked");
    RESIDENCY_EACH(j, residency_list(j, 0, "missing"), m)
    {
        char name[RESIDENCY_NAME_MAX + 1];
        if (residency_text(j, m, "node", name, sizeof(name)) == ERR_OK &&
            strcmp(name, node) == 0)
            (void)residency_text(j, m, "reason", out, ERR_MSG_MAX / 2);
    }
}

static void judge_presence(struct residency *r)
{
    const struct json *j = &r->authority->json;
    json_ref nodes = residency_list(j, 0, "nodes");
    if (nodes == JSON_NONE)
        residency_add_problem(r, "%s names no nodes", r->authority->node);
    RESIDENCY_EACH(j, nodes, n)
    {
        char name[RESIDENCY_NAME_MAX + 1], region[RESIDENCY_NAME_MAX + 1];
        char why[ERR_MSG_MAX / 2];
        if (residency_text(j, n, "name", name, sizeof(name)) != ERR_OK ||
            residency_text(j, n, "region", region, sizeof(region)) != ERR_OK) {
            residency_add_problem(r, "%s names a node without name or region",
                                  r->authority->node);
            continue;
        }
        if (reported(r, name, region))
            continue;
        why_missing(r, name, why);
        residency_add_problem(
            r, "%s (%s) did not report, so nothing is known of it: %s", name,
            region, why);
    }
}

/* ---- the fence --------------------------------------------------------------
 */

static void group_fence_text(const struct residency *r, json_ref group,
                             char out[REGIONS_TEXT_MAX])
{
    const struct json *j = &r->authority->json;
    struct buf b = buf_over(out, REGIONS_TEXT_MAX - 1);
    RESIDENCY_EACH(j, residency_list(j, group, "regions"), v)
    {
        struct bytes raw = json_raw(j, v);
        if (json_type(j, v) == JSON_STRING)
            (void)buf_printf(&b, "%s%.*s", buf_len(&b) > 0 ? ", " : "",
                             (int)raw.len - 2, (const char *)raw.data + 1);
    }
    out[buf_len(&b)] = '\0';
}

/* Whether the node is the group's witness, or one that goes: outside the fence
 * it keeps the heads of the entries, but nothing that is in them. */
static bool is_witness_id(const struct residency *r, json_ref group, int64_t id)
{
    const struct json *j = &r->authority->json;
    return group != JSON_NONE && id > 0 &&
           (residency_number(j, group, "witness", 0) == id ||
            residency_number(j, group, "witness_leaving", 0) == id);
}

static bool reporter_is_witness(const struct residency *r,
                                const struct residency_report *p,
                                json_ref group)
{
    return is_witness_id(r, group, residency_number(&p->json, 0, "id", -1));
}

/* Something of `group` is on the reporting node. */
static void judge_place(struct residency *r, const struct residency_report *p,
                        json_ref group, const char *what)
{
    char name[RESIDENCY_NAME_MAX + 1], fence[REGIONS_TEXT_MAX];
    if (!residency_in_scope(r, group) || residency_allows(r, group, p->region))
        return;
    residency_group_name(r, group, name);
    group_fence_text(r, group, fence);
    residency_add_problem(r,
                          "%s (%s) holds %s of group %s outside its fence "
                          "(%s)",
                          p->node, p->region, what, name, fence);
}

/* `bare`: without payload, as a witness may have it. */
static void judge_shard_place(struct residency *r,
                              const struct residency_report *p, int64_t shard,
                              bool bare, const char *what)
{
    json_ref group =
        shard >= 0 ? residency_group_of(r, (uint32_t)shard) : JSON_NONE;
    if (shard == SHARD_META)
        return; /* it is everywhere */
    if (bare && reporter_is_witness(r, p, group))
        return;
    if (group == JSON_NONE)
        residency_add_problem(r, "%s (%s) holds %s, which is of no group",
                              p->node, p->region, what);
    else
        judge_place(r, p, group, what);
}

static void judge_replicas(struct residency *r,
                           const struct residency_report *p)
{
    const struct json *j = &p->json;
    json_ref list = residency_list(j, 0, "replicas");
    if (list == JSON_NONE)
        residency_add_problem(r, "%s does not list its replicas", p->node);
    RESIDENCY_EACH(j, list, v)
    {
        char what[80];
        int64_t shard = residency_number(j, v, "shard", -1);
        snprintf(what, sizeof(what), "a replica of shard %lld",
                 (long long)shard);
        judge_shard_place(r, p, shard, true, what);
    }
}

/* Whether such a file can be a witness's: the store of its open replica, of
 * which the digest tells that it is empty, or a log without payloads. */
static bool may_be_bare(const struct json *j, json_ref v, const char *path)
{
    return json_get_str(j, v, "payloads") != JSON_NONE
               ? residency_number(j, v, "payloads", 1) == 0
               : strncmp(path, "shards/", strlen("shards/")) == 0;
}

static void judge_files(struct residency *r, const struct residency_report *p,
                        const char *key, const char *kind)
{
    const struct json *j = &p->json;
    json_ref list = residency_list(j, 0, key);
    if (list == JSON_NONE)
        residency_add_problem(r, "%s does not list its %s", p->node, key);
    RESIDENCY_EACH(j, list, v)
    {
        char what[ERR_MSG_MAX / 2], path[128] = "?";
        int64_t shard = residency_number(j, v, "shard", -1);
        (void)residency_text(j, v, "path", path, sizeof(path));
        if (shard >= 0)
            snprintf(what, sizeof(what), "%s of shard %lld in %s", kind,
                     (long long)shard, path);
        else
            snprintf(what, sizeof(what), "%s in its data directory", path);
        judge_shard_place(r, p, shard, may_be_bare(j, v, path), what);
    }
}

static void judge_keys(struct residency *r, const struct residency_report *p)
{
    const struct json *j = &p->json;
    char region[RESIDENCY_NAME_MAX + 1];
    json_ref list = residency_list(j, 0, "keys");
    if (list == JSON_NONE)
        residency_add_problem(r, "%s does not list its keys", p->node);
    RESIDENCY_EACH(j, list, v)
    {
        char what[80];
        json_ref group =
            residency_group_number(r, residency_number(j, v, "group", -1));
        snprintf(what, sizeof(what), "the opened key %lld",
                 (long long)residency_number(j, v, "id", -1));
        if (group == JSON_NONE)
            residency_add_problem(r, "%s (%s) holds %s, which is of no group",
                                  p->node, p->region, what);
        else
            judge_place(r, p, group, what);
    }
    if (residency_text(j, 0, "region_key", region, sizeof(region)) != ERR_OK)
        residency_add_problem(r, "%s does not name its region key", p->node);
    else if (region[0] != '\0' && strcmp(region, p->region) != 0)
        residency_add_problem(r, "%s (%s) has the key of region %s", p->node,
                              p->region, region);
}

static void judge_report(struct residency *r, const struct residency_report *p)
{
    char trouble[ERR_MSG_MAX / 2];
    judge_replicas(r, p);
    judge_files(r, p, "folders", "the folder");
    judge_files(r, p, "log", "log entries");
    judge_keys(r, p);
    if (residency_text(&p->json, 0, "trouble", trouble, sizeof(trouble)) !=
            ERR_OK ||
        trouble[0] != '\0')
        residency_add_problem(r, "%s could not look at all it has: %s", p->node,
                              trouble);
}

/* ---- agreement --------------------------------------------------------------
 */

/* One replica's digest. */
struct digest_said {
    char node[RESIDENCY_NAME_MAX + 1];
    int64_t lsn, records, bytes;
    char sha256[DIGEST_TEXT_MAX + 1];
    char buckets[BUCKETS_TEXT_MAX + 1];
    uint64_t by_key[GROUP_KEY_VERSIONS_MAX];
};

/* Whose list of members is the newest: who has committed most. */
static json_ref newest_replica(const struct residency *r, uint32_t shard,
                               const struct residency_report **report_out)
{
    json_ref best = JSON_NONE;
    int64_t most = -1;
    for (size_t i = 0; i < r->report_count; i++) {
        const struct residency_report *p;
        json_ref v = residency_replica(r, r->reports[i].node, shard, &p);
        if (v == JSON_NONE)
            continue;
        int64_t lsn = residency_number(&p->json, v, "commit_lsn", 0);
        if (lsn > most) {
            most = lsn;
            best = v;
            *report_out = p;
        }
    }
    return best;
}

/* Reports of older releases do not have them. */
static void read_versions(const struct json *j, json_ref digest,
                          struct digest_said *out)
{
    size_t i = 0;
    RESIDENCY_EACH(j, residency_list(j, digest, "by_key_version"), v)
    {
        int64_t count;
        if (i < GROUP_KEY_VERSIONS_MAX && json_int64(j, v, &count) == ERR_OK &&
            count > 0)
            out->by_key[i] = (uint64_t)count;
        i++;
    }
}

/* False, and a problem: there is none. */
static bool read_digest(struct residency *r, struct residency_shard *s,
                        const struct residency_report *p, json_ref replica,
                        struct digest_said *out)
{
    const struct json *j = &p->json;
    char why[128] = "it was not asked for one";
    json_ref d = json_get_str(j, replica, "digest");
    strcpy(out->node, p->node);
    if (d != JSON_NONE && json_type(j, d) == JSON_OBJECT) {
        out->lsn = residency_number(j, d, "lsn", -1);
        out->records = residency_number(j, d, "records", -1);
        out->bytes = residency_number(j, d, "bytes", -1);
        read_versions(j, d, out);
        if (residency_text(j, d, "sha256", out->sha256, sizeof(out->sha256)) ==
                ERR_OK &&
            residency_text(j, d, "buckets", out->buckets,
                           sizeof(out->buckets)) == ERR_OK &&
            out->lsn >= 0 && out->records >= 0)
            return true;
        (void)residency_text(j, d, "reason", why, sizeof(why));
    }
    s->again = true;
    residency_add_problem(r, "shard %u: %s gave no digest: %s", s->id, p->node,
                          why);
    return false;
}

static void name_buckets(const struct digest_said *a,
                         const struct digest_said *b, char out[64])
{
    struct buf text = buf_over(out, 63);
    for (size_t at = 0; at + BUCKET_TEXT <= strlen(a->buckets) &&
                        at + BUCKET_TEXT <= strlen(b->buckets);
         at += BUCKET_TEXT)
        if (memcmp(a->buckets + at, b->buckets + at, BUCKET_TEXT) != 0)
            (void)buf_printf(&text, "%s%zu", buf_len(&text) > 0 ? ", " : "",
                             at / BUCKET_TEXT);
    out[buf_len(&text)] = '\0';
}

static bool compare(struct residency *r, struct residency_shard *s,
                    const struct digest_said *a, const struct digest_said *b)
{
    char buckets[64];
    if (a->lsn != b->lsn) {
        s->again = true;
        residency_add_problem(
            r, "shard %u: %s and %s were not compared at the same LSN", s->id,
            a->node, b->node);
        return false;
    }
    if (a->records == b->records && strcmp(a->sha256, b->sha256) == 0)
        return true;
    s->again = true;
    name_buckets(a, b, buckets);
    residency_add_problem(r,
                          "shard %u: %s (%lld records) and %s (%lld records) "
                          "differ at LSN %lld, in buckets %s",
                          s->id, a->node, (long long)a->records, b->node,
                          (long long)b->records, (long long)a->lsn, buckets);
    return false;
}

/* It has the log's heads, and so a state, in which nothing is. */
static bool judge_witness(struct residency *r, const struct residency_shard *s,
                          const struct digest_said *said)
{
    if (said->records == 0 && said->bytes == 0)
        return true;
    residency_add_problem(r, "shard %u: the witness %s holds %lld records",
                          s->id, said->node, (long long)said->records);
    return false;
}

/* One member: where it is, and its digest, compared with the first one. */
static bool judge_member(struct residency *r, struct residency_shard *s,
                         int64_t id, struct digest_said *first)
{
    const struct json *j = &r->authority->json;
    const struct residency_report *p;
    struct digest_said said = {.lsn = -1};
    char name[RESIDENCY_NAME_MAX + 1], region[RESIDENCY_NAME_MAX + 1];
    json_ref node = residency_node(r, id), replica;
    if (node == JSON_NONE ||
        residency_text(j, node, "name", name, sizeof(name)) != ERR_OK ||
        residency_text(j, node, "region", region, sizeof(region)) != ERR_OK) {
        residency_add_problem(r, "shard %u has a member that is no known node",
                              s->id);
        return false;
    }
    bool witness = is_witness_id(r, s->group, id);
    if (!witness && !residency_allows(r, s->group, region))
        residency_add_problem(
            r, "shard %u has the member %s (%s), outside its group's fence",
            s->id, name, region);
    replica = residency_replica(r, name, s->id, &p);
    if (replica == JSON_NONE) {
        residency_add_problem(r, "shard %u: its member %s shows no replica",
                              s->id, name);
        return false;
    }
    if (!read_digest(r, s, p, replica, &said))
        return false;
    if (witness)
        return judge_witness(r, s, &said);
    if (first->lsn < 0) {
        *first = said;
        s->records = (uint64_t)said.records;
        memcpy(s->by_key, said.by_key, sizeof(s->by_key));
        return true;
    }
    return compare(r, s, first, &said);
}

static void judge_shard(struct residency *r, struct residency_shard *s)
{
    const struct residency_report *p = NULL;
    struct digest_said first = {.lsn = -1};
    json_ref newest = newest_replica(r, s->id, &p);
    if (newest == JSON_NONE) {
        residency_add_problem(r, "shard %u: nobody shows a replica", s->id);
        return;
    }
    json_ref members = residency_list(&p->json, newest, "members");
    s->agrees = members != JSON_NONE && json_count(&p->json, members) > 0;
    if (!s->agrees)
        residency_add_problem(r, "shard %u: %s names no members", s->id,
                              p->node);
    RESIDENCY_EACH(&p->json, members, m)
    {
        if (!judge_member(r, s, residency_number(&p->json, m, "id", -1),
                          &first))
            s->agrees = false;
    }
}

static void add_shard(struct residency *r, uint32_t id, json_ref group)
{
    r->shards =
        mem_realloc(r->shards, (r->shard_count + 1) * sizeof(*r->shards));
    struct residency_shard *s = &r->shards[r->shard_count++];
    *s = (struct residency_shard){.id = id, .group = group};
    judge_shard(r, s);
}

static void add_shards(struct residency *r, json_ref group,
                       const char *first_key, const char *count_key)
{
    const struct json *j = &r->authority->json;
    int64_t first = residency_number(j, group, first_key, 0);
    int64_t count = residency_number(j, group, count_key, 0);
    if (first + count > NODE_SHARDS_MAX) {
        residency_add_problem(r, "a group has shards beyond any limit");
        return;
    }
    for (int64_t id = first; id < first + count; id++)
        add_shard(r, (uint32_t)id, group);
}

static void judge_shards(struct residency *r)
{
    const struct json *j = &r->authority->json;
    bool found = r->group[0] == '\0';
    if (found)
        add_shard(r, SHARD_META, JSON_NONE);
    RESIDENCY_EACH(j, groups(r), g)
    {
        if (!residency_in_scope(r, g))
            continue;
        found = true;
        add_shards(r, g, "first_shard", "shards");
        /* Those that it had before a split that is not over. */
        add_shards(r, g, "emptied_first_shard", "emptied_shards");
    }
    if (!found)
        residency_add_problem(r, "there is no placement group %s", r->group);
}

void residency_judge(struct residency *r)
{
    if (r->authority == NULL) {
        residency_add_problem(r, "no node's report is believed: nothing is "
                                 "known");
        return;
    }
    judge_definitions(r);
    judge_presence(r);
    for (size_t i = 0; i < r->report_count; i++)
        judge_report(r, &r->reports[i]);
    judge_shards(r);
}
