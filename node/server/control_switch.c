#include "node/server/control_impl.h"

#include "node/base/mem.h"
#include "node/json/json.h"
#include "node/server/control_reply.h"
#include "node/server/decision.h"
#include "node/server/governor.h"
#include "node/server/worker.h"

/* Whether, and as what, a switch can be made now. */
static int check_switch(struct control_order *o, struct err_msg *msg)
{
    const struct governor *g = o->worker->governor;
    struct failover_group group;
    enum failover_verdict verdict;
    char why[FAILOVER_REASON_MAX];
    governor_group(g, o->group, &group);
    o->from = group.write_region;
    const struct failover_region_health *now =
        failover_health_region(governor_health(g), group.write_region);
    if (!failover_health_sees(governor_health(g), why))
        return err_set(msg, ERR_UNAVAILABLE,
                       "this node cannot judge: %s; ask another one", why);
    if (now->lost && !o->force && !group.commit_rule)
        return err_set(
            msg, ERR_BUSY,
            "%s does not answer, so a planned switch is "
            "impossible: use force, which may lose what it alone "
            "has acknowledged",
            decision_region_name(o->worker->node->config, group.write_region));
    if (!now->lost && o->force)
        return err_set(
            msg, ERR_BUSY,
            "%s is heard by a majority: a planned switch (without "
            "force) loses nothing",
            decision_region_name(o->worker->node->config, group.write_region));
    int err = failover_check_switch(governor_health(g), &group, o->to, o->force,
                                    &verdict, why);
    return err == ERR_OK || err == ERR_EXISTS
               ? ERR_OK
               : err_set(msg, err == ERR_NOT_FOUND ? err : ERR_BUSY, "%s %s",
                         decision_region_name(o->worker->node->config, o->to),
                         why);
}

static int change_region(void *user, const struct govern_record *now,
                         struct govern_record *next_out, struct err_msg *msg)
{
    const struct control_order *o = user;
    if (o->force && now->write_region != o->from && now->write_region != o->to)
        return err_set(
            msg, ERR_BUSY,
            "the write region has changed meanwhile, to %s: look "
            "again before forcing anything",
            decision_region_name(o->worker->node->config, now->write_region));
    /* The record names one region that shards may still be coming from. */
    if (!o->force && !now->settled && now->from_region != now->write_region &&
        o->to != now->write_region && o->to != now->from_region)
        return err_set(
            msg, ERR_BUSY,
            "writes are just moving from %s to %s: wait until that has settled",
            decision_region_name(o->worker->node->config, now->from_region),
            decision_region_name(o->worker->node->config, now->write_region));
    int err = govern_switch(now, o->to, o->force, true, clock_wall_us(),
                            "an administrator switched", next_out);
    if (err == ERR_EXISTS) {
        *next_out = *now;
        return ERR_OK;
    }
    return err == ERR_OK
               ? ERR_OK
               : err_set(msg, err, "no region of the group has that name");
}

void control_switch_post(struct worker *w, struct http_request *r,
                         const struct json *j)
{
    struct err_msg msg = {.text = ""};
    struct control_order *o = control_order_new(w, r, j);
    bool dry_run = false;
    if (o == NULL)
        return;
    int err = control_read_region(w, j, json_get_str(j, 0, "to"), &o->to);
    if (control_read_flag(j, "force", &o->force) != ERR_OK ||
        control_read_flag(j, "dry_run", &dry_run) != ERR_OK) {
        err = err_set(&msg, ERR_INVALID,
                      "force and dry_run must be true or false");
    } else if (err != ERR_OK) {
        err = err_set(&msg, err == ERR_NOT_FOUND ? ERR_INVALID : ERR_NOT_FOUND,
                      "to must name one of the cluster's regions");
    } else if (catalog_group_number(w->catalog, o->group) == NULL ||
               governor_now(w->governor, o->group) == NULL) {
        err = err_set(&msg, ERR_UNAVAILABLE,
                      "this node does not know the group yet: try again");
    } else {
        err = check_switch(o, &msg);
    }
    if (err != ERR_OK) {
        control_refuse_err(r, err, msg.text);
        mem_free(o);
    } else if (dry_run) {
        control_at_risk_begin(w, r, catalog_group_number(w->catalog, o->group),
                              o);
    } else {
        control_order_begin(o, o->force ? "forced switch" : "switch",
                            change_region);
    }
}
