#!/bin/bash
# The shipped units as they are, with their sandboxes, where a package puts them: what the processes may, what is counted,
# and that systemd brings back what dies.
cd "$(dirname "$0")" || exit 1
# shellcheck source=tests/vm/jobs/lib.sh
. ./lib.sh
# shellcheck source=tests/vm/jobs/package.sh
. ./package.sh

readonly scribes_log=/var/log/shop/scribe.log
readonly shipped_log=/var/log/union/app.log

units() { systemctl show --property="$1" --value nodescope-sensor.service nodescope-aggregator.service | grep .; }
restarts_of() { systemctl show --property=NRestarts --value "$1"; }
restarted() { [ "$(restarts_of "$1")" = 1 ] && systemctl --quiet is-active "$1"; }

# Hooks and verdicts, one a line, as a sensor without a sandbox finds them and as the service says.
verdicts_of_root() { nodescope-sensor --check | sed '1,/^$/d' | awk '{ print $1, $2 }' | sort; }
verdicts_of_service() {
    scrape | sed -n 's/^nodescope_sensor_hook{\(.*\)} 1$/\1/p' |
        sed -E 's/.*hook="([^"]*)".*verdict="([^"]*)".*/\1 \2/' | sort
}

sandboxes() {
    check "the sensor's sandbox takes no hook away" \
        diff <(verdicts_of_root) <(verdicts_of_service)
    local unit threshold sensor_threshold=35
    # The drop-in for nodes without cgroup v2 has its price.
    [ ! -d "$drop_ins" ] || sensor_threshold=40
    while read -r unit threshold; do
        check "$unit is exposed by $(exposure "$unit"), at most $threshold tenths" exposed_less "$unit" "$threshold"
    done <<<"nodescope-sensor $sensor_threshold"$'\n'"nodescope-aggregator 15"
    is "capabilities of the aggregator" "$(capabilities nodescope-aggregator)" "0000000000000000 0000000000000000"
    # DAC_READ_SEARCH and BPF, and never more.
    is "capabilities of the sensor" "$(capabilities nodescope-sensor)" "0000008000000004 0000000000000000"
    is "the socket" "$(stat -c '%U:%G %a' "$sensor_socket")" "root:nodescope 660"
}
exposed_less() { systemd-analyze security --no-pager --threshold="$2" "$1.service" >/dev/null; }
exposure() { systemd-analyze security --no-pager "$1.service" | sed -n 's/.*: \([0-9.]*\) .*/\1/p'; }
# What it has, and what it could ever get.
capabilities() {
    awk '/^CapEff/ { has = $2 } /^CapBnd/ { may = $2 } END { print has, may }' \
        "/proc/$(systemctl show --property=MainPID --value "$1")/status"
}

# Known traffic of one service after another; every one is a new container: traffic NAME PORT
traffic() {
    local line
    line=$(load_run "$1" connect --to "127.0.0.1:$2" --count 40 --upload 1000 --download 20000)
    expect_tcp "$1" "127.0.0.1:$2" 40 0 0 "$(field sent_bytes <<<"$line")" $((40 * 20000))
    load_run "$1-refused" connect --to 127.0.0.1:7509 --count 7 >/dev/null
    expect_tcp "$1-refused" 127.0.0.1:7509 0 7 0 0 0
    settle
}

# A log that comes with an image: what is written in a union of directories is a copy of it.
mount_union() {
    mkdir -p /srv/union/lower /srv/union/upper /srv/union/work "${shipped_log%/*}"
    : >"/srv/union/lower/${shipped_log##*/}"
    mount -t overlay -o lowerdir=/srv/union/lower,upperdir=/srv/union/upper,workdir=/srv/union/work \
        union "${shipped_log%/*}"
}

# What a service says: journald has it, whose files the aggregator reads by a group that the unit gives it. And what it
# writes to a file, which the sensor opens.
messages() {
    expect 1 nodescope_journal_readable
    service talker -- "$bin/nodescope-load" log --count 400 --per-second 200 --hold yes
    expect_lines "$(unit_id talker)" journald 400
    if has_hook held_logs; then
        service scribe -- "$bin/nodescope-load" log --count 400 --per-second 200 --hold yes --file "$scribes_log"
        expect_lines "$(unit_id scribe)" "$scribes_log" 400
        check "a union of directories is mounted" mount_union
        service shipped -- "$bin/nodescope-load" log --count 400 --per-second 200 --hold yes --file "$shipped_log"
        expect_lines "$(unit_id shipped)" "$shipped_log" 400
    fi
    settle
}

# Cilium's maps as it pins them, with an entry for each port that a connection may come from: found by the shipped unit
# and read by the programs.
cilium() {
    local pins=/sys/fs/bpf/tc/globals port client server=10.98.0.1 line
    mkdir -p "$pins"
    "$bin/bpftool" map create "$pins/cilium_ct4_global" type lru_hash key 14 value 56 entries 4096 name cilium_ct4
    "$bin/bpftool" map create "$pins/cilium_lb4_backends_v3" type hash key 4 value 12 entries 16 name cilium_lb4 flags 1
    # shellcheck disable=SC2046 # numbers
    "$bin/bpftool" map update pinned "$pins/cilium_lb4_backends_v3" \
        key 7 0 0 0 value 10 1 2 3 $(port_bytes 8080) 0 0 0 0 0 0
    netns pod 5
    client=10.99.5.2
    ip -n pod route add default via 10.99.5.1
    ip netns exec pod sysctl -q -w net.ipv4.ip_local_port_range='40000 40015'
    for port in {40000..40015}; do
        # shellcheck disable=SC2046 # numbers
        "$bin/bpftool" map update pinned "$pins/cilium_ct4_global" \
            key ${server//./ } ${client//./ } $(port_bytes "$port") $(port_bytes 7510) 6 4 \
            value 0 0 0 0 0 0 0 0 7 0 0 0 0 0 0 0 $(printf '0 %.0s' {1..40})
    done
    ip address add "$server/32" dev lo
    serve cluster "$server:7510"
    # The sensor looks every ten seconds.
    sleep 12
    line=$(service_run pod NetworkNamespacePath=/run/netns/pod -- "$bin/nodescope-load" connect --to "$server:7510" \
        --count 6 --upload 10 --download 1000)
    is "connects of a pod" "$(field established <<<"$line")" 6
    local labels=("container_id=$(unit_id pod)" "destination=$server:7510" actual_destination=10.1.2.3:8080)
    expect 6 container_net_tcp_successful_connects_total "${labels[@]}"
    expect 6000 container_net_tcp_bytes_received_total "${labels[@]}"
    settle
    rm -r "$pins"
}
port_bytes() { echo $(($1 >> 8)) $(($1 & 255)); }

# What happens after a death is counted by the next one.
deaths() {
    local unit lines=400
    for unit in nodescope-sensor nodescope-aggregator; do
        systemctl kill --signal=KILL "$unit"
        check "systemd starts $unit again" eventually restarted "$unit"
        check "ready again" eventually is_ready
        traffic "after-${unit#nodescope-}" 7401
        # A new aggregator begins at zero and reads nothing again.
        [ "$unit" = nodescope-sensor ] || lines=0
        expect_lines "$(unit_id talker)" journald "$lines"
        settle
    done
}

# A violation of a unit's list of system calls is an error that a program may hide. Now it is death.
strict() {
    local unit
    for unit in nodescope-sensor nodescope-aggregator; do
        mkdir -p "/run/systemd/system/$unit.service.d"
        printf '[Service]\nSystemCallErrorNumber=kill\n' >"/run/systemd/system/$unit.service.d/strict.conf"
    done
    systemctl daemon-reload
    systemctl restart nodescope-sensor nodescope-aggregator
    check "ready with strict filters" eventually is_ready
    traffic strict 7401
    is "restarts under strict filters" "$(units NRestarts | tr '\n' ' ')" "0 0 "
}

# The other way to delays, in the same sandbox and under strict filters.
taskstats() {
    local flags=/run/systemd/system/nodescope-sensor.service.d/taskstats.conf unit helper
    printf '[Service]\nExecStart=\nExecStart=/usr/bin/nodescope-sensor --taskstats\n' >"$flags"
    systemctl daemon-reload
    systemctl restart nodescope-sensor
    check "delays come from taskstats" eventually asks_taskstats
    helper=$(pgrep -x nodescope-delay)
    is "capabilities of who asks it" "$(awk '/^CapEff/ { print $2 }' "/proc/$helper/status")" 0000000000001000
    [ ! -e /proc/sys/kernel/task_delayacct ] || sysctl -q kernel.task_delayacct=1
    for unit in busy rival; do
        service "$unit" CPUAffinity=0 -- /bin/bash -c 'while :; do :; done'
    done
    check "a service waits for a CPU" eventually waits_for_cpu busy
    systemctl stop vm-busy vm-rival
    is "restarts meanwhile" "$(units NRestarts | tr '\n' ' ')" "0 0 "
}
asks_taskstats() { [ "$(metric nodescope_sensor_hook hook=delays rung=taskstats verdict=degraded)" = 1 ]; }
waits_for_cpu() {
    awk -v waited="$(metric container_resources_cpu_delay_seconds_total "container_id=$(unit_id "$1")")" \
        'BEGIN { exit !(waited > 1) }'
}

start_package
serve server 127.0.0.1:7401
sandboxes
traffic client 7401
messages
cilium
deaths
strict
taskstats
no_complaints
check "they stop" systemctl disable --now --quiet nodescope-aggregator nodescope-sensor nodescope-sensor.socket
is "results" "$(units Result | tr '\n' ' ')" "success success "
check "the socket is gone" [ ! -e "$sensor_socket" ]
remove_package
finish
