#!/usr/bin/env bash
# Kubernetes manifests of a cluster that `bastide init` has made:
#
#   bastide init --dir prod --cluster prod --regions eu,us,asia --nodes-per-region 3 \
#       --host '{node}.nodes' --san bastide,eu,us,asia
#   deploy/kubernetes/generate.sh prod > prod.yaml
#   kubectl create namespace prod && kubectl -n prod apply -f prod.yaml
#
# Regions become StatefulSets whose pods are named as the nodes (eu-1, eu-2, ...), in
# one headless service `nodes`. Clients use https://bastide:8081/ (every node) and
# are told https://eu:8081/ and so on. prod.yaml holds keys: keep it as you keep prod/.
#
#   IMAGE     image to run            (bastide:latest)
#   STORAGE   size of a data volume   (10Gi)
#   REGION_LABEL=topology.kubernetes.io/region
#             puts the pods of a region on machines with this label (default: none)
#
# Needs Kubernetes 1.27 or newer (ordinals of StatefulSets).
set -eu
# It holds keys.
[ ! -f /dev/stdout ] || chmod 600 /dev/stdout
dir=${1:?usage: generate.sh DIR, a folder made by bastide init}
image=${IMAGE:-bastide:latest}
storage=${STORAGE:-10Gi}
files="node.yaml ca.pem node.pem node.key kek.key cluster.keys account.keys"
# A region's secret holds that region's key; clusters of an older init have none.
[ -z "$(find "$dir" -maxdepth 2 -name region.key)" ] || files="$files region.key"

nodes=$(cd "$dir" && ls -d -- */node.yaml | sed 's|/node.yaml||')
[ -n "$nodes" ] || { echo "generate: $dir holds no cluster" >&2; exit 1; }
first=$(echo "$nodes" | head -n 1)
# In the order of priority, which is that of node.yaml.
regions=$(sed -n 's/^  - name: //p' "$dir/$first/node.yaml")
advertised=$(for r in $regions; do printf ',%s=https://%s:8081/' "$r" "$r"; done | cut -c2-)

# Node names of region $1.
nodes_of() { for n in $nodes; do [ "${n%-*}" != "$1" ] || echo "$n"; done; }

labels() { printf 'app.kubernetes.io/name: bastide'; }

service() { # name, extra selector line, headless
    cat <<END
---
apiVersion: v1
kind: Service
metadata:
  name: $1
  labels: { $(labels) }
spec:
  ${3:+clusterIP: None
  publishNotReadyAddresses: true
  }selector:
    $(labels)${2:+
    $2}
  ports:
    - { name: https, port: 8081, targetPort: https }${3:+
    - { name: admin, port: 9091, targetPort: admin \}
    - { name: peer, port: 10091, targetPort: peer \}}
END
}

secret() { # region
    printf -- '---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: bastide-%s\n  labels: { %s }\ntype: Opaque\ndata:\n' "$1" "$(labels)"
    for node in $(nodes_of "$1"); do
        for file in $files; do
            printf '  %s.%s: %s\n' "$node" "$file" "$(base64 -w0 <"$dir/$node/$file")"
        done
    done
}

items() { # region
    for node in $(nodes_of "$1"); do
        for file in $files; do
            printf '              - { key: %s.%s, path: %s/%s }\n' "$node" "$file" "$node" "$file"
        done
    done
}

hardened() {
    cat <<'END'
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: { drop: [ALL] }
END
}

stateful_set() { # region
    cat <<END
---
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: $1
  labels: { $(labels), bastide/region: $1 }
spec:
  serviceName: nodes
  replicas: $(nodes_of "$1" | wc -l)
  ordinals: { start: 1 }
  podManagementPolicy: Parallel
  selector:
    matchLabels: { $(labels), bastide/region: $1 }
  template:
    metadata:
      labels: { $(labels), bastide/region: $1 }
      annotations: { prometheus.io/scrape: "true", prometheus.io/scheme: https, prometheus.io/port: "9091" }
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      terminationGracePeriodSeconds: 20${REGION_LABEL:+
      nodeSelector: { $REGION_LABEL: $1 \}}
      securityContext:
        runAsNonRoot: true
        runAsUser: 10001
        runAsGroup: 10001
        fsGroup: 10001
        fsGroupChangePolicy: OnRootMismatch
        seccompProfile: { type: RuntimeDefault }
      affinity:
        podAntiAffinity:
          preferredDuringSchedulingIgnoredDuringExecution:
            - weight: 100
              podAffinityTerm:
                topologyKey: kubernetes.io/hostname
                labelSelector:
                  matchLabels: { $(labels), bastide/region: $1 }
      initContainers:
        # Keys must belong to the node's user, with mode 0600; in memory only.
        - name: config
          image: $image
          command: [sh, -c, 'install -m 0600 /secret/"\$POD_NAME"/* /config/']
          env:
            - name: POD_NAME
              valueFrom: { fieldRef: { fieldPath: metadata.name } }
          resources:
            limits: { memory: 32Mi }
$(hardened)
          volumeMounts:
            - { name: secret, mountPath: /secret, readOnly: true }
            - { name: config, mountPath: /config }
      containers:
        - name: bastide
          image: $image
          env:
            - { name: BASTIDE_CONFIG, value: /config/node.yaml }
            - { name: BASTIDE_DATA_DIR, value: /data/node }
            - { name: BASTIDE_ADVERTISE_REGIONS, value: "$advertised" }
          ports:
            - { name: https, containerPort: 8081 }
            - { name: admin, containerPort: 9091 }
            - { name: peer, containerPort: 10091 }
          startupProbe:
            httpGet: { path: /livez, port: admin, scheme: HTTPS }
            periodSeconds: 1
            failureThreshold: 120
          livenessProbe:
            httpGet: { path: /livez, port: admin, scheme: HTTPS }
            periodSeconds: 5
            timeoutSeconds: 5
            failureThreshold: 6
          readinessProbe:
            httpGet: { path: /readyz, port: admin, scheme: HTTPS }
            periodSeconds: 1
            timeoutSeconds: 2
            failureThreshold: 2
          resources:
            requests: { cpu: 500m, memory: 512Mi }
            limits: { memory: 2Gi }
$(hardened)
          volumeMounts:
            - { name: config, mountPath: /config, readOnly: true }
            - { name: data, mountPath: /data }
      volumes:
        - name: config
          emptyDir: { medium: Memory, sizeLimit: 4Mi }
        - name: secret
          secret:
            secretName: bastide-$1
            items:
$(items "$1")
  volumeClaimTemplates:
    - metadata: { name: data }
      spec:
        accessModes: [ReadWriteOnce]
        resources: { requests: { storage: $storage } }
END
}

cat <<END
# Made by deploy/kubernetes/generate.sh from $(basename "$dir"): holds secrets.
---
# Voluntary disruptions take one node at a time, whatever its region.
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: bastide
  labels: { $(labels) }
spec:
  maxUnavailable: 1
  selector:
    matchLabels: { $(labels) }
---
# Clients of this namespace and whatever carries bastide/client: "true" in others;
# administration from this namespace; nodes among themselves.
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: bastide
  labels: { $(labels) }
spec:
  podSelector:
    matchLabels: { $(labels) }
  policyTypes: [Ingress, Egress]
  ingress:
    - from:
        - podSelector: {}
        - namespaceSelector: {}
          podSelector: { matchLabels: { bastide/client: "true" } }
      ports: [{ port: 8081 }]
    - from: [{ podSelector: {} }]
      ports: [{ port: 9091 }]
    - from: [{ podSelector: { matchLabels: { $(labels) } } }]
      ports: [{ port: 10091 }]
  egress:
    - to: [{ podSelector: { matchLabels: { $(labels) } } }]
      ports: [{ port: 10091 }]
    - to: [{ namespaceSelector: {} }]
      ports: [{ port: 53, protocol: UDP }, { port: 53, protocol: TCP }]
END
service nodes "" headless
service bastide ""
for region in $regions; do
    service "$region" "bastide/region: $region"
    secret "$region"
    stateful_set "$region"
done
