#!/bin/bash
# A kernel that does not let programs read it (lockdown=confidentiality): units are known by looking at /proc and cgroups,
# and what they wait for by taskstats.
cd "$(dirname "$0")" || exit 1
# shellcheck source=tests/vm/jobs/lib.sh
. ./lib.sh

has_verdict() { [ "$(metric nodescope_sensor_hook "hook=$1" "verdict=$2")" = 1 ]; }

# A process that wants the first CPU for itself.
compete() { service "$1" CPUAffinity=0 -- /bin/bash -c 'while :; do :; done'; }

# The CPU time of its cgroup, read by the aggregator.
is_known() { [ -n "$(metric container_resources_cpu_usage_seconds_total "container_id=$(unit_id "$1")")" ]; }

waited_of() { metric container_resources_cpu_delay_seconds_total "container_id=$(unit_id "$1")"; }
said_of() { awk '{ printf "%.9f", $2 / 1e9 }' "/proc/$(pid_of "$1")/schedstat"; }
is_near() {
    awk -v value="$(waited_of "$1")" -v expected="$2" 'BEGIN {
        error = value - expected
        if (error < 0) error = -error
        exit !(expected > 0.5 && error <= expected * 0.05) }'
}

is "lockdown" "$(grep -o '\[.*\]' /sys/kernel/security/lockdown)" "[confidentiality]"
[ ! -e /proc/sys/kernel/task_delayacct ] || sysctl -q kernel.task_delayacct=1
compete older
start_agent
check "processes are looked for" eventually has_verdict existing_processes degraded
check "connections are not seen" has_verdict tcp_state unsupported
compete rival
for unit in older rival; do
    check "$unit is known" eventually is_known "$unit"
done
sleep 5
systemctl kill --signal=STOP vm-older vm-rival
sleep 1
waited=$(said_of rival)
eventually is_near rival "$waited"
check "rival waited $(waited_of rival), $waited by its schedstat" is_near rival "$waited"
settles 0 container_restarts_total "container_id=$(unit_id rival)"
systemctl kill --signal=KILL vm-older vm-rival
finish
