#!/usr/bin/env bash
# `bastide init --if-missing`, as a container's first start runs it: killed at any
# moment and run again it makes a whole cluster; run once more it changes nothing,
# and it never touches another cluster, nor what
# no interrupted run has left.
set -u
bastide=${TEST_BASTIDE:-$(dirname "$0")/../../build/bastide}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
flags=(init --if-missing --cluster c --regions a,b,c --host '{node}' --san gateway)
init() { "$bastide" "${flags[@]}" --dir "$@"; }
digest() { (cd "$1" && find . -type f -exec sha256sum {} + | sort | sha256sum); }

echo 1..5
failed=0
result() { # number name; the last command's code decides
    local code=$?
    [ $code -eq 0 ] && echo "ok $1 - $2" || { echo "not ok $1 - $2"; failed=1; }
}

killed_and_again() {
    local i dir killed=0
    for i in $(seq 20); do
        dir=$folder/k$i
        mkdir "$dir"
        "$bastide" "${flags[@]}" --dir "$dir" >/dev/null 2>&1 &
        sleep "0.0$((RANDOM % 30 + 10))"
        kill -KILL $! 2>/dev/null && killed=$((killed + 1))
        wait $! 2>/dev/null
        init "$dir" >/dev/null || { echo "# run $i: not mended"; ls -lR "$dir" | sed 's/^/# /'; return 1; }
        [ ! -e "$dir/.unfinished" ] || { echo "# run $i: still marked"; return 1; }
        for node in a-1 b-1 c-1; do
            "$bastide" node --config "$dir/$node/node.yaml" --check-config >/dev/null || return 1
        done
    done
    echo "# $killed of 20 were killed while they worked"
}
killed_and_again
result 1 "an interrupted init is finished by the next"

mkdir "$folder/same" && init "$folder/same" >/dev/null && before=$(digest "$folder/same") &&
    init "$folder/same" >/dev/null && [ "$before" = "$(digest "$folder/same")" ]
result 2 "a second init changes nothing"

! init "$folder/same" --nodes-per-region 3 >/dev/null 2>"$folder/why" && grep -q "holds cluster c with 3 regions and 3 nodes" "$folder/why" &&
    [ "$before" = "$(digest "$folder/same")" ]
result 3 "another cluster is refused"

lost=$(cat "$folder/same/b-1/node.yaml") && rm "$folder/same/b-1/node.yaml" && before=$(digest "$folder/same") &&
    { init "$folder/same" >/dev/null 2>"$folder/why"; [ $? -eq 1 ]; } && grep -q "b-1/node.yaml.*nothing was changed: restore what is missing" "$folder/why" &&
    [ "$before" = "$(digest "$folder/same")" ] && echo "$lost" >"$folder/same/b-1/node.yaml" && init "$folder/same" >/dev/null
result 4 "a cluster that lost a node.yaml keeps all its other files"

mkdir "$folder/foreign" && echo theirs >"$folder/foreign/ca.key" && before=$(digest "$folder/foreign") &&
    { init "$folder/foreign" >/dev/null 2>"$folder/why"; [ $? -eq 1 ]; } && grep -q "nothing was changed" "$folder/why" &&
    [ "$before" = "$(digest "$folder/foreign")" ]
result 5 "a ca.key of others is left alone"
exit $failed
