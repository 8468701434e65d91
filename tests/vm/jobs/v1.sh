#!/bin/bash
# A system with cgroup v1, hybrid or purely legacy. Services are found through a v1 hierarchy; where cgroup v2 is not
# mounted, the sensor mounts it for itself alone and the system does not change.
cd "$(dirname "$0")" || exit 1
# shellcheck source=tests/vm/jobs/lib.sh
. ./lib.sh

v1_memory() { grep -q '^memory[[:space:]]*[1-9]' /proc/cgroups; }
mounts() { grep -c ' - cgroup2 ' "/proc/$1/mountinfo"; }

check "the system uses cgroup v1" [ "$(stat -fc %T /sys/fs/cgroup)" = tmpfs ]
mounted_before=$(mounts self)
echo "  cgroup2 mounts: $mounted_before, v1 memory controller: $(v1_memory && echo yes || echo no)"
start_agent
is "cgroup2 mounts of the system" "$(mounts self)" "$mounted_before"
sensor_pid=$(systemctl show --property=MainPID --value nodescope-sensor)
check "cgroup2 mounts the sensor sees: $(mounts "$sensor_pid")" [ "$(mounts "$sensor_pid")" -ge 1 ]

serve server 127.0.0.1:7301
line=$(load_run client connect --to 127.0.0.1:7301 --count 30 --upload 2000 --download 3000)
expect_tcp client 127.0.0.1:7301 30 0 0 "$(field sent_bytes <<<"$line")" $((30 * 3000))
expect 1 container_net_tcp_listen_info "container_id=$(unit_id server)" listen_addr=127.0.0.1:7301
load_run refused connect --to 127.0.0.1:7309 --count 5 >/dev/null
expect_tcp refused 127.0.0.1:7309 0 5 0 0 0
load_run storm storm --to 127.0.0.1:7301 --count 60 >/dev/null
expect_tcp storm 127.0.0.1:7301 60 0 0 0 0
settle

service again -- /bin/sleep infinity
service busy CPUQuota=50% -- /bin/sleep infinity
expect 0 container_restarts_total "container_id=$(unit_id again)"
expect 0.5 container_resources_cpu_limit_cores "container_id=$(unit_id busy)"
settle
systemctl restart vm-again
settles 1 container_restarts_total "container_id=$(unit_id again)"

if v1_memory; then
    service eater MemoryMax=64M -- "$bin/nodescope-load" memory --bytes $((40 << 20))
    victim="$bin/nodescope-load memory --bytes $((200 << 20))"
    service oom MemoryMax=48M OOMPolicy=continue -- /bin/bash -c "for i in 1 2; do $victim; done; sleep infinity"
    expect $((64 << 20)) container_resources_memory_limit_bytes "container_id=$(unit_id eater)"
    expect 2 container_oom_kills_total "container_id=$(unit_id oom)"
    settle
fi
finish
