#!/usr/bin/env bash
# Runs simulators with planted bugs; each must find a violation within a stated
# number of seeds. Speaks TAP.
#
#   tests/sim/canary.sh PROGRAM...     .../canary_<NAME>, see consensus/canary.h,
#                                      SHARD_<NAME>: node/shard/canary.h
set -u
nr=0 bad=0
for program in "$@"; do
    nr=$((nr + 1))
    name=${program##*canary_}
    replica=raft
    # Where it shows soonest, and how many seeds that may take.
    case $name in
    FORGET_VOTE) shape=1x3-storm limit=1000 ;;
    COUNT_OLD_TERM) shape=1x3-storm limit=300 ;;
    MAJORITY_ONLY) shape=3x1+3 limit=100 ;;
    SKIP_JOINT) shape=1x5+1 limit=1000 ;;
    AMNESIAC_VOTES) shape=1x3-loss limit=100 ;;
    AMNESIAC_ACKS) shape=1x3-loss limit=1000 ;;
    AMNESIA_ENDS_EARLY) shape=1x3-loss limit=500 ;;
    VISIBLE_UNVERIFIED) shape=1x5+1 limit=100 ;;
    ANNOUNCE_NO_LEASE) shape=1x5+1 limit=300 ;;
    REGION_PAST_CONFIG) shape=3x1+3 limit=1000 ;;
    SHARD_*) shape=1x3 limit=200 replica=shard ;;
    *) shape=1x3 limit=200 ;;
    esac
    out=$("$program" --canary $limit --shape $shape --replica $replica 2>&1)
    code=$?
    found=$(grep -m1 -E '^# (seed [0-9]+ of|a check)' <<<"$out")
    # 0: a checker of the simulator saw it; 3: a check inside the core did.
    if [ $code -eq 0 ] || [ $code -eq 3 ]; then
        echo "ok $nr - $name is caught within $limit seeds: ${found#\# }"
    else
        echo "not ok $nr - $name is not caught within $limit seeds of $shape"
        bad=1
    fi
done
echo "1..$nr"
exit $bad
