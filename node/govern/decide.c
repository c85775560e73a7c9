#include "node/govern/decide.h"

#include "node/base/check.h"
#include "node/base/err.h"

/* A witness that comes may vote in no shard yet, and one that goes in none any
 * more. Where one takes the other's place both are needed until all shards have
 * made the step. */
static void count_witnesses(const struct govern_record *r,
                            struct failover_group *group)
{
    bool replaces = r->witness_coming && r->witness_leaving.id != 0;
    if (!r->witness_coming || replaces)
        group->witness = r->witness.id;
    if (replaces)
        group->witness_leaving = r->witness_leaving.id;
}

void govern_group(const struct govern_record *r, const char *name,
                  usec_t changed_us, struct failover_group *group_out)
{
    /* Until a change to the strong rule is settled, shards may need the region
     * by whose rule they still go. */
    *group_out = (struct failover_group){
        .name = name,
        .write_region = r->write_region,
        .from_region = r->from_region,
        .epoch = r->epoch,
        .commit_rule = r->settled && govern_ack(r) == RAFT_ACK_COMMIT,
        .forced = r->forced,
        .settled = r->settled,
        .changed_us = changed_us,
        .failback = r->failback,
        .pinned = r->manual};
    count_witnesses(r, group_out);
    for (uint32_t i = 0; i < r->n_regions; i++) {
        raft_region region = r->priority[i];
        /* One that leaves or comes takes nothing over; but it may still write.
         */
        if (((r->leaving | r->coming) & govern_region_bit(region)) != 0 &&
            region != r->write_region)
            continue;
        group_out->regions[group_out->n_regions++] = region;
        if ((r->down & govern_region_bit(region)) != 0)
            group_out->down[group_out->n_down++] = region;
    }
}

static govern_regions down_of(const struct failover_plan *plan)
{
    govern_regions down = 0;
    for (uint32_t i = 0; i < plan->n_down; i++)
        down |= govern_region_bit(plan->down[i]);
    return down;
}

/* The plan was made for the record it is applied to, so a switch fits. */
static void apply_plan(const struct govern_record *now,
                       const struct failover_plan *plan, int64_t at_us,
                       struct govern_record *next)
{
    bool forced = plan->action == FAILOVER_FORCE;
    switch (plan->action) {
    case FAILOVER_NONE:
    case FAILOVER_DECLARE:
        break;
    case FAILOVER_FORCE:
    case FAILOVER_MOVE:
    case FAILOVER_FAILBACK:
        CHECK(govern_switch(now, plan->to, forced, plan->pinned, at_us,
                            plan->reason, next) == ERR_OK);
        break;
    case FAILOVER_ESCALATE:
        govern_escalate(now, at_us, plan->reason, next);
        break;
    default:
        CHECK_UNREACHABLE();
    }
    govern_set_down(next, down_of(plan), next);
}

bool govern_decide(const struct govern_record *now,
                   const struct failover_plan *plan, bool all_settled,
                   int64_t at_us, struct govern_record *next_out)
{
    struct govern_record next = *now;
    if (plan->action != FAILOVER_NONE) {
        if (plan->expected_epoch != now->epoch)
            return false;
        apply_plan(now, plan, at_us, &next);
    } else if (!now->settled && all_settled) {
        govern_set_settled(now, &next);
    } else if (now->settled && govern_has_leaving(now)) {
        govern_drop_leaving(now, &next);
    } else {
        return false;
    }
    *next_out = next;
    return true;
}
