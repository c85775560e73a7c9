#!/bin/sh
# Installs what is missing of the Debian packages Bastide needs.
#
#   deploy/install-deps.sh [GROUP...]     groups: build test sdk observability
#                                         docker cross manifests bench
#
# Without arguments: build. Quiet when nothing is to be done; uses sudo only if
# not root; may be run any number of times. docs/dependencies.md says what each
# package is for.
set -eu
cd "$(dirname "$0")/.."

build_packages="gcc make libc6-dev libssl-dev libprotobuf-c-dev protobuf-c-compiler
    liblmdb-dev libev-dev libhttp-parser-dev libyaml-dev uthash-dev"
test_packages="libcmocka-dev openssl procps spin tcpdump"
observability_packages="prometheus"
bench_packages="etcd-server etcd-client golang-go golang-etcd-server-dev"
cross_packages="gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"
manifest_folder=build-manifests
docker_packages="iptables debootstrap"
node_least=20
node_folder=build-node

say() { echo "install-deps: $*" >&2; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        say "not root and there is no sudo; run as root: $*"
        return 1
    fi
}

is_installed() {
    [ "$(dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2>/dev/null | cut -c1-2)" = ii ]
}

apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y "$@"
}

# Installs the packages of its arguments that are not there.
need() {
    missing=
    for package in "$@"; do
        is_installed "$package" || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    if ! command -v apt-get >/dev/null; then
        say "these packages are missing and there is no apt-get:$missing"
        return 1
    fi
    say "installing$missing"
    log=$(mktemp)
    # The lists may be missing or old: fetch them once and try again.
    # shellcheck disable=SC2086
    if apt_get install --no-install-recommends $missing >"$log" 2>&1 ||
        { apt_get update >"$log" 2>&1 &&
            apt_get install --no-install-recommends $missing >>"$log" 2>&1; }; then
        rm -f "$log"
        return 0
    fi
    tail -n 20 "$log" >&2
    rm -f "$log"
    say "installing$missing failed"
    return 1
}

node_version() { "$1" -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0; }

# Node.js for the SDK tests. Debian 12 has version 18, the SDK wants more: then
# a newer one comes from npm, into a folder of the build.
need_node() {
    command -v node >/dev/null || need nodejs || return 1
    command -v npm >/dev/null || need npm || return 1
    if [ "$(node_version node)" -ge "$node_least" ] ||
        [ "$(node_version "$node_folder/node_modules/node/bin/node")" -ge "$node_least" ]; then
        return 0
    fi
    say "fetching a newer Node.js into $node_folder"
    mkdir -p "$node_folder"
    npm install --prefix "$node_folder" --no-save --no-audit --no-fund --silent node@22 ||
        { say "Node.js $node_least or newer cannot be had; SDK tests will be skipped"; return 1; }
}

# An engine for containers, unless there is one of another make; and what a base
# image is made with where none can be pulled.
need_docker() {
    missing_docker=
    command -v dockerd >/dev/null && command -v docker >/dev/null || missing_docker=docker.io
    command -v docker-compose >/dev/null || docker compose version >/dev/null 2>&1 ||
        missing_docker="$missing_docker docker-compose"
    # shellcheck disable=SC2086
    need $missing_docker $docker_packages
}

# The schemas that Kubernetes and compose files are checked against, from npm.
need_manifests() {
    need_node || return 1
    [ ! -d "$manifest_folder/node_modules/kubernetes-models" ] || return 0
    mkdir -p "$manifest_folder"
    npm install --prefix "$manifest_folder" --no-save --no-audit --no-fund --silent kubernetes-models@4 js-yaml@4 ||
        { say "kubernetes-models cannot be had; manifests will not be checked"; return 1; }
}

# The SDK itself, from npm.
need_sdk() {
    stamp=tests/sdk/node_modules/.package-lock.json
    if [ ! -e "$stamp" ] || [ tests/sdk/package.json -nt "$stamp" ]; then
        say "fetching @azure/cosmos into tests/sdk/node_modules"
        (cd tests/sdk && npm install --no-audit --no-fund --silent && touch node_modules/.package-lock.json) ||
            { say "@azure/cosmos cannot be had; SDK tests will be skipped"; return 1; }
    fi
}

[ $# -gt 0 ] || set -- build
for group in "$@"; do
    case $group in
    # shellcheck disable=SC2086
    build) need $build_packages ;;
    # shellcheck disable=SC2086
    test) need $test_packages ;;
    # shellcheck disable=SC2086
    observability) need $observability_packages ||
        { say "Prometheus cannot be had; its tests will be skipped"; false; } ;;
    # shellcheck disable=SC2086
    bench) need $bench_packages ;;
    # shellcheck disable=SC2086
    cross) need $cross_packages ;;
    docker) need_docker ;;
    manifests) need_manifests ;;
    sdk) need_node && need_sdk ;;
    *)
        say "unknown group $group; groups: build test sdk observability docker cross manifests bench"
        exit 2
        ;;
    esac
done
