#include "node/catalog/container.h"

#include <string.h>

#include "node/base/mem.h"
#include "node/catalog/placement_map.h"
#include "node/catalog/policy.h"

/* The properties of a definition besides its id, in the order they are stored.
 * What is immutable may be left out of a replace, or be sent as it is. */
static const struct property {
    const char *name;
    policy_write_fn *write;
    bool immutable;
    bool null_is_absent;
} properties[] = {
    {"indexingPolicy", policy_indexing, false, true},
    {"partitionKey", policy_partition_key, true, true},
    {"defaultTtl", policy_ttl, false, false},
    {"uniqueKeyPolicy", policy_unique_keys, true, true},
    {"conflictResolutionPolicy", policy_conflict, true, true},
    {"geospatialConfig", policy_geospatial, false, true},
    {"analyticalStorageTtl", policy_integer, false, true},
    {"computedProperties", policy_computed, false, true},
    {"vectorEmbeddingPolicy", policy_object, true, true},
    {"fullTextPolicy", policy_object, false, true},
    {"clientEncryptionPolicy", policy_object, true, true},
    {"changeFeedPolicy", policy_object, false, true},
    {"materializedViewDefinition", policy_object, true, true},
    {"materializedViews", policy_array, false, true},
};

static json_ref sent_value(const struct json *j, json_ref object,
                           const struct property *p)
{
    return p->null_is_absent ? policy_member(j, object, p->name)
                             : json_get_str(j, object, p->name);
}

/* -- create -------------------------------------------------------------- */

/* Nothing where all are in the first layouts of their groups. */
static void write_parts(struct json_writer *w, const struct container_place *p)
{
    bool any = false;
    for (uint8_t i = 0; i < p->part_count; i++)
        any |= p->parts[i].layout > 0 || p->parts[i].number > 0;
    if (!any)
        return;
    json_write_key(w, "_parts");
    json_write_array_begin(w);
    for (uint8_t i = 0; i < p->part_count; i++) {
        json_write_object_begin(w);
        json_write_member_int64(w, "layout", p->parts[i].layout);
        json_write_member_int64(w, "number", (int64_t)p->parts[i].number);
        json_write_object_end(w);
    }
    json_write_array_end(w);
}

static void write_place(struct json_writer *w, const struct container_place *p)
{
    if (p->group.len > 0)
        json_write_member_string(w, "_placement", p->group);
    if (p->layout > 0)
        json_write_member_int64(w, "_layout", p->layout);
    write_parts(w, p);
}

static const char *const phase_names[] = {"", "copying", "switching",
                                          "emptying", "cancelling"};

const char *container_phase_name(enum container_phase phase)
{
    CHECK(phase < CONTAINER_PHASE_COUNT);
    return phase_names[phase];
}

static void write_numbers(struct json_writer *w, const char *key,
                          const uint16_t *list, uint8_t count)
{
    json_write_key(w, key);
    json_write_array_begin(w);
    for (uint8_t i = 0; i < count; i++)
        json_write_uint64(w, list[i]);
    json_write_array_end(w);
}

static void write_been(struct json_writer *w, const struct container_move *m)
{
    json_write_key(w, "been");
    json_write_array_begin(w);
    for (uint8_t i = 0; i < m->been_count; i++) {
        json_write_object_begin(w);
        json_write_member_int64(w, "group", m->been[i].group);
        json_write_member_int64(w, "part", m->been[i].part);
        json_write_object_end(w);
    }
    json_write_array_end(w);
}

static void write_gone(struct json_writer *w, const struct container_move *m)
{
    if (m->gone_count == 0)
        return;
    json_write_key(w, "gone");
    json_write_array_begin(w);
    for (uint8_t i = 0; i < m->gone_count; i++) {
        json_write_object_begin(w);
        json_write_member_int64(w, "group", m->gone[i].group);
        json_write_member_int64(w, "layout", m->gone[i].layout);
        json_write_object_end(w);
    }
    json_write_array_end(w);
}

/* What only containers with a placement map have. */
static void write_part(struct json_writer *w, const struct container_move *m)
{
    if (m->part > 0)
        json_write_member_int64(w, "part", m->part);
    if (m->been_count == 0)
        return;
    json_write_member_int64(w, "left", m->left);
    write_been(w, m);
}

static void write_move(struct json_writer *w, const struct container_move *m)
{
    if (m->number == 0 && m->phase == CONTAINER_STAYS && !m->emptied)
        return;
    json_write_key(w, "_move");
    json_write_object_begin(w);
    json_write_member_int64(w, "number", (int64_t)m->number);
    json_write_member_int64(w, "ranges", m->ranges);
    if (m->joined != m->number)
        json_write_member_int64(w, "joined", (int64_t)m->joined);
    if (m->split_count > 0)
        write_numbers(w, "splits", m->splits, m->split_count);
    write_part(w, m);
    write_gone(w, m);
    json_write_member_string(w, "other", m->other);
    if (m->other_number > 0)
        json_write_member_int64(w, "otherNumber", m->other_number);
    if (m->other_layout > 0)
        json_write_member_int64(w, "otherLayout", m->other_layout);
    if (m->phase == CONTAINER_STAYS) {
        json_write_member_bool(w, "emptied", m->emptied);
    } else {
        json_write_member_str(w, "phase", container_phase_name(m->phase));
        json_write_member_int64(w, "mover", m->mover);
        json_write_member_int64(w, "since", m->since);
    }
    json_write_object_end(w);
}

static int write_definition(const struct json *j, json_ref object,
                            const struct container_place *place,
                            struct json_writer *w, struct err_msg *msg)
{
    struct buf scratch;
    struct bytes name;
    buf_init(&scratch, DEFINITION_MAX);
    int err = resource_name_get(j, object, &scratch, &name, msg);
    if (err == ERR_OK) {
        json_write_object_begin(w);
        json_write_member_string(w, "id", name);
    }
    buf_free(&scratch);
    for (size_t i = 0; err == ERR_OK && i < ARRAY_LEN(properties); i++) {
        const struct property *p = &properties[i];
        err = p->write(j, sent_value(j, object, p), p->name, w, msg);
    }
    if (err != ERR_OK)
        return err;
    write_place(w, place);
    json_write_object_end(w);
    return json_writer_end(w);
}

int container_create(const struct json *j, json_ref object,
                     const struct container_place *place, struct buf *json_out,
                     struct err_msg *msg)
{
    if (!policy_is(j, object, JSON_OBJECT))
        return err_set(msg, ERR_INVALID,
                       "The request body is invalid: expected a JSON object.");
    size_t before = buf_len(json_out);
    struct json_writer w;
    json_writer_init(&w, json_out);
    int err = write_definition(j, object, place, &w, msg);
    if (err != ERR_OK)
        buf_truncate(json_out, before);
    return err;
}

/* -- replace ------------------------------------------------------------- */

/* A replace in progress: the stored definition and the one sent. */
struct replace {
    struct json old;
    const struct json *sent;
    json_ref body;
    struct json_writer *w;
    struct err_msg *msg;
};

/* What may be left out inside a key definition is filled in from the stored
 * one, so that clients that never name a kind or version can replace. */
static bool same_partition_key(const struct replace *r, json_ref sent,
                               json_ref stored)
{
    static const char *const parts[] = {"kind", "version", "systemKey"};
    json_ref paths = policy_member(r->sent, sent, "paths");
    if (paths == JSON_NONE ||
        !policy_equal(r->sent, paths, &r->old,
                      json_get_str(&r->old, stored, "paths")))
        return false;
    struct pk_def a, b;
    struct buf scratch;
    buf_init(&scratch, 2 * DEFINITION_MAX);
    bool same =
        policy_read_partition_key(&r->old, stored, &scratch, &b, NULL) ==
            ERR_OK &&
        policy_read_partition_key(r->sent, sent, &scratch, &a, NULL) == ERR_OK;
    buf_free(&scratch);
    if (!same)
        return false;
    const bool equal[] = {a.kind == b.kind, a.version == b.version,
                          a.system_key == b.system_key};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (!equal[i] && policy_member(r->sent, sent, parts[i]) != JSON_NONE)
            return false;
    return true;
}

static bool is_empty_unique_policy(const struct json *j, json_ref policy)
{
    json_ref keys = policy_member(j, policy, "uniqueKeys");
    return keys == JSON_NONE || json_count(j, keys) == 0;
}

/* Whether an immutable property was sent with the stored meaning: completed as
 * in a create, the two must be the same value. */
static bool same_property(const struct replace *r, const struct property *p,
                          json_ref sent, json_ref stored)
{
    if (p->write == policy_partition_key)
        return same_partition_key(r, sent, stored);
    if (stored == JSON_NONE)
        return p->write == policy_unique_keys &&
               is_empty_unique_policy(r->sent, sent);
    struct buf text;
    struct json completed;
    struct json_writer w;
    buf_init(&text, DEFINITION_MAX);
    json_init(&completed);
    json_writer_init(&w, &text);
    json_write_object_begin(&w);
    bool same = p->write(r->sent, sent, p->name, &w, NULL) == ERR_OK;
    if (same) {
        json_write_object_end(&w);
        same =
            json_writer_end(&w) == ERR_OK &&
            json_parse(&completed, bytes_of(buf_bytes(&text), buf_len(&text)),
                       DEFINITION_MAX, NULL) == ERR_OK &&
            policy_equal(&completed, json_get_str(&completed, 0, p->name),
                         &r->old, stored);
    }
    json_free(&completed);
    buf_free(&text);
    return same;
}

static int replace_immutable(const struct replace *r, const struct property *p)
{
    json_ref stored = json_get_str(&r->old, 0, p->name);
    json_ref sent = sent_value(r->sent, r->body, p);
    if (sent != JSON_NONE && !same_property(r, p, sent, stored))
        return err_set(r->msg, ERR_INVALID,
                       "The property '%s' of a container cannot be changed. "
                       "Create another container to use another value.",
                       p->name);
    if (stored != JSON_NONE)
        json_write_member_raw(r->w, p->name, json_raw(&r->old, stored));
    return ERR_OK;
}

static int replace_properties(const struct replace *r,
                              const struct container_def *old)
{
    json_ref id = json_get_str(r->sent, r->body, "id");
    if (id == JSON_NONE || json_type(r->sent, id) != JSON_STRING ||
        !json_string_equal(r->sent, id, old->name))
        return err_set(r->msg, ERR_INVALID,
                       "The id of a container cannot be changed: the body's "
                       "'id' must be the name in the address.");
    json_write_object_begin(r->w);
    json_write_member_string(r->w, "id", old->name);
    for (size_t i = 0; i < ARRAY_LEN(properties); i++) {
        const struct property *p = &properties[i];
        int err = p->immutable
                      ? replace_immutable(r, p)
                      : p->write(r->sent, sent_value(r->sent, r->body, p),
                                 p->name, r->w, r->msg);
        if (err != ERR_OK)
            return err;
    }
    const struct container_place place = container_place(old);
    write_place(r->w, &place);
    write_move(r->w, &old->move);
    json_write_object_end(r->w);
    return json_writer_end(r->w);
}

int container_replace(const struct container_def *old, const struct json *j,
                      json_ref object, struct buf *json_out,
                      struct err_msg *msg)
{
    CHECK_OBJ(old, CONTAINER_DEF_MAGIC);
    if (!policy_is(j, object, JSON_OBJECT))
        return err_set(msg, ERR_INVALID,
                       "The request body is invalid: expected a JSON object.");
    size_t before = buf_len(json_out);
    struct json_writer w;
    json_writer_init(&w, json_out);
    struct replace r = {.sent = j, .body = object, .w = &w, .msg = msg};
    json_init(&r.old);
    int err = json_parse(&r.old, old->json, JSON_TEXT_MAX, NULL);
    if (err == ERR_OK)
        err = replace_properties(&r, old);
    json_free(&r.old);
    if (err != ERR_OK)
        buf_truncate(json_out, before);
    return err;
}

/* -- moving -------------------------------------------------------------- */

int container_moved(const struct container_def *old,
                    const struct container_place *place,
                    const struct container_move *move, struct buf *json_out)
{
    size_t before = buf_len(json_out);
    struct json j;
    struct json_writer w;
    json_init(&j);
    int err = json_parse(&j, old->json, JSON_TEXT_MAX, NULL);
    if (err == ERR_OK) {
        json_writer_init(&w, json_out);
        json_write_object_begin(&w);
        json_write_member_string(&w, "id", old->name);
        for (size_t i = 0; i < ARRAY_LEN(properties); i++) {
            json_ref value = json_get_str(&j, 0, properties[i].name);
            if (value != JSON_NONE)
                json_write_member_raw(&w, properties[i].name,
                                      json_raw(&j, value));
        }
        write_place(&w, place);
        write_move(&w, move);
        json_write_object_end(&w);
        err = json_writer_end(&w);
    }
    json_free(&j);
    if (err != ERR_OK)
        buf_truncate(json_out, before);
    return err;
}

void container_move_end(struct container_move *m, uint64_t number,
                        uint16_t ranges, bool split)
{
    m->number = number;
    m->ranges += ranges;
    if (!split) {
        m->joined = number;
        m->split_count = 0;
        return;
    }
    CHECK(m->split_count < CONTAINER_SPLITS_MAX);
    m->splits[m->split_count++] = ranges;
}

static const struct container_been *find_been(const struct container_move *m,
                                              uint16_t group)
{
    for (uint8_t i = 0; i < m->been_count; i++)
        if (m->been[i].group == group)
            return &m->been[i];
    return NULL;
}

bool container_been_in(const struct container_move *m, uint16_t group)
{
    return find_been(m, group) != NULL;
}

int container_been_note(struct container_move *m, uint16_t group, uint8_t part)
{
    const struct container_been *was = find_been(m, group);
    if (was != NULL)
        return was->part == part ? ERR_OK : ERR_EXISTS;
    if (m->been_count == CONTAINER_BEEN_MAX)
        return ERR_FULL;
    m->been[m->been_count++] = (struct container_been){group, part};
    return ERR_OK;
}

int container_ranges_of(const struct container_move *m, uint16_t count,
                        uint32_t id, uint32_t *first_out, uint32_t *last_out)
{
    uint32_t first = m->ranges;
    uint16_t had = count;
    for (uint8_t i = m->split_count; id < first && i-- > 0;) {
        had = m->splits[i];
        first -= had;
    }
    if (id < first || id - first >= had || count % had != 0)
        return ERR_NOT_FOUND;
    *first_out = (id - first) * (count / had);
    *last_out = *first_out + count / had - 1;
    return ERR_OK;
}

uint32_t container_ancestor(const struct container_move *m, uint16_t count,
                            uint32_t index, uint8_t back)
{
    uint32_t first = m->ranges;
    CHECK(back < m->split_count && index < count &&
          count >= m->splits[m->split_count - 1]);
    for (uint8_t i = 0; i <= back; i++)
        first -= m->splits[m->split_count - 1 - i];
    return first + index / (count / m->splits[m->split_count - 1 - back]);
}

/* -- stored definitions -------------------------------------------------- */

static int corrupt(struct err_msg *msg, const char *what)
{
    return err_set(msg, ERR_CORRUPT,
                   "stored container definition: %s is missing or invalid",
                   what);
}

static int read_rid(const struct json *j, struct container_def *def,
                    struct err_msg *msg)
{
    json_ref value = json_get_str(j, 0, "_rid");
    if (value == JSON_NONE)
        return ERR_OK;
    struct bytes raw = json_raw(j, value);
    if (json_type(j, value) != JSON_STRING ||
        rid_parse(bytes_of(raw.data + 1, raw.len - 2), &def->rid) != ERR_OK ||
        rid_kind(&def->rid) != RID_CONTAINER)
        return corrupt(msg, "_rid");
    def->database = rid_database_number(&def->rid);
    def->number = rid_container_number(&def->rid);
    return ERR_OK;
}

static int read_ttl(const struct json *j, struct container_def *def,
                    struct err_msg *msg)
{
    int64_t ttl;
    int err = json_get_int64(j, 0, "defaultTtl", &ttl);
    if (err == ERR_NOT_FOUND)
        return ERR_OK;
    if (err != ERR_OK || ttl == 0 || ttl < -1 || ttl > INT32_MAX)
        return corrupt(msg, "defaultTtl");
    def->has_ttl = true;
    def->default_ttl = (int32_t)ttl;
    return ERR_OK;
}

static int read_phase(const struct json *j, json_ref object,
                      struct container_move *m)
{
    json_ref value = json_get_str(j, object, "phase");
    if (value == JSON_NONE)
        return ERR_OK;
    for (int i = CONTAINER_COPYING; i < CONTAINER_PHASE_COUNT; i++)
        if (json_type(j, value) == JSON_STRING &&
            json_string_equal(j, value, bytes_str(phase_names[i])))
            m->phase = (enum container_phase)i;
    return m->phase != CONTAINER_STAYS ? ERR_OK : ERR_CORRUPT;
}

/* Of a number that may be absent. */
static int read_number(const struct json *j, json_ref object, const char *key,
                       int64_t max, int64_t *out)
{
    *out = 0;
    int err = json_get_int64(j, object, key, out);
    return err == ERR_NOT_FOUND || (err == ERR_OK && *out >= 0 && *out <= max)
               ? ERR_OK
               : ERR_CORRUPT;
}

static int read_splits(const struct json *j, json_ref object,
                       struct container_move *m)
{
    json_ref list = json_get_str(j, object, "splits");
    uint32_t sum = 0, before = 0;
    if (list == JSON_NONE)
        return ERR_OK;
    if (json_type(j, list) != JSON_ARRAY ||
        json_count(j, list) > CONTAINER_SPLITS_MAX)
        return ERR_CORRUPT;
    for (json_ref v = json_first(j, list); v != JSON_NONE;
         v = json_next(j, list, v)) {
        int64_t count = 0;
        if (json_type(j, v) != JSON_NUMBER ||
            json_int64(j, v, &count) != ERR_OK || count <= before ||
            count > RID_SHARD_MAX || (before > 0 && count % before != 0))
            return ERR_CORRUPT;
        before = (uint32_t)count;
        sum += before;
        m->splits[m->split_count++] = (uint16_t)count;
    }
    return sum <= m->ranges ? ERR_OK : ERR_CORRUPT;
}

static int read_been(const struct json *j, json_ref object, uint8_t parts,
                     struct container_move *m)
{
    json_ref list = json_get_str(j, object, "been");
    int64_t group, part;
    if (list == JSON_NONE)
        return ERR_OK;
    if (json_type(j, list) != JSON_ARRAY ||
        json_count(j, list) > CONTAINER_BEEN_MAX)
        return ERR_CORRUPT;
    for (json_ref v = json_first(j, list); v != JSON_NONE;
         v = json_next(j, list, v)) {
        if (json_type(j, v) != JSON_OBJECT ||
            read_number(j, v, "group", UINT16_MAX, &group) != ERR_OK ||
            read_number(j, v, "part", parts - 1, &part) != ERR_OK)
            return ERR_CORRUPT;
        m->been[m->been_count++] =
            (struct container_been){(uint16_t)group, (uint8_t)part};
    }
    return ERR_OK;
}

static int read_gone(const struct json *j, json_ref object,
                     struct container_move *m)
{
    json_ref list = json_get_str(j, object, "gone");
    int64_t group, layout;
    if (list == JSON_NONE)
        return ERR_OK;
    if (json_type(j, list) != JSON_ARRAY ||
        json_count(j, list) > CONTAINER_GONE_MAX)
        return ERR_CORRUPT;
    for (json_ref v = json_first(j, list); v != JSON_NONE;
         v = json_next(j, list, v)) {
        if (json_type(j, v) != JSON_OBJECT ||
            read_number(j, v, "group", UINT16_MAX, &group) != ERR_OK ||
            read_number(j, v, "layout", UINT16_MAX, &layout) != ERR_OK)
            return ERR_CORRUPT;
        m->gone[m->gone_count++] =
            (struct container_gone){(uint16_t)group, (uint16_t)layout};
    }
    return ERR_OK;
}

/* Of a container of so many parts. */
static int read_part(const struct json *j, json_ref object, uint8_t parts,
                     struct container_move *m)
{
    int64_t part, left;
    if (read_number(j, object, "part", parts - 1, &part) != ERR_OK ||
        read_number(j, object, "left", INT32_MAX, &left) != ERR_OK)
        return ERR_CORRUPT;
    m->part = (uint8_t)part;
    m->left = (uint32_t)left;
    return read_been(j, object, parts, m);
}

static int read_move(const struct json *j, struct buf *scratch, uint8_t parts,
                     struct container_move *m)
{
    json_ref object = json_get_str(j, 0, "_move");
    int64_t number, joined, ranges, mover, group, layout;
    if (object == JSON_NONE)
        return ERR_OK;
    if (json_type(j, object) != JSON_OBJECT ||
        read_number(j, object, "number", INT64_MAX, &number) != ERR_OK ||
        read_number(j, object, "ranges", INT32_MAX, &ranges) != ERR_OK ||
        read_number(j, object, "mover", UINT32_MAX, &mover) != ERR_OK ||
        read_number(j, object, "joined", INT64_MAX, &joined) != ERR_OK ||
        read_number(j, object, "otherNumber", UINT16_MAX, &group) != ERR_OK ||
        read_number(j, object, "otherLayout", UINT16_MAX, &layout) != ERR_OK ||
        read_number(j, object, "since", INT64_MAX, &m->since) != ERR_OK ||
        read_phase(j, object, m) != ERR_OK ||
        read_part(j, object, parts, m) != ERR_OK ||
        read_gone(j, object, m) != ERR_OK)
        return ERR_CORRUPT;
    m->number = (uint64_t)number;
    m->ranges = (uint32_t)ranges;
    m->mover = (uint32_t)mover;
    m->other_number = (uint16_t)group;
    m->other_layout = (uint16_t)layout;
    bool moved_in = json_get_str(j, object, "joined") == JSON_NONE;
    m->joined = moved_in ? m->number : (uint64_t)joined;
    if (read_splits(j, object, m) != ERR_OK)
        return ERR_CORRUPT;
    int err = json_get_bool(j, object, "emptied", &m->emptied);
    if (err != ERR_OK && err != ERR_NOT_FOUND)
        return ERR_CORRUPT;
    return json_get_string(j, object, "other", scratch, &m->other);
}

/* Of what is `placement` already; the partition key is known. */
static int read_map(struct container_def *def, struct err_msg *msg)
{
    if (!placement_is_map(def->placement))
        return ERR_OK;
    def->map = mem_alloc(sizeof(*def->map));
    int err = placement_map_parse(def->placement, def->map, msg);
    if (err == ERR_OK)
        err = placement_map_fit(def->map, &def->pk, msg);
    return err == ERR_OK ? ERR_OK : ERR_CORRUPT;
}

/* A group without a word about it: the part is where the group began, or where
 * it was before the first split that it meets. */
static int read_parts(const struct json *j, struct container_def *def)
{
    json_ref list = json_get_str(j, 0, "_parts");
    uint8_t n = 0;
    if (list == JSON_NONE)
        return ERR_OK;
    if (def->map == NULL || json_type(j, list) != JSON_ARRAY ||
        json_count(j, list) > def->map->group_count)
        return ERR_CORRUPT;
    for (json_ref v = json_first(j, list); v != JSON_NONE;
         v = json_next(j, list, v)) {
        int64_t layout, number;
        if (json_type(j, v) != JSON_OBJECT ||
            read_number(j, v, "layout", UINT16_MAX, &layout) != ERR_OK ||
            read_number(j, v, "number", INT64_MAX, &number) != ERR_OK)
            return ERR_CORRUPT;
        def->parts[n++] =
            (struct container_part){(uint16_t)layout, (uint64_t)number};
    }
    return ERR_OK;
}

/* `scratch` is the part of the definition's storage behind the text. */
static int read_definition(const struct json *j, struct buf *scratch,
                           struct container_def *def, struct err_msg *msg)
{
    if (json_type(j, 0) != JSON_OBJECT ||
        json_get_string(j, 0, "id", scratch, &def->name) != ERR_OK)
        return corrupt(msg, "id");
    if (policy_read_partition_key(j, json_get_str(j, 0, "partitionKey"),
                                  scratch, &def->pk, NULL) != ERR_OK)
        return corrupt(msg, "partitionKey");
    int placed = json_get_string(j, 0, "_placement", scratch, &def->placement);
    if (placed != ERR_OK && placed != ERR_NOT_FOUND)
        return corrupt(msg, "_placement");
    int64_t layout;
    if (read_number(j, 0, "_layout", UINT16_MAX, &layout) != ERR_OK)
        return corrupt(msg, "_layout");
    def->layout = (uint16_t)layout;
    if (read_map(def, msg) != ERR_OK)
        return ERR_CORRUPT;
    if (read_parts(j, def) != ERR_OK)
        return corrupt(msg, "_parts");
    uint8_t parts = def->map != NULL ? def->map->group_count : 1;
    if (read_move(j, scratch, parts, &def->move) != ERR_OK)
        return corrupt(msg, "_move");
    json_ref unique = json_get_str(j, 0, "uniqueKeyPolicy");
    def->has_unique_keys =
        unique != JSON_NONE && !is_empty_unique_policy(j, unique);
    int err = json_get_string(j, 0, "_etag", scratch, &def->etag);
    if (err != ERR_OK && err != ERR_NOT_FOUND)
        return corrupt(msg, "_etag");
    err = json_get_int64(j, 0, "_ts", &def->ts);
    if (err != ERR_OK && err != ERR_NOT_FOUND)
        return corrupt(msg, "_ts");
    err = read_rid(j, def, msg);
    return err == ERR_OK ? read_ttl(j, def, msg) : err;
}

int container_def_parse(struct bytes json, struct container_def **def_out,
                        struct err_msg *msg)
{
    if (json.len > JSON_TEXT_MAX)
        return corrupt(msg, "its size");
    struct container_def *def = mem_zalloc(sizeof(*def));
    def->magic = CONTAINER_DEF_MAGIC;
    def->refs = 1;
    /* Decoded strings stand behind the text; all of them together are shorter
     * than it, but paths may be decoded twice. */
    size_t room = 2 * json.len + 1;
    def->storage = mem_alloc(json.len + room);
    memcpy(def->storage, json.data, json.len);
    def->json = bytes_of(def->storage, json.len);
    struct buf scratch = buf_over(def->storage + json.len, room);
    struct json j;
    json_init(&j);
    int err = json_parse(&j, def->json, JSON_TEXT_MAX, NULL);
    err = err == ERR_OK ? read_definition(&j, &scratch, def, msg)
                        : corrupt(msg, "its JSON");
    json_free(&j);
    if (err == ERR_OK)
        *def_out = def;
    else
        container_def_unref(def);
    return err;
}

struct container_def *container_def_ref(struct container_def *def)
{
    CHECK_OBJ(def, CONTAINER_DEF_MAGIC);
    CHECK(def->refs > 0 && def->refs < UINT32_MAX);
    def->refs++;
    return def;
}

void container_def_unref(struct container_def *def)
{
    if (def == NULL)
        return;
    CHECK_OBJ(def, CONTAINER_DEF_MAGIC);
    CHECK(def->refs > 0);
    if (--def->refs > 0)
        return;
    def->magic = 0;
    mem_free(def->map);
    mem_free(def->storage);
    mem_free(def);
}

static struct bytes group_named(struct bytes name)
{
    return name.len > 0 ? name : bytes_str(GROUP_DEFAULT_NAME);
}

int container_find_part(const struct container_def *def, struct bytes group)
{
    CHECK_OBJ(def, CONTAINER_DEF_MAGIC);
    const struct placement_map *m = def->map;
    struct bytes name = group_named(group);
    if (m == NULL)
        return bytes_equal(group_named(def->placement), name) ? 0 : -1;
    for (uint8_t i = 0; i < m->group_count; i++)
        if (bytes_equal(name, bytes_str(m->groups[i])))
            return i;
    return -1;
}

bool container_placed_in(const struct container_def *def, struct bytes group)
{
    return container_find_part(def, group) >= 0;
}

struct container_part container_part(const struct container_def *def, int part)
{
    CHECK(part >= 0 && part < CONTAINER_PARTS_MAX);
    if (def->map != NULL)
        return def->parts[part];
    return (struct container_part){def->layout, def->move.number};
}

bool container_changes_group(const struct container_def *def)
{
    const struct container_move *m = &def->move;
    return m->phase != CONTAINER_STAYS &&
           container_find_part(def, m->other) != m->part;
}

uint64_t container_arrival(const struct container_def *def)
{
    uint64_t newest = def->move.number;
    for (int i = 0; i < CONTAINER_PARTS_MAX; i++)
        if (def->parts[i].number > newest)
            newest = def->parts[i].number;
    return newest;
}

struct container_place container_place(const struct container_def *def)
{
    struct container_place place = {def->placement, def->layout, 0, {{0}}};
    if (def->map == NULL)
        return place;
    place.part_count = def->map->group_count;
    memcpy(place.parts, def->parts, sizeof(place.parts));
    return place;
}

int database_create(const struct json *j, json_ref object, struct buf *json_out,
                    struct err_msg *msg)
{
    if (!policy_is(j, object, JSON_OBJECT))
        return err_set(msg, ERR_INVALID,
                       "The request body is invalid: expected a JSON object.");
    struct buf scratch;
    struct bytes name;
    buf_init(&scratch, DEFINITION_MAX);
    int err = resource_name_get(j, object, &scratch, &name, msg);
    if (err == ERR_OK) {
        size_t before = buf_len(json_out);
        struct json_writer w;
        json_writer_init(&w, json_out);
        json_write_object_begin(&w);
        json_write_member_string(&w, "id", name);
        json_write_object_end(&w);
        err = json_writer_end(&w);
        if (err != ERR_OK)
            buf_truncate(json_out, before);
    }
    buf_free(&scratch);
    return err;
}
