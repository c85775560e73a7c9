#!/usr/bin/env bash
# Builds the images of a cluster: bastide and bastide-gateway, tagged latest and
# with the version. What is unchanged comes from the engine's cache.
#
#   deploy/docker/image.sh [observability]     also bastide-prometheus
#
# Exit codes: 0, 3 when there is no base image to build on, 1 for anything else.
set -eu
cd "$(dirname "$0")/../.."
base=debian:bookworm-slim
no_base=3

say() { echo "image: $*" >&2; }

# The base image where none can be pulled: what debootstrap installs, less what
# the published image leaves out as well.
make_base() {
    [ "$(id -u)" -eq 0 ] || { say "$base can be neither pulled nor, without root, made"; return 1; }
    deploy/install-deps.sh docker
    say "making $base with debootstrap"
    local folder mirror
    folder=$(mktemp -d)
    # The mirror that this machine installs from.
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' 2>/dev/null | head -n 1)
    # shellcheck disable=SC2086
    debootstrap --variant=minbase bookworm "$folder/root" $mirror >"$folder/log" 2>&1 ||
        { tail -n 20 "$folder/log" >&2; rm -rf "$folder"; return 1; }
    rm -rf "$folder"/root/var/cache/apt/archives/*.deb "$folder"/root/var/lib/apt/lists/* \
        "$folder"/root/usr/share/{doc,man,locale}/* "$folder"/root/var/log/*
    tar -C "$folder/root" -c . | docker import -c 'CMD ["bash"]' - "$base" >/dev/null
    rm -rf "$folder"
}

size() { docker image inspect --format '{{.Size}}' "$1"; }

# Without the buildx plugin only the classic builder is there.
docker buildx version >/dev/null 2>&1 || export DOCKER_BUILDKIT=0

docker image inspect "$base" >/dev/null 2>&1 || docker pull -q "$base" >/dev/null 2>&1 ||
    make_base || exit "$no_base"
version=$(sed -n 's/^#define NODE_VERSION "\(.*\)"/\1/p' node/server/node.h)
revision=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)

build() {
    local name=$1 log
    shift
    log=$(mktemp)
    say "building $name:$version"
    docker build -t "$name:latest" -t "$name:$version" "$@" >"$log" 2>&1 ||
        { tail -n 40 "$log" >&2; rm -f "$log"; return 1; }
    rm -f "$log"
    awk -v n="$name" -v b="$base" -v s="$(($(size "$name:latest") - $(size "$base")))" \
        'BEGIN { printf "image: %s is %.1f MB on top of %s\n", n, s / 1e6, b }' >&2
}

build bastide -f deploy/Dockerfile --build-arg VERSION="$version" --build-arg REVISION="$revision" .
build bastide-gateway deploy/gateway
if [ "${1:-}" = observability ]; then
    build bastide-prometheus deploy/observability
fi
