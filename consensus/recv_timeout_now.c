/* The leader asks this node to take over (thesis 3.10). */
#include "consensus/raft_impl.h"
#include "node/base/check.h"
#include "node/base/err.h"

int raft_recv_timeout_now(struct raft *r, const struct raft_msg *m)
{
    CHECK(m->term == r->term);
    /* Only with the whole log of the leader could it win for sure; and a
     * repeated message finds a newer term or another role. */
    if (r->role != RAFT_FOLLOWER || (r->leader != 0 && r->leader != m->from) ||
        trail_last_lsn(&r->trail) < m->timeout_now.lsn)
        return ERR_OK;
    raft_campaign(r, true);
    return ERR_OK;
}
