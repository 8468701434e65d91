#!/bin/bash
# Runs the jobs named in the file `selection`, one after the other; fails if one of them does.
cd "$(dirname "$0")" || exit 1
# Ten times what the longest takes on a machine with nothing else to do.
readonly job_seconds=600

# Whatever a job left behind, the next one begins without it.
clean_up() {
    systemctl stop 'vm-*' nodescope-aggregator nodescope-sensor 2>/dev/null
    systemctl reset-failed 2>/dev/null
    nft flush ruleset
    ip --all netns delete
}

systemctl is-system-running --wait >/dev/null
failed=0
while read -r job; do
    echo "VM_BEGIN $job"
    begin=$SECONDS
    timeout --kill-after=5 "$job_seconds" bash "jobs/$job.sh" </dev/null
    status=$?
    [ "$status" -eq 0 ] || failed=1
    clean_up
    echo "VM_END $job $status $((SECONDS - begin))"
done <selection
exit "$failed"
