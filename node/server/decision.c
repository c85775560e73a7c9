#include "node/server/decision.h"

#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"

raft_region decision_region(const struct config *c, const char *name)
{
    const struct config_region *r = config_find_region(c, name);
    return r != NULL ? (raft_region)(r - c->regions + 1) : 0;
}

const char *decision_region_name(const struct config *c, raft_region region)
{
    CHECK(region >= 1 && region <= c->region_count);
    return c->regions[region - 1].name;
}

/* ERR_NOT_FOUND: the configuration has no such node. */
static int get_member(const struct config *c, uint32_t id,
                      struct govern_member *out)
{
    const struct config_region *region = NULL;
    if (config_find_node(c, id, &region) == NULL)
        return ERR_NOT_FOUND;
    *out = (struct govern_member){
        .id = id, .region = (raft_region)(region - c->regions + 1)};
    return ERR_OK;
}

static int read_group(const struct config *c, const struct catalog_group *g,
                      struct govern_record *record_out)
{
    const struct group_decision *d = &g->decision;
    struct govern_record r = {.epoch = d->epoch,
                              .consistency = d->consistency,
                              .forced = d->forced,
                              .settled = d->settled,
                              .manual = d->manual,
                              .failback = g->failback,
                              .gather = g->gather,
                              .recovered = g->recovered,
                              .recovered_epoch = g->recovered_epoch,
                              .at_us = d->at_us};
    r.write_region = decision_region(c, d->write_region);
    r.from_region = decision_region(c, d->from_region);
    for (size_t i = 0; i < g->region_count; i++) {
        raft_region region = decision_region(c, g->regions[i]);
        if (region == 0)
            return ERR_NOT_FOUND;
        r.priority[r.n_regions++] = region;
        if (g->down[i])
            r.down |= govern_region_bit(region);
        if (g->leaving[i])
            r.leaving |= govern_region_bit(region);
        if (g->coming[i])
            r.coming |= govern_region_bit(region);
    }
    for (size_t i = 0; i < g->member_count; i++) {
        if (get_member(c, g->members[i], &r.members[r.n_members]) != ERR_OK)
            return ERR_NOT_FOUND;
        if (g->members[i] == g->witness)
            r.witness = r.members[r.n_members];
        r.n_members++;
    }
    r.witness_coming = g->witness_coming;
    if (g->witness_leaving != 0 &&
        get_member(c, g->witness_leaving, &r.witness_leaving) != ERR_OK)
        return ERR_NOT_FOUND;
    if (r.write_region == 0 || r.from_region == 0)
        return ERR_NOT_FOUND;
    snprintf(r.reason, sizeof(r.reason), "%s", d->reason);
    *record_out = r;
    return ERR_OK;
}

int decision_of_group(const struct config *c, const struct catalog_group *g,
                      struct govern_record *record_out, struct err_msg *msg)
{
    int err = read_group(c, g, record_out);
    return err == ERR_OK ? ERR_OK
                         : err_set(msg, err,
                                   "the configuration of %s lacks a region or "
                                   "a node of group %s",
                                   c->node, g->name);
}

static void copy_name(char to[CATALOG_NAME_MAX + 1], const char *from)
{
    CHECK(snprintf(to, CATALOG_NAME_MAX + 1, "%s", from) <= CATALOG_NAME_MAX);
}

/* A region that left the fence loses the keys with it, and what it may have
 * kept opens nothing that is sealed after the next version is made. */
static void drop_keys(struct catalog_group *g)
{
    uint8_t kept = 0;
    if (!catalog_group_fenced(g))
        return;
    for (size_t i = 0; i < g->key_count; i++)
        if (catalog_group_region(g, g->keys[i].region) < g->region_count)
            g->keys[kept++] = g->keys[i];
    g->rekey |= kept < g->key_count;
    memset(&g->keys[kept], 0, (g->key_count - kept) * sizeof(g->keys[0]));
    g->key_count = kept;
}

void decision_to_group(const struct config *c, const struct govern_record *r,
                       struct catalog_group *g)
{
    struct group_decision *d = &g->decision;
    *d = (struct group_decision){.epoch = r->epoch,
                                 .consistency = r->consistency,
                                 .forced = r->forced,
                                 .settled = r->settled,
                                 .manual = r->manual,
                                 .at_us = r->at_us};
    copy_name(d->write_region, decision_region_name(c, r->write_region));
    copy_name(d->from_region, decision_region_name(c, r->from_region));
    snprintf(d->reason, sizeof(d->reason), "%s", r->reason);
    g->failback = r->failback;
    g->recovered = r->recovered;
    g->recovered_epoch = r->recovered_epoch;
    g->region_count = r->n_regions;
    for (size_t i = 0; i < r->n_regions; i++) {
        copy_name(g->regions[i], decision_region_name(c, r->priority[i]));
        g->down[i] = (r->down & govern_region_bit(r->priority[i])) != 0;
        g->leaving[i] = (r->leaving & govern_region_bit(r->priority[i])) != 0;
        g->coming[i] = (r->coming & govern_region_bit(r->priority[i])) != 0;
    }
    g->member_count = r->n_members;
    for (size_t i = 0; i < r->n_members; i++)
        g->members[i] = (uint8_t)r->members[i].id;
    g->witness = (uint8_t)r->witness.id;
    g->witness_coming = r->witness_coming;
    g->witness_leaving = (uint8_t)r->witness_leaving.id;
    drop_keys(g);
}
