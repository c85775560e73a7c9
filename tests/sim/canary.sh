#!/usr/bin/env bash
# Plants one bug after the other; each must be found within a stated number of
# seeds. Speaks TAP.
#
#   tests/sim/canary.sh PROGRAM [NAME...]
set -u
program=$1
shift
[ $# -gt 0 ] || set -- $("$program" --plants)

# Where a bug shows soonest, and how many seeds that may take.
try() {
    local name=$1 replica=site shape=3x1 limit=200
    case $name in
    RAFT_VOTE_ANY_LOG | RAFT_LONG_LEASE | RAFT_ACK_BEFORE_SYNC | RAFT_READ_AT_ONCE)
        replica=raft shape=1x3 ;;
    RAFT_FORGET_VOTE) replica=raft shape=1x3-storm limit=1000 ;;
    RAFT_COUNT_OLD_TERM) replica=raft shape=1x3-storm limit=300 ;;
    RAFT_MAJORITY_ONLY) replica=raft shape=3x1+3 limit=100 ;;
    RAFT_SKIP_JOINT) replica=raft shape=1x5+1 limit=100 ;;
    RAFT_AMNESIAC_VOTES) replica=raft shape=1x3-loss limit=100 ;;
    RAFT_AMNESIAC_ACKS) replica=raft shape=1x3-loss limit=1000 ;;
    RAFT_AMNESIA_ENDS_EARLY) replica=raft shape=1x3-loss limit=500 ;;
    RAFT_VISIBLE_UNVERIFIED) replica=raft shape=1x5+1 limit=100 ;;
    RAFT_ANNOUNCE_NO_LEASE) replica=raft shape=1x5+1 limit=300 ;;
    RAFT_REGION_PAST_CONFIG) replica=raft shape=3x1+3 limit=1000 ;;
    SHARD_FORGET_OPS | SHARD_READ_ANYWHERE | SHARD_ANSWER_EARLY | SHARD_REFUSE_EARLY)
        replica=shard shape=1x3 ;;
    esac
    local out code found
    out=$("$program" --plant "$name" --canary $limit --shape $shape --replica $replica 2>&1)
    code=$?
    found=$(grep -m1 -E '^# (seed [0-9]+ of|a check)' <<<"$out")
    # 0: a checker of the simulator saw it; 3: a check inside the core did.
    if [ $code -eq 0 ] || [ $code -eq 3 ]; then
        echo "ok - $name is caught within $limit seeds of $replica $shape: ${found#\# }"
    else
        echo "not ok - $name is not caught within $limit seeds of $replica $shape"
    fi
}
export program
export -f try

printf '%s\n' "$@" | xargs -P "$(nproc)" -I{} bash -c 'try {}' |
    awk '{ n++; sub(/ok -/, "ok " n " -"); print; bad += /^not/; fflush() }
         END { print "1.." n; exit bad > 0 || n == 0 }'
