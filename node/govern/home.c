#include "node/govern/home.h"

_Static_assert(RAFT_MEMBERS_MAX <= 64, "a member is a bit");

raft_id govern_home(const struct raft_config *c, raft_region region,
                    uint16_t shard, bool gather, govern_member_set well)
{
    uint32_t able[RAFT_MEMBERS_MAX], fit[RAFT_MEMBERS_MAX];
    uint32_t n_able = 0, n_fit = 0;
    for (uint32_t i = 0; i < c->n; i++) {
        const struct raft_member *m = &c->members[i];
        if (m->region != region || !m->voter || m->witness)
            continue;
        able[n_able++] = i;
        if ((well >> i & 1) != 0)
            fit[n_fit++] = i;
    }
    if (n_fit == 0)
        return 0;
    if (gather)
        return c->members[fit[0]].id;
    uint32_t first = able[shard % n_able];
    if ((well >> first & 1) == 0)
        first = fit[shard / n_able % n_fit];
    return c->members[first].id;
}
