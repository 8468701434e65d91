#!/bin/bash
# What the kernel says about real units and what /metrics says are equal: CPU quota, memory limit, OOM kills, restarts,
# pressure. The busy ones come to rest first, so that both can be read without a race.
cd "$(dirname "$0")" || exit 1
# shellcheck source=tests/vm/jobs/lib.sh
. ./lib.sh

# The figure of a cgroup file's line "KEY NUMBER", divided: stat UNIT FILE KEY DIVISOR
stat_value() { awk -v key="$3" -v by="$4" '$1 == key { printf "%.9g\n", $2 / by }' "$(unit_cgroup "$1")/$2"; }
# The total of a pressure file in seconds: pressure UNIT FILE some|full
pressure() { sed -n "s/^$3 .*total=//p" "$(unit_cgroup "$1")/$2" | awk '{ printf "%.9g\n", $1 / 1e6 }'; }

container_expect() {
    local unit=$1 expected=$2 name=$3
    shift 3
    expect "$expected" "$name" "container_id=$(unit_id "$unit")" "$@"
}

# A value that may still move when it is first read: container_agrees UNIT METRIC [LABEL=VALUE]... -- COMMAND...
container_agrees() {
    local names=("$2" "container_id=$(unit_id "$1")")
    shift 2
    while [ "$1" != -- ]; do
        names+=("$1")
        shift
    done
    shift
    eventually same "$@"
    settle
}
# Reads the caller's `names`. A pressure the kernel does not know counts as none.
same() {
    local value
    value=$("$@")
    expectations=()
    expect "${value:-0}" "${names[@]}"
    all_hold
}

cpu() {
    service busy CPUQuota=20% -- /bin/bash -c 'timeout 4 bash -c "while :; do :; done"; echo idle; sleep infinity'
    check "the busy unit comes to rest" eventually said busy idle
    container_agrees busy container_resources_cpu_usage_seconds_total -- stat_value busy cpu.stat usage_usec 1e6
    local throttled kind
    throttled=$(stat_value busy cpu.stat throttled_usec 1e6)
    check "throttled for $throttled s" awk -v t="$throttled" 'BEGIN { exit !(t > 0.5) }'
    container_expect busy "$throttled" container_resources_cpu_throttled_seconds_total
    container_expect busy 0.2 container_resources_cpu_limit_cores
    settle
    for kind in some full; do
        container_agrees busy container_resources_cpu_pressure_waiting_seconds_total "kind=$kind" -- \
            pressure busy cpu.pressure "$kind"
    done
}

memory() {
    service eater MemoryMax=64M MemorySwapMax=0 -- "$bin/nodescope-load" memory --bytes $((40 << 20))
    check "the unit has its memory" eventually said eater touched_bytes
    settles $((64 << 20)) container_resources_memory_limit_bytes "container_id=$(unit_id eater)"
    check "its memory is resident" eventually resident_between $((40 << 20)) $((48 << 20))
    local kind
    for kind in some full; do
        container_agrees eater container_resources_memory_pressure_waiting_seconds_total "kind=$kind" -- \
            pressure eater memory.pressure "$kind"
    done
}
resident_between() {
    local bytes
    bytes=$(metric container_resources_memory_rss_bytes "container_id=$(unit_id eater)")
    awk -v bytes="${bytes:-0}" -v low="$1" -v high="$2" 'BEGIN { exit !(bytes >= low && bytes < high) }'
}

# The kernel kills the child three times; the unit's shell lives on.
oom() {
    local victim="$bin/nodescope-load memory --bytes $((200 << 20))"
    service oom MemoryMax=48M MemorySwapMax=0 OOMPolicy=continue -- \
        /bin/bash -c "for i in 1 2 3; do $victim; done; sleep infinity"
    eventually killed_three_times
    is "kills as the cgroup says" "$(stat_value oom memory.events oom_kill 1)" 3
    container_expect oom 3 container_oom_kills_total
    container_expect eater 0 container_oom_kills_total
    container_expect oom 0 container_restarts_total
    settle
}
killed_three_times() { [ "$(stat_value oom memory.events oom_kill 1)" = 3 ]; }

# The kernel kills the whole unit, systemd starts it again, and its new cgroup is the same container.
oom_restart() {
    service oomloop MemoryMax=48M MemorySwapMax=0 Restart=on-failure RestartSec=500ms StartLimitBurst=3 \
        StartLimitIntervalSec=600 -- "$bin/nodescope-load" memory --bytes $((200 << 20))
    check "the unit fails in the end" eventually has_failed vm-oomloop
    container_expect oomloop 3 container_oom_kills_total
    container_expect oomloop 2 container_restarts_total
    settle
}

restarts() {
    service again -- /bin/sleep infinity
    container_expect again 0 container_restarts_total
    settle
    local round
    for round in 1 2 3 4; do
        systemctl restart vm-again
        # A unit that is still starting is not started again.
        eventually systemctl --quiet is-active vm-again
    done
    container_expect again "$round" container_restarts_total
    settle
}

start_agent
cpu
memory
oom
oom_restart
restarts
finish
