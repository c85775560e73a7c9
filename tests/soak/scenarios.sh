#!/usr/bin/env bash
# Plays scenarios against a demo cluster of three regions and prints a table.
# What a failure leaves (report, history, the cluster's folder with its logs) is
# kept, and how to see it again is printed.
#
#   tests/soak/scenarios.sh BASTIDE FOLDER      variables: ONLY, KEEP
set -u
bastide=$1 folder=$2
mkdir -p "$folder"
# Regions that return are trusted again soon.
export BASTIDE_TIMEOUTS_REGION_UP_MS=${BASTIDE_TIMEOUTS_REGION_UP_MS:-1000}
demo=
trap 'if [ -n "$demo" ]; then kill "$demo" 2>/dev/null; wait "$demo"; fi' EXIT
trap 'exit 1' INT TERM

start() {
    rm -rf "$1"
    : >"$1.log"
    "$bastide" demo --dir "$1" --base-port auto >"$1.log" 2>&1 &
    demo=$!
    for _ in $(seq 300); do
        grep -q ' is ready: ' "$1.log" && return 0
        kill -0 "$demo" 2>/dev/null || break
        sleep 0.1
    done
    cat "$1.log"
    return 1
}

number() { node_json=$2 key=$1 awk 'BEGIN {
    if (match(ENVIRON["node_json"], "\"" ENVIRON["key"] "\":[0-9.]+"))
        print substr(ENVIRON["node_json"], RSTART + length(ENVIRON["key"]) + 3, RLENGTH - length(ENVIRON["key"]) - 3)
    else print "-" }'; }

bad=0
printf '%-22s %-7s %6s %9s %6s %8s %8s\n' scenario result took gap lost writes reads
for scenario in ${ONLY:-$("$bastide" fault run --list | awk '{ print $1 }')}; do
    place=$folder/$scenario
    start "$place" || exit 1
    began=$(date +%s)
    json=$("$bastide" fault run "$scenario" --dir "$place" -o json --junit "$place.xml" \
        --history "$place.jsonl" 2>"$place.err")
    code=$?
    printf '%-22s %-7s %4s s %7s s %6s %8s %8s\n' "$scenario" "$([ $code -eq 0 ] && echo ok || echo FAILED)" \
        $(($(date +%s) - began)) "$(number longest_gap_s "$json")" "$(number lost "$json")" \
        "$(number writes "$json")" "$(number reads "$json")"
    kill "$demo" && wait "$demo"
    demo=
    if [ $code -ne 0 ]; then
        bad=1
        cat "$place.err"
        echo "    report, history, logs: $place.*; again: make scenarios ONLY=$scenario"
    elif [ -z "${KEEP:-}" ]; then
        rm -rf "$place" "$place".*
    fi
done
exit $bad
