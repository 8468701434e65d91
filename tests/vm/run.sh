#!/usr/bin/env bash
# Runs nodescope on other kernels than this machine's, each in an emulated machine with a real systemd: as root, with no
# KVM, a few minutes a kernel. Ends with a table of what passed.
#
# usage: tests/vm/run.sh [--no-build] [--jobs NAME,...] [SERIES...]      default 5.10 6.1 6.12; ALL adds 6.17 6.18 7.3
#
# Needs root (for the image) and a Debian 12 host: the image is Debian 12, and programs built here need its C library.
# Everything is kept in target/vm; consoles in target/vm/log. A machine that does not come up is started again, a job that
# fails is not.
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly usual=(5.10 6.1 6.12)
readonly more=(6.17 6.18 7.3)
readonly unified_jobs=check,traffic,resources,delays,taskstats,oom,activation,retransmits,nat,latency,services,containers
readonly v1_jobs=v1,services
readonly lockdown_jobs=lockdown
readonly boot_tries=3
# Little more than what jobs/run.sh gives each.
readonly job_seconds=620
vm_dir=$(realpath -m "${CARGO_TARGET_DIR:-target}")/vm
programs=$(realpath -m "${CARGO_TARGET_DIR:-target}")/debug
results=$vm_dir/results
wanted=$unified_jobs,$lockdown_jobs,$v1_jobs
build=yes
image=
series=()

usage() {
    echo "run.sh: $1; usage: tests/vm/run.sh [--no-build] [--jobs NAME,...] [SERIES...|ALL]" >&2
    exit 64
}

parse_arguments() {
    while [ $# -gt 0 ]; do
        case $1 in
            --no-build) build=no ;;
            --jobs) wanted=${2:?--jobs wants names} && shift ;;
            ALL) series+=("${usual[@]}" "${more[@]}") ;;
            [0-9]*.[0-9]*) series+=("$1") ;;
            *) usage "'$1' is no kernel series" ;;
        esac
        shift
    done
    [ ${#series[@]} -gt 0 ] || series=("${usual[@]}")
    local job
    for job in ${wanted//,/ }; do
        [[ ,$unified_jobs,$lockdown_jobs,$v1_jobs, == *",$job,"* ]] || usage "there is no job '$job'"
    done
}

# What a boot of that kind runs, of what is wanted.
selection() {
    local job
    for job in ${1//,/ }; do
        [[ ,$wanted, != *",$job,"* ]] || echo "$job"
    done
}

build_programs() {
    [ "$build" = yes ] || return 0
    cargo build --quiet --package nodescope-sensor --package nodescope-aggregator --package nodescope-tests
}

prepare_job() {
    rm -rf "$vm_dir/job"
    mkdir -p "$vm_dir/job/bin" "$vm_dir/log"
    local program
    for program in nodescope-sensor nodescope-aggregator nodescope-load nodescope-taskstats; do
        strip --output-file="$vm_dir/job/bin/$program" "$programs/$program"
    done
    copy_program ipvsadm
    copy_program bpftool
    cp -r systemd packaging "$vm_dir/job/"
    cp -r tests/vm/jobs "$vm_dir/job/jobs"
    mv "$vm_dir/job/jobs/run.sh" "$vm_dir/job/run.sh"
}

# Not in the image: with the libraries it wants, as a program that finds them beside itself.
copy_program() {
    local name=$1 lib=$vm_dir/job/bin/lib library
    mkdir -p "$lib"
    cp "$(command -v "$name" || echo "/usr/sbin/$name")" "$lib/$name"
    for library in $(ldd "$lib/$name" | awk '/=> \// && !/libc\.so/ { print $3 }'); do
        cp -L "$library" "$lib/"
    done
    # shellcheck disable=SC2016 # expanded where it runs
    printf '#!/bin/sh\ndirectory=$(dirname "$0")/lib\nLD_LIBRARY_PATH=$directory exec "$directory/%s" "$@"\n' "$name" \
        >"$vm_dir/job/bin/$name"
    chmod +x "$vm_dir/job/bin/$name"
}

# boot KERNEL_DIR SERIES CGROUPS JOBS [KERNEL_PARAMETER]...
boot() {
    local kernel=$1 name=$2 cgroups=$3 jobs status log try
    jobs=$(selection "$4")
    shift 4
    [ -n "$jobs" ] || return 0
    echo "$jobs" >"$vm_dir/job/selection"
    log=$vm_dir/log/$name-$cgroups
    echo "=== $name, cgroups $cgroups"
    for ((try = 1; try <= boot_tries; try++)); do
        status=0
        VM_LIMIT_SECONDS=$((job_seconds * ($(wc -l <<<"$jobs") + 1))) \
            tests/vm/boot.sh "$kernel" "$image" "$vm_dir/job" "$@" | tee "$log" || status=$?
        # That the machine did not come up.
        [ "$status" -eq 124 ] || break
    done
    collect "$name" "$cgroups" "$jobs" "$log"
    return "$status"
}

# A job without a line of its own never came to its end.
collect() {
    local job line status seconds
    for job in $3; do
        line=$(grep -a "^VM_END $job " "$4" || true)
        read -r _ _ status seconds <<<"${line:-VM_END $job none -}"
        [ "$status" = 0 ] && status=PASS || status="FAIL ($status)"
        printf '%-6s %-8s %-12s %-10s %4s s  %s checks failed of %s\n' "$1" "$2" "$job" "$status" "$seconds" \
            "$(checks_of "$job" FAIL "$4")" "$(checks_of "$job" 'ok|FAIL' "$4")" >>"$results"
    done
}
checks_of() { sed -n "/^VM_BEGIN $1\$/,/^VM_END $1 /p" "$3" | grep -acE "^  ($2) " || true; }

run_kernel() {
    local name=$1 kernel status=0
    if ! kernel=$(tests/vm/kernels.sh "$vm_dir" "$name"); then
        printf '%-6s %-8s %-12s %s\n' "$name" - - "FAIL (no kernel)" >>"$results"
        return 1
    fi
    local v1=systemd.unified_cgroup_hierarchy=0
    local v2=systemd.unified_cgroup_hierarchy=1
    boot "$kernel" "$name" unified "$unified_jobs" $v2 || status=1
    boot "$kernel" "$name" lockdown "$lockdown_jobs" $v2 lockdown=confidentiality || status=1
    boot "$kernel" "$name" hybrid "$v1_jobs" $v1 || status=1
    boot "$kernel" "$name" legacy "$v1_jobs" $v1 systemd.legacy_systemd_cgroup_controller=1 || status=1
    return "$status"
}

main() {
    parse_arguments "$@"
    [ "$(id -u)" -eq 0 ] || { echo "run.sh: needs root" >&2 && exit 77; }
    scripts/deps.sh build vm
    image=$(tests/vm/image.sh "$vm_dir")
    build_programs
    prepare_job
    : >"$results"
    local name status=0
    for name in "${series[@]}"; do
        run_kernel "$name" || status=1
    done
    echo
    cat "$results"
    exit "$status"
}

main "$@"
