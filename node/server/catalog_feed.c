#include "node/server/catalog_feed.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/catalog/rid.h"
#include "node/server/fence_guard.h"
#include "node/server/worker.h"
#include "node/shard/record.h"
#include "node/store/effects.h"

enum change { CHANGE_CLEAR, CHANGE_PUT, CHANGE_DELETE, CHANGE_ADVANCE };

/* One change of the catalog; as a message, with its own copy of the text. */
struct catalog_change {
    struct inbox_message message;
    enum change kind;
    uint32_t container;
    uint64_t record;
    uint64_t lsn;
    struct bytes json;
    uint8_t text[];
};

/* ---- a worker learns
 * ----------------------------------------------------------
 */

/* Opens one of a group's keys, which was wrapped for this node. */
static int open_key(const struct node *n, const struct catalog_group *g,
                    enum key_purpose purpose, uint32_t version,
                    const struct wrapped_key *wrapped, uint8_t key_out[KEY_LEN])
{
    struct key_name name = {.cluster = n->cluster_keys.cluster_id,
                            .group = g->name,
                            .id = group_key_id(g->number, purpose, version),
                            .purpose = purpose};
    if (!catalog_group_fenced(g))
        return wrapped->len == KEY_WRAPPED_LEN
                   ? key_unwrap(&n->kek, &name, wrapped->bytes, key_out)
                   : ERR_CORRUPT;
    if (n->region_key.region[0] == '\0')
        return ERR_NOT_FOUND;
    return wrapped->len == REGION_WRAPPED_LEN
               ? region_unwrap(&n->region_key, &name, wrapped->bytes, key_out)
               : ERR_CORRUPT;
}

/* Unwraps a version of a group's data key into the ring. */
static int open_version(struct worker *w, const struct catalog_group *g,
                        const struct group_keys *own, uint32_t version)
{
    uint8_t key[KEY_LEN];
    int err = open_key(w->node, g, KEY_PURPOSE_DATA, version,
                       &own->data[version], key);
    if (err == ERR_OK)
        err = keyring_add(w->keyring,
                          group_key_id(g->number, KEY_PURPOSE_DATA, version),
                          KEY_PURPOSE_DATA, key);
    mem_wipe(key, sizeof(key));
    return err;
}

static struct worker_group *find_keys(const struct worker *w, uint16_t group)
{
    for (uint32_t i = 0; i < w->group_count; i++)
        if (w->groups[i].number == group)
            return (struct worker_group *)&w->groups[i];
    return NULL;
}

bool catalog_feed_has_keys(const struct worker *w, uint16_t group)
{
    return find_keys(w, group) != NULL;
}

void catalog_feed_keys(struct worker *w, struct replica *r)
{
    const struct catalog_group *g = catalog_group_of_shard(w->catalog, r->id);
    const struct worker_group *keys =
        g != NULL ? find_keys(w, g->number) : NULL;
    if (keys != NULL && keys->data_key != 0)
        shard_set_key(r->shard, keys->data_key);
}

/* Whether the worker has, or is making, a replica of the group's shards. */
static bool has_replica(const struct worker *w, const struct worker_group *g)
{
    for (uint32_t i = 0; i < catalog_shards_count(g->shards); i++) {
        uint16_t id = catalog_shards_at(g->shards, i);
        if (w->replica_of[id] != NULL || w->opening[id])
            return true;
    }
    return false;
}

/* Whether the group is gone, or this node outside of it. */
static bool is_outside(const struct worker *w, const struct worker_group *keys)
{
    const struct catalog_group *g =
        catalog_group_number(w->catalog, keys->number);
    if (g == NULL)
        return catalog_shard_removed(w->catalog, keys->shards.newest.first);
    return catalog_group_fenced(g) &&
           catalog_group_region(g, w->node->config->region) == g->region_count;
}

const struct keyed_hash *catalog_feed_hash(const struct worker *w,
                                           uint16_t shard)
{
    if (shard == SHARD_META)
        return w->meta_hash;
    const struct catalog_group *g = catalog_group_of_shard(w->catalog, shard);
    const struct worker_group *keys =
        g != NULL ? find_keys(w, g->number) : NULL;
    return keys != NULL ? keys->hash : NULL;
}

/* The index key, which does not change, when the group is heard of first. */
static int learn_index(struct worker *w, const struct catalog_group *g,
                       const struct group_keys *own)
{
    uint8_t key[KEY_LEN];
    int err = open_key(w->node, g, KEY_PURPOSE_INDEX, 0, &own->index, key);
    if (err == ERR_OK && w->group_count == GROUPS_MAX)
        err = ERR_FULL; /* with those of one that is just removed */
    if (err == ERR_OK)
        w->groups[w->group_count++] = (struct worker_group){
            .number = g->number, .hash = keyed_hash_new(key)};
    mem_wipe(key, sizeof(key));
    return err;
}

/* Opens what is new of a group's keys. */
static int open_keys(struct worker *w, const struct catalog_group *g,
                     const struct group_keys *own)
{
    int err = find_keys(w, g->number) == NULL ? learn_index(w, g, own) : ERR_OK;
    struct worker_group *keys = find_keys(w, g->number);
    while (err == ERR_OK && keys->versions < own->versions) {
        err = open_version(w, g, own, keys->versions);
        keys->versions += err == ERR_OK;
    }
    return err;
}

/* Opens them, and has the replicas seal with the version that the record says.
 */
static void learn_keys(struct worker *w, const struct catalog_group *g)
{
    const struct group_keys *own =
        catalog_group_keys(g, w->node->config->region);
    if (own == NULL)
        return; /* not made yet, or not for this region */
    int err = open_keys(w, g, own);
    if (err != ERR_OK)
        log_error("the group's keys cannot be opened: are these the cluster's "
                  "key-encryption key and the region's key?",
                  LOG_STR("group", g->name), LOG_STR("error", err_text(err)));
    struct worker_group *keys = find_keys(w, g->number);
    if (keys == NULL)
        return;
    keys->shards = catalog_group_shards(g);
    if (g->sealing >= keys->versions)
        return;
    keys->data_key = group_key_id(g->number, KEY_PURPOSE_DATA, g->sealing);
    for (uint32_t i = 0; i < w->replica_count; i++)
        if (w->replicas[i]->id != SHARD_META)
            catalog_feed_keys(w, w->replicas[i]);
}

/* Those of groups for which there was no room before. */
static void learn_missing(struct worker *w)
{
    const struct catalog_group *g;
    const char *region = w->node->config->region;
    for (size_t i = 0; (g = catalog_group_at(w->catalog, i)) != NULL; i++)
        if (catalog_group_fenced(g) && find_keys(w, g->number) == NULL &&
            catalog_group_region(g, region) < g->region_count)
            learn_keys(w, g);
}

void catalog_feed_wipe_keys(struct worker *w)
{
    uint32_t before = w->group_count;
    for (uint32_t i = w->group_count; i-- > 0;) {
        struct worker_group *keys = &w->groups[i];
        if (!is_outside(w, keys) || has_replica(w, keys))
            continue;
        log_info("the keys of a placement group are wiped here",
                 LOG_UINT("number", keys->number));
        for (uint32_t v = 0; v < keys->versions; v++) {
            uint32_t id = group_key_id(keys->number, KEY_PURPOSE_DATA, v);
            keyring_remove(w->keyring, id);
            sealer_forget(w->sealer, id);
        }
        keyed_hash_free(keys->hash);
        *keys = w->groups[--w->group_count];
        w->groups[w->group_count] = (struct worker_group){.hash = NULL};
    }
    if (w->group_count < before)
        learn_missing(w);
}

/* catalog_put has accepted it. */
static void learn_group(struct worker *w, struct bytes json)
{
    struct catalog_group *g = mem_alloc(sizeof(*g));
    struct err_msg msg;
    CHECK(catalog_group_parse(json, g, &msg) == ERR_OK);
    uint32_t configured = w->node->config->shards;
    fence_guard_put(w, g);
    steering_put_group(&w->steering, g);
    if (g->number == GROUP_DEFAULT &&
        catalog_group_first_count(g) != configured)
        log_error("the cluster was created with another number of shards",
                  LOG_UINT("cluster", catalog_group_first_count(g)),
                  LOG_UINT("configured", configured));
    else
        learn_keys(w, g);
    mem_free(g);
}

static void learn_account(struct worker *w)
{
    feature_raise(&w->node->features,
                  catalog_account(w->catalog)->feature_level);
    steering_account_changed(&w->steering);
}

static void forget_group(struct worker *w, const struct catalog_change *c)
{
    const struct catalog_group *g =
        catalog_group_of_record(w->catalog, c->record);
    if (g != NULL)
        steering_drop_group(&w->steering, g->number);
}

static void forget_container(struct worker *w, uint64_t record)
{
    uint32_t number;
    if (rid_number(record, &number) != ERR_OK)
        return;
    for (uint32_t i = 0; i < w->replica_count; i++)
        if (w->replicas[i]->id != SHARD_META) {
            flusher_drop(&w->replicas[i]->flusher, number);
            flusher_drop(&w->replicas[i]->flusher,
                         number | CONTAINER_CONFLICTS);
        }
}

static void apply(struct worker *w, const struct catalog_change *c)
{
    struct err_msg msg;
    switch (c->kind) {
    case CHANGE_CLEAR:
        catalog_clear(w->catalog);
        fence_guard_forget(w);
        steering_forget_groups(&w->steering);
        break;
    case CHANGE_PUT:
        if (catalog_put(w->catalog, c->container, c->record, c->json, c->lsn,
                        &msg) != ERR_OK)
            log_error("catalog record ignored", LOG_STR("reason", msg.text));
        else if (c->container == CONTAINER_GROUPS)
            learn_group(w, c->json);
        else if (c->container == CONTAINER_ACCOUNT)
            learn_account(w);
        break;
    case CHANGE_DELETE:
        if (c->container == CONTAINER_GROUPS)
            forget_group(w, c);
        catalog_delete(w->catalog, c->container, c->record, c->lsn);
        if (c->container == CONTAINER_CONTAINERS)
            forget_container(w, c->record);
        else if (c->container == CONTAINER_GROUPS)
            fence_guard_removed(w);
        break;
    case CHANGE_ADVANCE:
        catalog_advance(w->catalog, c->lsn);
        break;
    }
}

static void deliver_change(struct inbox_message *m, void *owner)
{
    struct catalog_change *c = LIST_ENTRY(m, struct catalog_change, message);
    apply(owner, c);
    mem_free(c);
}

/* ---- spreading --------------------------------------------------------------
 */

/* Applies a change here and sends it to the other workers. */
static void spread(struct worker *meta, const struct catalog_change *c)
{
    apply(meta, c);
    struct node *node = meta->node;
    for (uint32_t i = 0; i < node->worker_count; i++) {
        if (&node->workers[i] == meta)
            continue;
        struct catalog_change *copy = mem_alloc(sizeof(*copy) + c->json.len);
        *copy = *c;
        if (c->json.len > 0)
            memcpy(copy->text, c->json.data, c->json.len);
        copy->json = bytes_of(copy->text, c->json.len);
        copy->message.deliver = deliver_change;
        inbox_post_reserved(&node->workers[i].inbox, &copy->message);
    }
}

struct loading {
    struct worker *meta;
    uint32_t container;
    uint64_t lsn;
    bool at_start;
};

static void load_record(void *user, uint64_t record, struct bytes text)
{
    struct loading *l = user;
    struct catalog_change c = {.kind = CHANGE_PUT,
                               .container = l->container,
                               .record = record,
                               .lsn = l->lsn,
                               .json = text};
    if (!l->at_start) {
        spread(l->meta, &c);
        return;
    }
    struct node *node = l->meta->node;
    for (uint32_t i = 0; i < node->worker_count; i++)
        apply(&node->workers[i], &c);
}

static int load_all(struct worker *meta, bool at_start)
{
    struct shard *s = worker_replica(meta, SHARD_META)->shard;
    struct loading l = {
        .meta = meta, .lsn = shard_commit_lsn(s), .at_start = at_start};
    for (l.container = CONTAINER_DATABASES; l.container <= CONTAINER_GROUPS;
         l.container++) {
        int err = shard_each_record(s, l.container, load_record, &l);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

int catalog_feed_load(struct worker *meta)
{
    return load_all(meta, true);
}

/* One effect on a catalog record; effects on the table of ids do not matter. */
static void spread_effect(struct worker *meta, struct shard *s,
                          const struct entry *e, const struct effect *effect)
{
    if (effect->key.len != RECORD_TEXT_KEY_LEN ||
        effect->key.data[0] != RECORD_TABLE_TEXT)
        return;
    struct catalog_change c = {.lsn = e->lsn};
    record_text_key_parts(effect->key, &c.container, &c.record);
    struct buf text;
    buf_init(&text, OP_BODY_MAX);
    if (effect->kind == EFFECT_DELETE) {
        c.kind = CHANGE_DELETE;
        spread(meta, &c);
    } else {
        int err = shard_open_value(s, effect->key, effect->value, &text);
        if (err == ERR_OK) {
            c.kind = CHANGE_PUT;
            c.json = bytes_of(buf_bytes(&text), buf_len(&text));
            spread(meta, &c);
        } else {
            log_error("a catalog record cannot be opened",
                      LOG_STR("error", err_text(err)));
        }
    }
    buf_wipe(&text);
}

void catalog_feed_committed(struct worker *meta, struct shard *s,
                            const struct entry *e)
{
    struct catalog_change advance = {.kind = CHANGE_ADVANCE};
    if (e == NULL) {
        struct catalog_change clear = {.kind = CHANGE_CLEAR};
        spread(meta, &clear);
        int err = load_all(meta, false);
        if (err != ERR_OK)
            log_error("the catalog cannot be read",
                      LOG_STR("error", err_text(err)));
        advance.lsn = shard_commit_lsn(s);
        spread(meta, &advance);
        return;
    }
    struct effects_head head;
    struct effects_iter iter;
    struct effect effect;
    if (e->type == RAFT_ENTRY_DATA) {
        CHECK(effects_open(entry_payload(e), &head, &iter) == ERR_OK);
        while (effects_next(&iter, &effect))
            spread_effect(meta, s, e, &effect);
    }
    advance.lsn = e->lsn;
    spread(meta, &advance);
}
