#include "node/govern/record.h"

#include <stdio.h>
#include <string.h>

#include "node/base/check.h"
#include "node/base/err.h"
#include "node/govern/canary.h"

enum raft_ack govern_ack(const struct govern_record *r)
{
    return r->consistency.level == CONSISTENCY_STRONG ? RAFT_ACK_COMMIT
                                                      : RAFT_ACK_REGION;
}

uint32_t govern_rank(const struct govern_record *r, raft_region region)
{
    uint32_t rank = 0;
    while (rank < r->n_regions && r->priority[rank] != region)
        rank++;
    return rank;
}

/* The write region's nodes campaign first, then the others in the list's
 * order. */
static uint8_t member_priority(const struct govern_record *r,
                               raft_region region)
{
    uint32_t rank = govern_rank(r, region);
    uint32_t write_rank = govern_rank(r, r->write_region);
    if (region == r->write_region)
        return 0;
    return (uint8_t)(rank < write_rank ? rank + 1 : rank);
}

void govern_config(const struct govern_record *r, bool meta,
                   const struct raft_config *now,
                   struct raft_config *config_out)
{
    *config_out = *now;
    for (uint32_t i = 0; i < config_out->n; i++)
        config_out->members[i].priority =
            member_priority(r, config_out->members[i].region);
    if (meta)
        return;
    config_out->epoch = r->epoch;
    config_out->ack = (uint8_t)govern_ack(r);
    config_out->write_region =
        config_out->ack == RAFT_ACK_REGION ? r->write_region : 0;
}

/* Adds a region in the order of its members' priorities. */
static void add_region(const struct raft_config *c, struct govern_record *r,
                       uint8_t priority)
{
    for (uint32_t i = 0; i < c->n; i++)
        if (c->members[i].priority == priority &&
            govern_rank(r, c->members[i].region) == r->n_regions &&
            r->n_regions < GROUP_REGIONS_MAX)
            r->priority[r->n_regions++] = c->members[i].region;
}

void govern_from_config(const struct raft_config *config,
                        struct govern_record *record_out)
{
    struct govern_record r = {.epoch = config->epoch};
    for (unsigned priority = 0; priority <= UINT8_MAX; priority++)
        add_region(config, &r, (uint8_t)priority);
    CHECK(r.n_regions > 0);
    r.consistency.level = config->ack == RAFT_ACK_COMMIT ? CONSISTENCY_STRONG
                                                         : CONSISTENCY_SESSION;
    r.write_region =
        config->ack == RAFT_ACK_REGION ? config->write_region : r.priority[0];
    *record_out = r;
}

void govern_tell(const struct govern_record *r, struct govern_hint *hint_out)
{
    *hint_out = (struct govern_hint){.epoch = r->epoch,
                                     .write_region = r->write_region,
                                     .forced = r->forced,
                                     .settled = r->settled,
                                     .consistency = r->consistency,
                                     .recovered_epoch = r->recovered_epoch};
}

bool govern_learn(const struct govern_record *known,
                  const struct govern_hint *said, struct govern_record *hint)
{
    if (said->write_region == 0 ||
        govern_rank(known, said->write_region) == known->n_regions ||
        said->consistency.level >= CONSISTENCY_COUNT ||
        said->epoch <= known->epoch || said->epoch < hint->epoch ||
        (said->epoch == hint->epoch && said->forced == hint->forced &&
         said->settled == hint->settled))
        return false;
    *hint = *known;
    hint->epoch = said->epoch;
    hint->from_region = known->write_region;
    hint->write_region = said->write_region;
    hint->forced = said->forced;
    hint->settled = said->settled;
    hint->consistency = said->consistency;
    hint->recovered_epoch = said->recovered_epoch;
    return true;
}

/* ---- one decision after the other ------------------------------------------
 */

/* `r` is still settled as the decision before was. Where every shard follows
 * the strong rule a majority elects without the lost region: nothing is to be
 * forced. A shard that does not follow it yet may need that region. */
static void new_epoch(struct govern_record *r, bool forced, int64_t at_us,
                      const char *reason)
{
    CHECK(r->epoch < UINT32_MAX);
    r->epoch += GOVERN_PLANTED(SAME_EPOCH) && r->epoch > 1 ? 0 : 1;
    r->forced = forced && (govern_ack(r) == RAFT_ACK_REGION || !r->settled);
    r->settled = false;
    r->at_us = at_us;
    snprintf(r->reason, sizeof(r->reason), "%s", reason);
}

/* A decision that leaves the write region as it is, made while the switch to
 * that region is under way, goes on with it: it comes from the same region, and
 * is forced if that was, since shards without a leader may need it. Not from or
 * to the strong rule: that one elects by other quorums. */
static void follow_up(const struct govern_record *now,
                      struct govern_record *next, int64_t at_us,
                      const char *reason)
{
    bool goes_on = !now->settled && next->write_region == now->write_region;
    bool forced = goes_on && now->forced &&
                  govern_ack(now) == RAFT_ACK_REGION &&
                  govern_ack(next) == RAFT_ACK_REGION;
    if (!goes_on)
        next->from_region = now->write_region;
    new_epoch(next, forced, at_us, reason);
}

/* Whether the region's voters stay, and were there before: a write region needs
 * some at every moment, in every shard. */
static bool has_lasting_voters(const struct govern_record *r,
                               raft_region region)
{
    return ((r->leaving | r->coming) & govern_region_bit(region)) == 0;
}

int govern_switch(const struct govern_record *now, raft_region to, bool forced,
                  bool manual, int64_t at_us, const char *reason,
                  struct govern_record *next_out)
{
    if (to == now->write_region)
        return ERR_EXISTS;
    if (govern_rank(now, to) == now->n_regions || !has_lasting_voters(now, to))
        return ERR_NOT_FOUND;
    struct govern_record next = *now;
    next.from_region = now->write_region;
    next.write_region = to;
    next.manual = manual;
    new_epoch(&next, forced, at_us, reason);
    *next_out = next;
    return ERR_OK;
}

int govern_set_level(const struct govern_record *now,
                     const struct consistency_policy *level, int64_t at_us,
                     const char *reason, struct govern_record *next_out)
{
    if (level->level == CONSISTENCY_BOUNDED &&
        (level->max_staleness_prefix < 1 || level->max_staleness_interval < 1))
        return ERR_INVALID;
    if (consistency_same(&now->consistency, level))
        return ERR_EXISTS;
    struct govern_record next = *now;
    next.consistency = *level;
    follow_up(now, &next, at_us, reason);
    *next_out = next;
    return ERR_OK;
}

int govern_renew(const struct govern_record *now, int64_t at_us,
                 const char *reason, struct govern_record *next_out)
{
    if (!now->settled)
        return ERR_BUSY;
    struct govern_record next = *now;
    follow_up(now, &next, at_us, reason);
    *next_out = next;
    return ERR_OK;
}

static bool is_permutation(const struct govern_record *now,
                           const raft_region *order, uint32_t n)
{
    govern_regions seen = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (govern_rank(now, order[i]) == now->n_regions)
            return false;
        seen |= govern_region_bit(order[i]);
    }
    return n == now->n_regions && (uint32_t)__builtin_popcount(seen) == n;
}

int govern_set_priority(const struct govern_record *now,
                        const raft_region *order, uint32_t n, bool failback,
                        bool move, int64_t at_us, const char *reason,
                        struct govern_record *next_out)
{
    if (!is_permutation(now, order, n))
        return ERR_INVALID;
    struct govern_record next = *now;
    memcpy(next.priority, order, n * sizeof(*order));
    next.failback = failback;
    next.manual = !move && order[0] != now->write_region;
    if (move && (now->down & govern_region_bit(order[0])) == 0 &&
        has_lasting_voters(now, order[0]))
        next.write_region = order[0];
    follow_up(now, &next, at_us, reason);
    *next_out = next;
    return ERR_OK;
}

static bool has_member_in(const struct govern_member *members, uint32_t n,
                          raft_region region)
{
    for (uint32_t i = 0; i < n; i++)
        if (members[i].region == region)
            return true;
    return false;
}

static uint32_t count_in(const struct govern_member *members, uint32_t n,
                         raft_region region)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < n; i++)
        count += members[i].region == region;
    return count;
}

/* Whether a region that had members has the same ones, or none. */
static bool region_stays_whole(const struct govern_record *now,
                               const struct govern_member *members, uint32_t n,
                               raft_region region)
{
    uint32_t same = 0, had = count_in(now->members, now->n_members, region);
    for (uint32_t i = 0; i < n; i++)
        same += members[i].region == region && govern_wants(now, members[i].id);
    return had == 0 || same == 0
               ? count_in(members, n, region) == 0 || had == 0
               : same == had && count_in(members, n, region) == had;
}

/* With a witness whole regions are exchanged, so that at every step no region
 * is a majority by itself, and the witness stands apart from the payload. */
static bool witness_can_stay(const struct govern_record *now,
                             const struct govern_member *members, uint32_t n,
                             const raft_region *priority, uint32_t n_priority)
{
    uint32_t regions = 0, each = (n - 1) / 2;
    bool there = false;
    for (uint32_t i = 0; i < n; i++)
        there |= members[i].id == now->witness.id &&
                 members[i].region == now->witness.region;
    for (uint32_t k = 0; k < n_priority; k++) {
        uint32_t count = count_in(members, n, priority[k]);
        if (priority[k] == now->witness.region || (count > 0 && count != each))
            return false;
        regions += count > 0;
    }
    for (uint32_t k = 0; k < now->n_regions; k++)
        if (!region_stays_whole(now, members, n, now->priority[k]))
            return false;
    return there && n == now->n_members && regions == 2;
}

static bool members_legal(const struct govern_record *now,
                          const struct govern_member *members, uint32_t n,
                          const raft_region *priority, uint32_t n_priority)
{
    for (uint32_t i = 0; i < n; i++) {
        bool listed = members[i].id == now->witness.id;
        for (uint32_t k = 0; k < n_priority; k++)
            listed |= priority[k] == members[i].region;
        if (!listed || members[i].id == 0 ||
            (i > 0 && members[i].id <= members[i - 1].id))
            return false;
    }
    for (uint32_t k = 0; k < n_priority; k++)
        for (uint32_t i = k + 1; i < n_priority; i++)
            if (priority[k] == priority[i])
                return false;
    return n > 0 && n <= RAFT_MEMBERS_MAX && n_priority <= GROUP_REGIONS_MAX;
}

/* The list of regions: those with members as `priority` says, then those that
 * leave. */
static int list_regions(const struct govern_record *now,
                        const raft_region *priority, uint32_t n_priority,
                        struct govern_record *next)
{
    next->n_regions = 0;
    next->leaving = 0;
    next->coming = 0;
    for (uint32_t i = 0; i < n_priority; i++) {
        if (!has_member_in(next->members, next->n_members, priority[i]))
            continue;
        next->priority[next->n_regions++] = priority[i];
        if (govern_rank(now, priority[i]) == now->n_regions)
            next->coming |= govern_region_bit(priority[i]);
    }
    for (uint32_t i = 0; i < now->n_regions; i++) {
        if (govern_rank(next, now->priority[i]) < next->n_regions)
            continue;
        if (next->n_regions == GROUP_REGIONS_MAX)
            return ERR_INVALID;
        next->priority[next->n_regions++] = now->priority[i];
        next->leaving |= govern_region_bit(now->priority[i]);
    }
    return ERR_OK;
}

/* The first region of the list that can write and is not down; 0: none. */
static raft_region first_well(const struct govern_record *r)
{
    for (uint32_t i = 0; i < r->n_regions; i++)
        if (has_lasting_voters(r, r->priority[i]) &&
            (r->down & govern_region_bit(r->priority[i])) == 0)
            return r->priority[i];
    return 0;
}

int govern_set_members(const struct govern_record *now,
                       const struct govern_member *members, uint32_t n,
                       const raft_region *priority, uint32_t n_priority,
                       int64_t at_us, const char *reason,
                       struct govern_record *next_out)
{
    if (!members_legal(now, members, n, priority, n_priority))
        return ERR_INVALID;
    if (!now->settled || govern_has_leaving(now))
        return ERR_BUSY;
    if (now->witness.id != 0 &&
        !witness_can_stay(now, members, n, priority, n_priority))
        return ERR_UNSUPPORTED;
    struct govern_record next = *now;
    next.n_members = (uint8_t)n;
    memset(next.members, 0, sizeof(next.members));
    memcpy(next.members, members, n * sizeof(*members));
    int err = list_regions(now, priority, n_priority, &next);
    if (err != ERR_OK)
        return err;
    if (next.n_regions == now->n_regions && next.n_members == now->n_members &&
        memcmp(next.members, now->members, sizeof(next.members)) == 0 &&
        memcmp(next.priority, now->priority,
               next.n_regions * sizeof(next.priority[0])) == 0)
        return ERR_EXISTS;
    if ((next.leaving & govern_region_bit(now->write_region)) != 0) {
        next.write_region = first_well(&next);
        next.manual = false;
        if (next.write_region == 0)
            return ERR_UNAVAILABLE;
    }
    next.from_region = now->write_region;
    new_epoch(&next, false, at_us, reason);
    *next_out = next;
    return ERR_OK;
}

/* Two regions with as many members each, and the witness in none of them:
 * neither is a majority by itself, before and after. */
static bool witness_can_come(const struct govern_record *now,
                             struct govern_member witness)
{
    uint32_t with_payload = now->n_members - (now->witness.id != 0);
    return now->n_regions == 2 && with_payload > 0 &&
           govern_rank(now, witness.region) == 2 &&
           2 * count_in(now->members, now->n_members, now->priority[0]) ==
               with_payload;
}

static void remove_member(struct govern_record *r, raft_id id)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < r->n_members; i++)
        if (r->members[i].id != id)
            r->members[kept++] = r->members[i];
    memset(&r->members[kept], 0, (r->n_members - kept) * sizeof(r->members[0]));
    r->n_members = (uint8_t)kept;
}

static void insert_member(struct govern_record *r, struct govern_member m)
{
    uint32_t at = r->n_members++;
    for (; at > 0 && r->members[at - 1].id > m.id; at--)
        r->members[at] = r->members[at - 1];
    r->members[at] = m;
}

int govern_set_witness(const struct govern_record *now,
                       struct govern_member witness, int64_t at_us,
                       const char *reason, struct govern_record *next_out)
{
    struct govern_record next = *now;
    if (witness.id == now->witness.id)
        return ERR_EXISTS;
    bool takes_back =
        now->witness_coming && witness.id == now->witness_leaving.id;
    if (!takes_back && (!now->settled || govern_has_leaving(now)))
        return ERR_BUSY;
    if (witness.id != 0 &&
        (!witness_can_come(now, witness) || govern_wants(now, witness.id)))
        return ERR_UNSUPPORTED;
    if (now->witness.id != 0)
        remove_member(&next, now->witness.id);
    if (witness.id != 0 && next.n_members == RAFT_MEMBERS_MAX)
        return ERR_LIMIT;
    if (witness.id != 0)
        insert_member(&next, witness);
    next.witness = witness;
    next.witness_coming = witness.id != 0;
    next.witness_leaving = now->witness;
    follow_up(now, &next, at_us, reason);
    *next_out = next;
    return ERR_OK;
}

bool govern_wants(const struct govern_record *r, raft_id node)
{
    for (uint32_t i = 0; i < r->n_members; i++)
        if (r->members[i].id == node)
            return true;
    return r->n_members == 0;
}

bool govern_members_are(const struct govern_record *r,
                        const struct raft_config *config)
{
    if (r->n_members == 0)
        return true;
    if (config->joint || config->n != r->n_members)
        return false;
    for (uint32_t i = 0; i < config->n; i++)
        if (config->members[i].id != r->members[i].id ||
            !config->members[i].voter ||
            config->members[i].witness != (r->witness.id == r->members[i].id))
            return false;
    return true;
}

bool govern_has_leaving(const struct govern_record *r)
{
    return r->leaving != 0 || r->witness_leaving.id != 0;
}

void govern_drop_leaving(const struct govern_record *now,
                         struct govern_record *next_out)
{
    CHECK(now->settled);
    struct govern_record next = *now;
    next.n_regions = 0;
    for (uint32_t i = 0; i < now->n_regions; i++)
        if ((now->leaving & govern_region_bit(now->priority[i])) == 0)
            next.priority[next.n_regions++] = now->priority[i];
    next.down &= ~now->leaving;
    next.leaving = 0;
    next.witness_leaving = (struct govern_member){.id = 0};
    CHECK(govern_rank(&next, next.write_region) < next.n_regions);
    if (govern_rank(&next, next.from_region) == next.n_regions)
        next.from_region = next.write_region;
    *next_out = next;
}

void govern_set_settled(const struct govern_record *now,
                        struct govern_record *next_out)
{
    *next_out = *now;
    next_out->settled = true;
    next_out->coming = 0;
    next_out->witness_coming = false;
}

void govern_set_down(const struct govern_record *now, govern_regions down,
                     struct govern_record *next_out)
{
    *next_out = *now;
    next_out->down = down;
}

void govern_escalate(const struct govern_record *now, int64_t at_us,
                     const char *reason, struct govern_record *next_out)
{
    CHECK(!now->forced && !now->settled);
    *next_out = *now;
    new_epoch(next_out, true, at_us, reason);
}

void govern_recover(const struct govern_record *now, uint32_t epoch,
                    govern_regions survivors, int64_t at_us, const char *reason,
                    struct govern_record *next_out)
{
    CHECK(epoch > now->epoch);
    struct govern_record next = *now;
    next.from_region = now->write_region;
    next.down = 0;
    if ((survivors & govern_region_bit(now->write_region)) == 0)
        next.write_region = 0;
    for (uint32_t i = 0; i < next.n_regions; i++) {
        if ((survivors & govern_region_bit(next.priority[i])) == 0)
            next.down |= govern_region_bit(next.priority[i]);
        else if (next.write_region == 0)
            next.write_region = next.priority[i];
    }
    CHECK(next.write_region != 0);
    next.recovered++;
    next.recovered_epoch = epoch;
    next.manual = false;
    next.epoch = epoch - 1;
    new_epoch(&next, true, at_us, reason);
    *next_out = next;
}
