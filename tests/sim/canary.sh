#!/usr/bin/env bash
# Plants one bug after the other; each must be found within a stated number of
# seeds, and by the checker that is there for it. Speaks TAP.
#
#   tests/sim/canary.sh PROGRAM [NAME...]
set -u
program=$1
shift

# The bug; where it shows soonest; how many seeds that may take; what is said.
# A bug may have several lines. A check inside the code itself is good, too.
table() {
    cat <<'TABLE'
RAFT_VOTE_ANY_LOG        raft  1x3       200  leader completeness|acknowledged write lost
RAFT_FORGET_VOTE         raft  1x3-storm 1000 two leaders
RAFT_LONG_LEASE          raft  1x3       200  not so fresh|stale read
RAFT_COUNT_OLD_TERM      raft  1x3-storm 1000 leader completeness
RAFT_ACK_BEFORE_SYNC     raft  1x3-storm 500  leader completeness|lost
RAFT_MAJORITY_ONLY       raft  3x1+3     100  acknowledged write lost
RAFT_READ_AT_ONCE        raft  1x3       200  stale read
RAFT_SKIP_JOINT          raft  1x5+1     1000 .
RAFT_AMNESIAC_VOTES      raft  1x3-loss  100  leader completeness
RAFT_AMNESIAC_VOTES_BEHIND raft 1x3-loss 1000 leader completeness
RAFT_AMNESIAC_ACKS       raft  3x1+3     1000 leader completeness|counts as rebuilt
RAFT_AMNESIA_ENDS_EARLY  raft  1x3-loss  1000 leader completeness
RAFT_AMNESIA_ENDS_BY_STANDING raft 1x3+2-loss 1000 counts as rebuilt
RAFT_KEPT_END_FORGOTTEN  raft  1x3-loss  1000 leader completeness
RAFT_LEFT_END_FORGOTTEN  raft  2x1+lw    100  leader completeness|counts as rebuilt
RAFT_AMNESIAC_ASKS_FOUNDERS raft 1x3+2-loss 1500 leader completeness|two leaders|acknowledged write lost
RAFT_VISIBLE_UNVERIFIED  raft  1x5+1     100  uncertain read
RAFT_ANNOUNCE_NO_LEASE   raft  1x5+1     300  not so fresh
RAFT_REGION_PAST_CONFIG  raft  3x1+3     1000 acknowledged write lost
RAFT_WITNESS_CAMPAIGNS   raft  2x1+w     100  a witness leads|that no log has
RAFT_WITNESS_COUNTS_AS_PAYLOAD raft 2x1+w 200 region loss: nothing is acknowledged
SHARD_TELL_WITNESS       shard 2x1+w     10   payload is sent to a witness
SHARD_TELL_COMING        shard 2x1+lw    20   payload is sent to a witness
SHARD_RENEW_BEHIND       shard 2x1-loss  500  no convergence|not linearizable|lost
SHARD_SPARE_ANYONE       shard 2x1-loss  100  no progress|lost
SHARD_FORGET_OPS         shard 1x3       100  took effect twice
SHARD_READ_ANYWHERE      shard 1x3       100  stale read|not linearizable
SHARD_ANSWER_EARLY       shard 1x3       100  stale read|lost
SHARD_REFUSE_EARLY       shard 1x3       200  not linearizable
RAFT_MAJORITY_ONLY       site  3x1       200  conflict feed: lacks|acknowledged write lost
RAFT_LAZY_HEARTBEAT      site  3x1       50   election storm|no progress|requests failed
SHARD_READ_ANYWHERE      site  3x1       100  not linearizable
SHARD_ACK_ONE_EARLY      site  3x1       50   not linearizable|acknowledged write lost
SHARD_FORGET_TOKENS      site  3x1       50   read your writes|monotonic reads
SHARD_TOKEN_WITHOUT_EPOCH site 3x1       1500 wedged|read your writes|monotonic reads
SHARD_OWN_CLOCK_ONLY     site  3x1       200  too stale
SHARD_READ_UNACKED       site  3x3       500  was never acknowledged
SHARD_CLAIM_NEWER        site  3x1       50   no prefix
SHARD_UNGOVERNED         site  3x1       200  too stale
SHARD_SKIP_SALVAGE       site  3x1       50   conflict feed: lacks
FAILOVER_IGNORE_PRIORITY site  3x1       100  the first that is left
FAILOVER_ONE_WORD        site  3x1       200  failover without need \(pair\)
FAILOVER_NO_HYSTERESIS   site  3x1       200  failover without need
FAILOVER_FAILBACK_BEHIND site  3x1       200  failover \(behind\)
FAILOVER_LATE            site  3x1       50   failover \(.*(no write|first write)
FAILOVER_NEVER_UP        site  3x1       50   no progress after healing: regions
GOVERN_SAME_EPOCH        site  3x1       100  two regions acknowledge|not settled|no progress
GOVERN_STAY              site  3x1       50   no progress|planned switch
GOVERN_TELL_EARLY        site  3x1       1000 acknowledged write lost
GOVERN_REMOVE_FIRST      site  3x1       200  goes before all who come do vote
GOVERN_PROMOTE_FAR       site  3x1       200  votes before it follows
GOVERN_CHANGE_WHILE_REBUILT site 3x3     500  is being rebuilt
GOVERN_META_AT_ONCE      site  3x1       200  without having heard
GOVERN_ANYWHERE          site  3x3       50   no progress after healing: .* whose home is
TABLE
}

try() {
    local name=$1 replica=$2 shape=$3 limit=$4 wanted=$5
    local out code found
    out=$("$program" --plant "$name" --canary "$limit" --expect "$wanted" \
        --shape "$shape" --replica "$replica" 2>&1)
    code=$?
    found=$(grep -m1 -E '^# (seed [0-9]+ of|a check)' <<<"$out")
    # 0: a checker of the simulator saw it; 3: a check inside the code did.
    if [ $code -ne 0 ] && [ $code -ne 3 ]; then
        echo "not ok - $name is not caught within $limit seeds of $replica $shape as '$wanted'"
    else
        echo "ok - $name is caught within $limit seeds of $replica $shape: ${found#\# }"
    fi
}
export program
export -f try

lines=$(table)
if [ $# -gt 0 ]; then
    lines=$(grep -E "^($(IFS='|' && echo "$*")) " <<<"$lines")
fi
{
    # None may be forgotten.
    if [ $# -eq 0 ]; then
        for name in $("$program" --plants); do
            grep -q "^$name " <<<"$lines" || echo "not ok - $name has no line in $0"
        done
    fi
    sed -E 's/^(\S+) +(\S+) +(\S+) +(\S+) +(.*)$/\1\n\2\n\3\n\4\n\5/' <<<"$lines" |
        xargs -d '\n' -n 5 -P "$(nproc)" bash -c 'try "$@"' try
} | awk '{ n++; sub(/ok -/, "ok " n " -"); print; bad += /^not/; fflush() }
         END { print "1.." n; exit bad > 0 || n == 0 }'
