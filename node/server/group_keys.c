#include "node/server/group_keys.h"

#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/server/group_edit.h"
#include "node/server/worker.h"

#define KEYS_TIMEOUT_US (5 * USEC_PER_SEC)

/* One group's, on its way into the record: sealed already. */
struct key_order {
    struct worker *worker; /* who asked */
    uint16_t group;
    uint8_t had; /* copies in the record that they go with */
    uint8_t count;
    struct group_keys keys[GROUP_REGIONS_MAX];
    char name[CATALOG_NAME_MAX + 1];
};

/* ---- making -----------------------------------------------------------------
 */

/* The group's key of a purpose: as it was made before, or a new one. */
static int take_key(const struct worker *w, const struct catalog_group *g,
                    const struct key_name *name, uint8_t key_out[KEY_LEN])
{
    if (g->key_count == 0) {
        key_generate(key_out);
        return ERR_OK;
    }
    const struct group_keys *own =
        catalog_group_keys(g, w->node->config->region);
    if (own == NULL)
        return ERR_NOT_FOUND;
    return region_unwrap(&w->node->region_key, name,
                         name->purpose == KEY_PURPOSE_DATA ? own->data_key
                                                           : own->index_key,
                         key_out);
}

/* Wraps one key for every region of the group that has no copy. */
static int wrap(const struct worker *w, const struct catalog_group *g,
                enum key_purpose purpose, struct key_order *o)
{
    const struct config *c = w->node->config;
    uint8_t key[KEY_LEN];
    const struct key_name name = {.cluster = w->node->cluster_keys.cluster_id,
                                  .group = g->name,
                                  .id = group_key_id(g->number, purpose),
                                  .purpose = purpose};
    int err = take_key(w, g, &name, key);
    o->count = 0;
    for (size_t i = 0; i < g->region_count && err == ERR_OK; i++) {
        const struct config_region *r = config_find_region(c, g->regions[i]);
        if (catalog_group_keys(g, g->regions[i]) != NULL)
            continue;
        if (r == NULL || !r->key.given) {
            err = ERR_NOT_FOUND;
            break;
        }
        struct group_keys *k = &o->keys[o->count++];
        bool data = purpose == KEY_PURPOSE_DATA;
        err = region_wrap(r->name, r->key.public_key, &name, key,
                          data ? k->data_key : k->index_key);
        *(data ? &k->data_key_len : &k->index_key_len) = REGION_WRAPPED_LEN;
        strcpy(k->region, r->name);
    }
    mem_wipe(key, sizeof(key));
    return err;
}

static int make(const struct worker *w, const struct catalog_group *g,
                struct key_order *o)
{
    strcpy(o->name, g->name);
    o->group = g->number;
    o->had = g->key_count;
    int err = wrap(w, g, KEY_PURPOSE_DATA, o);
    return err == ERR_OK ? wrap(w, g, KEY_PURPOSE_INDEX, o) : err;
}

/* ---- into the record --------------------------------------------------------
 */

static void order_ended(struct worker *w, void *arg)
{
    (void)arg;
    w->making_keys = false;
}

/* A copy that somebody else has put there meanwhile may be of another key; and
 * one for a region that has left would be a hole in the fence. */
static int put_keys(void *user, struct catalog_group *g, struct err_msg *msg)
{
    const struct key_order *o = user;
    if (g->key_count != o->had || g->number != o->group ||
        g->key_count + o->count > GROUP_REGIONS_MAX)
        return err_set(msg, ERR_STALE, "overtaken");
    for (size_t i = 0; i < o->count; i++)
        if (catalog_group_region(g, o->keys[i].region) == g->region_count ||
            catalog_group_keys(g, o->keys[i].region) != NULL)
            return err_set(msg, ERR_STALE, "overtaken");
    memcpy(&g->keys[g->key_count], o->keys, o->count * sizeof(g->keys[0]));
    g->key_count = (uint8_t)(g->key_count + o->count);
    return ERR_OK;
}

static void keys_put(void *user, int err, const struct govern_record *record,
                     const struct err_msg *msg)
{
    struct key_order *o = user;
    (void)record;
    if (err == ERR_OK)
        log_info("the keys of a placement group were made and wrapped",
                 LOG_STR("group", o->name));
    else if (err != ERR_STALE)
        log_warn("the keys of a placement group could not be recorded; they "
                 "will be made anew",
                 LOG_STR("group", o->name), LOG_STR("reason", msg->text));
    worker_run(o->worker, order_ended, NULL);
    mem_free(o);
}

static void order(struct worker *first, void *arg)
{
    struct key_order *o = arg;
    struct group_edit edit = {.change_group = put_keys,
                              .done = keys_put,
                              .user = o,
                              .timeout_us = KEYS_TIMEOUT_US};
    snprintf(edit.group, sizeof(edit.group), "%s", o->name);
    snprintf(edit.who, sizeof(edit.who), "leader of the group on %s",
             first->node->config->node);
    snprintf(edit.what, sizeof(edit.what), "make keys of placement group %s",
             o->name);
    group_edit_begin(first, &edit);
}

/* ---- when -------------------------------------------------------------------
 */

static bool leads(const struct worker *w, uint16_t shard, usec_t now)
{
    const struct replica *r = worker_replica(w, shard);
    return r != NULL && raft_role(shard_raft(r->shard)) == RAFT_LEADER &&
           raft_may_read(shard_raft(r->shard), now);
}

static bool lacks_keys(const struct catalog_group *g)
{
    for (size_t i = 0; i < g->region_count; i++)
        if (catalog_group_keys(g, g->regions[i]) == NULL)
            return true;
    return false;
}

void group_keys_check(struct worker *w)
{
    const struct catalog_group *g;
    usec_t now = clock_mono_us();
    for (size_t i = 0; (g = catalog_group_at(w->catalog, i)) != NULL; i++) {
        if (!catalog_group_fenced(g) || !lacks_keys(g) || w->making_keys ||
            !leads(w, g->first_shard, now))
            continue;
        struct key_order *o = mem_zalloc(sizeof(*o));
        o->worker = w;
        int err = make(w, g, o);
        if (err != ERR_OK) {
            log_error("the keys of a placement group cannot be made: does the "
                      "configuration have the keys of all regions?",
                      LOG_STR("group", g->name),
                      LOG_STR("error", err_text(err)));
            mem_free(o);
            continue;
        }
        w->making_keys = true;
        worker_run(&w->node->workers[0], order, o);
    }
}
