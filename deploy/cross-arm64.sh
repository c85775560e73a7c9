#!/usr/bin/env bash
# Builds bastide for arm64 on a machine of another kind:
#
#   deploy/cross-arm64.sh [TARGET...]     default: build-arm64/bastide
#   OPTIMISE=-O1 deploy/cross-arm64.sh    sooner done, slower to run
#
# The compiler is Debian's. The libraries are Debian's packages for arm64, fetched
# and unpacked into build-arm64/sysroot: the machine's own packages and
# architectures stay as they are. On an arm64 machine: make.
set -eu
cd "$(dirname "$0")/.."
build=build-arm64
root=$PWD/$build/sysroot
packages="libssl-dev libssl3 libprotobuf-c-dev libprotobuf-c1 liblmdb-dev liblmdb0 libev-dev libev4
    libhttp-parser-dev libhttp-parser2.9 libyaml-dev libyaml-0-2 libcmocka-dev libcmocka0 uthash-dev"

# apt as it would be on an arm64 machine, with the sources of this one.
apt_arm64() {
    apt-get -q -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o Dir::State="$root.apt" \
        -o Dir::State::status="$root.apt/status" -o Dir::Cache="$root.apt/cache" -o APT::Sandbox::User="$(id -un)" \
        -o Acquire::Languages=none "$@"
}

make_sysroot() {
    rm -rf "$root" "$root.apt"
    mkdir -p "$root.new" "$root.apt/lists/partial" "$root.apt/cache/archives/partial"
    : >"$root.apt/status"
    apt_arm64 update
    # shellcheck disable=SC2086
    (cd "$root.apt" && apt_arm64 download $packages)
    for deb in "$root.apt"/*.deb; do dpkg-deb -x "$deb" "$root.new"; done
    rm -rf "$root.apt"
    mv "$root.new" "$root"
}

deploy/install-deps.sh build cross
if [ ! -d "$root" ]; then
    log=$(mktemp)
    make_sysroot >"$log" 2>&1 || { tail -n 20 "$log" >&2; rm -f "$log"; exit 1; }
    rm -f "$log"
fi
[ $# -gt 0 ] || set -- "$build/bastide"
lib=$root/usr/lib/aarch64-linux-gnu
make --no-print-directory -s -j"$(nproc)" BUILD=$build CC=aarch64-linux-gnu-gcc AR=aarch64-linux-gnu-ar \
    CFLAGS="${OPTIMISE:-} -isystem $root/usr/include/aarch64-linux-gnu -isystem $root/usr/include" \
    LDFLAGS="-L$lib -Wl,-rpath-link,$lib" "$@"
