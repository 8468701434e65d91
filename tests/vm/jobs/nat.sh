#!/bin/bash
# Where connections go when their destination is translated: the share of each server behind a service's address is what
# that server accepted, for clients in a namespace of their own and on the host, with nftables and with IPVS.
cd "$(dirname "$0")" || exit 1
# shellcheck source=tests/vm/jobs/lib.sh
. ./lib.sh

readonly connects=60
readonly upload=500
readonly download=9000
# Every exchange begins with a header of 16 bytes.
readonly sent=$((upload + 16))

# Connections that a server accepted.
accepted() { cat "/run/vm-backend$1.accepted"; }

backends() {
    local index
    for index in 1 2 3; do
        netns "backend$index" "$index"
        ip -n "backend$index" route add default via "10.99.$index.1"
        serve "backend$index" "10.99.$index.2:7301" NetworkNamespacePath="/run/netns/backend$index"
    done
    netns client 9
    ip -n client route add default via 10.99.9.1
    sysctl -q -w net.ipv4.ip_forward=1
    # So that there is a route at all for the host's own connections.
    ip route add 10.96.0.0/16 via 10.99.1.2
}

with_nftables() {
    nft -f - <<'RULES'
table ip services {
    chain server1 { meta l4proto tcp dnat to 10.99.1.2:7301; }
    chain server2 { meta l4proto tcp dnat to 10.99.2.2:7301; }
    chain server3 { meta l4proto tcp dnat to 10.99.3.2:7301; }
    chain choose { numgen random mod 3 vmap { 0 : goto server1, 1 : goto server2, 2 : goto server3 }; }
    chain in { type nat hook prerouting priority -100; ip daddr 10.96.0.1 tcp dport 80 goto choose; }
    chain out { type nat hook output priority -100; ip daddr 10.96.0.1 tcp dport 80 goto choose; }
}
RULES
}

with_ipvs() {
    local index
    ip address add 10.97.0.1/32 dev lo
    sysctl -q -w net.ipv4.vs.conntrack=1
    "$bin/ipvsadm" -A -t 10.97.0.1:80 -s rr
    for index in 1 2 3; do
        "$bin/ipvsadm" -a -t 10.97.0.1:80 -r "10.99.$index.2:7301" -m
    done
}

# shares UNIT SERVICE [PROPERTY]...
shares() {
    local unit=$1 service=$2 before=() index count sum=0
    shift 2
    for index in 1 2 3; do before[index]=$(accepted "$index"); done
    is "connects of $unit" "$(service_run "$unit" "$@" -- "$bin/nodescope-load" connect --to "$service" \
        --count "$connects" --parallel 3 --upload "$upload" --download "$download" | field established)" "$connects"
    for index in 1 2 3; do
        count=$(($(accepted "$index") - before[index]))
        check "server $index accepted $count of $unit" [ "$count" -gt 0 ]
        sum=$((sum + count))
        expect_share "$unit" "$service" "10.99.$index.2:7301" "$count"
    done
    is "all of $unit" "$sum" "$connects"
    expect_tcp "$unit" "$service" "$connects" 0 0 $((connects * sent)) $((connects * download))
    settle
}

# expect_share UNIT SERVICE SERVER CONNECTS
expect_share() {
    local labels=("container_id=$(unit_id "$1")" "destination=$2" "actual_destination=$3")
    expect "$4" container_net_tcp_successful_connects_total "${labels[@]}"
    expect $(($4 * sent)) container_net_tcp_bytes_sent_total "${labels[@]}"
    expect $(($4 * download)) container_net_tcp_bytes_received_total "${labels[@]}"
}

start_agent
backends
with_nftables
shares inside 10.96.0.1:80 NetworkNamespacePath=/run/netns/client
shares outside 10.96.0.1:80
with_ipvs
shares ipvsinside 10.97.0.1:80 NetworkNamespacePath=/run/netns/client
# The host's own connections through IPVS have no socket when they leave: neither their server nor what they send is seen.
load_run ipvsoutside connect --to 10.97.0.1:80 --count 10 >/dev/null
settles 10 container_net_tcp_successful_connects_total "container_id=$(unit_id ipvsoutside)" destination=10.97.0.1:80
finish
