#include "node/server/catalog_feed.h"

#include <string.h>

#include "node/base/check.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/catalog/rid.h"
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

/* Unwraps a group's keys: the data key into the ring, the index key to the
 * caller, who wipes it. */
static int open_keys(struct worker *w, const struct catalog_group *g,
                     uint8_t index_key[KEY_LEN], uint32_t *data_id_out)
{
    uint8_t data_key[KEY_LEN];
    struct key_name name = {.cluster = w->node->cluster_keys.cluster_id,
                            .group = g->name,
                            .id = KEY_ID_GROUP_FIRST + 2u * g->number,
                            .purpose = KEY_PURPOSE_DATA};
    if (g->data_key_len != KEY_WRAPPED_LEN ||
        g->index_key_len != KEY_WRAPPED_LEN)
        return ERR_CORRUPT;
    int err = key_unwrap(&w->node->kek, &name, g->data_key, data_key);
    if (err == ERR_OK)
        err = keyring_add(w->keyring, name.id, KEY_PURPOSE_DATA, data_key);
    mem_wipe(data_key, sizeof(data_key));
    *data_id_out = name.id;
    name.id++;
    name.purpose = KEY_PURPOSE_INDEX;
    if (err == ERR_OK)
        err = key_unwrap(&w->node->kek, &name, g->index_key, index_key);
    return err;
}

static void learn_group(struct worker *w, struct bytes json)
{
    struct catalog_group g;
    struct err_msg msg;
    uint8_t index_key[KEY_LEN];
    uint32_t data_id;
    int err = catalog_group_parse(json, &g, &msg);
    if (err != ERR_OK || strcmp(g.name, "default") != 0)
        return; /* catalog_put has complained */
    steering_group(&w->steering, &g);
    if (w->group_hash != NULL)
        return;
    if (g.shard_count != w->node->shard_count) {
        log_error("the cluster was created with another number of shards",
                  LOG_UINT("cluster", g.shard_count),
                  LOG_UINT("configured", w->node->shard_count));
        return;
    }
    err = open_keys(w, &g, index_key, &data_id);
    if (err != ERR_OK) {
        log_error("the group's keys cannot be opened: is this the cluster's "
                  "key-encryption key?",
                  LOG_STR("group", g.name), LOG_STR("error", err_text(err)));
        return;
    }
    w->group_hash = keyed_hash_new(index_key);
    mem_wipe(index_key, sizeof(index_key));
    for (uint32_t i = 0; i < w->replica_count; i++)
        if (w->replicas[i].id != SHARD_META)
            shard_set_key(w->replicas[i].shard, data_id);
}

static void forget_container(struct worker *w, uint64_t record)
{
    uint32_t number;
    if (rid_number(record, &number) != ERR_OK)
        return;
    for (uint32_t i = 0; i < w->replica_count; i++)
        if (w->replicas[i].id != SHARD_META) {
            flusher_drop(&w->replicas[i].flusher, number);
            flusher_drop(&w->replicas[i].flusher, number | CONTAINER_CONFLICTS);
        }
}

static void apply(struct worker *w, const struct catalog_change *c)
{
    struct err_msg msg;
    switch (c->kind) {
    case CHANGE_CLEAR:
        catalog_clear(w->catalog);
        break;
    case CHANGE_PUT:
        if (catalog_put(w->catalog, c->container, c->record, c->json, c->lsn,
                        &msg) != ERR_OK)
            log_error("catalog record ignored", LOG_STR("reason", msg.text));
        else if (c->container == CONTAINER_GROUPS)
            learn_group(w, c->json);
        else if (c->container == CONTAINER_ACCOUNT)
            feature_raise(&w->node->features,
                          catalog_account(w->catalog)->feature_level);
        break;
    case CHANGE_DELETE:
        catalog_delete(w->catalog, c->container, c->record, c->lsn);
        if (c->container == CONTAINER_CONTAINERS)
            forget_container(w, c->record);
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
