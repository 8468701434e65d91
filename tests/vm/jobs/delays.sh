#!/bin/bash
# What the tasks of real units waited for, of every kind, is what taskstats of the same kernel says; of short ones, what
# they say themselves. With an argument, the sensor asks taskstats too.
cd "$(dirname "$0")" || exit 1
# shellcheck source=tests/vm/jobs/lib.sh
. ./lib.sh

readonly files=/var/tmp/nodescope-delays
stage=kernel_delays
if [ $# -gt 0 ]; then
    stage=taskstats
    sensor_flags=(--taskstats)
fi
# Kinds that every kernel has and that the load of this job makes for certain.
readonly certain=(cpu blkio swapin freepages thrashing)

# Sets what the kernel has such a setting for, until the job ends: change FILE VALUE
declare -A before
change() {
    [ -e "$1" ] || return 0
    before[$1]=$(sed 's/.*\[\(.*\)\].*/\1/' "$1")
    echo "$2" >"$1"
}

# A page of zeros is only copied when it is a small one, and generations of pages thrash less.
make_waits_certain() {
    change /proc/sys/kernel/task_delayacct 1
    change /sys/kernel/mm/transparent_hugepage/enabled never
    change /sys/kernel/mm/lru_gen/enabled n
}

add_swap() {
    dd if=/dev/zero of="$files/swap" bs=1M count=96 status=none
    chmod 600 "$files/swap"
    mkswap -q "$files/swap" && swapon "$files/swap"
}

# The jobs after this one have no swap.
restore() {
    local file
    systemctl stop 'vm-*'
    swapoff "$files/swap"
    rm -r "$files"
    for file in "${!before[@]}"; do
        echo "${before[$file]}" >"$file"
    done
}

# Both are worth keeping, and there is no room for both: what comes back is thrashing.
read_too_much() {
    local name again=()
    for name in one other; do
        dd if=/dev/zero of="$files/$name" bs=1M count=14 oflag=direct status=none
    done
    mkfifo "$files/end"
    for _ in $(seq 100); do
        again+=("$files/one" "$files/one" "$files/other" "$files/other")
    done
    service reader MemoryMax=24M StandardOutput=null -- /bin/cat "${again[@]}" "$files/end"
}

touch_too_much() {
    service toucher MemoryMax=32M -- "$bin/nodescope-load" memory --bytes $((64 << 20)) --rounds 3
}

share_a_cpu() {
    local unit
    for unit in first second; do
        service "$unit" CPUAffinity=0 -- /bin/bash -c 'while :; do :; done'
    done
}

taskstats() { "$bin/nodescope-taskstats" "$(pid_of "$1")"; }

# The series of a kind: series_of KIND, into `name` and `labels`.
series_of() {
    labels=()
    case $1 in
        cpu) name=container_resources_cpu_delay_seconds_total ;;
        blkio) name=container_resources_disk_delay_seconds_total ;;
        irq) name=container_resources_irq_delay_seconds_total ;;
        *) name=container_resources_memory_delay_seconds_total labels=("kind=$1") ;;
    esac
}

# Waits for block I/O that nodescope takes for an error of the kernel, which those since 6.12 make.
some_left_out() { [ "$(metric nodescope_records_lost_total "stage=$stage" reason=impossible)" != 0 ]; }

# Within 5 %, or of what a process waited for before systemd moved it into its unit.
is_near() {
    value=$(metric "$name" "container_id=$(unit_id "$1")" "${labels[@]}")
    awk -v value="${value:-0}" -v expected="$2" 'BEGIN {
        error = value - expected
        if (error < 0) error = -error
        exit !(error <= expected * 0.05 || error < 0.002) }'
}

# Reads the caller's `kind`. What was left out is missing.
is_near_or_left_out() { is_near "$@" || { [ "$kind" = blkio ] && some_left_out && is_less "${value:-0}" "$2"; }; }
is_less() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a < b) }'; }

# Stopped, it waits for nothing.
compare() {
    local unit=$1 record kind expected name value labels
    systemctl kill --signal=STOP "vm-$unit"
    sleep 1
    record=$(taskstats "$unit")
    for kind in cpu blkio swapin freepages thrashing compact wpcopy irq; do
        expected=$(field "$kind" <<<"$record" | awk '{ printf "%.9f", $1 / 1e9 }')
        series_of "$kind"
        eventually is_near_or_left_out "$unit" "$expected"
        if ! is_near "$unit" "$expected" && is_near_or_left_out "$unit" "$expected"; then
            echo "  $unit waited for $kind: $value, $expected by taskstats, some of which was left out"
            continue
        fi
        check "$unit waited for $kind: ${value:-nothing}, $expected by taskstats" is_near "$unit" "$expected"
        waited[$kind]=$(awk -v a="${waited[$kind]:-0}" -v b="$expected" 'BEGIN { print a + b }')
    done
}

# A hundred processes that execute a program for a moment on one CPU, and say at their end how long they waited for it.
live_shortly() {
    # shellcheck disable=SC2016 # expanded where it runs
    local script='i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done; read ran waited times </proc/self/schedstat; echo $waited'
    # shellcheck disable=SC2016 # expanded where it runs
    service_run short CPUAffinity=0 -- /bin/bash -c '
        for round in $(seq 25); do
            for one in 1 2 3 4; do /bin/bash -c "$0" & done
            wait
        done' "$script" | awk '{ sum += $1 } END { printf "%.9f", sum / 1e9 }'
}

# They said it before they waited for their way out.
is_in_full() {
    value=$(metric container_resources_cpu_delay_seconds_total "container_id=$(unit_id short)")
    awk -v value="${value:-0}" -v said="$1" 'BEGIN { exit !(value >= said * 0.97 && value < said * 1.5) }'
}

compare_short() {
    local said value
    said=$(live_shortly)
    eventually is_in_full "$said"
    check "short processes waited for cpu: ${value:-nothing}, $said as they said" is_in_full "$said"
    [ "$stage" = taskstats ] || return 0
    for reason in overrun missed refused failed; do
        is "$reason exit records" "$(metric nodescope_records_lost_total stage=taskstats "reason=$reason")" 0
    done
}

mkdir "$files"
make_waits_certain
add_swap
start_agent
compare_short
share_a_cpu
read_too_much
touch_too_much
check "all memory was touched" eventually said toucher touched_bytes
declare -A waited
for unit in first reader toucher; do
    compare "$unit"
done
for kind in "${certain[@]}"; do
    check "some of them waited for $kind: ${waited[$kind]} s" awk -v s="${waited[$kind]}" 'BEGIN { exit !(s > 0.005) }'
done
restore
finish
