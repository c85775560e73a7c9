#!/usr/bin/env bash
# Checks the model of the regional quorum exhaustively within small bounds, and
# that each planted bug breaks the property it should. Speaks TAP.
#
#   consensus/model/check.sh [FOLDER]     FOLDER: where to build (build/model)
#
# Takes about 20 s of one core; FULL=1 adds larger bounds, which take minutes.
set -u
model=$(cd "$(dirname "$0")" && pwd)/quorum.pml
folder=${1:-build/model}
CC=${CC:-gcc}
# The numbers that quorum.pml gives its properties.
properties=(none ACK COMMIT REGION FENCE LATE SANE)

if ! command -v spin >/dev/null; then
    echo "ok 1 - the model of the regional quorum # SKIP spin is not installed: deploy/install-deps.sh test"
    echo "1..1"
    exit 0
fi
mkdir -p "$folder" && cd "$folder" || exit 1

# Builds the verifier for some definitions and runs it; its output in ./$1/out.
verify() {
    local name=$1 level=$2
    shift 2
    rm -rf "./$name" && mkdir "$name" && (
        cd "$name" || exit 1
        "$CC" -E -P -x c "$@" "$model" >model.pml && spin -a model.pml >out 2>&1 &&
            "$CC" "$level" -w -DSAFETY -DCOLLAPSE -DMEMLIM=3000 -o pan pan.c >>out 2>&1 &&
            ./pan -m100000 -w22 >>out 2>&1
    )
}

# The property that does not hold; "none", or "unknown" when pan did not finish.
broken_in() {
    local nr
    nr=$(sed -n 's/.*assertion violated (broken!=\([0-9]*\)).*/\1/p' "$1/out" | head -1)
    if [ -n "$nr" ]; then
        echo "${properties[$nr]}"
    elif grep -q 'errors: 0$' "$1/out" && ! grep -q 'Search not completed\|max search depth too small' "$1/out"; then
        echo none
    else
        echo unknown
    fi
}

nr=0 bad=0
# name, expected property, optimisation, definitions...
check() {
    local name=$1 expected=$2 level=$3 found states
    shift 3
    nr=$((nr + 1))
    verify "$name" "$level" "$@"
    found=$(broken_in "$name")
    states=$(sed -n 's/^ *\([0-9]*\) states, stored$/\1/p' "$name/out")
    if [ "$found" = "$expected" ]; then
        if [ "$expected" = none ]; then
            echo "ok $nr - $name: all properties hold in ${states:-?} states ($*)"
        else
            echo "ok $nr - planted bug $name breaks $expected, found after ${states:-?} states"
        fi
    else
        echo "not ok $nr - $name: expected $expected, found $found ($*); see $folder/$name/out"
        bad=1
    fi
}

two_terms="-DEPOCHS=1 -DCOUNTERS=2 -DENTRIES=3"
# shellcheck disable=SC2086
{
    check one_decision none -O1 $two_terms
    check two_decisions none -O1 -DEPOCHS=2 -DCOUNTERS=1 -DENTRIES=3
    check lease none -O1 -DLEASE -DEPOCHS=1 -DCOUNTERS=2 -DENTRIES=2
    if [ -n "${FULL:-}" ]; then
        check one_decision_long none -O2 -DEPOCHS=1 -DCOUNTERS=2 -DENTRIES=4
        check three_voters_in_a_region none -O2 -DVOTERS=5 -DEPOCHS=1 -DCOUNTERS=1 -DENTRIES=2
    fi
    check NO_REGION_QUORUM ACK -O0 $two_terms -DNO_REGION_QUORUM
    check PAST_CONFIG ACK -O0 $two_terms -DPAST_CONFIG
    check PLAIN_TERMS FENCE -O0 $two_terms -DPLAIN_TERMS
    check ONE_REPLICA COMMIT -O0 $two_terms -DONE_REPLICA
    check LONG_LEASE LATE -O0 -DLEASE -DLONG_LEASE -DEPOCHS=1 -DCOUNTERS=2 -DENTRIES=2
}
echo "1..$nr"
exit $bad
