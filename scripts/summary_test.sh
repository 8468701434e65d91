#!/usr/bin/env bash
# Checks scripts/summary.sh against an exposition with every kind of line it must understand.
set -euo pipefail
cd "$(dirname "$0")"

expect() {
    grep -Eq -- "$1" <<<"$table" && return
    printf 'summary_test: no line matches %s in\n%s\n' "$1" "$table" >&2
    exit 1
}

table=$(
    ./summary.sh - <<'EXPOSITION'
# HELP container_net_tcp_listen_info A comment with {braces="x"} 1
nodescope_sensor_hook{hook="tcp_state",rung="tp_btf/inet_sock_set_state",verdict="ok"} 1
container_resources_memory_rss_bytes{machine_id="m",container_id="/docker/web",app_id=""} 2500000
container_net_tcp_listen_info{container_id="/docker/web",listen_addr="10.0.0.1:80",proxy=""} 1
container_net_tcp_listen_info{container_id="/docker/web",listen_addr="10.0.0.1:81",proxy=""} 1
container_net_tcp_listen_info{container_id="/docker/web",listen_addr="10.0.0.1:82",proxy=""} 1
container_net_tcp_listen_info{container_id="/docker/web",listen_addr="10.0.0.1:83",proxy=""} 1
container_net_tcp_listen_info{container_id="/docker/web",listen_addr="10.0.0.1:84",proxy=""} 0
container_net_tcp_successful_connects_total{container_id="/a\"b\\c",destination="[::1]:5432",actual_destination="[::1]:5432"} 12
container_net_tcp_active_connections{container_id="/a\"b\\c",destination="[::1]:5432",actual_destination="[::1]:5432"} 3
container_net_tcp_bytes_sent_total{container_id="/a\"b\\c",destination="[::1]:5432",actual_destination="[::1]:5432"} 1.5e+09
container_net_tcp_failed_connects_total{container_id="/a\"b\\c",destination="10.0.0.9:1"} 4
EXPOSITION
)
expect '^tcp_state +ok +tp_btf/inet_sock_set_state$'
expect '^/docker/web +2\.5 MB  10\.0\.0\.1:80 10\.0\.0\.1:81 10\.0\.0\.1:82 \+1$'
expect '^/a"b\\c +\[::1\]:5432 +12 +0 +3 +1\.5 GB +0 B$'
expect '^/a"b\\c +10\.0\.0\.9:1 +0 +4 +0 +0 B +0 B$'

table=$(./summary.sh - </dev/null)
expect '^\(none yet\)$'
echo "summary_test: ok"
