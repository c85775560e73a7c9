/* A B+ tree: leaves hold, per key, the head of its version chain and the key's
 * first 16 bytes as two integers. Most comparisons are decided by those, so a
 * descent touches a few cache lines per level and no payload.
 *
 * Separators in inner nodes are copies: the keys they were taken from may go.
 * Nodes are never merged; an empty leaf is removed at once. That is enough
 * because a memtable empties from flush to flush. */
#include "node/store/memtable.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/base/mem.h"
#include "node/store/effects.h"

#define FANOUT 32
/* Enough for FANOUT/2 to the power of it keys. */
#define DEPTH_MAX 16

struct version {
    struct version *older;
    struct entry *entry;
    const uint8_t *key;
    const uint8_t *value;
    uint32_t value_len;
    uint8_t key_len;
    bool deleted;
};

/* The first 16 bytes of a key, zero-padded, as numbers that sort like it. */
struct head {
    uint64_t hi, lo;
};

struct node {
    uint16_t count;
    bool leaf;
    struct head heads[FANOUT]; /* inner: of separators; [0] is not used */
};

struct leaf {
    struct node node;
    struct leaf *prev, *next;
    struct version *newest[FANOUT];
};

/* Child i holds keys >= separator i (i >= 1) and < separator i + 1. */
struct separator {
    uint8_t len;
    uint8_t key[];
};
struct inner {
    struct node node;
    struct separator *separators[FANOUT];
    struct node *children[FANOUT];
};

struct memtable {
    struct node *root;
    struct leaf *first;
    size_t cap;
    size_t bytes;
    size_t keys;
    size_t versions;
    /* Where an unfinished memtable_trim for trim_lsn goes on: after this key.
     */
    uint64_t trim_lsn;
    uint8_t trim_key[EFFECTS_KEY_MAX];
    size_t trim_key_len;
};

/* The inner nodes on the way to a leaf and which child was taken. */
struct path {
    struct inner *inner[DEPTH_MAX];
    unsigned child[DEPTH_MAX];
    unsigned depth;
    struct leaf *leaf;
};

/* -- keys -- */

static uint64_t load_be(const uint8_t *p, size_t len)
{
    uint8_t padded[8] = {0};
    memcpy(padded, p, len < 8 ? len : 8);
    return get_u64_be(padded);
}

static struct head head_of(struct bytes key)
{
    struct head h = {0, 0};
    if (key.len >= 16) {
        h.hi = get_u64_be(key.data);
        h.lo = get_u64_be(key.data + 8);
        return h;
    }
    h.hi = load_be(key.data, key.len);
    if (key.len > 8)
        h.lo = load_be(key.data + 8, key.len - 8);
    return h;
}

static struct bytes version_key(const struct version *v)
{
    return bytes_of(v->key, v->key_len);
}

static struct bytes slot_key(const struct node *n, unsigned i)
{
    if (n->leaf)
        return version_key(((const struct leaf *)n)->newest[i]);
    const struct separator *s = ((const struct inner *)n)->separators[i];
    return bytes_of(s->key, s->len);
}

/* Orders the key at slot i against `key`. */
static int slot_compare(const struct node *n, unsigned i, struct head head,
                        struct bytes key)
{
    const struct head *h = &n->heads[i];
    if (h->hi != head.hi)
        return h->hi < head.hi ? -1 : 1;
    if (h->lo != head.lo)
        return h->lo < head.lo ? -1 : 1;
    return bytes_compare(slot_key(n, i), key);
}

/* First slot in [low, count) whose key is >= `key` (or > it, with `after`). */
static unsigned lower_bound(const struct node *n, unsigned low,
                            struct head head, struct bytes key, bool after)
{
    unsigned high = n->count;
    while (low < high) {
        unsigned mid = (low + high) / 2;
        int order = slot_compare(n, mid, head, key);
        if (order < 0 || (order == 0 && after))
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* -- nodes -- */

static struct leaf *leaf_new(struct memtable *m)
{
    struct leaf *l = mem_alloc(sizeof(*l));
    l->node.count = 0;
    l->node.leaf = true;
    l->prev = l->next = NULL;
    m->bytes += sizeof(*l);
    return l;
}

static struct inner *inner_new(struct memtable *m)
{
    struct inner *n = mem_alloc(sizeof(*n));
    n->node.count = 0;
    n->node.leaf = false;
    n->separators[0] = NULL;
    m->bytes += sizeof(*n);
    return n;
}

static struct separator *separator_of(struct bytes key)
{
    struct separator *s = mem_alloc(sizeof(*s) + key.len);
    s->len = (uint8_t)key.len;
    memcpy(s->key, key.data, key.len);
    return s;
}

struct memtable *memtable_new(size_t cap_bytes)
{
    struct memtable *m = mem_zalloc(sizeof(*m));
    m->cap = cap_bytes;
    m->first = leaf_new(m);
    m->root = &m->first->node;
    return m;
}

void memtable_set_cap(struct memtable *m, size_t cap_bytes)
{
    m->cap = cap_bytes;
}

static void version_free(struct memtable *m, struct version *v)
{
    size_t bytes = sizeof(*v) + v->key_len + v->value_len;
    CHECK(m->bytes >= bytes && m->versions > 0);
    m->bytes -= bytes;
    m->versions--;
    entry_unref(v->entry);
    mem_free(v);
}

static void node_free(struct memtable *m, struct node *n)
{
    if (n->leaf) {
        for (unsigned i = 0; i < n->count; i++) {
            struct version *v = ((struct leaf *)n)->newest[i];
            while (v != NULL) {
                struct version *older = v->older;
                version_free(m, v);
                v = older;
            }
        }
        m->bytes -= sizeof(struct leaf);
    } else {
        struct inner *inner = (struct inner *)n;
        for (unsigned i = 0; i < n->count; i++) {
            node_free(m, inner->children[i]);
            mem_free(inner->separators[i]);
        }
        m->bytes -= sizeof(struct inner);
    }
    mem_free(n);
}

void memtable_free(struct memtable *m)
{
    if (m == NULL)
        return;
    node_free(m, m->root);
    CHECK(m->bytes == 0 && m->versions == 0);
    mem_free(m);
}

void memtable_clear(struct memtable *m)
{
    node_free(m, m->root);
    CHECK(m->bytes == 0 && m->versions == 0);
    m->first = leaf_new(m);
    m->root = &m->first->node;
    m->keys = 0;
    m->trim_key_len = 0;
}

/* -- finding -- */

static unsigned child_for(const struct node *n, struct head head,
                          struct bytes key)
{
    return lower_bound(n, 1, head, key, true) - 1;
}

static const struct leaf *find_leaf(const struct memtable *m, struct head head,
                                    struct bytes key)
{
    const struct node *n = m->root;
    while (!n->leaf)
        n = ((const struct inner *)n)->children[child_for(n, head, key)];
    return (const struct leaf *)n;
}

static void find_path(struct memtable *m, struct head head, struct bytes key,
                      struct path *path)
{
    struct node *n = m->root;
    path->depth = 0;
    while (!n->leaf) {
        CHECK(path->depth < DEPTH_MAX);
        struct inner *inner = (struct inner *)n;
        unsigned child = child_for(n, head, key);
        path->inner[path->depth] = inner;
        path->child[path->depth] = child;
        path->depth++;
        n = inner->children[child];
    }
    path->leaf = (struct leaf *)n;
}

static const struct version *visible(const struct version *v, uint64_t read_lsn)
{
    while (v != NULL && v->entry->lsn > read_lsn)
        v = v->older;
    return v;
}

static void describe(const struct version *v, struct memtable_version *out)
{
    *out = (struct memtable_version){
        .key = version_key(v),
        .value = bytes_of(v->value, v->value_len),
        .lsn = v->entry->lsn,
        .deleted = v->deleted,
        .entry = v->entry,
    };
}

enum memtable_hit memtable_get(const struct memtable *m, struct bytes key,
                               uint64_t read_lsn,
                               struct memtable_version *version_out)
{
    struct head head = head_of(key);
    const struct leaf *leaf = find_leaf(m, head, key);
    unsigned i = lower_bound(&leaf->node, 0, head, key, false);
    if (i == leaf->node.count || slot_compare(&leaf->node, i, head, key) != 0)
        return MEMTABLE_MISS;
    const struct version *v = visible(leaf->newest[i], read_lsn);
    if (v == NULL)
        return MEMTABLE_MISS;
    describe(v, version_out);
    return v->deleted ? MEMTABLE_TOMBSTONE : MEMTABLE_FOUND;
}

void memtable_seek(const struct memtable *m, struct bytes from, bool after,
                   uint64_t read_lsn, struct memtable_iter *iter_out)
{
    struct head head = head_of(from);
    const struct leaf *leaf = find_leaf(m, head, from);
    iter_out->m = m;
    iter_out->read_lsn = read_lsn;
    iter_out->leaf = leaf;
    iter_out->slot = lower_bound(&leaf->node, 0, head, from, after);
}

bool memtable_next(struct memtable_iter *iter,
                   struct memtable_version *version_out)
{
    for (const struct leaf *leaf = iter->leaf; leaf != NULL;) {
        if (iter->slot == leaf->node.count) {
            iter->leaf = leaf = leaf->next;
            iter->slot = 0;
            continue;
        }
        const struct version *v =
            visible(leaf->newest[iter->slot++], iter->read_lsn);
        if (v == NULL)
            continue;
        describe(v, version_out);
        return true;
    }
    return false;
}

/* -- inserting -- */

static void inner_insert(struct inner *inner, unsigned at, struct head head,
                         struct separator *separator, struct node *child)
{
    struct node *n = &inner->node;
    CHECK(n->count < FANOUT && at <= n->count);
    unsigned moved = n->count - at;
    memmove(n->heads + at + 1, n->heads + at, moved * sizeof(*n->heads));
    memmove(inner->separators + at + 1, inner->separators + at,
            moved * sizeof(struct separator *));
    memmove(inner->children + at + 1, inner->children + at,
            moved * sizeof(struct node *));
    n->heads[at] = head;
    inner->separators[at] = separator;
    inner->children[at] = child;
    n->count++;
}

/* Moves the upper half of a full inner node to a new one; the separator that
 * divides them goes up and is returned through the last two parameters. */
static struct inner *inner_split(struct memtable *m, struct inner *left,
                                 struct head *head_out,
                                 struct separator **separator_out)
{
    struct inner *right = inner_new(m);
    unsigned half = FANOUT / 2, moved = left->node.count - half;
    memcpy(right->node.heads, left->node.heads + half,
           moved * sizeof(*left->node.heads));
    memcpy(right->separators, left->separators + half,
           moved * sizeof(struct separator *));
    memcpy(right->children, left->children + half,
           moved * sizeof(struct node *));
    right->node.count = (uint16_t)moved;
    left->node.count = (uint16_t)half;
    *head_out = right->node.heads[0];
    *separator_out = TAKE(right->separators[0]);
    return right;
}

/* Puts `child`, the new right neighbour of the node at the end of the path,
 * into its parent, splitting upwards as far as it takes. */
static void add_child(struct memtable *m, struct path *path, struct head head,
                      struct separator *separator, struct node *child)
{
    unsigned level = path->depth;
    while (level > 0) {
        level--;
        struct inner *inner = path->inner[level];
        unsigned at = path->child[level] + 1;
        if (inner->node.count < FANOUT) {
            inner_insert(inner, at, head, separator, child);
            return;
        }
        struct head up_head;
        struct separator *up;
        struct inner *right = inner_split(m, inner, &up_head, &up);
        if (at > inner->node.count)
            inner_insert(right, at - inner->node.count, head, separator, child);
        else
            inner_insert(inner, at, head, separator, child);
        head = up_head;
        separator = up;
        child = &right->node;
    }
    struct inner *root = inner_new(m);
    inner_insert(root, 0, (struct head){0, 0}, NULL, m->root);
    inner_insert(root, 1, head, separator, child);
    m->root = &root->node;
}

static struct leaf *leaf_split(struct memtable *m, struct path *path,
                               unsigned at)
{
    struct leaf *left = path->leaf, *right = leaf_new(m);
    /* Rising keys are common (a bulk load): leave the left leaf full then. */
    bool rising = left->next == NULL && at == left->node.count;
    unsigned half = rising ? FANOUT - 1 : FANOUT / 2;
    unsigned moved = left->node.count - half;
    memcpy(right->node.heads, left->node.heads + half,
           moved * sizeof(*left->node.heads));
    memcpy(right->newest, left->newest + half,
           moved * sizeof(struct version *));
    right->node.count = (uint16_t)moved;
    left->node.count = (uint16_t)half;
    right->prev = left;
    right->next = left->next;
    if (right->next != NULL)
        right->next->prev = right;
    left->next = right;
    add_child(m, path, right->node.heads[0],
              separator_of(version_key(right->newest[0])), &right->node);
    return right;
}

static void leaf_insert(struct memtable *m, struct path *path, unsigned at,
                        struct head head, struct version *v)
{
    struct leaf *leaf = path->leaf;
    if (leaf->node.count == FANOUT) {
        struct leaf *right = leaf_split(m, path, at);
        if (at > leaf->node.count) {
            at -= leaf->node.count;
            leaf = right;
        }
    }
    unsigned moved = leaf->node.count - at;
    memmove(leaf->node.heads + at + 1, leaf->node.heads + at,
            moved * sizeof(struct head));
    memmove(leaf->newest + at + 1, leaf->newest + at,
            moved * sizeof(struct version *));
    leaf->node.heads[at] = head;
    leaf->newest[at] = v;
    leaf->node.count++;
    m->keys++;
}

static struct version *version_new(struct memtable *m, struct entry *e,
                                   struct bytes key, struct bytes value,
                                   bool deleted)
{
    struct version *v = mem_alloc(sizeof(*v));
    *v = (struct version){
        .entry = entry_ref(e),
        .key = key.data,
        .value = value.data,
        .value_len = (uint32_t)value.len,
        .key_len = (uint8_t)key.len,
        .deleted = deleted,
    };
    m->bytes += sizeof(*v) + key.len + value.len;
    m->versions++;
    return v;
}

static bool inside(const struct entry *e, struct bytes part)
{
    return part.data >= e->data && part.data + part.len <= e->data + e->len;
}

/* `key` and `value` lie inside e->data. */
static void change(struct memtable *m, struct entry *e, struct bytes key,
                   struct bytes value, bool deleted)
{
    CHECK(key.len >= 1 && key.len <= EFFECTS_KEY_MAX && inside(e, key));
    CHECK(value.len == 0 || inside(e, value));
    struct head head = head_of(key);
    struct path path;
    find_path(m, head, key, &path);
    struct leaf *leaf = path.leaf;
    unsigned at = lower_bound(&leaf->node, 0, head, key, false);
    bool known =
        at < leaf->node.count && slot_compare(&leaf->node, at, head, key) == 0;
    if (!known) {
        leaf_insert(m, &path, at, head, version_new(m, e, key, value, deleted));
        return;
    }
    struct version *newest = leaf->newest[at];
    CHECK(newest->entry->lsn <= e->lsn);
    struct version *v = version_new(m, e, key, value, deleted);
    v->older = newest;
    leaf->newest[at] = v;
    if (newest->entry->lsn == e->lsn) {
        CHECK(newest->entry == e);
        v->older = newest->older;
        version_free(m, newest);
    }
}

int memtable_apply(struct memtable *m, struct entry *e)
{
    struct effects_head head;
    struct effects_iter iter;
    int code = effects_open(entry_payload(e), &head, &iter);
    if (code != ERR_OK)
        return code;
    struct effect effect;
    while (effects_next(&iter, &effect))
        change(m, e, effect.key, effect.value, effect.kind == EFFECT_DELETE);
    return ERR_OK;
}

/* -- dropping -- */

/* Which versions go. */
struct prune {
    enum { PRUNE_FROM, PRUNE_UP_TO, PRUNE_PREFIX } rule;
    uint64_t lsn;
    struct bytes prefix;
};

static bool has_prefix(struct bytes key, struct bytes prefix)
{
    return key.len >= prefix.len &&
           (prefix.len == 0 || memcmp(key.data, prefix.data, prefix.len) == 0);
}

static bool doomed(const struct prune *prune, const struct version *v)
{
    switch (prune->rule) {
    case PRUNE_FROM:
        return v->entry->lsn >= prune->lsn;
    case PRUNE_UP_TO:
        return v->entry->lsn <= prune->lsn;
    case PRUNE_PREFIX:
        return true;
    }
    CHECK_UNREACHABLE();
}

/* Removes the doomed versions of one chain; returns what remains. */
static struct version *prune_chain(struct memtable *m, struct version *v,
                                   const struct prune *prune)
{
    struct version *newest = NULL, **link = &newest;
    while (v != NULL) {
        struct version *older = v->older;
        if (doomed(prune, v)) {
            version_free(m, v);
        } else {
            *link = v;
            link = &v->older;
        }
        v = older;
    }
    *link = NULL;
    return newest;
}

static void inner_remove(struct inner *inner, unsigned at)
{
    struct node *n = &inner->node;
    mem_free(inner->separators[at]);
    unsigned moved = n->count - at - 1;
    memmove(n->heads + at, n->heads + at + 1, moved * sizeof(*n->heads));
    memmove(inner->separators + at, inner->separators + at + 1,
            moved * sizeof(struct separator *));
    memmove(inner->children + at, inner->children + at + 1,
            moved * sizeof(struct node *));
    n->count--;
    if (at == 0 && n->count > 0) {
        mem_free(inner->separators[0]);
        inner->separators[0] = NULL;
    }
}

/* Takes an empty leaf out of the tree, with every inner node that it leaves
 * empty, and lowers the root while it has a single child. */
static void remove_leaf(struct memtable *m, struct path *path)
{
    struct leaf *leaf = path->leaf;
    CHECK(leaf->node.count == 0);
    if (path->depth == 0)
        return; /* the root itself: an empty memtable */
    if (leaf->prev != NULL)
        leaf->prev->next = leaf->next;
    else
        m->first = leaf->next;
    if (leaf->next != NULL)
        leaf->next->prev = leaf->prev;
    node_free(m, &leaf->node);
    unsigned level = path->depth;
    while (level > 0) {
        level--;
        struct inner *inner = path->inner[level];
        inner_remove(inner, path->child[level]);
        if (inner->node.count > 0)
            break;
        CHECK(level > 0); /* the root has at least two children */
        node_free(m, &inner->node);
    }
    while (!m->root->leaf && m->root->count == 1) {
        struct inner *root = (struct inner *)m->root;
        m->root = root->children[0];
        root->node.count = 0;
        node_free(m, &root->node);
    }
}

/* Prunes one leaf from slot `at` on. Returns how many keys it looked at and
 * whether a key outside the prefix ended it. */
static unsigned prune_leaf(struct memtable *m, struct leaf *leaf, unsigned at,
                           const struct prune *prune, bool *past_out)
{
    unsigned kept = at, i = at;
    bool past = false;
    for (; i < leaf->node.count; i++) {
        struct version *v = leaf->newest[i];
        past = past || !has_prefix(version_key(v), prune->prefix);
        if (!past)
            v = prune_chain(m, v, prune);
        if (v == NULL) {
            m->keys--;
            continue;
        }
        leaf->node.heads[kept] = leaf->node.heads[i];
        leaf->newest[kept++] = v;
    }
    unsigned seen = leaf->node.count - at;
    leaf->node.count = (uint16_t)kept;
    *past_out = past;
    return seen;
}

/* Prunes leaf by leaf, beginning with the keys > `from` (`after`) or >= it,
 * until the end or until `budget` keys were looked at. True at the end; else
 * the last key looked at is in `last` (room for EFFECTS_KEY_MAX bytes). */
static bool prune_range(struct memtable *m, struct bytes from, bool after,
                        const struct prune *prune, size_t budget, uint8_t *last,
                        size_t *last_len)
{
    uint8_t key_room[EFFECTS_KEY_MAX];
    struct bytes key = from;
    for (;;) {
        struct path path;
        struct head head = head_of(key);
        find_path(m, head, key, &path);
        struct leaf *leaf = path.leaf;
        unsigned at = lower_bound(&leaf->node, 0, head, key, after);
        /* The key to go on from must be read before its versions go. */
        bool any = leaf->node.count > at;
        if (any) {
            struct bytes end = slot_key(&leaf->node, leaf->node.count - 1u);
            memcpy(key_room, end.data, end.len);
            key = bytes_of(key_room, end.len);
            after = true;
        }
        struct leaf *next = leaf->next;
        bool past;
        unsigned seen = prune_leaf(m, leaf, at, prune, &past);
        if (leaf->node.count == 0)
            remove_leaf(m, &path);
        if (next == NULL || past)
            return true;
        if (seen >= budget) {
            memcpy(last, key.data, key.len);
            *last_len = key.len;
            return false;
        }
        budget -= seen;
        if (!any) { /* `from` lies past this leaf's last key */
            struct bytes begin = slot_key(&next->node, 0);
            memcpy(key_room, begin.data, begin.len);
            key = bytes_of(key_room, begin.len);
            after = false;
        }
    }
}

void memtable_truncate(struct memtable *m, uint64_t from_lsn)
{
    struct prune prune = {.rule = PRUNE_FROM, .lsn = from_lsn};
    uint8_t last[EFFECTS_KEY_MAX];
    size_t last_len;
    prune_range(m, bytes_of("", 0), false, &prune, SIZE_MAX, last, &last_len);
}

bool memtable_trim(struct memtable *m, uint64_t flushed_lsn, size_t budget)
{
    struct prune prune = {.rule = PRUNE_UP_TO, .lsn = flushed_lsn};
    uint8_t last[EFFECTS_KEY_MAX];
    size_t last_len = 0;
    if (m->trim_lsn != flushed_lsn)
        m->trim_key_len = 0;
    m->trim_lsn = flushed_lsn;
    if (!prune_range(m, bytes_of(m->trim_key, m->trim_key_len),
                     m->trim_key_len > 0, &prune, budget, last, &last_len)) {
        memcpy(m->trim_key, last, last_len);
        m->trim_key_len = last_len;
        return false;
    }
    m->trim_key_len = 0;
    return true;
}

bool memtable_drop_prefix(struct memtable *m, struct bytes prefix,
                          size_t budget)
{
    CHECK(prefix.len <= EFFECTS_KEY_MAX);
    struct prune prune = {.rule = PRUNE_PREFIX, .prefix = prefix};
    uint8_t last[EFFECTS_KEY_MAX];
    size_t last_len;
    return prune_range(m, prefix, false, &prune, budget, last, &last_len);
}

/* -- accounting -- */

size_t memtable_bytes(const struct memtable *m)
{
    return m->bytes;
}

size_t memtable_keys(const struct memtable *m)
{
    return m->keys;
}

size_t memtable_versions(const struct memtable *m)
{
    return m->versions;
}

bool memtable_has_room(const struct memtable *m, size_t bytes)
{
    return m->bytes <= m->cap && bytes <= m->cap - m->bytes;
}
