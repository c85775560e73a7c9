#!/usr/bin/env bash
# Runs the simulator for each kind of replica, and keeps account of the seeds
# that this commit has survived.
#
#   tests/sim/run.sh LEDGER "raft shard site" PROGRAM ARGUMENTS...
set -u
ledger=$1 replicas=$2
shift 2
bad=0 seeds=0
commit=$(git rev-parse --short HEAD 2>/dev/null || echo none)
# What is not committed yet is another program.
git diff --quiet HEAD -- . 2>/dev/null || commit=$commit+
for replica in $replicas; do
    out=$(mktemp)
    "$@" --replica "$replica" | tee "$out"
    [ "${PIPESTATUS[0]}" -eq 0 ] || bad=1
    n=$(sed -n 's/^ok .*: seeds \([0-9]*\) to \([0-9]*\) .*/\2 \1/p' "$out" |
        awk '{ n += $1 - $2 + 1 } END { print n + 0 }')
    rm -f "$out"
    seeds=$((seeds + n))
done
mkdir -p "$(dirname "$ledger")"
echo "$commit $seeds" >>"$ledger"
awk -v c="$commit" '$1 == c { here += $2 } { all += $2 }
    END { print "# seeds without a violation: " here " of commit " c ", " all " in all" }' "$ledger"
exit $bad
