#!/usr/bin/env bash
# Runs test programs that speak TAP and adds up their results.
#
#   tests/run.sh [--jobs N] PROGRAM...
#                               each is run once; a .mjs file by node, a .sh file
#                               by bash; "program argument ..." in one word is a
#                               command line. --jobs: so many at the same time,
#                               one that is heavy counting as two
#
# Prints failures as they come and ends with "N passed, N failed[, N skipped]".
# A program that dies or prints no result counts as one failure; the folders of
# a test that failed are kept, and named. Tests of the SDK are skipped, and
# counted so, where Node.js or the SDK are missing.
#
# What a test file may say near its top:
#   test-timeout: 600   it takes longer than others, at most so many seconds
#   test-heavy          it keeps a core and more busy all the time
#   test-alone          it measures time, or takes a whole machine: nothing else
#                       runs beside it
set -u
cd "$(dirname "$0")/.." || exit 1
node=${NODE:-node}
limit=${TEST_TIMEOUT:-240}
jobs=1
if [ "${1:-}" = --jobs ]; then
    jobs=$2
    shift 2
fi
folder=$(mktemp -d) || exit 1
# What tests make in folders stays there when they fail.
keep=$(mktemp -d "${TMPDIR:-/tmp}/bastide-failed-XXXXXX") || exit 1
trap 'rm -rf "$folder"; rmdir "$keep" 2>/dev/null' EXIT
# Whoever stops this stops what it has started.
trap 'trap - TERM INT; kill 0; exit 143' TERM INT

# Why tests written for Node.js cannot run; empty when they can.
no_node=
if ! command -v "$node" >/dev/null || [ "$("$node" -p 'process.versions.node.split(".")[0]')" -lt 20 ]; then
    no_node="no Node.js 20 or newer"
elif [ ! -d tests/sdk/node_modules/@azure/cosmos ]; then
    no_node="no @azure/cosmos in tests/sdk/node_modules"
fi

# What the top of a test file says, if it is one.
top_of() {
    case $1 in *.mjs | *.sh) head -n 20 "$1" ;; esac
}

# Seconds that a test may take.
limit_of() {
    local own
    own=$(top_of "$1" | sed -n 's/^.*test-timeout: \([0-9]*\).*$/\1/p' | head -n 1)
    echo "${own:-$limit}"
}

# Our command lines (simulator, model) use all cores themselves.
is_alone() {
    case $1 in *\ *) return 0 ;; esac
    top_of "$1" | grep -q 'test-alone'
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
    esac </dev/null
}

# Runs a program and tells how it went, in one piece; its numbers go to a file.
report() {
    local program=$1 log=$folder/$2.log kept=$keep/$2 start code p f s label
    start=$(date +%s%N)
    mkdir -p "$kept"
    TMPDIR=$kept TEST_KEEP=1 run "$program" >"$log" 2>&1
    code=$?
    p=$(grep -cE '^ok ' "$log")
    f=$(grep -cE '^not ok ' "$log")
    s=$(grep -ciE '^ok .*# skip' "$log")
    if [ "$code" -ne 0 ] && [ "$f" -eq 0 ]; then f=1; fi
    if [ $((p + f)) -eq 0 ]; then f=1; fi
    label=${program#build/tests/}
    {
        printf '%-52s %4d passed %3d failed %3d skipped %6d ms\n' "${label:0:52}" \
            $((p - s)) "$f" "$s" $((($(date +%s%N) - start) / 1000000))
        grep -iE '^ok .*# skip' "$log" | sed 's/^/    skipped: /'
        if [ "$f" -ne 0 ]; then
            echo "---- output of $program (exit $code)"
            tail -n 120 "$log"
            if rmdir "$kept" 2>/dev/null; then :; else echo "---- its folders, with logs and data: $kept"; fi
            echo "---- rerun: tests/run.sh '$program'"
        else
            rm -rf "$kept"
        fi
    } >"$log.told"
    cat "$log.told"
    echo "$((p - s)) $f $s" >"$folder/$2.sum"
    rm -f "$log" "$log.told"
}

# Places that a program takes.
weight_of() {
    if is_alone "$1"; then
        echo "$jobs"
    elif [ "$jobs" -gt 1 ] && top_of "$1" | grep -q 'test-heavy'; then
        echo 2
    else
        echo 1
    fi
}

number=0 taken=0
declare -A weights=()
for program in "$@"; do
    weight=$(weight_of "$program")
    while [ $((taken + weight)) -gt "$jobs" ]; do
        wait -n -p ended
        taken=$((taken - ${weights[$ended]}))
    done
    report "$program" "$number" &
    weights[$!]=$weight
    number=$((number + 1)) taken=$((taken + weight))
done
wait

passed=0 failed=0 skipped=0
for ((i = 0; i < number; i++)); do
    # One that left no numbers has died with everything it was to tell.
    read -r p f s <"$folder/$i.sum" || { p=0 f=1 s=0; }
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done
if [ "$skipped" -gt 0 ]; then
    echo "$passed passed, $failed failed, $skipped skipped"
else
    echo "$passed passed, $failed failed"
fi
[ "$failed" -eq 0 ]
