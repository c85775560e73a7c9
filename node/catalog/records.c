#include "node/catalog/records.h"

#include <string.h>

#include "node/base/mem.h"
#include "node/base/text.h"
#include "node/catalog/placement_rules.h"
#include "node/json/json.h"

static const char *const level_names[CONSISTENCY_COUNT] = {
    [CONSISTENCY_STRONG] = "Strong",
    [CONSISTENCY_BOUNDED] = "BoundedStaleness",
    [CONSISTENCY_SESSION] = "Session",
    [CONSISTENCY_PREFIX] = "ConsistentPrefix",
    [CONSISTENCY_EVENTUAL] = "Eventual",
};

const char *consistency_name(enum consistency_level level)
{
    CHECK(level < CONSISTENCY_COUNT);
    return level_names[level];
}

int consistency_parse(struct bytes text, enum consistency_level *level_out)
{
    for (int i = 0; i < CONSISTENCY_COUNT; i++)
        if (text_equal_nocase(text, level_names[i])) {
            *level_out = (enum consistency_level)i;
            return ERR_OK;
        }
    return ERR_INVALID;
}

bool consistency_same(const struct consistency_policy *a,
                      const struct consistency_policy *b)
{
    return a->level == b->level &&
           (a->level != CONSISTENCY_BOUNDED ||
            (a->max_staleness_prefix == b->max_staleness_prefix &&
             a->max_staleness_interval == b->max_staleness_interval));
}

struct consistency_policy
consistency_over(const struct consistency_policy *now,
                 const struct consistency_policy *want)
{
    struct consistency_policy p = *want;
    if (p.max_staleness_prefix == 0)
        p.max_staleness_prefix = now->max_staleness_prefix;
    if (p.max_staleness_interval == 0)
        p.max_staleness_interval = now->max_staleness_interval;
    return p;
}

/* -- databases ----------------------------------------------------------- */

static int corrupt(struct err_msg *msg, const char *record, const char *what)
{
    return err_set(msg, ERR_CORRUPT,
                   "stored %s record: %s is missing or invalid", record, what);
}

static int read_database(const struct json *j, struct buf *scratch,
                         struct catalog_database *db, struct err_msg *msg)
{
    struct bytes rid;
    if (json_type(j, 0) != JSON_OBJECT ||
        json_get_string(j, 0, "id", scratch, &db->name) != ERR_OK)
        return corrupt(msg, "database", "id");
    if (json_get_string(j, 0, "_rid", scratch, &rid) != ERR_OK ||
        rid_parse(rid, &db->rid) != ERR_OK ||
        rid_kind(&db->rid) != RID_DATABASE)
        return corrupt(msg, "database", "_rid");
    db->number = rid_database_number(&db->rid);
    int err = json_get_string(j, 0, "_etag", scratch, &db->etag);
    if (err != ERR_OK && err != ERR_NOT_FOUND)
        return corrupt(msg, "database", "_etag");
    err = json_get_int64(j, 0, "_ts", &db->ts);
    if (err != ERR_OK && err != ERR_NOT_FOUND)
        return corrupt(msg, "database", "_ts");
    return ERR_OK;
}

int catalog_database_parse(struct bytes json, struct catalog_database **db_out,
                           struct err_msg *msg)
{
    if (json.len > JSON_TEXT_MAX)
        return corrupt(msg, "database", "its size");
    struct catalog_database *db = mem_zalloc(sizeof(*db));
    db->magic = CATALOG_DATABASE_MAGIC;
    db->refs = 1;
    /* Decoded strings stand behind the text and are shorter than it. */
    db->storage = mem_alloc(2 * json.len + 1);
    memcpy(db->storage, json.data, json.len);
    db->json = bytes_of(db->storage, json.len);
    struct buf scratch = buf_over(db->storage + json.len, json.len + 1);
    struct json j;
    json_init(&j);
    int err = json_parse(&j, db->json, JSON_TEXT_MAX, NULL);
    err = err == ERR_OK ? read_database(&j, &scratch, db, msg)
                        : corrupt(msg, "database", "its JSON");
    json_free(&j);
    if (err == ERR_OK)
        *db_out = db;
    else
        catalog_database_unref(db);
    return err;
}

struct catalog_database *catalog_database_ref(struct catalog_database *db)
{
    CHECK_OBJ(db, CATALOG_DATABASE_MAGIC);
    CHECK(db->refs > 0 && db->refs < UINT32_MAX);
    db->refs++;
    return db;
}

void catalog_database_unref(struct catalog_database *db)
{
    if (db == NULL)
        return;
    CHECK_OBJ(db, CATALOG_DATABASE_MAGIC);
    CHECK(db->refs > 0);
    if (--db->refs > 0)
        return;
    db->magic = 0;
    mem_free(db->storage);
    mem_free(db);
}

/* -- fields of account and group records --------------------------------- */

/* A record being read: the first field that is wrong is remembered. */
struct reader {
    struct json json;
    const char *wrong;
};

static void read_string(struct reader *r, json_ref value, const char *name,
                        char out[CATALOG_NAME_MAX + 1])
{
    char decoded[CATALOG_NAME_MAX * 6 + 2];
    struct buf scratch = buf_over(decoded, sizeof(decoded));
    struct bytes text = {0};
    bool legal = value != JSON_NONE &&
                 json_type(&r->json, value) == JSON_STRING &&
                 json_string(&r->json, value, &scratch, &text) == ERR_OK &&
                 text.len > 0 && text.len <= CATALOG_NAME_MAX &&
                 memchr(text.data, 0, text.len) == NULL;
    if (!legal) {
        r->wrong = name;
        return;
    }
    memcpy(out, text.data, text.len);
    out[text.len] = '\0';
}

static int64_t read_integer(struct reader *r, json_ref object, const char *name,
                            int64_t min, int64_t max)
{
    int64_t value = 0;
    if (json_get_int64(&r->json, object, name, &value) != ERR_OK ||
        value < min || value > max) {
        r->wrong = name;
        return min;
    }
    return value;
}

static void read_key(struct reader *r, json_ref value, const char *name,
                     struct wrapped_key *out)
{
    struct bytes text;
    struct buf key = buf_over(out->bytes, GROUP_WRAPPED_KEY_MAX);
    if (value == JSON_NONE || json_type(&r->json, value) != JSON_STRING ||
        json_string_escaped(&r->json, value)) {
        r->wrong = name;
        return;
    }
    text = json_raw(&r->json, value);
    text = bytes_of(text.data + 1, text.len - 2);
    if (text_base64_decode(text, &key) != ERR_OK || buf_len(&key) == 0)
        r->wrong = name;
    out->len = (uint16_t)buf_len(&key);
}

static void write_key(struct json_writer *w, const struct wrapped_key *key)
{
    char text[(GROUP_WRAPPED_KEY_MAX + 2) / 3 * 4];
    struct buf encoded = buf_over(text, sizeof(text));
    CHECK(key->len > 0 && key->len <= GROUP_WRAPPED_KEY_MAX);
    CHECK(text_base64_encode(bytes_of(key->bytes, key->len), &encoded) ==
          ERR_OK);
    json_write_string(w, bytes_of(text, buf_len(&encoded)));
}

/* -- account ------------------------------------------------------------- */

static void write_placement(struct json_writer *w,
                            const struct placement_rules *p)
{
    if (p->count > 0) {
        json_write_key(w, "placementRules");
        placement_rules_write(p, w);
    }
    if (p->required)
        json_write_member_bool(w, "requirePlacement", true);
}

static void read_placement(struct reader *r, struct placement_rules *p)
{
    json_ref list = json_get_str(&r->json, 0, "placementRules");
    if (list != JSON_NONE &&
        placement_rules_read(&r->json, list, p, NULL) != ERR_OK)
        r->wrong = "placementRules";
    int err = json_get_bool(&r->json, 0, "requirePlacement", &p->required);
    if (err != ERR_OK && err != ERR_NOT_FOUND)
        r->wrong = "requirePlacement";
}

/* Joins the range at `at` with the next one if they touch. */
static void join_ranges(struct catalog_account *a, size_t at)
{
    struct shard_range *r = a->removed;
    if (at + 1 >= a->removed_count ||
        r[at].first + r[at].count != r[at + 1].first)
        return;
    r[at].count = (uint16_t)(r[at].count + r[at + 1].count);
    a->removed_count--;
    memmove(&r[at + 1], &r[at + 2], (a->removed_count - at - 1) * sizeof(*r));
}

int catalog_account_remove(struct catalog_account *a, uint16_t first,
                           uint16_t count)
{
    struct shard_range *r = a->removed;
    size_t at = 0;
    while (at < a->removed_count && r[at].first <= first)
        at++;
    if (at > 0 && first - r[at - 1].first < r[at - 1].count)
        return ERR_EXISTS;
    if (a->removed_count == CATALOG_REMOVED_MAX)
        return ERR_LIMIT;
    memmove(&r[at + 1], &r[at], (a->removed_count - at) * sizeof(*r));
    r[at] = (struct shard_range){.first = first, .count = count};
    a->removed_count++;
    join_ranges(a, at);
    if (at > 0)
        join_ranges(a, at - 1);
    return ERR_OK;
}

/* As [first, count, first, count...]. */
static void write_removed(struct json_writer *w,
                          const struct catalog_account *a)
{
    if (a->removed_count == 0)
        return;
    json_write_key(w, "removedShards");
    json_write_array_begin(w);
    for (size_t i = 0; i < a->removed_count; i++) {
        json_write_uint64(w, a->removed[i].first);
        json_write_uint64(w, a->removed[i].count);
    }
    json_write_array_end(w);
}

static void write_shown(struct json_writer *w, const struct catalog_account *a)
{
    if (a->shown_count == 0)
        return;
    json_write_key(w, "regionNames");
    json_write_array_begin(w);
    for (size_t i = 0; i < a->shown_count; i++) {
        json_write_object_begin(w);
        json_write_member_str(w, "region", a->shown[i].region);
        json_write_member_str(w, "name", a->shown[i].name);
        json_write_object_end(w);
    }
    json_write_array_end(w);
}

int catalog_account_format(const struct catalog_account *a, struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_write_object_begin(&w);
    json_write_member_str(&w, "id", a->id);
    write_placement(&w, &a->placement);
    if (a->next_group > 0) {
        json_write_member_int64(&w, "nextGroup", a->next_group);
        json_write_member_int64(&w, "nextShard", a->next_shard);
    }
    if (a->feature_level != 0)
        json_write_member_int64(&w, "featureLevel", a->feature_level);
    write_removed(&w, a);
    write_shown(&w, a);
    json_write_object_end(&w);
    return json_writer_end(&w);
}

/* The elements of an array member, of which there are at most `max`. */
static json_ref read_array(struct reader *r, json_ref object, const char *name,
                           size_t max)
{
    json_ref list = json_get_str(&r->json, object, name);
    if (list == JSON_NONE || json_type(&r->json, list) != JSON_ARRAY ||
        json_count(&r->json, list) > max) {
        r->wrong = name;
        return JSON_NONE;
    }
    return list;
}

static void read_removed(struct reader *r, struct catalog_account *a)
{
    static const char name[] = "removedShards";
    int64_t n[2];
    size_t i = 0;
    if (json_get_str(&r->json, 0, name) == JSON_NONE)
        return;
    json_ref list = read_array(r, 0, name, 2 * CATALOG_REMOVED_MAX);
    if (list == JSON_NONE)
        return;
    for (json_ref v = json_first(&r->json, list); v != JSON_NONE;
         v = json_next(&r->json, list, v), i++) {
        if (json_int64(&r->json, v, &n[i % 2]) != ERR_OK || n[i % 2] < 1 ||
            n[i % 2] > UINT16_MAX ||
            (i % 2 == 1 && catalog_account_remove(a, (uint16_t)n[0],
                                                  (uint16_t)n[1]) != ERR_OK)) {
            r->wrong = name;
            return;
        }
    }
    if (i % 2 != 0)
        r->wrong = name;
}

static void read_shown(struct reader *r, struct catalog_account *a)
{
    if (json_get_str(&r->json, 0, "regionNames") == JSON_NONE)
        return;
    json_ref list = read_array(r, 0, "regionNames", GROUP_REGIONS_MAX);
    if (list == JSON_NONE)
        return;
    for (json_ref v = json_first(&r->json, list); v != JSON_NONE;
         v = json_next(&r->json, list, v)) {
        struct shown_region *s = &a->shown[a->shown_count++];
        if (json_type(&r->json, v) != JSON_OBJECT) {
            r->wrong = "regionNames";
            return;
        }
        read_string(r, json_get_str(&r->json, v, "region"), "region",
                    s->region);
        read_string(r, json_get_str(&r->json, v, "name"), "name", s->name);
    }
}

static void read_account(struct reader *r, struct catalog_account *a)
{
    read_string(r, json_get_str(&r->json, 0, "id"), "id", a->id);
    if (json_get_str(&r->json, 0, "featureLevel") != JSON_NONE)
        a->feature_level =
            (uint32_t)read_integer(r, 0, "featureLevel", 1, UINT32_MAX);
    if (json_get_str(&r->json, 0, "nextGroup") == JSON_NONE)
        return;
    a->next_group = (uint16_t)read_integer(r, 0, "nextGroup", 1, UINT16_MAX);
    a->next_shard = (uint16_t)read_integer(r, 0, "nextShard", 1, UINT16_MAX);
}

int catalog_account_parse(struct bytes json, struct catalog_account *a_out,
                          struct err_msg *msg)
{
    struct reader r = {.wrong = NULL};
    struct catalog_account a = {.id = ""};
    json_init(&r.json);
    if (json_parse(&r.json, json, JSON_TEXT_MAX, NULL) != ERR_OK)
        r.wrong = "its JSON";
    else
        read_account(&r, &a);
    if (r.wrong == NULL)
        read_placement(&r, &a.placement);
    if (r.wrong == NULL)
        read_removed(&r, &a);
    if (r.wrong == NULL)
        read_shown(&r, &a);
    json_free(&r.json);
    if (r.wrong != NULL)
        return corrupt(msg, "account", r.wrong);
    *a_out = a;
    return ERR_OK;
}

/* -- groups -------------------------------------------------------------- */

size_t catalog_group_region(const struct catalog_group *g, const char *name)
{
    size_t i = 0;
    while (i < g->region_count && strcmp(g->regions[i], name) != 0)
        i++;
    return i;
}

bool catalog_group_inside(const struct catalog_group *g, const char *region)
{
    return !catalog_group_fenced(g) ||
           catalog_group_region(g, region) < g->region_count;
}

static void write_decision(struct json_writer *w,
                           const struct group_decision *d)
{
    json_write_key(w, "decision");
    json_write_object_begin(w);
    json_write_member_int64(w, "epoch", d->epoch);
    json_write_member_str(w, "writeRegion", d->write_region);
    json_write_member_str(w, "fromRegion", d->from_region);
    json_write_member_str(w, "level", consistency_name(d->consistency.level));
    json_write_member_int64(w, "maxStalenessPrefix",
                            d->consistency.max_staleness_prefix);
    json_write_member_int64(w, "maxIntervalInSeconds",
                            d->consistency.max_staleness_interval);
    json_write_member_bool(w, "forced", d->forced);
    json_write_member_bool(w, "settled", d->settled);
    json_write_member_bool(w, "manual", d->manual);
    json_write_member_int64(w, "atMicroseconds", d->at_us);
    json_write_member_str(w, "reason", d->reason);
    json_write_object_end(w);
}

/* Those of the group's regions that `which` marks; NULL: all. */
static void write_names(struct json_writer *w, const struct catalog_group *g,
                        const char *key, const bool *which)
{
    json_write_key(w, key);
    json_write_array_begin(w);
    for (size_t i = 0; i < g->region_count; i++)
        if (which == NULL || which[i])
            json_write_str(w, g->regions[i]);
    json_write_array_end(w);
}

const struct group_keys *catalog_group_keys(const struct catalog_group *g,
                                            const char *region)
{
    for (size_t i = 0; i < g->key_count; i++)
        if (!catalog_group_fenced(g) || strcmp(g->keys[i].region, region) == 0)
            return &g->keys[i];
    return NULL;
}

uint32_t catalog_group_key_versions(const struct catalog_group *g)
{
    uint32_t most = 0;
    for (size_t i = 0; i < g->key_count; i++)
        if (g->keys[i].versions > most)
            most = g->keys[i].versions;
    return most;
}

/* As members of the open object. */
static void write_keys(struct json_writer *w, const struct group_keys *k)
{
    CHECK(k->versions >= 1);
    json_write_key(w, "dataKey");
    write_key(w, &k->data[0]);
    json_write_key(w, "indexKey");
    write_key(w, &k->index);
    if (k->versions == 1)
        return;
    json_write_key(w, "laterDataKeys");
    json_write_array_begin(w);
    for (size_t i = 1; i < k->versions; i++)
        write_key(w, &k->data[i]);
    json_write_array_end(w);
}

static void write_region_keys(struct json_writer *w,
                              const struct catalog_group *g)
{
    json_write_key(w, "keys");
    json_write_array_begin(w);
    for (size_t i = 0; i < g->key_count; i++) {
        const struct group_keys *k = &g->keys[i];
        json_write_object_begin(w);
        json_write_member_str(w, "region", k->region);
        write_keys(w, k);
        json_write_object_end(w);
    }
    json_write_array_end(w);
}

static void write_members(struct json_writer *w, const char *key,
                          const uint8_t *members, size_t count)
{
    json_write_key(w, key);
    json_write_array_begin(w);
    for (size_t i = 0; i < count; i++)
        json_write_uint64(w, members[i]);
    json_write_array_end(w);
}

/* Nodes below FEATURE_WITNESS_CHANGE know one that is there from the first, for
 * good. */
static void write_witness(struct json_writer *w, const struct catalog_group *g)
{
    if (g->witness > 0)
        json_write_member_int64(w, "witness", g->witness);
    if (g->witness_coming)
        json_write_member_bool(w, "witnessComing", true);
    if (g->witness_leaving > 0)
        json_write_member_int64(w, "witnessLeaving", g->witness_leaving);
    if (g->first_witness != g->witness)
        json_write_member_int64(w, "firstWitness", g->first_witness);
}

static void write_span(struct json_writer *w, struct catalog_span s)
{
    json_write_object_begin(w);
    json_write_member_int64(w, "firstShard", s.first);
    json_write_member_int64(w, "shards", s.count);
    json_write_object_end(w);
}

static void write_layouts(struct json_writer *w, const struct catalog_group *g)
{
    json_write_member_int64(w, "splitMicroseconds", g->split_us);
    if (g->emptied.count > 0) {
        json_write_key(w, "emptied");
        write_span(w, g->emptied);
    }
    json_write_key(w, "retired");
    json_write_array_begin(w);
    for (uint8_t i = 0; i < g->retired_count; i++)
        write_span(w, g->retired[i]);
    json_write_array_end(w);
}

int catalog_group_format(const struct catalog_group *g, struct buf *out)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_write_object_begin(&w);
    json_write_member_str(&w, "id", g->name);
    json_write_member_int64(&w, "number", g->number);
    json_write_member_int64(&w, "firstShard", g->first_shard);
    json_write_member_int64(&w, "shards", g->shard_count);
    if (g->split_us > 0)
        write_layouts(&w, g);
    if (g->member_count > 0)
        write_members(&w, "members", g->members, g->member_count);
    if (g->first_count > 0)
        write_members(&w, "firstMembers", g->first_members, g->first_count);
    if (catalog_group_fenced(g)) {
        write_region_keys(&w, g);
        write_witness(&w, g);
    } else {
        CHECK(g->key_count == 1);
        write_keys(&w, &g->keys[0]);
    }
    if (g->sealing > 0)
        json_write_member_int64(&w, "sealingKey", g->sealing);
    if (g->removing)
        json_write_member_bool(&w, "removing", true);
    if (g->rekey)
        json_write_member_bool(&w, "newKeyDue", true);
    write_names(&w, g, "regions", NULL);
    write_names(&w, g, "down", g->down);
    if (g->member_count > 0) {
        write_names(&w, g, "leaving", g->leaving);
        write_names(&w, g, "coming", g->coming);
    }
    json_write_member_bool(&w, "failback", g->failback);
    if (g->transit)
        json_write_member_str(&w, "transit", GROUP_TRANSIT_ALLOW);
    if (g->gather)
        json_write_member_str(&w, "leaders", GROUP_LEADERS_GATHER);
    json_write_member_int64(&w, "recovered", g->recovered);
    json_write_member_int64(&w, "recoveredEpoch", g->recovered_epoch);
    write_decision(&w, &g->decision);
    json_write_object_end(&w);
    return json_writer_end(&w);
}

/* An array of names, each given to `each`. */
static void read_names(struct reader *r, struct catalog_group *g,
                       const char *key, size_t least,
                       void (*each)(struct reader *r, struct catalog_group *g,
                                    const char *name))
{
    json_ref names = json_get_str(&r->json, 0, key);
    if (names == JSON_NONE || json_type(&r->json, names) != JSON_ARRAY ||
        json_count(&r->json, names) < least ||
        json_count(&r->json, names) > GROUP_REGIONS_MAX) {
        r->wrong = key;
        return;
    }
    for (json_ref v = json_first(&r->json, names); v != JSON_NONE;
         v = json_next(&r->json, names, v)) {
        char name[CATALOG_NAME_MAX + 1] = "";
        read_string(r, v, key, name);
        if (r->wrong == NULL)
            each(r, g, name);
    }
}

static void add_region(struct reader *r, struct catalog_group *g,
                       const char *name)
{
    if (catalog_group_region(g, name) < g->region_count) {
        r->wrong = "regions";
        return;
    }
    strcpy(g->regions[g->region_count++], name);
}

static void add_leaving(struct reader *r, struct catalog_group *g,
                        const char *name)
{
    size_t i = catalog_group_region(g, name);
    if (i == g->region_count)
        r->wrong = "leaving";
    else
        g->leaving[i] = true;
}

static void add_coming(struct reader *r, struct catalog_group *g,
                       const char *name)
{
    size_t i = catalog_group_region(g, name);
    if (i == g->region_count)
        r->wrong = "coming";
    else
        g->coming[i] = true;
}

static void add_down(struct reader *r, struct catalog_group *g,
                     const char *name)
{
    size_t i = catalog_group_region(g, name);
    if (i == g->region_count)
        r->wrong = "down";
    else
        g->down[i] = true;
}

static bool read_bool(struct reader *r, json_ref object, const char *name)
{
    bool value = false;
    if (json_get_bool(&r->json, object, name, &value) != ERR_OK)
        r->wrong = name;
    return value;
}

/* A member that is there with this one value, or not there. */
static bool read_option(struct reader *r, const char *key, const char *value)
{
    char text[CATALOG_NAME_MAX + 1] = "";
    json_ref v = json_get_str(&r->json, 0, key);
    if (v == JSON_NONE)
        return false;
    read_string(r, v, key, text);
    if (strcmp(text, value) != 0)
        r->wrong = key;
    return true;
}

static void read_reason(struct reader *r, json_ref d,
                        struct group_decision *out)
{
    struct buf scratch;
    struct bytes text;
    buf_init(&scratch, JSON_TEXT_MAX);
    if (json_get_string(&r->json, d, "reason", &scratch, &text) != ERR_OK ||
        text.len >= sizeof(out->reason) ||
        memchr(text.data, 0, text.len) != NULL)
        r->wrong = "reason";
    else
        memcpy(out->reason, text.data, text.len);
    buf_free(&scratch);
}

static void read_decision(struct reader *r, struct catalog_group *g)
{
    struct group_decision *d = &g->decision;
    json_ref v = json_get_str(&r->json, 0, "decision");
    if (v == JSON_NONE || json_type(&r->json, v) != JSON_OBJECT) {
        r->wrong = "decision";
        return;
    }
    char level[CATALOG_NAME_MAX + 1] = "";
    d->epoch = (uint32_t)read_integer(r, v, "epoch", 0, UINT32_MAX);
    read_string(r, json_get_str(&r->json, v, "writeRegion"), "writeRegion",
                d->write_region);
    read_string(r, json_get_str(&r->json, v, "fromRegion"), "fromRegion",
                d->from_region);
    read_string(r, json_get_str(&r->json, v, "level"), "level", level);
    if (consistency_parse(bytes_str(level), &d->consistency.level) != ERR_OK)
        r->wrong = "level";
    d->consistency.max_staleness_prefix =
        (int32_t)read_integer(r, v, "maxStalenessPrefix", 0, INT32_MAX);
    d->consistency.max_staleness_interval =
        (int32_t)read_integer(r, v, "maxIntervalInSeconds", 0, INT32_MAX);
    d->forced = read_bool(r, v, "forced");
    d->settled = read_bool(r, v, "settled");
    d->manual = read_bool(r, v, "manual");
    d->at_us = read_integer(r, v, "atMicroseconds", 0, INT64_MAX);
    read_reason(r, v, d);
    if (catalog_group_region(g, d->write_region) == g->region_count)
        r->wrong = "writeRegion";
}

static void read_keys(struct reader *r, json_ref object, struct group_keys *k)
{
    read_key(r, json_get_str(&r->json, object, "dataKey"), "dataKey",
             &k->data[0]);
    read_key(r, json_get_str(&r->json, object, "indexKey"), "indexKey",
             &k->index);
    k->versions = 1;
    if (json_get_str(&r->json, object, "laterDataKeys") == JSON_NONE)
        return;
    json_ref list =
        read_array(r, object, "laterDataKeys", GROUP_KEY_VERSIONS_MAX - 1);
    if (list == JSON_NONE)
        return;
    for (json_ref v = json_first(&r->json, list); v != JSON_NONE;
         v = json_next(&r->json, list, v))
        read_key(r, v, "laterDataKeys", &k->data[k->versions++]);
}

/* What is under way: removing it, or another data key, and which of them seals.
 */
static void read_changes(struct reader *r, struct catalog_group *g)
{
    if (json_get_str(&r->json, 0, "removing") != JSON_NONE &&
        json_get_bool(&r->json, 0, "removing", &g->removing) != ERR_OK)
        r->wrong = "removing";
    if (json_get_str(&r->json, 0, "sealingKey") != JSON_NONE)
        g->sealing = (uint8_t)read_integer(r, 0, "sealingKey", 1,
                                           GROUP_KEY_VERSIONS_MAX - 1);
    if (json_get_str(&r->json, 0, "newKeyDue") != JSON_NONE &&
        json_get_bool(&r->json, 0, "newKeyDue", &g->rekey) != ERR_OK)
        r->wrong = "newKeyDue";
}

static void read_region_keys(struct reader *r, struct catalog_group *g)
{
    json_ref list = read_array(r, 0, "keys", GROUP_REGIONS_MAX);
    if (list == JSON_NONE)
        return;
    for (json_ref v = json_first(&r->json, list); v != JSON_NONE;
         v = json_next(&r->json, list, v)) {
        struct group_keys *k = &g->keys[g->key_count++];
        if (json_type(&r->json, v) != JSON_OBJECT) {
            r->wrong = "keys";
            return;
        }
        read_string(r, json_get_str(&r->json, v, "region"), "region",
                    k->region);
        read_keys(r, v, k);
        /* A key for somewhere else would be a hole in the fence. */
        if (catalog_group_region(g, k->region) == g->region_count)
            r->wrong = "keys";
    }
}

static uint8_t read_members(struct reader *r, const char *key,
                            uint8_t members[GROUP_MEMBERS_MAX])
{
    json_ref list = read_array(r, 0, key, GROUP_MEMBERS_MAX);
    uint8_t count = 0;
    if (list == JSON_NONE)
        return 0;
    for (json_ref v = json_first(&r->json, list); v != JSON_NONE;
         v = json_next(&r->json, list, v)) {
        int64_t id = 0;
        if (json_type(&r->json, v) != JSON_NUMBER ||
            json_int64(&r->json, v, &id) != ERR_OK || id < 1 ||
            id > UINT8_MAX || (count > 0 && id <= members[count - 1]))
            r->wrong = key;
        members[count++] = (uint8_t)id;
    }
    if (count == 0)
        r->wrong = key;
    return count;
}

/* A record of before there were decisions: strong, as everything was then. */
static void undecided(struct catalog_group *g)
{
    g->decision = (struct group_decision){
        .consistency = {.level = CONSISTENCY_STRONG}, .settled = true};
    strcpy(g->decision.write_region, g->regions[0]);
    strcpy(g->decision.from_region, g->regions[0]);
}

static struct catalog_span read_span(struct reader *r, json_ref object)
{
    struct catalog_span s;
    s.first = (uint16_t)read_integer(r, object, "firstShard", 1, RID_SHARD_MAX);
    s.count = (uint16_t)read_integer(r, object, "shards", 1,
                                     RID_SHARD_MAX + 1 - s.first);
    return s;
}

static void read_layouts(struct reader *r, struct catalog_group *g)
{
    json_ref emptied = json_get_str(&r->json, 0, "emptied");
    json_ref list = read_array(r, 0, "retired", GROUP_RETIRED_MAX);
    g->split_us = read_integer(r, 0, "splitMicroseconds", 1, INT64_MAX);
    if (emptied != JSON_NONE && json_type(&r->json, emptied) != JSON_OBJECT)
        r->wrong = "emptied";
    else if (emptied != JSON_NONE)
        g->emptied = read_span(r, emptied);
    if (list == JSON_NONE)
        return;
    for (json_ref v = json_first(&r->json, list); v != JSON_NONE;
         v = json_next(&r->json, list, v)) {
        if (json_type(&r->json, v) != JSON_OBJECT) {
            r->wrong = "retired";
            return;
        }
        g->retired[g->retired_count++] = read_span(r, v);
    }
}

static uint8_t read_witness(struct reader *r, const char *key, uint8_t absent)
{
    return json_get_str(&r->json, 0, key) != JSON_NONE
               ? (uint8_t)read_integer(r, 0, key, 0, UINT8_MAX)
               : absent;
}

static void read_witnesses(struct reader *r, struct catalog_group *g)
{
    g->witness = read_witness(r, "witness", 0);
    g->witness_leaving = read_witness(r, "witnessLeaving", 0);
    g->first_witness = read_witness(r, "firstWitness", g->witness);
    if (json_get_str(&r->json, 0, "witnessComing") != JSON_NONE)
        g->witness_coming = read_bool(r, 0, "witnessComing");
}

static void read_group(struct reader *r, struct catalog_group *g)
{
    read_string(r, json_get_str(&r->json, 0, "id"), "id", g->name);
    g->number = (uint16_t)read_integer(r, 0, "number", 0, UINT16_MAX);
    struct catalog_span newest = read_span(r, 0);
    g->first_shard = newest.first;
    g->shard_count = newest.count;
    if (json_get_str(&r->json, 0, "splitMicroseconds") != JSON_NONE)
        read_layouts(r, g);
    read_names(r, g, "regions", 1, add_region);
    if (catalog_group_fenced(g) ||
        json_get_str(&r->json, 0, "members") != JSON_NONE)
        g->member_count = read_members(r, "members", g->members);
    if (catalog_group_fenced(g) ||
        json_get_str(&r->json, 0, "firstMembers") != JSON_NONE)
        g->first_count = read_members(r, "firstMembers", g->first_members);
    if (catalog_group_fenced(g)) {
        read_region_keys(r, g);
        read_witnesses(r, g);
    } else {
        read_keys(r, 0, &g->keys[g->key_count++]);
    }
    g->transit = read_option(r, "transit", GROUP_TRANSIT_ALLOW);
    g->gather = read_option(r, "leaders", GROUP_LEADERS_GATHER);
    if (g->transit && !catalog_group_fenced(g))
        r->wrong = "transit";
    read_changes(r, g);
    if (json_get_str(&r->json, 0, "decision") == JSON_NONE) {
        undecided(g);
        return;
    }
    read_names(r, g, "down", 0, add_down);
    if (g->member_count > 0) {
        read_names(r, g, "leaving", 0, add_leaving);
        read_names(r, g, "coming", 0, add_coming);
    }
    g->failback = read_bool(r, 0, "failback");
    g->recovered = (uint32_t)read_integer(r, 0, "recovered", 0, UINT32_MAX);
    g->recovered_epoch =
        (uint32_t)read_integer(r, 0, "recoveredEpoch", 0, UINT32_MAX);
    read_decision(r, g);
}

int catalog_group_parse(struct bytes json, struct catalog_group *g_out,
                        struct err_msg *msg)
{
    struct reader r = {.wrong = NULL};
    struct catalog_group g = {.name = ""};
    json_init(&r.json);
    if (json_parse(&r.json, json, JSON_TEXT_MAX, NULL) != ERR_OK)
        r.wrong = "its JSON";
    else
        read_group(&r, &g);
    json_free(&r.json);
    if (r.wrong != NULL)
        return corrupt(msg, "group", r.wrong);
    *g_out = g;
    return ERR_OK;
}
