#!/usr/bin/env bash
# The program and some unit tests, built for arm64, run in an emulator. Skipped,
# loudly, where the compiler or the packages cannot be had.
# test-timeout: 600
# test-alone
set -u
cd "$(dirname "$0")/../.." || exit 1
tests="build-arm64/tests/unit/node/base/test_file build-arm64/tests/unit/replication/test_frame
    build-arm64/tests/unit/node/json/test_number"
root=$PWD/build-arm64/sysroot

skip() {
    echo "1..1"
    echo "ok 1 - arm64 # SKIP $1"
    exit 0
}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
deploy/install-deps.sh build cross >"$log" 2>&1 || skip "no cross compiler or emulator: $(tail -n 1 "$log")"
[ "$(uname -m)" != aarch64 ] || skip "this is an arm64 machine"

echo "1..3"
failed=0
result() { # code number name
    if [ "$1" -eq 0 ]; then
        echo "ok $2 - $3"
    else
        echo "not ok $2 - $3"
        sed 's/^/# /' "$log"
        failed=1
    fi
}
# shellcheck disable=SC2086
OPTIMISE=-O1 deploy/cross-arm64.sh build-arm64/bastide $tests >"$log" 2>&1
result $? 1 "bastide and unit tests are built for arm64"

emulate() {
    qemu-aarch64 -L /usr/aarch64-linux-gnu -E LD_LIBRARY_PATH="$root/usr/lib/aarch64-linux-gnu" "$@"
}
[ "$(emulate build-arm64/bastide version 2>"$log")" = "$(sed -n 's/^#define NODE_VERSION "\(.*\)"/bastide \1/p' node/server/node.h)" ]
result $? 2 "bastide version runs"

code=0
for test in $tests; do
    emulate "$test" >>"$log" 2>&1 || code=1
done
result $code 3 "unit tests run"
exit $failed
