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

# Sum of the totals in "retrans:NOW/TOTAL" over the client's connections.
kernel_retransmits() {
    ip netns exec loss ss --tcp --info --numeric --no-header state established '( dport = 7201 )' |
        grep -o 'retrans:[0-9]*/[0-9]*' | awk -F/ '{ sum += $2 } END { print sum + 0 }'
}
unacknowledged() { ip netns exec loss ss --tcp --info --numeric --no-header '( dport = 7201 )' | grep -c 'unacked:'; }
all_acknowledged() { [ "$(unacknowledged)" -eq 0 ] && [ "$(reports)" -ge 2 ]; }
reports() { journalctl --quiet --unit=vm-lossy --output=cat | grep -c '"established"'; }

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
check "everything is acknowledged" eventually all_acknowledged
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
