#include "node/server/group_keys.h"

#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/log.h"
#include "node/base/mem.h"
#include "node/json/json.h"
#include "node/server/control_reply.h"
#include "node/server/governor.h"
#include "node/server/group_edit.h"
#include "node/server/placement_parse.h"
#include "node/server/worker.h"

#define KEYS_TIMEOUT_US (5 * USEC_PER_SEC)

/* What a group needs. */
enum need {
    NEED_NOTHING,
    NEED_COPIES,  /* regions lack its keys, or some */
    NEED_VERSION, /* another data key */
    NEED_SEALING, /* the newest one to be used */
};

/* One group's, on its way into the record: sealed already. */
struct key_order {
    struct worker *worker; /* who asked */
    enum need need;
    uint16_t group;
    uint32_t versions; /* in the record that they go with */
    uint32_t epoch;    /* of it */
    uint8_t had;       /* copies in it */
    uint8_t count;
    struct group_keys keys[GROUP_REGIONS_MAX];
    char name[CATALOG_NAME_MAX + 1];
};

/* ---- making -----------------------------------------------------------------
 */

static struct key_name name_of(const struct worker *w,
                               const struct catalog_group *g,
                               enum key_purpose purpose, uint32_t version)
{
    return (struct key_name){.cluster = w->node->cluster_keys.cluster_id,
                             .group = g->name,
                             .id = group_key_id(g->number, purpose, version),
                             .purpose = purpose};
}

static int wrap_for(const struct worker *w, const struct config_region *r,
                    const struct key_name *name, const uint8_t key[KEY_LEN],
                    struct wrapped_key *out)
{
    out->len = r != NULL ? REGION_WRAPPED_LEN : KEY_WRAPPED_LEN;
    return r != NULL
               ? region_wrap(r->name, r->key.public_key, name, key, out->bytes)
               : key_wrap(&w->node->kek, name, key, out->bytes);
}

/* The region that a copy is for; NULL with ERR_OK: group default, so for all.
 */
static int find_region(const struct worker *w, const struct catalog_group *g,
                       const char *name, const struct config_region **out)
{
    *out = NULL;
    if (!catalog_group_fenced(g))
        return ERR_OK;
    const struct config_region *r = config_find_region(w->node->config, name);
    if (r == NULL || !r->key.given)
        return ERR_NOT_FOUND;
    *out = r;
    return ERR_OK;
}

/* One of the group's keys: as it was made before, or a new one. */
static int take_key(const struct worker *w, const struct catalog_group *g,
                    const struct key_name *name,
                    const struct wrapped_key *wrapped, uint8_t key_out[KEY_LEN])
{
    if (g->key_count > 0)
        return region_unwrap(&w->node->region_key, name, wrapped->bytes,
                             key_out);
    key_generate(key_out);
    return ERR_OK;
}

/* Wraps one key for every region of the order. */
static int wrap_copies(const struct worker *w, const struct catalog_group *g,
                       enum key_purpose purpose, uint32_t version,
                       struct key_order *o)
{
    uint8_t key[KEY_LEN];
    const struct key_name name = name_of(w, g, purpose, version);
    const struct group_keys *own =
        catalog_group_keys(g, w->node->config->region);
    const struct wrapped_key *wrapped = NULL;
    if (g->key_count > 0 && (own == NULL || version >= own->versions))
        return ERR_NOT_FOUND;
    if (own != NULL)
        wrapped =
            purpose == KEY_PURPOSE_DATA ? &own->data[version] : &own->index;
    int err = take_key(w, g, &name, wrapped, key);
    for (size_t i = 0; i < o->count && err == ERR_OK; i++) {
        struct group_keys *k = &o->keys[i];
        const struct config_region *r;
        err = find_region(w, g, k->region, &r);
        if (err == ERR_OK)
            err = wrap_for(w, r, &name, key,
                           purpose == KEY_PURPOSE_DATA ? &k->data[version]
                                                       : &k->index);
    }
    mem_wipe(key, sizeof(key));
    return err;
}

/* Whether a region lacks a copy of any of the keys. */
static bool lacks_keys(const struct catalog_group *g, const char *region)
{
    const struct group_keys *k = catalog_group_keys(g, region);
    return k == NULL || k->versions < catalog_group_key_versions(g);
}

/* All keys, for each region that lacks some. */
static int make_copies(const struct worker *w, const struct catalog_group *g,
                       struct key_order *o)
{
    uint32_t versions = o->versions > 0 ? o->versions : 1;
    for (size_t i = 0; i < g->region_count; i++)
        if (lacks_keys(g, g->regions[i])) {
            struct group_keys *k = &o->keys[o->count++];
            strcpy(k->region, g->regions[i]);
            k->versions = (uint8_t)versions;
        }
    int err = wrap_copies(w, g, KEY_PURPOSE_INDEX, 0, o);
    for (uint32_t v = 0; v < versions && err == ERR_OK; v++)
        err = wrap_copies(w, g, KEY_PURPOSE_DATA, v, o);
    return err;
}

/* A new data key, beside the others. */
static int make_version(const struct worker *w, const struct catalog_group *g,
                        struct key_order *o)
{
    uint8_t key[KEY_LEN];
    const struct key_name name = name_of(w, g, KEY_PURPOSE_DATA, o->versions);
    int err = ERR_OK;
    key_generate(key);
    o->count = g->key_count;
    memcpy(o->keys, g->keys, g->key_count * sizeof(g->keys[0]));
    for (size_t i = 0; i < o->count && err == ERR_OK; i++) {
        struct group_keys *k = &o->keys[i];
        const struct config_region *r;
        err = find_region(w, g, k->region, &r);
        if (err == ERR_OK)
            err = wrap_for(w, r, &name, key, &k->data[k->versions++]);
    }
    mem_wipe(key, sizeof(key));
    return err;
}

/* ---- into the record --------------------------------------------------------
 */

static void order_ended(struct worker *w, void *arg)
{
    (void)arg;
    w->making_keys = false;
}

/* What somebody else has put there meanwhile may be another key; and a copy for
 * a region that has left would be a hole in the fence. */
static bool overtaken(const struct key_order *o, const struct catalog_group *g)
{
    if (g->number != o->group || g->key_count != o->had ||
        catalog_group_key_versions(g) != o->versions)
        return true;
    for (size_t i = 0; i < o->count && catalog_group_fenced(g); i++)
        if (catalog_group_region(g, o->keys[i].region) == g->region_count)
            return true;
    return o->need == NEED_VERSION &&
           (!g->rekey || g->decision.epoch != o->epoch);
}

static void put_copy(struct catalog_group *g, const struct group_keys *k)
{
    size_t i = 0;
    while (i < g->key_count && strcmp(g->keys[i].region, k->region) != 0)
        i++;
    CHECK(i < GROUP_REGIONS_MAX);
    g->keys[i] = *k;
    if (i == g->key_count)
        g->key_count++;
}

static int put_keys(void *user, struct catalog_group *g, struct err_msg *msg)
{
    const struct key_order *o = user;
    if (overtaken(o, g))
        return err_set(msg, ERR_STALE, "overtaken");
    for (size_t i = 0; i < o->count; i++)
        put_copy(g, &o->keys[i]);
    if (o->need == NEED_VERSION)
        g->rekey = false;
    if (o->need == NEED_SEALING)
        g->sealing = (uint8_t)(o->versions - 1);
    return ERR_OK;
}

/* A new epoch, by which members tell that they have the record (governor). */
static int renew(void *user, const struct govern_record *now,
                 struct govern_record *next_out, struct err_msg *msg)
{
    (void)user;
    int err = govern_renew(now, clock_wall_us(), "a new data key", next_out);
    return err == ERR_OK ? ERR_OK : err_set(msg, ERR_STALE, "overtaken");
}

static void keys_put(void *user, int err, const struct govern_record *record,
                     const struct err_msg *msg)
{
    static const char *const done[] = {
        [NEED_NOTHING] = "",
        [NEED_COPIES] = "the keys of a placement group were made and wrapped",
        [NEED_VERSION] = "a placement group has a new data key",
        [NEED_SEALING] = "a placement group's new data key is used"};
    struct key_order *o = user;
    (void)record;
    if (err == ERR_OK)
        log_info(done[o->need], LOG_STR("group", o->name));
    else if (err != ERR_STALE)
        log_warn("the keys of a placement group could not be recorded; they "
                 "will be made anew",
                 LOG_STR("group", o->name), LOG_STR("reason", msg->text));
    worker_run(o->worker, order_ended, NULL);
    mem_free(o);
}

static void describe(const struct key_order *o, char *out, size_t size)
{
    if (o->need == NEED_COPIES)
        snprintf(out, size, "make keys of placement group %s", o->name);
    else if (o->need == NEED_VERSION)
        snprintf(out, size, "make data key version %u of placement group %s",
                 o->versions, o->name);
    else
        snprintf(out, size,
                 "seal with data key version %u of placement group "
                 "%s",
                 o->versions - 1, o->name);
}

static void order(struct worker *first, void *arg)
{
    struct key_order *o = arg;
    struct group_edit edit = {.change_group = put_keys,
                              .done = keys_put,
                              .user = o,
                              .timeout_us = KEYS_TIMEOUT_US};
    static const struct err_msg none = {.text = ""};
    if (o->need == NEED_VERSION)
        edit.change = renew;
    /* At a later look. */
    if (o->need == NEED_SEALING &&
        !governor_all_know(first->governor, o->group, o->epoch, true)) {
        keys_put(o, ERR_STALE, NULL, &none);
        return;
    }
    snprintf(edit.group, sizeof(edit.group), "%s", o->name);
    snprintf(edit.who, sizeof(edit.who), "leader of the group on %s",
             first->node->config->node);
    describe(o, edit.what, sizeof(edit.what));
    group_edit_begin(first, &edit);
}

/* ---- when -------------------------------------------------------------------
 */

/* Of a group that has had as many as there may be none is. */
static bool is_due(const struct worker *w, const struct catalog_group *g)
{
    return g->rekey && catalog_group_key_versions(g) < GROUP_KEY_VERSIONS_MAX &&
           feature_active(&w->node->features, FEATURE_PARTS);
}

static enum need need_of(const struct worker *w, const struct catalog_group *g)
{
    if (g->removing)
        return NEED_NOTHING;
    for (size_t i = 0; i < g->region_count; i++)
        if (lacks_keys(g, g->regions[i]))
            return NEED_COPIES;
    if (g->sealing + 1u < catalog_group_key_versions(g))
        return NEED_SEALING;
    return is_due(w, g) && g->decision.settled ? NEED_VERSION : NEED_NOTHING;
}

bool group_keys_turning(const struct worker *w, const struct catalog_group *g)
{
    return is_due(w, g) || g->sealing + 1u < catalog_group_key_versions(g);
}

static int make(const struct worker *w, const struct catalog_group *g,
                struct key_order *o)
{
    if (o->need == NEED_COPIES)
        return make_copies(w, g, o);
    return o->need == NEED_VERSION ? make_version(w, g, o) : ERR_OK;
}

static void begin(struct worker *w, const struct catalog_group *g,
                  enum need need)
{
    struct key_order *o = mem_zalloc(sizeof(*o));
    o->worker = w;
    o->need = need;
    o->group = g->number;
    o->versions = catalog_group_key_versions(g);
    o->epoch = g->decision.epoch;
    o->had = g->key_count;
    strcpy(o->name, g->name);
    int err = make(w, g, o);
    if (err != ERR_OK) {
        log_error("the keys of a placement group cannot be made: does the "
                  "configuration have the keys of all regions?",
                  LOG_STR("group", g->name), LOG_STR("error", err_text(err)));
        mem_free(o);
        return;
    }
    w->making_keys = true;
    worker_run(&w->node->workers[0], order, o);
}

void group_keys_check(struct worker *w)
{
    const struct catalog_group *g;
    usec_t now = clock_mono_us();
    for (size_t i = 0;
         !w->making_keys && (g = catalog_group_at(w->catalog, i)) != NULL;
         i++) {
        enum need need = need_of(w, g);
        if (need != NEED_NOTHING && worker_leads(w, g->first_shard, now))
            begin(w, g, need);
    }
}

/* ---- by command -------------------------------------------------------------
 */

struct rotation {
    struct http_request *request;
    uint32_t version; /* the new one's */
    char group[CATALOG_NAME_MAX + 1];
};

/* Once more while one is due already: it is the same one. */
static int want_version(void *user, struct catalog_group *g,
                        struct err_msg *msg)
{
    struct rotation *t = user;
    t->version = catalog_group_key_versions(g);
    if (t->version == 0)
        return err_set(msg, ERR_UNAVAILABLE,
                       "the group's first keys are not made yet: try again");
    if (t->version == GROUP_KEY_VERSIONS_MAX)
        return err_set(msg, ERR_INVALID,
                       "the group has had %d data keys, and there may be no "
                       "more: move its containers to a new group",
                       GROUP_KEY_VERSIONS_MAX);
    g->rekey = true;
    return ERR_OK;
}

static void version_wanted(void *user, int err,
                           const struct govern_record *record,
                           const struct err_msg *msg)
{
    struct rotation *t = user;
    struct buf body;
    struct json_writer w;
    (void)record;
    if (err != ERR_OK) {
        control_refuse_err(t->request, err, msg->text);
        mem_free(t);
        return;
    }
    buf_init(&body, CONTROL_ANSWER_MAX);
    json_writer_init(&w, &body);
    json_write_object_begin(&w);
    json_write_member_str(&w, "group", t->group);
    json_write_member_int64(&w, "version", t->version);
    json_write_object_end(&w);
    control_respond(t->request, 202, &body);
    mem_free(t);
}

void group_keys_rotate(struct worker *w, struct http_request *r,
                       const struct json *j)
{
    struct err_msg msg = {.text = ""};
    struct rotation *t = mem_zalloc(sizeof(*t));
    t->request = r;
    int err = feature_refuse(&w->node->features, FEATURE_PARTS, &msg);
    if (err == ERR_OK && (placement_get_name(j, json_get_str(j, 0, "group"),
                                             t->group) != ERR_OK ||
                          catalog_group(w->catalog, t->group) == NULL))
        err = err_set(&msg, ERR_NOT_FOUND, "group must name a placement group");
    if (err != ERR_OK) {
        control_refuse_err(r, err, msg.text);
        mem_free(t);
        return;
    }
    struct group_edit edit = {.change_group = want_version,
                              .done = version_wanted,
                              .user = t,
                              .timeout_us = KEYS_TIMEOUT_US};
    snprintf(edit.group, sizeof(edit.group), "%s", t->group);
    snprintf(edit.who, sizeof(edit.who), "%s",
             r->peer_uri != NULL ? r->peer_uri : "?");
    snprintf(edit.what, sizeof(edit.what),
             "turn over the data key of placement group %s", t->group);
    group_edit_begin(w, &edit);
}
