#!/bin/bash
# Round trips by echo and of TCP under `tc netem delay`, within 5 % of the delay. The sensor runs with the network
# restrictions of its packaged unit.
#
# An emulated machine adds its own. What it adds on the link, where the timer of netem is late, tcpdump sees in the same
# packets; what it adds between the link and where the kernel takes its times is measured without a delay. Both are taken
# off.
cd "$(dirname "$0")" || exit 1
# shellcheck source=tests/vm/jobs/lib.sh
. ./lib.sh

readonly far=10.99.3.2:7301
readonly echoes=20
readonly connects=9
# What tcpdump prints.
readonly capture=/run/nodescope-capture

# Settings of the packaged unit about the network, capabilities and the memory that BPF takes, as properties; systemd-run
# takes names of networks only alone. The unit gets its socket from another one; here the sensor makes it and gives it away.
restrictions() {
    local unit=../systemd/nodescope-sensor.service
    grep -E '^(RestrictAddressFamilies|SocketBindDeny|LimitMEMLOCK)=' "$unit" | sed 's/^/--property=/'
    sed -n 's/^CapabilityBoundingSet=.*/--property=& CAP_CHOWN/p' "$unit"
    sed -n 's/^IPAddressDeny=//p' "$unit" | tr ' ' '\n' | sed 's/^/--property=IPAddressDeny=/'
}

start_restricted() {
    local properties
    mapfile -t properties < <(restrictions)
    check "${#properties[@]} restrictions" [ "${#properties[@]}" -eq 9 ]
    systemd-run --quiet --unit=nodescope-sensor --property=Type=exec --property=RuntimeDirectory=nodescope \
        "${properties[@]}" "$bin/nodescope-sensor" --socket "$sensor_socket" --client-user nodescope \
        --poll-interval-ms 250 --ping-interval-s 1
    start_aggregator
    eventually is_ready && ok "ready" && return
    fail "ready"
    report_trouble
    finish
}

tcp_rtt() { metric container_net_tcp_rtt_seconds "container_id=$(unit_id probe)" "destination=$far"; }
latency() { metric container_net_latency_seconds "container_id=$(unit_id caller)" "destination_ip=${far%:*}"; }
asked() { ip netns exec far nstat -asz IcmpInEchos | grep -qE '^IcmpInEchos +[1-9]'; }

# Latencies from now on, in seconds, one a line. Each request has a value of its own, in nanoseconds; the first ones may be
# of requests that left before.
latencies() {
    local value last='' seen=-3 end=$((SECONDS + 120))
    while [ "$seen" -lt "$echoes" ] && [ "$SECONDS" -lt "$end" ]; do
        value=$(latency)
        if [ -n "$value" ] && [ "$value" != "$last" ]; then
            seen=$((seen + 1))
            [ "$seen" -le 0 ] || echo "$value"
        fi
        last=$value
        sleep 0.3
    done
}

# Round trips of some connections that exchange nothing: the kernels alone answer.
tcp_rtts() {
    for _ in $(seq "$connects"); do
        load_run probe connect --to "$far" --count 1 >/dev/null
        sleep 1
        tcp_rtt
    done
}

# In ms, of at least so many: least COUNT. An emulated machine never adds the same.
least() {
    sort -g | awk -v count="$1" '$1 != "" { if (!n++) least = $1 }
        END { if (n >= count) printf "%.6f\n", least * 1e3 }'
}

delay() { tc -n far qdisc replace dev uplink root netem delay "$1ms"; }

# From an echo request to its reply, and from a SYN to its SYN-ACK, in seconds, as tcpdump has seen them on the link:
# on_the_wire echo|TCP <LINES
on_the_wire() {
    awk -v what="$1" '
        what == "echo" && /ICMP echo request/ { asked[$10 $12] = $1 }
        what == "echo" && /ICMP echo reply/ && ($10 $12) in asked { printf "%.9f\n", $1 - asked[$10 $12] }
        what == "TCP" && /Flags \[S\],/ { asked[$3 ":"] = $1 }
        what == "TCP" && /Flags \[S\.\],/ && $5 in asked { printf "%.9f\n", $1 - asked[$5] }'
}

# The least of what nodescope says and the least that tcpdump has seen meanwhile, in ms, into `value` and `wire`:
# measure echo|TCP
measure() {
    local tcpdump values count
    tcpdump --interface=vm3 -n -l -tt --time-stamp-precision=nano "icmp or tcp port ${far#*:}" >"$capture" 2>/dev/null &
    tcpdump=$!
    case $1 in
        echo) count=$echoes values=$(latencies) ;;
        TCP) count=$connects values=$(tcp_rtts) ;;
    esac
    kill "$tcpdump"
    wait "$tcpdump"
    value=$(least "$count" <<<"$values")
    wire=$(on_the_wire "$1" <"$capture" | least "$count")
}

compare() {
    local what=$1 delay_ms=$2 value wire line
    measure "$what"
    line=$(awk -v delay="$delay_ms" -v value="$value" -v wire="$wire" -v beside="${beside_the_link[$what]}" 'BEGIN {
        late = wire - delay
        found = value - late - beside
        error = (found - delay) / delay * 100
        printf "%.3f ms, %+.1f %%, without the %.3f + %.3f ms of the machine", found, error, late, beside
        exit !(value != "" && wire != "" && late > 0 && late < 1 && error >= -5 && error <= 5) }')
    check "$what under $delay_ms ms: $line" [ $? -eq 0 ]
}

# Little, or the times are not the kernel's: see_beside echo|TCP LIMIT_MS
see_beside() {
    local value wire
    measure "$1"
    beside_the_link[$1]=$(awk -v value="$value" -v wire="$wire" 'BEGIN { printf "%.6f", value - wire }')
    check "$1 without a delay: ${value:-none} ms, $wire ms on the link" \
        awk -v beside="${beside_the_link[$1]}" -v limit="$2" 'BEGIN { exit !(beside > 0 && beside < limit) }'
}

start_restricted
netns far 3
serve sink "$far" NetworkNamespacePath=/run/netns/far
mkfifo /run/nodescope-caller
exec 9<>/run/nodescope-caller
service caller StandardInput=file:/run/nodescope-caller -- "$bin/nodescope-load" hold --to "$far" --count 1
echo "exchange 100 100" >&9
check "requests arrive" eventually asked
declare -A beside_the_link
see_beside echo 0.1
see_beside TCP 0.5
for milliseconds in 1 20 100; do
    delay "$milliseconds"
    compare echo "$milliseconds"
    # What the kernels themselves need for a handshake is a quarter of the shortest delay here, and never the same.
    [ "$milliseconds" -eq 1 ] || compare TCP "$milliseconds"
done

# With echo requests dropped there is still one, of TCP.
ip netns exec far nft -f - <<<'table inet silent { chain input { type filter hook input priority 0; icmp type echo-request drop; }; }'
echo "exchange 100 100" >&9
is_of_tcp() {
    local rtt
    rtt=$(metric container_net_tcp_rtt_seconds "container_id=$(unit_id caller)")
    [ -n "$rtt" ] && [ "$(latency)" = "$rtt" ]
}
# An answer is shown for a minute.
sleep 60
check "without answers it is that of TCP" eventually is_of_tcp
finish
