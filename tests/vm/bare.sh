#!/usr/bin/env bash
# README's commands on a bare system: a fresh Debian or Ubuntu root directory with git, systemd and a Rust toolchain, and a
# fresh clone of this commit, on this machine's kernel, processes and network.
#
# usage: tests/vm/bare.sh [--keep] bookworm|noble [build|run|test|user]...      default: all
#
# A root directory and not a container, since the sensor must see the machine. What this machine needs to reach its package
# registries comes from the environment: DEBIAN_MIRROR, UBUNTU_MIRROR, and BARE_FILES, paths that are copied in. With --keep
# the directory stays, and a later call with the same suite goes on in it.
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly source=$PWD
readonly packages=apt,ca-certificates,git,systemd,systemd-sysv,dbus
vm_dir=$(realpath -m "${CARGO_TARGET_DIR:-target}")/vm
keep=

usage() {
    echo "bare.sh: $1; usage: tests/vm/bare.sh [--keep] bookworm|noble [build|run|test|user]..." >&2
    exit 64
}

# Ubuntu's keys are in none of Debian's packages that every machine has; what is tested is not what is trusted.
bootstrap() {
    local sources=() pocket mirror
    case $suite in
        bookworm) sources=("${DEBIAN_MIRROR:-http://deb.debian.org/debian}") ;;
        noble)
            mirror=${UBUNTU_MIRROR:-http://archive.ubuntu.com/ubuntu}
            for pocket in noble noble-updates; do
                sources+=("deb [trusted=yes] $mirror $pocket main universe")
            done
            ;;
    esac
    timeout 900 mmdebstrap --quiet --variant=minbase --include="$packages" "$suite" "$1" "${sources[@]}"
}

make_root() {
    [ ! -e "$root/srv/nodescope" ] || return 0
    if [ ! -s "$vm_dir/bare-$suite.tar" ]; then
        bootstrap "$vm_dir/bare-$suite.new.tar"
        mv "$vm_dir/bare-$suite.new.tar" "$vm_dir/bare-$suite.tar"
    fi
    mkdir -p "$root/opt/rust"
    tar -xf "$vm_dir/bare-$suite.tar" -C "$root" --exclude='./dev/*'
    local file
    for file in /etc/resolv.conf ${BARE_FILES:-}; do
        rm -f "$root$file"
        install -D -m 0644 "$file" "$root$file"
    done
}

fetch_source() {
    rm -rf "$root/srv/nodescope.git"
    git clone --quiet --bare "$source" "$root/srv/nodescope.git"
    git -C "$root/srv/nodescope.git" update-ref refs/heads/bare "$(git rev-parse HEAD)"
}

# In mount namespaces of their own, so that nothing of it is seen outside, and with the root pivoted: in a mere chroot no
# container could be started. Process 1 is the machine's; its mounts would be those of this system if this one had booted.
# The other /proc is for rootless runtimes: who sees none without anything on it may mount none.
enter() {
    # shellcheck disable=SC2016 # for the inner shell
    env --ignore-environment HOME=/srv CARGO_HOME=/srv/cargo TERM=dumb LANG=C.UTF-8 \
        CARGO_BUILD_JOBS="${CARGO_BUILD_JOBS:-default}" \
        PATH=/opt/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        unshare --mount --propagation private bash -euc '
            root=$1 rust=$2
            shift 2
            mount --bind "$root" "$root"
            for directory in proc sys dev; do mount --rbind "/$directory" "$root/$directory"; done
            mount --bind -o ro "$rust" "$root/opt/rust"
            mount -t tmpfs -o mode=0755 run "$root/run"
            cd "$root"
            mkdir -p old
            pivot_root . old
            umount -l /old
            mkdir -p /srv/proc
            mount -t proc proc /srv/proc
            mount --bind "/proc/$$/mountinfo" /proc/1/mountinfo
            exec bash /srv/bare-job.sh "$@"' bare "$root" "$(rustc --print sysroot)" "$@"
}

main() {
    while [[ ${1:-} == --* ]]; do
        [ "$1" = --keep ] || usage "unknown option '$1'"
        keep=yes
        shift
    done
    suite=${1:-}
    case $suite in bookworm | noble) shift ;; *) usage "no system '$suite'" ;; esac
    [ $# -gt 0 ] || set -- build run test user
    local job
    for job in "$@"; do
        case $job in build | run | test | user) ;; *) usage "no job '$job'" ;; esac
    done
    [ "$(id -u)" -eq 0 ] || { echo "bare.sh: needs root" >&2 && exit 77; }
    scripts/deps.sh vm
    mkdir -p "$vm_dir"
    root=$vm_dir/bare-$suite
    [ -n "$keep" ] || trap 'rm -rf --one-file-system "$root"' EXIT
    make_root
    fetch_source
    install -m 0755 tests/vm/bare-job.sh "$root/srv/bare-job.sh"
    enter "$@"
}

main "$@"
