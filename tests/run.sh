#!/usr/bin/env bash
# Runs test programs that speak TAP and adds up their results.
#
#   tests/run.sh PROGRAM...          each is run once; a .mjs file by node
#
# Prints failures as they come and ends with "N passed, N failed[, N skipped]".
# A program that dies or prints no result counts as one failure.
set -u
passed=0 failed=0 skipped=0
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
for program in "$@"; do
    start=$(date +%s%N)
    case $program in
    *.mjs) timeout "${TEST_TIMEOUT:-600}" "${NODE:-node}" --test-reporter=tap "$program" >"$log" 2>&1 </dev/null ;;
    *) CMOCKA_MESSAGE_OUTPUT=TAP timeout "${TEST_TIMEOUT:-600}" "$program" >"$log" 2>&1 </dev/null ;;
    esac
    code=$?
    p=$(grep -cE '^ok ' "$log")
    f=$(grep -cE '^not ok ' "$log")
    s=$(grep -ciE '^ok .*# skip' "$log")
    if [ "$code" -ne 0 ] && [ "$f" -eq 0 ]; then f=1; fi
    if [ $((p + f)) -eq 0 ]; then f=1; fi
    passed=$((passed + p - s)) failed=$((failed + f)) skipped=$((skipped + s))
    printf '%-52s %4d passed %3d failed %3d skipped %6d ms\n' "${program#build/tests/}" \
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
