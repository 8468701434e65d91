#!/bin/bash
# Kills of the OOM killer count for the unit of the victim: when the whole node runs out of memory, whoever asked for the
# last page, and when the victim has just begun.
cd "$(dirname "$0")" || exit 1
# shellcheck source=tests/vm/jobs/lib.sh
. ./lib.sh

# For how long, in milliseconds, what was used must stay in memory, else there is none left.
readonly thrashing=/sys/kernel/mm/lru_gen/min_ttl_ms

# Kills on the node, by memory limits or for all: a line of vmstat.
node_kills() { awk '$1 == "oom_kill" { print $2 }' /proc/vmstat; }
# A line of the unit's memory.events: events UNIT KEY
events() { awk -v key="$2" '$1 == key { print $2 }' "$(unit_cgroup "$1")/memory.events"; }

kills_of() {
    expect "$2" container_oom_kills_total "container_id=$(unit_id "$1")"
}

# No unit has a limit. The score makes sure whom the kernel chooses.
node_wide() {
    local before victim
    before=$(node_kills)
    victim="$bin/nodescope-load memory --bytes $((4 << 30))"
    # Without it the last pages of programs are read from the disk again and again for minutes before anybody is killed.
    [ ! -e "$thrashing" ] || echo 1000 >"$thrashing"
    # Without this the kernel refuses such an amount at once.
    sysctl --quiet vm.overcommit_memory=1
    service bystander -- /bin/sleep infinity
    service hog OOMPolicy=continue OOMScoreAdjust=1000 -- \
        /bin/bash -c "for i in 1 2; do $victim; done; echo both are dead; sleep infinity"
    check "the node runs out of memory twice" eventually said hog "both are dead"
    sysctl --quiet vm.overcommit_memory=0
    [ ! -e "$thrashing" ] || echo 0 >"$thrashing"
    is "kills on the node" "$(($(node_kills) - before))" 2
    is "limits that were reached" "$(events hog oom)" 0
    kills_of hog 2
    kills_of bystander 0
    settle
}

# Twenty that are dead long before the sensor looks at its tables again.
just_begun() {
    local victim="$bin/nodescope-load memory --bytes $((64 << 20))"
    service brief MemoryMax=24M MemorySwapMax=0 OOMPolicy=continue -- \
        /bin/bash -c "for i in {1..20}; do $victim; done; echo all are dead; sleep infinity"
    check "twenty of them" eventually said brief "all are dead"
    is "kills as the cgroup says" "$(events brief oom_kill)" 20
    kills_of brief 20
    kills_of hog 2
    settle
}

start_agent
node_wide
just_begun
finish
