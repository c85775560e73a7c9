/* Residency statements for people and for programs. */
#include <inttypes.h>
#include <string.h>

#include "node/base/check.h"
#include "node/cli/residency_impl.h"

/* Calls for each node of the authority, with its last report; NULL: none. */
static const struct residency_report *last_report(const struct residency *r,
                                                  const char *node)
{
    for (size_t i = r->report_count; i > 0; i--)
        if (strcmp(r->reports[i - 1].node, node) == 0)
            return &r->reports[i - 1];
    return NULL;
}

static void get_name(const struct residency *r, json_ref node, const char *key,
                     char out[RESIDENCY_NAME_MAX + 1])
{
    strcpy(out, "?");
    (void)residency_text(&r->authority->json, node, key, out,
                         RESIDENCY_NAME_MAX + 1);
}

/* What is known of one group. */
struct sum {
    char name[RESIDENCY_NAME_MAX + 1];
    unsigned shards;
    uint64_t records;
    uint64_t by_key[GROUP_KEY_VERSIONS_MAX];
    uint32_t versions; /* up to the newest that sealed any */
    bool agrees;
};

static struct sum sum_of(const struct residency *r, size_t first)
{
    struct sum s = {.agrees = true};
    json_ref group = r->shards[first].group;
    residency_group_name(r, group, s.name);
    for (size_t i = first; i < r->shard_count && r->shards[i].group == group;
         i++) {
        s.shards++;
        s.records += r->shards[i].records;
        s.agrees = s.agrees && r->shards[i].agrees;
        for (uint32_t v = 0; v < GROUP_KEY_VERSIONS_MAX; v++) {
            s.by_key[v] += r->shards[i].by_key[v];
            if (s.by_key[v] > 0 && v >= s.versions)
                s.versions = v + 1;
        }
    }
    return s;
}

static json_ref group_nodes(const struct residency *r)
{
    return residency_list(&r->authority->json, 0, "nodes");
}

/* The id of the group's witness, which holds no records; 0: none. */
static int64_t witness_of(const struct residency *r, size_t first)
{
    json_ref group = r->shards[first].group;
    return group != JSON_NONE
               ? residency_number(&r->authority->json, group, "witness", 0)
               : 0;
}

static bool is_witness(const struct residency *r, json_ref node, size_t first)
{
    int64_t id = residency_number(&r->authority->json, node, "id", -1);
    return id > 0 && id == witness_of(r, first);
}

/* Whether the node shows a replica of one of the group's shards. */
static bool holds(const struct residency *r, const char *node, size_t first)
{
    const struct residency_report *p;
    for (size_t i = first;
         i < r->shard_count && r->shards[i].group == r->shards[first].group;
         i++)
        if (residency_replica(r, node, r->shards[i].id, &p) != JSON_NONE)
            return true;
    return false;
}

/* The group's rule for requests that come to nodes outside. */
static const char *transit_of(const struct residency *r, json_ref group)
{
    char text[RESIDENCY_NAME_MAX + 1];
    bool allowed = group != JSON_NONE &&
                   residency_text(&r->authority->json, group, "transit", text,
                                  sizeof(text)) == ERR_OK &&
                   strcmp(text, GROUP_TRANSIT_ALLOW) == 0;
    return allowed ? GROUP_TRANSIT_ALLOW : GROUP_TRANSIT_DENY;
}

/* ---- text -------------------------------------------------------------------
 */

static void print_group(FILE *out, const struct residency *r, size_t first)
{
    const struct json *j = &r->authority->json;
    struct sum s = sum_of(r, first);
    const char *comma = "";
    fprintf(out, "%-16s %6u %10" PRIu64 "  %-5s  ", s.name, s.shards, s.records,
            s.agrees ? "yes" : "NO");
    RESIDENCY_EACH(j, group_nodes(r), n)
    {
        char name[RESIDENCY_NAME_MAX + 1];
        get_name(r, n, "name", name);
        if (!holds(r, name, first))
            continue;
        fprintf(out, "%s%s%s", comma, name,
                is_witness(r, n, first) ? " (witness)" : "");
        comma = ", ";
    }
    fputc('\n', out);
    if (s.versions <= 1)
        return;
    fputs("  by version of the data key:", out);
    for (uint32_t v = 0; v < s.versions; v++)
        fprintf(out, "%s %" PRIu64 " under %" PRIu32, v > 0 ? "," : "",
                s.by_key[v], v);
    fputc('\n', out);
}

static void print_fences(FILE *out, const struct residency *r)
{
    const struct json *j = &r->authority->json;
    RESIDENCY_EACH(j, residency_list(j, 0, "groups"), g)
    {
        char name[RESIDENCY_NAME_MAX + 1];
        json_ref regions = residency_list(j, g, "regions");
        const char *comma = "";
        if (!residency_in_scope(r, g))
            continue;
        residency_group_name(r, g, name);
        fprintf(out, "  %s may exist in ", name);
        RESIDENCY_EACH(j, regions, v)
        {
            struct bytes raw = json_raw(j, v);
            fprintf(out, "%s%.*s", comma, (int)raw.len, (const char *)raw.data);
            comma = ", ";
        }
        fprintf(out, "; transit: %s\n", transit_of(r, g));
    }
}

static void print_node(FILE *out, const struct residency *r, json_ref node)
{
    char name[RESIDENCY_NAME_MAX + 1], region[RESIDENCY_NAME_MAX + 1];
    char at[CLOCK_ISO_LEN + 1] = "?";
    get_name(r, node, "name", name);
    get_name(r, node, "region", region);
    const struct residency_report *p = last_report(r, name);
    fprintf(out, "  %-16s %-16s ", name, region);
    if (p == NULL) {
        fputs("did not report\n", out);
        return;
    }
    json_ref replicas = residency_list(&p->json, 0, "replicas");
    json_ref keys = residency_list(&p->json, 0, "keys");
    (void)residency_text(&p->json, 0, "at", at, sizeof(at));
    fprintf(out, "%u replicas, %u opened keys, signed %s\n",
            replicas != JSON_NONE ? json_count(&p->json, replicas) : 0,
            keys != JSON_NONE ? json_count(&p->json, keys) : 0, at);
}

static void print_known(FILE *out, const struct residency *r)
{
    const struct json *j = &r->authority->json;
    char cluster[RESIDENCY_NAME_MAX + 1] = "?", id[RESIDENCY_NAME_MAX + 1] = "";
    (void)residency_text(j, 0, "cluster", cluster, sizeof(cluster));
    (void)residency_text(j, 0, "cluster_id", id, sizeof(id));
    fprintf(out, "Residency statement of cluster %s (%s)\n", cluster, id);
    fprintf(out, "Made at %s, CA %s\n", r->made_at, r->ca_sha256);
    if (r->own_ca)
        fputs("Checked with the CA in the statement itself: compare its "
              "fingerprint, or give --ca\n",
              out);
    fputs("\nFences, as signed by the nodes:\n", out);
    print_fences(out, r);
    fputs("\nNodes:\n", out);
    RESIDENCY_EACH(j, group_nodes(r), n)
    print_node(out, r, n);
    fputs("\nGROUP            SHARDS    RECORDS  AGREE  REPLICAS ON\n", out);
    for (size_t i = 0; i < r->shard_count; i++)
        if (i == 0 || r->shards[i].group != r->shards[i - 1].group)
            print_group(out, r, i);
}

void residency_print(FILE *out, const struct residency *r)
{
    if (r->authority != NULL)
        print_known(out, r);
    if (r->problem_count == 0) {
        fputs("\nEvery node has reported. Nothing of a fenced group is outside "
              "its fence, and\nall replicas hold the same.\n",
              out);
        return;
    }
    fputs("\nThis does not hold:\n", out);
    for (size_t i = 0; i < r->problem_count; i++)
        fprintf(out, "  %s\n", r->problems[i]);
    if (r->untold > 0)
        fprintf(out, "  and %zu more\n", r->untold);
}

/* ---- JSON -------------------------------------------------------------------
 */

static void write_group(struct json_writer *w, const struct residency *r,
                        size_t first)
{
    const struct json *j = &r->authority->json;
    struct sum s = sum_of(r, first);
    json_ref group = r->shards[first].group;
    json_write_object_begin(w);
    json_write_member_str(w, "name", s.name);
    json_write_key(w, "regions");
    if (group != JSON_NONE && residency_list(j, group, "regions") != JSON_NONE)
        json_write_value(w, j, residency_list(j, group, "regions"));
    else
        json_write_null(w);
    json_write_member_str(w, "transit", transit_of(r, group));
    json_write_member_int64(w, "shards", s.shards);
    json_write_key(w, "records");
    json_write_uint64(w, s.records);
    json_write_key(w, "records_by_key_version");
    json_write_array_begin(w);
    for (uint32_t v = 0; v < s.versions; v++)
        json_write_uint64(w, s.by_key[v]);
    json_write_array_end(w);
    json_write_member_bool(w, "agree", s.agrees);
    json_write_key(w, "replicas_on");
    json_write_array_begin(w);
    RESIDENCY_EACH(j, group_nodes(r), n)
    {
        char name[RESIDENCY_NAME_MAX + 1];
        get_name(r, n, "name", name);
        if (holds(r, name, first) && !is_witness(r, n, first))
            json_write_str(w, name);
    }
    json_write_array_end(w);
    json_write_key(w, "witness");
    json_ref witness = residency_node(r, witness_of(r, first));
    if (witness != JSON_NONE) {
        char name[RESIDENCY_NAME_MAX + 1];
        get_name(r, witness, "name", name);
        json_write_str(w, name);
    } else {
        json_write_null(w);
    }
    json_write_object_end(w);
}

static void write_known(struct json_writer *w, const struct residency *r)
{
    const struct json *j = &r->authority->json;
    char cluster[RESIDENCY_NAME_MAX + 1] = "?", id[RESIDENCY_NAME_MAX + 1] = "";
    (void)residency_text(j, 0, "cluster", cluster, sizeof(cluster));
    (void)residency_text(j, 0, "cluster_id", id, sizeof(id));
    json_write_member_str(w, "cluster", cluster);
    json_write_member_str(w, "cluster_id", id);
    json_write_key(w, "nodes");
    json_write_array_begin(w);
    RESIDENCY_EACH(j, group_nodes(r), n)
    {
        char name[RESIDENCY_NAME_MAX + 1], region[RESIDENCY_NAME_MAX + 1];
        get_name(r, n, "name", name);
        get_name(r, n, "region", region);
        json_write_object_begin(w);
        json_write_member_str(w, "name", name);
        json_write_member_str(w, "region", region);
        json_write_member_bool(w, "reported", last_report(r, name) != NULL);
        json_write_object_end(w);
    }
    json_write_array_end(w);
    json_write_key(w, "groups");
    json_write_array_begin(w);
    for (size_t i = 0; i < r->shard_count; i++)
        if (i == 0 || r->shards[i].group != r->shards[i - 1].group)
            write_group(w, r, i);
    json_write_array_end(w);
}

void residency_print_json(FILE *out, const struct residency *r)
{
    struct buf text;
    struct json_writer w;
    buf_init(&text, RESIDENCY_BYTES_MAX);
    json_writer_init(&w, &text);
    json_write_object_begin(&w);
    json_write_member_bool(&w, "ok", r->problem_count == 0);
    json_write_member_str(&w, "made_at", r->made_at);
    json_write_member_str(&w, "ca_sha256", r->ca_sha256);
    json_write_member_bool(&w, "ca_given", !r->own_ca);
    if (r->authority != NULL)
        write_known(&w, r);
    json_write_key(&w, "problems");
    json_write_array_begin(&w);
    for (size_t i = 0; i < r->problem_count; i++)
        json_write_str(&w, r->problems[i]);
    json_write_array_end(&w);
    json_write_member_int64(&w, "problems_untold", (int64_t)r->untold);
    json_write_object_end(&w);
    CHECK(json_writer_end(&w) == ERR_OK);
    fprintf(out, "%s\n", buf_cstr(&text));
    buf_free(&text);
}
