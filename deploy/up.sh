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

# The rest is asked of docker itself: compose 1 needs a second for every word.
project=$(docker inspect --format '{{index .Config.Labels "com.docker.compose.project"}}' "$gateway")
running=$(docker ps --filter "label=com.docker.compose.project=$project" \
    --format '{{.Label "com.docker.compose.service"}} {{.Names}} {{.Ports}}')
doors=$(docker inspect --format '{{range .Config.Env}}{{println .}}{{end}}' "$gateway")

umask 077
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
trap 'rm -f "$folder/.both" "$folder/.json"' EXIT
rm -f "$folder/.both" "$folder/.json"
some_node=$(echo "$running" | sed -n 's/^[a-z]*-[0-9] \([^ ]*\) .*/\1/p' | head -n 1)
docker exec "$some_node" sh -c 'cat /cluster/ca.pem; echo; cat /cluster/account.keys' >"$folder/.both"
sed -n '/BEGIN/,/END/p' "$folder/.both" >"$folder/ca.pem"
key() { sed -n "s/^$1: //p" "$folder/.both"; }
setting() { echo "$doors" | sed -n "s/^$1_PORT=//p"; }
# Where port $2 is published, of a line of `running`.
outside() { echo "$1" | sed -n "s/^.*:\([0-9]*\)->$2\/tcp.*/https:\/\/localhost:\1\//p"; }

# The nodes of a region, as JSON.
nodes() {
    local comma="" service container ports
    while read -r service container ports; do
        case $service in "$1"-[0-9]) ;; *) continue ;; esac
        printf '%s\n      { "name": "%s", "endpoint": "%s", "admin": "%s", "container": "%s" }' "$comma" "$service" \
            "$(outside "$ports" 8081)" "$(outside "$ports" 9091)" "$container"
        comma=,
    done < <(echo "$running" | sort)
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

cat <<END
Cluster bastide is ready after $((took / 1000)).$(((took % 1000) / 100)) s:

  account   https://localhost:$(setting ACCOUNT)/
  regions   eastus $(setting EASTUS), westeurope $(setting WESTEUROPE), southeastasia $(setting SOUTHEASTASIA)
  keys      $folder/cluster.json
  CA        $folder/ca.pem
  status    $COMPOSE -f deploy/compose.yaml run --rm tools status --dir /cluster
  stop      $COMPOSE -f deploy/compose.yaml down          (-v also removes the data)
END
