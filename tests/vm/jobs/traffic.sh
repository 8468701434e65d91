#!/bin/bash
# Exact counts of outbound TCP of real services: over loopback, IPv6 and a virtual link; refused and unanswered; of
# processes that live milliseconds; of connections that are held; and where a service listens.
cd "$(dirname "$0")" || exit 1
# shellcheck source=tests/vm/jobs/lib.sh
. ./lib.sh

# Each client runs to its end in a service that lives only that long. Here many connect at a
# time, so that tasks interrupt each other in the middle of a hook.
loopback() {
    serve server4 127.0.0.1:7001
    local line
    line=$(load_run client4 connect --to 127.0.0.1:7001 --count 200 --parallel 4 --upload 1000 --download 70000)
    expect_tcp client4 127.0.0.1:7001 200 0 0 "$(field sent_bytes <<<"$line")" $((200 * 70000))
    expect 1 container_net_tcp_listen_info "container_id=$(unit_id server4)" listen_addr=127.0.0.1:7001
    # The passive side has no destinations.
    expect 0 container_net_tcp_successful_connects_total "container_id=$(unit_id server4)"
}

# Every connection that comes in is made from the listener, which must not look closed at any time.
listener_stays() {
    local round gone=0
    for round in 1 2 3 4 5; do
        load_run "visitor$round" connect --to 127.0.0.1:7001 --count 3 >/dev/null
        sleep 1
        [ "$(metric container_net_tcp_listen_info "container_id=$(unit_id server4)")" = 1 ] || gone=$((gone + 1))
    done
    is "times the listener was gone after a connection" "$gone" 0
}

ipv6() {
    serve server6 '[::1]:7002'
    local line
    line=$(load_run client6 connect --to '[::1]:7002' --count 17 --upload 100000 --download 1)
    expect_tcp client6 '[::1]:7002' 17 0 0 "$(field sent_bytes <<<"$line")" 17
}

refused() {
    is "refused connects" "$(load_run refused connect --to 127.0.0.1:7009 --count 23 | field refused)" 23
    expect_tcp refused 127.0.0.1:7009 0 23 0 0 0
}

unanswered() {
    nft 'add table inet drops; add chain inet drops out { type filter hook output priority 0; };
        add rule inet drops out tcp dport 7010 drop'
    local line
    line=$(load_run unanswered connect --to 127.0.0.1:7010 --count 4 --parallel 4 --timeout-ms 500)
    nft delete table inet drops
    is "unanswered connects" "$(field timed_out <<<"$line")" 4
    expect_tcp unanswered 127.0.0.1:7010 0 4 0 0 0
}

namespaces() {
    netns traffic 1
    serve linked 10.99.1.1:7003
    local line
    line=$(service_run inside NetworkNamespacePath=/run/netns/traffic -- \
        "$bin/nodescope-load" connect --to 10.99.1.1:7003 --count 20 --upload 30000 --download 40000)
    expect_tcp inside 10.99.1.1:7003 20 0 0 "$(field sent_bytes <<<"$line")" $((20 * 40000))
}

short_processes() {
    serve storms 127.0.0.1:7004
    is "short processes" "$(load_run storm storm --to 127.0.0.1:7004 --count 100 | field established)" 100
    expect_tcp storm 127.0.0.1:7004 100 0 0 0 0
}

# Open connections: while open, when the aggregator is replaced, and when the program that holds them is killed.
held() {
    serve holds 127.0.0.1:7005
    service hold StandardInput=file:/run/nodescope-hold -- "$bin/nodescope-load" hold --to 127.0.0.1:7005 --count 12
    expect_tcp hold 127.0.0.1:7005 12 0 12 0 0
    settle
    systemctl kill --signal=KILL nodescope-aggregator
    check "the aggregator is gone" eventually has_failed nodescope-aggregator
    systemctl reset-failed nodescope-aggregator
    start_aggregator
    check "ready again" eventually is_ready
    expect_tcp hold 127.0.0.1:7005 12 0 12 0 0
    # What is older than this aggregator is still known.
    expect_tcp refused 127.0.0.1:7009 0 23 0 0 0
    settle
    systemctl kill --signal=KILL vm-hold
    expect_tcp hold 127.0.0.1:7005 12 0 0 0 0
    settle
}

# Counts are exact although the kernel skips runs of hooks here, most of all 7.x: prints which, to see that it did.
show_skipped() {
    scrape | sed -n 's/^nodescope_records_lost_total{stage="\(.*\)",reason="run_skipped"} \([1-9].*\)$/  skipped runs of \1: \2/p'
}

# Connections older than the sensor are open, and were not connected while it watched.
older() {
    systemctl stop nodescope-aggregator nodescope-sensor
    service old StandardInput=file:/run/nodescope-hold -- "$bin/nodescope-load" hold --to 127.0.0.1:7005 --count 6
    check "old connections are open" eventually said old established
    start_agent
    if has_hook existing_connections; then
        expect_tcp old 127.0.0.1:7005 0 0 6 0 0
        expect 1 container_net_tcp_listen_info "container_id=$(unit_id holds)" listen_addr=127.0.0.1:7005
    fi
    settles 0 container_net_tcp_successful_connects_total "container_id=$(unit_id old)"
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
settle
show_skipped
listener_stays
held
older
finish
