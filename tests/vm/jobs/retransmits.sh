#!/bin/bash
# Retransmits under `tc netem loss`, equal to what the kernel says of the same connections (tcpi_total_retrans of `ss -i`)
# while they are open. Bytes count once however often they were sent.
cd "$(dirname "$0")" || exit 1
# shellcheck source=tests/vm/jobs/lib.sh
. ./lib.sh

readonly connections=4
readonly upload=600000
readonly download=5000
# Every exchange begins with a header of 16 bytes.
readonly sent=$((connections * (upload + 16)))
readonly received=$((connections * download))

# What the kernel says of the client's connections, one a line.
sockets() { ip netns exec loss ss --tcp --info --numeric --no-header --oneline state established '( dport = 7201 )'; }
# Sum of the totals in "retrans:NOW/TOTAL"; a connection without retransmits has no such word.
kernel_retransmits() { sockets | grep -o 'retrans:[0-9]*/[0-9]*' | awk -F/ '{ sum += $2 } END { print sum + 0 }'; }
exchanged() { [ "$(journalctl --quiet --unit=vm-lossy --output=cat | grep -c '"established"')" -eq 2 ]; }
all_acknowledged() { ! sockets | grep -q 'unacked:'; }

start_agent
netns loss 2
serve sink 10.99.2.1:7201
mkfifo /run/nodescope-lossy
exec 9<>/run/nodescope-lossy
service lossy NetworkNamespacePath=/run/netns/loss StandardInput=file:/run/nodescope-lossy -- \
    "$bin/nodescope-load" hold --to 10.99.2.1:7201 --count "$connections"
expect_tcp lossy 10.99.2.1:7201 "$connections" 0 "$connections" 0 0
settle

# Lost on the way out: the client's own segments, as the retransmits are its own.
tc -n loss qdisc add dev uplink root netem loss 5%
echo "exchange $upload $download" >&9
check "the exchange is over" eventually exchanged
check "everything is acknowledged" eventually all_acknowledged
is "connections with an account of their own" "$(sockets | grep -c bytes_sent)" "$connections"
tc -n loss qdisc del dev uplink root
total=$(kernel_retransmits)
check "$total retransmits according to the kernel" [ "$total" -ge 20 ]
expect "$total" container_net_tcp_retransmits_total "container_id=$(unit_id lossy)" destination=10.99.2.1:7201
expect_tcp lossy 10.99.2.1:7201 "$connections" 0 "$connections" "$sent" "$received"
settle
is "retransmits according to the kernel, still" "$(kernel_retransmits)" "$total"

systemctl stop vm-lossy
expect "$total" container_net_tcp_retransmits_total "container_id=$(unit_id lossy)" destination=10.99.2.1:7201
expect_tcp lossy 10.99.2.1:7201 "$connections" 0 0 "$sent" "$received"
settle
finish
