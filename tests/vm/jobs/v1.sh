#!/bin/bash
# A system with cgroup v1, hybrid or purely legacy. Services are found through a v1 hierarchy; where cgroup v2 is not
# mounted, the sensor mounts it for itself alone and the system does not change.
cd "$(dirname "$0")" || exit 1
# shellcheck source=tests/vm/jobs/lib.sh
. ./lib.sh

v1_memory() { grep -q '^memory[[:space:]]*[1-9]' /proc/cgroups; }
# A mount of the sensor's own is attached to no directory: only its descriptors lead there.
holds_cgroup2() { stat --dereference --file-system --format=%T "/proc/$1/fd"/* 2>/dev/null | grep -q cgroup2fs; }

check "the system uses cgroup v1" [ "$(stat -fc %T /sys/fs/cgroup)" = tmpfs ]
cp /proc/self/mountinfo /run/mounts-before
echo "  cgroup2 mounts: $(grep -c ' - cgroup2 ' /run/mounts-before), v1 memory: $(v1_memory && echo yes || echo no)"
start_agent
check "the system's mounts are as before" cmp /run/mounts-before /proc/self/mountinfo
if ! grep -q ' - cgroup2 ' /run/mounts-before; then
    check "the sensor has a cgroup2 mount of its own" holds_cgroup2 "$(systemctl show --property=MainPID --value nodescope-sensor)"
fi

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
