#!/usr/bin/env bash
# Well is the gateway when at least one node is ready (haproxy.cfg, health).
exec 3<>/dev/tcp/127.0.0.1/8404 || exit 1
printf 'GET /ready HTTP/1.0\r\n\r\n' >&3
read -r _ status _ <&3
[ "$status" = 200 ]
