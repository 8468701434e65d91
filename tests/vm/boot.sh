#!/usr/bin/env bash
# Boots a kernel in an emulated machine, runs a job in it as root and exits with the job's status; the machine's console is
# printed. 125 means that the job never came to its end, 124 that it did not begin: the machine did not come up.
#
# usage: tests/vm/boot.sh KERNEL_DIR IMAGE JOB_DIR [KERNEL_PARAMETER]...
#
# JOB_DIR/run.sh is the job, everything beside it comes along. Emulation only: nothing here needs or uses /dev/kvm, and
# times measured inside mean nothing.
set -euo pipefail

readonly limit_seconds=${VM_LIMIT_SECONDS:-900}
# Fifteen times what it takes on a machine with nothing else to do.
readonly boot_seconds=300
readonly memory_mb=1024

kernel=${1:?usage: boot.sh KERNEL_DIR IMAGE JOB_DIR [KERNEL_PARAMETER]...}
image=$2
job=$3
shift 3
initrd=$("$(dirname "$0")/initrd.sh" "$kernel")
release=$(ls "$kernel/lib/modules")
# Since 7.x the image lies beside its modules.
vmlinuz=$(find "$kernel/lib/modules/$release" "$kernel/boot" -maxdepth 1 -name 'vmlinuz*' 2>/dev/null | head -1 || true)
work=$(mktemp -d)
watcher=
trap '[ -z "$watcher" ] || kill "$watcher" 2>/dev/null || true; rm -rf "$work"' EXIT

# Kernels of 7.x panic at boot with the XSAVE of TCG, and use AVX without asking whether XSAVE is there.
cpu=max
[[ $release != 7.* ]] || cpu=max,-xsave,-avx

# A CPU that does not come back for two minutes ends the machine, which says where; else it takes the time of all jobs.
hang="softlockup_panic=1 watchdog_thresh=60"

# tar pads its files to whole records, so that the disk has whole sectors.
tar --create --record-size=64K --file="$work/job.tar" --directory="$job" .
# On a busy machine the emulated timer can be so late that the kernel's check of it panics (no_timer_check).
# shellcheck disable=SC2054 # commas are QEMU's own
machine=(
    -pidfile "$work/pid"
    -accel tcg,thread=multi -cpu "$cpu" -smp 2 -m "$memory_mb"
    -nodefaults -no-user-config -display none -serial stdio -no-reboot -device virtio-rng-pci
    -kernel "$vmlinuz" -initrd "$initrd"
    -append "console=ttyS0 no_timer_check quiet loglevel=3 panic=-1 mitigations=off systemd.show_status=0 $hang $*"
    -drive "file=$image,format=raw,if=virtio,snapshot=on,cache=unsafe"
    -drive "file=$work/job.tar,format=raw,if=virtio,readonly=on"
)
is_up() { grep -aq VM_READY "$work/console"; }
end_unless_up() {
    local end=$((SECONDS + boot_seconds))
    until is_up; do
        [ "$SECONDS" -lt "$end" ] || exec kill "$(cat "$work/pid")"
        sleep 1
    done
}

status=0
: >"$work/console"
end_unless_up &
watcher=$!
# Without buffers: somebody may be waiting for the next line.
timeout --kill-after=5 "$limit_seconds" qemu-system-x86_64 "${machine[@]}" </dev/null |
    sed --unbuffered 's/\r//g' | tee "$work/console" || status=$?
result=$(sed -n 's/^.*VM_EXIT=\([0-9]*\).*/\1/p' "$work/console" | tail -1)
if [ -z "$result" ]; then
    is_up || { echo "boot.sh: did not come up (within $boot_seconds s), qemu's status is $status" && exit 124; }
    echo "boot.sh: no result, qemu's status is $status (124: over $limit_seconds s)"
    exit 125
fi
exit "$result"
