#include "node/server/placement_gate.h"

#include <string.h>

#include "node/base/mem.h"
#include "node/catalog/numbers.h"
#include "node/catalog/placement_map.h"

#define CONTAINER_PAGE 64

/* ---- what is in it ----------------------------------------------------------
 */

static bool concerns(const struct catalog *c, const struct catalog_group *g,
                     const struct container_def *def)
{
    const struct catalog_group *other =
        def->move.phase != CONTAINER_STAYS ? catalog_move_other(c, def) : NULL;
    return container_placed_in(def, bytes_str(g->name)) ||
           (other != NULL && other->number == g->number);
}

/* Whether a rule leads to the group, alone or in a placement map. */
static bool rule_names(const char *target, const char *group)
{
    struct placement_map m;
    struct err_msg msg;
    if (!placement_is_map(bytes_str(target)))
        return strcmp(target, group) == 0;
    return placement_map_parse(bytes_str(target), &m, &msg) == ERR_OK &&
           placement_map_names(&m, bytes_str(group));
}

/* The index of the first rule that leads to the group; `count` if none does. */
static size_t find_rule(const struct placement_rules *rules, const char *group)
{
    size_t i = 0;
    while (i < rules->count && !rule_names(rules->list[i].group, group))
        i++;
    return i;
}

/* A container of the database that is in the group, or is moving to or from it;
 * NULL: none. */
static struct container_def *find_container(const struct catalog *c,
                                            const struct catalog_group *g,
                                            const struct catalog_database *db)
{
    struct container_def *page[CONTAINER_PAGE];
    uint32_t after = 0;
    size_t n;
    do {
        n = catalog_list_containers(c, db, after, page, CONTAINER_PAGE);
        for (size_t i = 0; i < n; i++)
            if (concerns(c, g, page[i]))
                return page[i];
        after = n > 0 ? page[n - 1]->number : after;
    } while (n == CONTAINER_PAGE);
    return NULL;
}

int placement_gate_check_empty(const struct catalog *c,
                               const struct catalog_group *g,
                               struct err_msg *msg)
{
    struct catalog_database *db;
    uint32_t after = 0;
    const struct catalog_account *a = catalog_account(c);
    size_t rule = a != NULL ? find_rule(&a->placement, g->name) : 0;
    if (a != NULL && rule < a->placement.count)
        return err_set(msg, ERR_INVALID,
                       "rule %zu names it: remove that first with "
                       "'bastide placement rules'",
                       rule + 1);
    while (catalog_list_databases(c, after, &db, 1) == 1) {
        const struct container_def *def = find_container(c, g, db);
        if (def != NULL)
            return err_set(msg, ERR_EXISTS,
                           "container %.*s/%.*s is in it, or is moving to or "
                           "from it: delete it, or move it to another group "
                           "first",
                           (int)db->name.len, (const char *)db->name.data,
                           (int)def->name.len, (const char *)def->name.data);
        after = db->number;
    }
    return ERR_OK;
}

/* ---- what may come into it --------------------------------------------------
 */

/* Whether a write in the meta shard is of a kind that can bring something into
 * a group: a container's record, or the account's with its rules. */
static bool judges(const struct op *op)
{
    return op->kind == OP_WRITE && op->body.len > 0 &&
           (op->at.container == CONTAINER_CONTAINERS ||
            op->at.container == CONTAINER_ACCOUNT);
}

static int refuse(struct err_msg *msg, struct bytes group)
{
    int shown = (int)(group.len < 100 ? group.len : 100);
    return err_set(msg, ERR_INVALID,
                   "placement group '%.*s' is being removed, or is gone", shown,
                   (const char *)group.data);
}

/* Default is always there, also before its record is. */
static bool is_open(const struct catalog_group *g, struct bytes name)
{
    return name.len == 0 || (g != NULL && !g->removing);
}

/* Whether the container is in the group of this name, or moves there. */
static bool leads_to(const struct container_def *def, struct bytes name)
{
    return container_placed_in(def, name) ||
           (def->move.phase != CONTAINER_STAYS &&
            bytes_equal(def->move.other, name));
}

static bool same_order(const struct container_def *a,
                       const struct container_def *b)
{
    return a->move.phase != CONTAINER_STAYS &&
           a->move.other_number == b->move.other_number &&
           bytes_equal(a->move.other, b->move.other);
}

/* `old`: the record before; NULL: there was none. */
static int admit_places(const struct catalog *c,
                        const struct container_def *def,
                        const struct container_def *old, struct err_msg *msg)
{
    size_t n = def->map != NULL ? def->map->group_count : 1;
    for (size_t i = 0; i < n; i++) {
        struct bytes name =
            def->map != NULL ? bytes_str(def->map->groups[i]) : def->placement;
        if (!is_open(catalog_group_named(c, name), name) &&
            (old == NULL || !leads_to(old, name)))
            return refuse(msg, name);
    }
    const struct catalog_group *other = catalog_move_other(c, def);
    if (def->move.phase == CONTAINER_STAYS || is_open(other, def->move.other))
        return ERR_OK;
    bool had = old != NULL && (same_order(old, def) ||
                               (other != NULL && concerns(c, other, old)));
    return had ? ERR_OK : refuse(msg, def->move.other);
}

/* The container of that name, in the database that the record is put under. */
static const struct container_def *
find_old(const struct catalog *c, const struct op *op, struct bytes name)
{
    struct catalog_database *db;
    uint32_t number = get_u32_be(op->parent_rid);
    if (number == 0 || catalog_list_databases(c, number - 1, &db, 1) == 0 ||
        db->number != number)
        return NULL;
    return catalog_container(c, db, name);
}

static int admit_container(const struct catalog *c, const struct op *op,
                           struct err_msg *msg)
{
    struct container_def *def;
    struct err_msg why;
    struct buf text;
    buf_init(&text, OP_BODY_MAX + 1);
    int err = buf_append(&text, op->body.data, op->body.len);
    if (err == ERR_OK)
        err = buf_append_u8(&text, '}');
    if (err == ERR_OK &&
        container_def_parse(bytes_of(buf_bytes(&text), buf_len(&text)), &def,
                            &why) == ERR_OK) {
        err = admit_places(c, def, find_old(c, op, def->name), msg);
        container_def_unref(def);
    }
    buf_free(&text);
    return err;
}

static int admit_target(const struct catalog *c, const char *group,
                        const struct placement_rules *old, struct err_msg *msg)
{
    struct bytes name = bytes_str(group);
    return is_open(catalog_group(c, group), name) ||
                   find_rule(old, group) < old->count
               ? ERR_OK
               : refuse(msg, name);
}

static int admit_rule(const struct catalog *c, const char *target,
                      const struct placement_rules *old, struct err_msg *msg)
{
    struct placement_map m;
    struct err_msg why;
    int err = ERR_OK;
    if (!placement_is_map(bytes_str(target)))
        return admit_target(c, target, old, msg);
    if (placement_map_parse(bytes_str(target), &m, &why) != ERR_OK)
        return ERR_OK;
    for (uint8_t i = 0; err == ERR_OK && i < m.group_count; i++)
        err = admit_target(c, m.groups[i], old, msg);
    return err;
}

static int admit_account(const struct catalog *c, const struct op *op,
                         struct err_msg *msg)
{
    const struct catalog_account *old = catalog_account(c);
    struct catalog_account *a = mem_alloc(sizeof(*a));
    struct err_msg why;
    int err = ERR_OK;
    if (old != NULL && catalog_account_parse(op->body, a, &why) == ERR_OK)
        for (size_t i = 0; err == ERR_OK && i < a->placement.count; i++)
            err =
                admit_rule(c, a->placement.list[i].group, &old->placement, msg);
    mem_free(a);
    return err;
}

int placement_gate_admit(const struct catalog *c, uint64_t shown_term,
                         uint64_t term, const struct op *op,
                         struct err_msg *msg)
{
    if (!judges(op))
        return ERR_OK;
    if (shown_term != term)
        return ERR_NO_LEADER;
    return op->at.container == CONTAINER_ACCOUNT ? admit_account(c, op, msg)
                                                 : admit_container(c, op, msg);
}
