#!/bin/bash
# Round trips by echo and of TCP under `tc netem delay`, within 5 % of the delay. The sensor runs with the network
# restrictions of its packaged unit.
#
# An emulated machine adds its own: on the way, and because the timer of netem is late, which shows under a delay only. So
# what it adds is measured first, under another delay, and taken off; and since it never adds the same, the least of
# several values counts. TCP is not compared under 1 ms, where waking up both ends adds half as much again.
cd "$(dirname "$0")" || exit 1
# shellcheck source=tests/vm/jobs/lib.sh
. ./lib.sh

readonly far=10.99.3.2:7301
readonly echoes=20
readonly connects=8
# The delay under which what the machine adds is measured.
readonly other_delay=5

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

# The least of the latencies from now on. Each request has a value of its own, in nanoseconds; the first ones may be of
# requests that left before.
least_latency() {
    local value last='' seen=-3 least='' end=$((SECONDS + 120))
    while [ "$seen" -lt "$echoes" ] && [ "$SECONDS" -lt "$end" ]; do
        value=$(latency)
        if [ -n "$value" ] && [ "$value" != "$last" ]; then
            seen=$((seen + 1))
            [ "$seen" -le 0 ] || least=$(smaller "$value" "$least")
        fi
        last=$value
        sleep 0.3
    done
    [ "$seen" -ge "$echoes" ] && echo "$least"
}

# The least of the round trips of some connections, each as short as can be.
least_tcp_rtt() {
    local value least=''
    for _ in $(seq "$connects"); do
        load_run probe connect --to "$far" --count 1 --upload 1 --download 1 >/dev/null
        sleep 1
        value=$(tcp_rtt)
        least=$(smaller "$value" "$least")
    done
    echo "$least"
}

smaller() { awk -v a="$1" -v b="$2" 'BEGIN { print (b == "" || (a != "" && a < b)) ? a : b }'; }

delay() { tc -n far qdisc replace dev uplink root netem delay "$1ms"; }

# near WHAT DELAY_MS VALUE VALUE_UNDER_OTHER_DELAY
near() {
    local line
    line=$(awk -v delay="$2" -v value="$3" -v other="$4" -v other_delay="$other_delay" 'BEGIN {
        added = other * 1e3 - other_delay
        found = value * 1e3 - added
        error = (found - delay) / delay * 100
        printf "%.3f ms, %+.1f %%, without the %.3f ms of the machine", found, error, added
        exit !(value != "" && other != "" && added > 0 && error >= -5 && error <= 5) }')
    check "$1 under $2 ms: $line" [ $? -eq 0 ]
}

start_restricted
netns far 3
serve sink "$far" NetworkNamespacePath=/run/netns/far
mkfifo /run/nodescope-caller
exec 9<>/run/nodescope-caller
service caller StandardInput=file:/run/nodescope-caller -- "$bin/nodescope-load" hold --to "$far" --count 1
echo "exchange 100 100" >&9
check "requests arrive" eventually asked
declare -A echo_of tcp_of
# Twice under the other delay: what the machine adds is the error of the shortest delay.
for milliseconds in "$other_delay" 1 "$other_delay" 20 100; do
    delay "$milliseconds"
    echo_of[$milliseconds]=$(smaller "$(least_latency)" "${echo_of[$milliseconds]-}")
    [ "$milliseconds" -eq 1 ] || tcp_of[$milliseconds]=$(smaller "$(least_tcp_rtt)" "${tcp_of[$milliseconds]-}")
done
near echo 1 "${echo_of[1]}" "${echo_of[$other_delay]}"
for milliseconds in 20 100; do
    near echo "$milliseconds" "${echo_of[$milliseconds]}" "${echo_of[$other_delay]}"
    near TCP "$milliseconds" "${tcp_of[$milliseconds]}" "${tcp_of[$other_delay]}"
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
