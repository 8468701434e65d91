#!/bin/bash
# Runs the jobs named in the file `selection`, one after the other, each in its time; fails if one of them does.
cd "$(dirname "$0")" || exit 1
readonly job_seconds=200
systemctl is-system-running --wait >/dev/null
failed=0
while read -r job; do
    echo "VM_BEGIN $job"
    begin=$SECONDS
    timeout --kill-after=5 "$job_seconds" bash "jobs/$job.sh" </dev/null
    status=$?
    [ "$status" -eq 0 ] || failed=1
    echo "VM_END $job $status $((SECONDS - begin))"
done <selection
exit "$failed"
