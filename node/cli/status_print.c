/* The tables of `bastide status`. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/check.h"
#include "node/cli/placement_group.h"
#include "node/cli/status.h"
#include "node/cli/topology.h"
#include "node/json/json.h"

#define CELL_MAX 64
#define OUTPUT_MAX (16 << 20)
#define FAULT_MAX 256

/* A member as text for a table: "-" when it is missing or null. */
static const char *cell(const struct json *j, json_ref object, const char *key,
                        char out[CELL_MAX])
{
    json_ref value = json_get_str(j, object, key);
    struct bytes raw =
        value == JSON_NONE ? bytes_str("null") : json_raw(j, value);
    if (raw.len >= 2 && raw.data[0] == '"')
        raw = bytes_of(raw.data + 1, raw.len - 2);
    if (raw.len == 0 || raw.len >= CELL_MAX ||
        bytes_equal(raw, bytes_str("null")))
        raw = bytes_str("-");
    memcpy(out, raw.data, raw.len);
    out[raw.len] = '\0';
    return out;
}

static uint64_t number(const struct json *j, json_ref object, const char *key)
{
    int64_t value = 0;
    return json_get_int64(j, object, key, &value) == ERR_OK && value > 0
               ? (uint64_t)value
               : 0;
}

/* The epoch is the high half of a term: "1001.1". */
static void put_term(uint64_t term, char out[CELL_MAX])
{
    uint64_t epoch = term >> 32, rest = term & UINT32_MAX;
    if (epoch > 0)
        snprintf(out, CELL_MAX, "%llu.%llu", (unsigned long long)epoch,
                 (unsigned long long)rest);
    else
        snprintf(out, CELL_MAX, "%llu", (unsigned long long)rest);
}

static bool parse(const struct status_node *n, struct json *j)
{
    json_init(j);
    return n->reached &&
           json_parse(j, bytes_of(buf_bytes(&n->body), buf_len(&n->body)),
                      JSON_TEXT_MAX, NULL) == ERR_OK;
}

/* "2 of 2 up", from the list of links. */
static void print_links(const struct json *j, char out[CELL_MAX])
{
    unsigned up = 0, all = 0;
    char state[CELL_MAX];
    json_ref links = json_get_str(j, 0, "links");
    if (links != JSON_NONE)
        for (json_ref l = json_first(j, links); l != JSON_NONE;
             l = json_next(j, links, l)) {
            all++;
            up += strcmp(cell(j, l, "state", state), "up") == 0;
        }
    snprintf(out, CELL_MAX, "%u of %u up", up, all);
}

/* Shards that the node leads. */
static void print_leads(const struct json *j, char out[CELL_MAX])
{
    unsigned leads = 0;
    char role[CELL_MAX];
    json_ref shards = json_get_str(j, 0, "shards");
    if (shards != JSON_NONE)
        for (json_ref s = json_first(j, shards); s != JSON_NONE;
             s = json_next(j, shards, s))
            leads += strcmp(cell(j, s, "role", role), "leader") == 0;
    snprintf(out, CELL_MAX, "%u", leads);
}

static void print_node(FILE *out, const struct status_node *n)
{
    struct json j;
    char a[CELL_MAX], b[CELL_MAX], c[CELL_MAX], d[CELL_MAX], links[CELL_MAX];
    char leads[CELL_MAX];
    if (!parse(n, &j)) {
        fprintf(out, "%-16s %-18s %-12s %s\n", n->region, n->name,
                "unreachable", n->why.text);
        json_free(&j);
        return;
    }
    print_links(&j, links);
    print_leads(&j, leads);
    fprintf(out, "%-16s %-18s %-12s %9s %8s %6s  %-10s %-12s\n",
            cell(&j, 0, "region", a), cell(&j, 0, "node", b),
            n->ready ? "ready" : "not ready", cell(&j, 0, "uptime_s", c),
            cell(&j, 0, "workers", (char[CELL_MAX]){0}), leads,
            cell(&j, 0, "version", d), links);
    json_free(&j);
}

/* ---- shards: one line per replica, grouped by shard ------------------------
 */

struct replica {
    uint64_t shard, commit;
    bool leader;
    uint64_t applied;
    char group[CELL_MAX], node[CELL_MAX], role[CELL_MAX], leader_name[CELL_MAX];
    char term[CELL_MAX], lsn[CELL_MAX];
};

#define REPLICAS_MAX 65536

static int by_shard(const void *a, const void *b)
{
    const struct replica *x = a, *y = b;
    if (x->shard != y->shard)
        return x->shard < y->shard ? -1 : 1;
    if (x->leader != y->leader)
        return x->leader ? -1 : 1;
    return strcmp(x->node, y->node);
}

static size_t collect(const struct status_node *n, struct replica *list,
                      size_t count)
{
    struct json j;
    json_ref shards = JSON_NONE;
    if (parse(n, &j))
        shards = json_get_str(&j, 0, "shards");
    if (shards != JSON_NONE)
        for (json_ref s = json_first(&j, shards);
             s != JSON_NONE && count < REPLICAS_MAX;
             s = json_next(&j, shards, s)) {
            struct replica *r = &list[count++];
            r->shard = number(&j, s, "shard");
            r->commit = number(&j, s, "commit_lsn");
            r->applied = number(&j, s, "applied_lsn");
            cell(&j, s, "group", r->group);
            cell(&j, 0, "node", r->node);
            cell(&j, s, "role", r->role);
            cell(&j, s, "leader", r->leader_name);
            put_term(number(&j, s, "term"), r->term);
            cell(&j, s, "lsn", r->lsn);
            r->leader = strcmp(r->role, "leader") == 0;
        }
    json_free(&j);
    return count;
}

static void print_replicas(FILE *out, const struct replica *list, size_t count)
{
    fprintf(out, "\n%5s %-12s %-18s %-10s %8s %10s %10s %6s\n", "SHARD",
            "GROUP", "NODE", "ROLE", "TERM", "LSN", "COMMIT", "LAG");
    uint64_t leader_commit = 0;
    for (size_t i = 0; i < count; i++) {
        const struct replica *r = &list[i];
        if (i == 0 || r->shard != list[i - 1].shard)
            leader_commit = r->leader ? r->commit : 0;
        uint64_t lag =
            leader_commit > r->applied ? leader_commit - r->applied : 0;
        fprintf(out, "%5llu %-12s %-18s %-10s %8s %10s %10llu %6llu\n",
                (unsigned long long)r->shard, r->group, r->node, r->role,
                r->term, r->lsn, (unsigned long long)r->commit,
                (unsigned long long)lag);
    }
}

/* The placement groups beside default, after a blank line; nothing when there
 * are none. */
static void print_groups(FILE *out, const struct json *topology)
{
    json_ref groups = json_get_str(topology, 0, "groups");
    if (groups == JSON_NONE || json_type(topology, groups) != JSON_ARRAY ||
        json_count(topology, groups) == 0)
        return;
    fputc('\n', out);
    placement_groups_print(out, topology, groups);
}

/* ---- faults and the topology -----------------------------------------------
 */

/* A setting for tests should not go unnoticed. */
static void print_fault_injection(FILE *out, const struct status_view *view)
{
    struct json j;
    unsigned on = 0;
    for (unsigned i = 0; i < view->count; i++) {
        bool is_on = false;
        if (parse(&view->nodes[i], &j))
            (void)json_get_bool(&j, 0, "fault_injection", &is_on);
        on += is_on;
        json_free(&j);
    }
    if (on > 0)
        fprintf(out,
                "%sFault injection is on at %u of %u nodes "
                "(fault_injection: true): for tests only%s\n",
                view->colour ? TOPOLOGY_RED : "", on, view->count,
                view->colour ? TOPOLOGY_PLAIN : "");
}

static void print_faults(FILE *out, const struct status_view *view)
{
    struct json j;
    char text[FAULT_MAX];
    for (unsigned i = 0; i < view->count; i++) {
        json_ref faults = JSON_NONE;
        if (parse(&view->nodes[i], &j))
            faults = json_get_str(&j, 0, "faults");
        if (faults != JSON_NONE)
            for (json_ref f = json_first(&j, faults); f != JSON_NONE;
                 f = json_next(&j, faults, f)) {
                /* As it was sent, in escapes: it cannot steer a terminal. */
                struct bytes raw = json_raw(&j, f);
                if (json_type(&j, f) == JSON_STRING)
                    raw = bytes_of(raw.data + 1, raw.len - 2);
                snprintf(text, sizeof(text), "%.*s", (int)raw.len,
                         (const char *)raw.data);
                fprintf(out, "%sFault at work at %s: %s%s\n",
                        view->colour ? TOPOLOGY_RED : "", view->nodes[i].name,
                        text, view->colour ? TOPOLOGY_PLAIN : "");
            }
        json_free(&j);
    }
}

/* Replicas that somebody has to look after. */
static void print_troubles(FILE *out, const struct status_view *view)
{
    struct json j;
    for (unsigned i = 0; i < view->count; i++) {
        const char *node = view->nodes[i].name;
        json_ref shards = JSON_NONE;
        if (parse(&view->nodes[i], &j))
            shards = json_get_str(&j, 0, "shards");
        if (shards != JSON_NONE)
            for (json_ref s = json_first(&j, shards); s != JSON_NONE;
                 s = json_next(&j, shards, s)) {
                unsigned long long shard = number(&j, s, "shard");
                unsigned long long pending = number(&j, s, "conflicts_pending");
                bool overruled = false;
                (void)json_get_bool(&j, s, "overruled", &overruled);
                if (overruled)
                    fprintf(
                        out,
                        "%sShard %llu of %s was overruled: a recovery gave "
                        "up what it has committed. Start the node anew, "
                        "and if that does not help, with --rebuild --yes%s\n",
                        view->colour ? TOPOLOGY_RED : "", shard, node,
                        view->colour ? TOPOLOGY_PLAIN : "");
                if (pending > 0)
                    fprintf(out,
                            "Shard %llu of %s: %llu lost entries are on their "
                            "way to /conflicts\n",
                            shard, node, pending);
            }
        json_free(&j);
    }
}

/* ---- snapshots and learners -------------------------------------------------
 */

/* What one node tells of a transfer; told by who sends it, or, where that one
 * cannot be asked, by who receives it. */
static void print_transfer(FILE *out, const struct json *j, json_ref t)
{
    char from[CELL_MAX], to[CELL_MAX], eta[CELL_MAX];
    uint64_t there = number(j, t, "there_bytes"),
             about = number(j, t, "about_bytes");
    bool waits = false;
    (void)json_get_bool(j, t, "waits", &waits);
    cell(j, t, "eta_s", eta);
    fprintf(out,
            "Shard %llu: a snapshot from %s to %s, about %u%% of it there, "
            "%llu MiB sent",
            (unsigned long long)number(j, t, "shard"), cell(j, t, "from", from),
            cell(j, t, "to", to),
            about > 0 ? (unsigned)(100 * there / about) : 0,
            (unsigned long long)(number(j, t, "bytes") >> 20));
    if (waits)
        fprintf(out, ", waits for a link\n");
    else if (strcmp(eta, "-") != 0)
        fprintf(out, ", about %s s more\n", eta);
    else
        fprintf(out, "\n");
}

static bool was_reached(const struct status_view *view, const char *node)
{
    for (unsigned i = 0; i < view->count; i++)
        if (strcmp(view->nodes[i].name, node) == 0)
            return view->nodes[i].reached;
    return false;
}

static void print_transfers(FILE *out, const struct status_view *view,
                            const struct json *j)
{
    char self[CELL_MAX], from[CELL_MAX];
    cell(j, 0, "node", self);
    json_ref list = json_get_str(j, 0, "transfers");
    if (list == JSON_NONE)
        return;
    for (json_ref t = json_first(j, list); t != JSON_NONE;
         t = json_next(j, list, t))
        if (strcmp(cell(j, t, "from", from), self) == 0 ||
            !was_reached(view, from))
            print_transfer(out, j, t);
}

/* Members that are to vote one day, as the shard's leader sees them. */
static void print_learners(FILE *out, const struct json *j, json_ref shard)
{
    char name[CELL_MAX], state[CELL_MAX];
    json_ref list = json_get_str(j, shard, "members");
    if (list == JSON_NONE)
        return;
    for (json_ref m = json_first(j, list); m != JSON_NONE;
         m = json_next(j, list, m)) {
        bool votes = true;
        (void)json_get_bool(j, m, "votes", &votes);
        if (!votes)
            fprintf(out,
                    "Shard %llu: %s is a learner, %s, %llu entries behind\n",
                    (unsigned long long)number(j, shard, "shard"),
                    cell(j, m, "node", name), cell(j, m, "state", state),
                    (unsigned long long)number(j, m, "behind"));
    }
}

static void print_catching_up(FILE *out, const struct status_view *view)
{
    struct json j;
    for (unsigned i = 0; i < view->count; i++) {
        json_ref shards = JSON_NONE;
        if (parse(&view->nodes[i], &j)) {
            print_transfers(out, view, &j);
            shards = json_get_str(&j, 0, "shards");
        }
        if (shards != JSON_NONE)
            for (json_ref s = json_first(&j, shards); s != JSON_NONE;
                 s = json_next(&j, shards, s))
                print_learners(out, &j, s);
        json_free(&j);
    }
}

/* ---- releases --------------------------------------------------------------
 */

/* A node's word on feature levels: 1 where it does not know of any. */
static uint64_t level(const struct json *j, const char *which)
{
    json_ref levels = json_get_str(j, 0, "feature_level");
    uint64_t value = levels != JSON_NONE ? number(j, levels, which) : 0;
    return value > 0 ? value : 1;
}

/* While an upgrade is under way. */
static void print_levels(FILE *out, const struct status_view *view)
{
    struct json j;
    unsigned long long active = 1, least = ULLONG_MAX, most = 0;
    for (unsigned i = 0; i < view->count; i++) {
        if (parse(&view->nodes[i], &j)) {
            unsigned long long supported = level(&j, "supported");
            unsigned long long known = level(&j, "active");
            active = known > active ? known : active;
            least = supported < least ? supported : least;
            most = supported > most ? supported : most;
        }
        json_free(&j);
    }
    if (most > active)
        fprintf(out,
                "Feature level %llu; programs support %llu to %llu. It rises "
                "when all nodes are connected, support more and have no "
                "feature_level_max below\n",
                active, least, most);
}

/* Links that need a person. */
static void print_refusals(FILE *out, const struct status_view *view)
{
    struct json j;
    char name[CELL_MAX];
    for (unsigned i = 0; i < view->count; i++) {
        json_ref links = JSON_NONE;
        if (parse(&view->nodes[i], &j))
            links = json_get_str(&j, 0, "links");
        if (links != JSON_NONE)
            for (json_ref l = json_first(&j, links); l != JSON_NONE;
                 l = json_next(&j, links, l)) {
                bool refused = false;
                (void)json_get_bool(&j, l, "refused", &refused);
                json_ref why = json_get_str(&j, l, "reason");
                if (!refused || why == JSON_NONE ||
                    json_type(&j, why) != JSON_STRING)
                    continue;
                /* As it was sent, in escapes: it cannot steer a terminal. */
                struct bytes raw = json_raw(&j, why);
                raw = bytes_of(raw.data + 1, raw.len - 2);
                fprintf(out, "%sNo link from %s to %s, refused: %.*s%s\n",
                        view->colour ? TOPOLOGY_RED : "", view->nodes[i].name,
                        cell(&j, l, "node", name), (int)raw.len,
                        (const char *)raw.data,
                        view->colour ? TOPOLOGY_PLAIN : "");
            }
        json_free(&j);
    }
}

static void print_topology(FILE *out, const struct status_view *view)
{
    struct topology t;
    struct err_msg why = view->topology_why;
    if (view->topology != NULL &&
        topology_parse(view->topology, &t, &why) == ERR_OK)
        topology_print(out, &t, view->colour);
    else if (why.text[0] != '\0')
        fprintf(out, "Regions: nobody can tell: %s\n", why.text);
    else
        return;
    if (view->topology != NULL)
        print_groups(out, view->topology);
    print_fault_injection(out, view);
    print_faults(out, view);
    print_troubles(out, view);
    print_catching_up(out, view);
    print_levels(out, view);
    print_refusals(out, view);
    fputc('\n', out);
}

void status_print_text(FILE *out, const struct status_view *view)
{
    const struct status_node *nodes = view->nodes;
    unsigned count = view->count;
    print_topology(out, view);
    struct replica *list = calloc(REPLICAS_MAX, sizeof(*list));
    CHECK(list != NULL);
    size_t replicas = 0;
    fprintf(out, "%-16s %-18s %-12s %9s %8s %6s  %-10s %-12s\n", "REGION",
            "NODE", "STATE", "UPTIME S", "WORKERS", "LEADS", "VERSION",
            "LINKS");
    for (unsigned i = 0; i < count; i++) {
        print_node(out, &nodes[i]);
        replicas = collect(&nodes[i], list, replicas);
    }
    if (replicas > 0) {
        qsort(list, replicas, sizeof(*list), by_shard);
        print_replicas(out, list, replicas);
    }
    free(list);
}

void status_print_json(FILE *out, const struct status_view *view)
{
    struct buf b;
    struct json_writer w;
    buf_init(&b, OUTPUT_MAX);
    json_writer_init(&w, &b);
    json_write_object_begin(&w);
    json_write_key(&w, "nodes");
    json_write_array_begin(&w);
    for (unsigned i = 0; i < view->count; i++) {
        const struct status_node *n = &view->nodes[i];
        json_write_object_begin(&w);
        json_write_member_str(&w, "region", n->region);
        json_write_member_str(&w, "name", n->name);
        json_write_member_str(&w, "admin", n->admin);
        json_write_member_bool(&w, "reached", n->reached);
        json_write_member_bool(&w, "ready", n->ready);
        if (n->reached)
            json_write_member_raw(
                &w, "status", bytes_of(buf_bytes(&n->body), buf_len(&n->body)));
        else
            json_write_member_str(&w, "why", n->why.text);
        json_write_object_end(&w);
    }
    json_write_array_end(&w);
    json_write_key(&w, "topology");
    if (view->topology != NULL)
        json_write_raw(&w, json_raw(view->topology, 0));
    else
        json_write_null(&w);
    json_write_object_end(&w);
    if (json_writer_end(&w) == ERR_OK)
        fprintf(out, "%s\n", buf_cstr(&b));
    buf_free(&b);
}
