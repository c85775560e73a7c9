#!/usr/bin/env bash
# Starts the cluster of deploy/compose.yaml, waits until clients can write, and
# says how to reach it.
#
#   deploy/up.sh [FOLDER]       FOLDER (default ./cluster) gets ca.pem and
#                               cluster.json, which holds the keys: mode 0600
#
# A cluster that runs is left as it is. What can be set stands in deploy/.env.
# COMPOSE names another command than `docker compose` or `docker-compose`.
set -eu
folder=${1:-cluster}
here=$(cd "$(dirname "$0")" && pwd)

if [ -z "${COMPOSE:-}" ]; then
    if docker compose version >/dev/null 2>&1; then COMPOSE="docker compose"; else COMPOSE=docker-compose; fi
fi
# shellcheck disable=SC2086
compose() { $COMPOSE -f "$here/compose.yaml" ${COMPOSE_OVERRIDE:+-f "$COMPOSE_OVERRIDE"} "$@"; }
health() { docker inspect --format '{{.State.Health.Status}}' "$1" 2>/dev/null || true; }

began=$(date +%s%N)
compose up -d
gateway=$(compose ps -q gateway)
for _ in $(seq 600); do
    [ "$(health "$gateway")" != healthy ] || break
    sleep 0.1
done
if [ "$(health "$gateway")" != healthy ]; then
    echo "up: no node got ready within 60 s; see: $COMPOSE -f $here/compose.yaml logs" >&2
    exit 1
fi
took=$((($(date +%s%N) - began) / 1000000))

umask 077
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
compose exec -T eastus-1 sh -c 'cat /cluster/ca.pem; echo; cat /cluster/account.keys' >"$folder/.both"
sed -n '/BEGIN/,/END/p' "$folder/.both" >"$folder/ca.pem"
key() { sed -n "s/^$1: //p" "$folder/.both"; }
setting() { docker inspect --format '{{range .Config.Env}}{{println .}}{{end}}' "$gateway" | sed -n "s/^$1_PORT=//p"; }
# Where port $2 of container $1 is published.
outside() { docker port "$1" "$2/tcp" | sed -n '1s/^.*:/https:\/\/localhost:/p'; }

# The nodes of a region, as JSON.
nodes() {
    local comma="" id n
    for n in 1 2 3; do
        id=$(compose ps -q "$1-$n" 2>/dev/null) || continue
        [ -n "$id" ] || continue
        printf '%s\n      { "name": "%s-%s", "endpoint": "%s/", "admin": "%s/", "container": "%s" }' "$comma" "$1" "$n" \
            "$(outside "$id" 8081)" "$(outside "$id" 9091)" "$(docker inspect --format '{{.Name}}' "$id" | cut -c2-)"
        comma=,
    done
}

{
    printf '{ "cluster": "bastide", "primaryKey": "%s", "secondaryKey": "%s",\n' "$(key primary)" "$(key secondary)"
    printf '  "primaryReadonlyKey": "%s", "secondaryReadonlyKey": "%s",\n' "$(key primary_readonly)" "$(key secondary_readonly)"
    printf '  "ca": "%s/ca.pem", "endpoint": "https://localhost:%s/", "regions": [' "$folder" "$(setting ACCOUNT)"
    comma="" priority=0
    for region in eastus westeurope southeastasia; do
        printf '%s\n    { "name": "%s", "priority": %s, "endpoint": "https://localhost:%s/", "nodes": [%s ] }' "$comma" \
            "$region" $priority "$(setting "${region^^}")" "$(nodes $region)"
        comma=, priority=$((priority + 1))
    done
    printf ' ] }\n'
} >"$folder/.json"
mv "$folder/.json" "$folder/cluster.json"
rm "$folder/.both"

cat <<END
Cluster bastide is ready after $((took / 1000)).$(((took % 1000) / 100)) s:

  account   https://localhost:$(setting ACCOUNT)/
  regions   eastus $(setting EASTUS), westeurope $(setting WESTEUROPE), southeastasia $(setting SOUTHEASTASIA)
  keys      $folder/cluster.json
  CA        $folder/ca.pem
  status    $COMPOSE -f deploy/compose.yaml run --rm tools status --dir /cluster
  stop      $COMPOSE -f deploy/compose.yaml down          (-v also removes the data)
END
