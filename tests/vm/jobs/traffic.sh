#!/bin/bash
# Exact counts of outbound TCP of real services: over loopback, IPv6 and a virtual link; refused and unanswered; of
# processes that live milliseconds; of connections that are held; and where a service listens.
cd "$(dirname "$0")" || exit 1
# shellcheck source=tests/vm/jobs/lib.sh
. ./lib.sh

# Each client runs to its end in a service that lives only that long.
loopback() {
    serve server4 127.0.0.1:7001
    local line
    line=$(load_run client4 connect --to 127.0.0.1:7001 --count 50 --parallel 3 --upload 1000 --download 70000)
    tcp_settles client4 127.0.0.1:7001 50 0 0 "$(field sent_bytes <<<"$line")" $((50 * 70000))
    settles 1 container_net_tcp_listen_info "container_id=$(unit_id server4)" listen_addr=127.0.0.1:7001
    # The passive side has no destinations.
    settles 0 container_net_tcp_successful_connects_total "container_id=$(unit_id server4)"
}

ipv6() {
    serve server6 '[::1]:7002'
    local line
    line=$(load_run client6 connect --to '[::1]:7002' --count 17 --upload 100000 --download 1)
    tcp_settles client6 '[::1]:7002' 17 0 0 "$(field sent_bytes <<<"$line")" 17
}

refused() {
    is "refused connects" "$(load_run refused connect --to 127.0.0.1:7009 --count 23 | field refused)" 23
    tcp_settles refused 127.0.0.1:7009 0 23 0 0 0
}

unanswered() {
    nft 'add table inet drops; add chain inet drops out { type filter hook output priority 0; };
        add rule inet drops out tcp dport 7010 drop'
    local line
    line=$(load_run unanswered connect --to 127.0.0.1:7010 --count 4 --parallel 4 --timeout-ms 500)
    nft delete table inet drops
    is "unanswered connects" "$(field timed_out <<<"$line")" 4
    tcp_settles unanswered 127.0.0.1:7010 0 4 0 0 0
}

namespaces() {
    netns traffic 1
    serve linked 10.99.1.1:7003
    local line
    line=$(service_run inside NetworkNamespacePath=/run/netns/traffic -- \
        "$bin/nodescope-load" connect --to 10.99.1.1:7003 --count 20 --upload 30000 --download 40000)
    tcp_settles inside 10.99.1.1:7003 20 0 0 "$(field sent_bytes <<<"$line")" $((20 * 40000))
    ip link del vm1
    ip netns del traffic
}

short_processes() {
    serve storms 127.0.0.1:7004
    is "short processes" "$(load_run storm storm --to 127.0.0.1:7004 --count 150 | field established)" 150
    tcp_settles storm 127.0.0.1:7004 150 0 0 0 0
}

# A connection that is open when the aggregator is replaced stays counted once.
held() {
    serve holds 127.0.0.1:7005
    service hold StandardInput=file:/run/nodescope-hold -- "$bin/nodescope-load" hold --to 127.0.0.1:7005 --count 12
    tcp_settles hold 127.0.0.1:7005 12 0 12 0 0
    systemctl kill --signal=KILL nodescope-aggregator
    systemctl reset-failed nodescope-aggregator
    eventually start_aggregator
    check "ready again" eventually is_ready
    tcp_settles hold 127.0.0.1:7005 12 0 12 0 0
    systemctl stop vm-hold
    tcp_settles hold 127.0.0.1:7005 12 0 0 0 0
}

start_agent
mkfifo /run/nodescope-hold
exec 9<>/run/nodescope-hold
loopback
ipv6
refused
unanswered
namespaces
short_processes
held
finish
