#!/usr/bin/env bash
# Runs simulators with planted bugs; each must find a violation. Speaks TAP.
#
#   tests/sim/canary.sh PROGRAM...
set -u
LIMIT=${CANARY_SEEDS:-300} # seeds of each shape within which it must be caught
nr=0 bad=0
for program in "$@"; do
    nr=$((nr + 1))
    name=${program##*canary_}
    out=$("$program" --canary "$LIMIT" 2>&1)
    code=$?
    found=$(grep -m1 -E '^# (seed [0-9]+ of|a check)' <<<"$out")
    # 0: a checker of the simulator saw it; 3: a check inside the core did.
    if [ $code -eq 0 ] || [ $code -eq 3 ]; then
        echo "ok $nr - $name is caught within $LIMIT seeds: ${found#\# }"
    else
        echo "not ok $nr - $name is not caught within $LIMIT seeds"
        bad=1
    fi
done
echo "1..$nr"
exit $bad
