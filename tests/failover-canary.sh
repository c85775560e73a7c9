#!/usr/bin/env bash
# Runs the failover controller's unit tests with planted bugs; for each bug at
# least one test must fail. Speaks TAP.
#
#   tests/failover-canary.sh FOLDER     holds <NAME>/test_*, see failover.mk
set -u
nr=0 bad=0
for folder in "$1"/*/; do
    nr=$((nr + 1))
    name=$(basename "$folder")
    caught=$(for program in "$folder"test_*; do
        CMOCKA_MESSAGE_OUTPUT=TAP timeout 120 "$program" 2>/dev/null | sed -n 's/^not ok [0-9]* - //p'
    done)
    if [ -n "$caught" ]; then
        echo "ok $nr - $name is caught by $(wc -l <<<"$caught") tests: $(head -n 3 <<<"$caught" | paste -sd' ')"
    else
        echo "not ok $nr - $name is not caught"
        bad=1
    fi
done
echo "1..$nr"
exit $bad
