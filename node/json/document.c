/* Equal keys, and the form in which a document is stored. */
#include <stdlib.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/mem.h"
#include "node/json/internal.h"
#include "node/json/json.h"

/* Objects up to this size are checked without sorting; a power of two. */
#define SMALL_OBJECT 128

/* A member of an object whose equal keys are being resolved. */
struct member {
    struct bytes name; /* decoded */
    json_ref key;
    json_ref
        value; /* JSON_NONE: an earlier member of this name stands for it */
};

/* All members of one object. */
struct members {
    struct member *list;
    uint32_t count;
    bool unique;
    struct buf decoded; /* names with escapes */
};

static int by_name(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    if (x->name.len != y->name.len)
        return x->name.len < y->name.len ? -1 : 1;
    int order =
        x->name.len > 0 ? memcmp(x->name.data, y->name.data, x->name.len) : 0;
    return order != 0 ? order : (x->key > y->key) - (x->key < y->key);
}

static int by_position(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    return (x->key > y->key) - (x->key < y->key);
}

static void members_free(struct members *m)
{
    free(m->list);
    buf_free(&m->decoded);
}

static int members_collect(struct members *m, const struct json *j,
                           json_ref object)
{
    uint8_t *room;
    uint32_t i = 0;
    int result = ERR_OK;
    for (json_ref k = json_first(j, object); k != JSON_NONE;
         k = json_next_member(j, object, k)) {
        /* Reserved once for all names: decoded ones must not move. */
        if (json_string_escaped(j, k) && m->decoded.cap == 0)
            result = buf_reserve(&m->decoded, json_raw(j, object).len, &room);
        struct member *to = &m->list[i++];
        to->key = k;
        to->value = k + 1;
        if (result == ERR_OK)
            result = json_string(j, k, &m->decoded, &to->name);
        if (result != ERR_OK)
            return result;
    }
    CHECK(i == m->count);
    return ERR_OK;
}

/* The first member of a name gets the value of the last. Sorting keeps this
 * bounded for any keys an adversary sends. */
static void members_resolve(struct members *m)
{
    qsort(m->list, m->count, sizeof(*m->list), by_name);
    m->unique = true;
    for (uint32_t first = 0, i = 1; i < m->count; i++) {
        if (!bytes_equal(m->list[i].name, m->list[first].name)) {
            first = i;
            continue;
        }
        m->unique = false;
        m->list[first].value = m->list[i].value;
        m->list[i].value = JSON_NONE;
    }
    qsort(m->list, m->count, sizeof(*m->list), by_position);
}

/* Free the members when it succeeds. */
static int members_of(const struct json *j, json_ref object,
                      struct members *m_out)
{
    struct members m = {.count = json_count(j, object)};
    buf_init(&m.decoded, JSON_TEXT_MAX);
    m.list = mem_try_alloc((m.count + 1) * sizeof(*m.list));
    int result = ERR_NO_MEMORY;
    if (m.list != NULL)
        result = members_collect(&m, j, object);
    if (result != ERR_OK) {
        members_free(&m);
        return result;
    }
    members_resolve(&m);
    *m_out = m;
    return ERR_OK;
}

/* Whether two keys without escapes are equal. */
static bool plain_keys_equal(const struct json *j, json_ref a, json_ref b)
{
    const struct json_node *x = &j->nodes[a], *y = &j->nodes[b];
    return x->len == y->len &&
           memcmp(j->text + x->at, j->text + y->at, x->len) == 0;
}

/* Spreads keys over a small table; collisions only cost time. */
static uint32_t hash_key(const struct json *j, json_ref key)
{
    const struct json_node *n = &j->nodes[key];
    const uint8_t *p = j->text + n->at;
    uint64_t head = 0, tail = 0;
    if (n->len >= 8) {
        memcpy(&head, p, 8);
        memcpy(&tail, p + n->len - 8, 8);
    } else {
        for (uint32_t i = 0; i < n->len; i++)
            head = head << 8 | p[i];
    }
    uint64_t h = (head ^ n->len) * 0x9e3779b97f4a7c15ULL;
    h = (h ^ h >> 32 ^ tail) * 0xbf58476d1ce4e5b9ULL;
    return (uint32_t)(h ^ h >> 32 ^ h >> 48);
}

/* A quick answer for small objects without escaped keys, by a hash table on
 * the stack. `*known_out` is false when the question stays open. */
static bool small_object_unique(const struct json *j, json_ref object,
                                bool *known_out)
{
    json_ref slots[2 * SMALL_OBJECT];
    uint32_t count = json_count(j, object), size = 4;
    *known_out = false;
    if (count > SMALL_OBJECT)
        return false;
    while (size < 2 * count)
        size *= 2;
    memset(slots, 0xff, size * sizeof(*slots));
    for (json_ref k = json_first(j, object); k != JSON_NONE;
         k = json_next_member(j, object, k)) {
        if (j->nodes[k].flags & JSON_NODE_ESCAPED)
            return false;
        uint32_t at = hash_key(j, k) % size;
        for (; slots[at] != JSON_NONE; at = (at + 1) % size)
            if (plain_keys_equal(j, slots[at], k)) {
                *known_out = true;
                return false;
            }
        slots[at] = k;
    }
    *known_out = true;
    return true;
}

static bool object_unique(const struct json *j, json_ref object)
{
    bool known;
    bool unique = small_object_unique(j, object, &known);
    if (known)
        return unique;
    struct members m;
    if (members_of(j, object, &m) != ERR_OK)
        return false;
    unique = m.unique;
    members_free(&m);
    return unique;
}

bool json_members_unique(const struct json *j, json_ref ref)
{
    CHECK(ref < j->count);
    json_ref end = j->nodes[ref].next;
    for (json_ref r = ref; r < end; r++)
        if (j->nodes[r].type == JSON_OBJECT && !object_unique(j, r))
            return false;
    return true;
}

static const char *const system_properties[] = {
    "_rid", "_self", "_etag", "_attachments", "_ts", "_lsn",
};

bool json_is_system_property(struct bytes name)
{
    if (name.len < 3 || name.data[0] != '_')
        return false;
    for (size_t i = 0; i < ARRAY_LEN(system_properties); i++)
        if (bytes_equal(name, bytes_str(system_properties[i])))
            return true;
    return false;
}

static bool is_system_key(const struct json *j, json_ref key)
{
    if (!json_string_escaped(j, key)) {
        struct bytes raw = json_raw(j, key);
        return json_is_system_property(bytes_of(raw.data + 1, raw.len - 2));
    }
    for (size_t i = 0; i < ARRAY_LEN(system_properties); i++)
        if (json_string_equal(j, key, bytes_str(system_properties[i])))
            return true;
    return false;
}

static bool has_system_key(const struct json *j, json_ref object)
{
    for (json_ref k = json_first(j, object); k != JSON_NONE;
         k = json_next_member(j, object, k))
        if (is_system_key(j, k))
            return true;
    return false;
}

static void write_tree(struct json_writer *w, const struct json *j,
                       json_ref ref);

/* How the members of an object are written. */
struct style {
    bool clean;       /* values may be copied as they stand */
    bool skip_system; /* leave out system properties */
};

static void write_member(struct json_writer *w, const struct json *j,
                         json_ref key, json_ref value, struct style style)
{
    if (style.skip_system && is_system_key(j, key))
        return;
    json_write_key_raw(w, json_raw(j, key));
    if (style.clean)
        json_write_raw(w, json_raw(j, value));
    else
        write_tree(w, j, value);
}

static void write_resolved(struct json_writer *w, const struct json *j,
                           json_ref object, struct style style)
{
    struct members m;
    w->result = members_of(j, object, &m);
    if (w->result != ERR_OK)
        return;
    for (uint32_t i = 0; i < m.count && w->result == ERR_OK; i++)
        if (m.list[i].value != JSON_NONE)
            write_member(w, j, m.list[i].key, m.list[i].value, style);
    members_free(&m);
}

static void write_members(struct json_writer *w, const struct json *j,
                          json_ref object, struct style style)
{
    if (w->result != ERR_OK)
        return;
    if (!style.clean && !object_unique(j, object)) {
        write_resolved(w, j, object, style);
        return;
    }
    for (json_ref k = json_first(j, object);
         k != JSON_NONE && w->result == ERR_OK;
         k = json_next_member(j, object, k))
        write_member(w, j, k, k + 1, style);
}

/* Recursive: the parser bounds the depth. */
static void write_tree(struct json_writer *w, const struct json *j,
                       json_ref ref)
{
    if (json_type(j, ref) == JSON_OBJECT) {
        json_write_object_begin(w);
        write_members(w, j, ref, (struct style){false, false});
        json_write_object_end(w);
        return;
    }
    if (json_type(j, ref) != JSON_ARRAY) {
        json_write_raw(w, json_raw(j, ref));
        return;
    }
    json_write_array_begin(w);
    for (json_ref v = json_first(j, ref); v != JSON_NONE && w->result == ERR_OK;
         v = json_next(j, ref, v))
        write_tree(w, j, v);
    json_write_array_end(w);
}

/* Whether the text of `ref` is already what would be written. */
static bool is_clean(const struct json *j, json_ref ref)
{
    return !j->has_space && json_members_unique(j, ref);
}

void json_write_value(struct json_writer *w, const struct json *j, json_ref ref)
{
    if (is_clean(j, ref))
        json_write_raw(w, json_raw(j, ref));
    else
        write_tree(w, j, ref);
}

void json_document_normalise(struct json_writer *w, const struct json *j,
                             json_ref object)
{
    CHECK(object < j->count && json_type(j, object) == JSON_OBJECT);
    json_write_object_begin(w);
    bool clean = is_clean(j, object);
    if (!clean || has_system_key(j, object)) {
        write_members(w, j, object, (struct style){clean, true});
    } else if (json_count(j, object) > 0) {
        struct bytes text = json_raw(j, object);
        json_write_raw(w, bytes_of(text.data + 1, text.len - 2));
    }
}
