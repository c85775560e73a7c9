#!/usr/bin/env bash
# Sees to it that a Docker engine answers: installs one and starts it if it is
# not there and this is root. May be run any number of times; quiet when nothing
# is to be done. Exit code 1, and what is missing, when there is no engine.
set -u
cd "$(dirname "$0")/../.." || exit 1
log=/var/log/bastide-dockerd.log

say() { echo "engine: $*" >&2; }
answers() { docker version >/dev/null 2>&1; }

# An engine that was killed leaves the number of its process behind, which may be
# another's by now, or a dead one's that nobody has waited for: the next one
# would take that for itself.
forget_stale() { # file, program
    [ -f "$1" ] || return 0
    local status
    status=$(cat "/proc/$(cat "$1")/status" 2>/dev/null)
    case $status in *State:*[ZX]\ \(*) ;; "Name:"*"$2"*) return 0 ;; esac
    rm -f "$1"
}

answers && exit 0
if [ "$(id -u)" -ne 0 ]; then
    if command -v docker >/dev/null; then
        say "no Docker engine answers. Start it (sudo systemctl start docker), or be a member of the group docker"
    else
        say "there is no docker. Install it: sudo apt-get install docker.io docker-compose iptables"
    fi
    exit 1
fi
if ! command -v dockerd >/dev/null || ! command -v docker >/dev/null; then
    deploy/install-deps.sh docker || exit 1
fi
if [ -d /run/systemd/system ]; then
    systemctl start docker || exit 1
elif ! answers; then
    say "starting dockerd, which writes to $log"
    forget_stale /var/run/docker.pid dockerd
    forget_stale /var/run/docker/containerd/containerd.pid containerd
    setsid dockerd >"$log" 2>&1 </dev/null &
fi
for _ in $(seq 150); do
    answers && exit 0
    sleep 0.2
done
say "dockerd does not answer; its last words:"
tail -n 5 "$log" >&2
exit 1
