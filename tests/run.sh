#!/usr/bin/env bash
# Runs test programs that speak TAP and adds up their results.
#
#   tests/run.sh PROGRAM...     each is run once; a .mjs file by node, a .sh file
#                               by bash; "program argument ..." in one word is a
#                               command line
#
# Prints failures as they come and ends with "N passed, N failed[, N skipped]".
# A test that takes longer than others says so near its top: "test-timeout: 600"
# (seconds).
# A program that dies or prints no result counts as one failure. Tests of the
# SDK are skipped, and counted so, where Node.js or the SDK are missing.
set -u
cd "$(dirname "$0")/.." || exit 1
node=${NODE:-node}
limit=${TEST_TIMEOUT:-240}
passed=0 failed=0 skipped=0
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT

# Why tests written for Node.js cannot run; empty when they can.
no_node=
if ! command -v "$node" >/dev/null || [ "$("$node" -p 'process.versions.node.split(".")[0]')" -lt 20 ]; then
    no_node="no Node.js 20 or newer"
elif [ ! -d tests/sdk/node_modules/@azure/cosmos ]; then
    no_node="no @azure/cosmos in tests/sdk/node_modules"
fi

# Seconds that a test may take.
limit_of() {
    local own=
    [ ! -f "$1" ] || own=$(head -n 20 "$1" | sed -n 's/^.*test-timeout: \([0-9]*\).*$/\1/p' | head -n 1)
    echo "${own:-$limit}"
}

run() {
    local seconds
    seconds=$(limit_of "$1")
    case $1 in
    *.mjs)
        if [ -n "$no_node" ]; then
            echo "ok 1 - $1 # SKIP $no_node; deploy/install-deps.sh sdk says why"
        else
            timeout "$seconds" "$node" --test-reporter=tap "$1"
        fi
        ;;
    *.sh) timeout "$seconds" bash "$1" ;;
    *\ *)
        # A command line of ours, without quoting inside.
        # shellcheck disable=SC2086
        timeout "$seconds" $1
        ;;
    *) CMOCKA_MESSAGE_OUTPUT=TAP timeout "$seconds" "$1" ;;
    esac >"$log" 2>&1 </dev/null
}

for program in "$@"; do
    start=$(date +%s%N)
    run "$program"
    code=$?
    p=$(grep -cE '^ok ' "$log")
    f=$(grep -cE '^not ok ' "$log")
    s=$(grep -ciE '^ok .*# skip' "$log")
    if [ "$code" -ne 0 ] && [ "$f" -eq 0 ]; then f=1; fi
    if [ $((p + f)) -eq 0 ]; then f=1; fi
    passed=$((passed + p - s)) failed=$((failed + f)) skipped=$((skipped + s))
    label=${program#build/tests/}
    printf '%-52s %4d passed %3d failed %3d skipped %6d ms\n' "${label:0:52}" \
        $((p - s)) "$f" "$s" $((($(date +%s%N) - start) / 1000000))
    grep -iE '^ok .*# skip' "$log" | sed 's/^/    skipped: /'
    if [ "$f" -ne 0 ]; then
        echo "---- output of $program (exit $code)"
        tail -n 120 "$log"
        echo "---- rerun: $program"
    fi
done
if [ "$skipped" -gt 0 ]; then
    echo "$passed passed, $failed failed, $skipped skipped"
else
    echo "$passed passed, $failed failed"
fi
[ "$failed" -eq 0 ]
