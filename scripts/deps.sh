#!/usr/bin/env bash
# Installs what is missing to build (and, with 'test', 'lint', 'fuzz' or 'vm', to check) nodescope on Debian and Ubuntu.
#
# usage: scripts/deps.sh [build|test|lint|fuzz|vm]...
#
# Says what it installs and nothing when nothing is missing. What counts is whether a program or a file is there, not
# which package it came from. No daemon is started or enabled by it. Without root it says what to install and exits 77.
set -euo pipefail
# shellcheck source=scripts/toolchain.sh
. "$(dirname "$0")/toolchain.sh"

# group | program or absolute path that must exist | package
table() {
    cat <<'TABLE'
build|cc|gcc
build|/usr/include/stdio.h|libc6-dev
build|clang|clang
build|llvm-strip|llvm
build|capnp|capnproto
build|make|make
build|setpriv|util-linux
build|useradd|passwd
test|dockerd|docker.io
test|docker|docker-cli
test|iptables|iptables
test|containerd|containerd
test|ctr|containerd
test|runc|runc
test|podman|podman
test|newuidmap|uidmap
test|rootlesskit|rootlesskit
test|slirp4netns|slirp4netns
test|lxc-start|lxc
test|/usr/lib/cni/bridge|containernetworking-plugins
test|busybox|busybox-static
test|promtool|prometheus
test|ip|iproute2
test|nft|nftables
test|/usr/lib/systemd/systemd-journal-remote|systemd-journal-remote
test|mkfs.ext4|e2fsprogs
test|mkfs.xfs|xfsprogs
test|java|default-jre-headless
test|javac|ecj
test|systemd-analyze|systemd
fuzz|c++|g++
lint|clang-format|clang-format
lint|shellcheck|shellcheck
vm|qemu-system-x86_64|qemu-system-x86
vm|busybox|busybox-static
vm|cpio|cpio
vm|modprobe|kmod
vm|mmdebstrap|mmdebstrap
vm|mke2fs|e2fsprogs
vm|strip|binutils
vm|xz|xz-utils
vm|zstd|zstd
vm|ipvsadm|ipvsadm
vm|bpftool|bpftool
TABLE
}

# The build also takes LLVM's tools under their names with a release number, the tests either Java compiler: Eclipse's
# comes without the rest of a JDK.
has() {
    local release
    case $1 in
        /*) [ -e "$1" ] ;;
        clang | llvm-strip)
            for release in '' -{14..21}; do
                ! command -v "$1$release" >/dev/null || return 0
            done
            return 1
            ;;
        javac) command -v javac >/dev/null || command -v ecj >/dev/null ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

missing_packages() {
    local group need package
    while IFS='|' read -r group need package; do
        [[ " $* " == *" $group "* ]] || continue
        has "$need" || echo "$package"
    done < <(table) | sort -u
}

# docker.io brought its client along until Debian 13 split it off. For a name that is only mentioned somewhere apt-cache
# prints nothing and fails not.
drop_unknown() {
    local package
    for package in "$@"; do
        if [ "$package" = docker-cli ] && [ -z "$(apt-cache show docker-cli 2>/dev/null)" ]; then
            continue
        fi
        echo "$package"
    done
}

need_rust() {
    if ! command -v cargo >/dev/null; then
        echo "scripts/deps.sh: no cargo: install Rust 1.88 or newer, see https://rustup.rs" >&2
        exit 69
    fi
    [[ " $* " == *" lint "* ]] || return 0
    local component
    for component in fmt clippy; do
        cargo "$component" --version >/dev/null 2>&1 && continue
        echo "scripts/deps.sh: 'cargo $component' does not work: rustup component add rustfmt clippy" >&2
        exit 69
    done
}

policy=/usr/sbin/policy-rc.d
enabled_units() { find /etc/systemd/system -path '*.wants/*' -type l 2>/dev/null | sort; }

# Debian starts and enables the daemons it installs, unless a policy forbids it. Ours holds only while we install.
forbid_daemons() {
    [ ! -e "$policy" ] || mv "$policy" "$policy.before-nodescope"
    trap allow_daemons EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    units_before=$(enabled_units)
}

allow_daemons() {
    rm -f "$policy"
    [ ! -e "$policy.before-nodescope" ] || mv "$policy.before-nodescope" "$policy"
    local link
    while read -r link; do
        [ -z "$link" ] || rm -f "$link"
    done < <(comm -13 <(echo "$units_before") <(enabled_units))
}

main() {
    local groups=("$@") packages
    [ ${#groups[@]} -gt 0 ] || groups=(build)
    need_rust "${groups[@]}"
    mapfile -t packages < <(missing_packages "${groups[@]}")
    [ ${#packages[@]} -gt 0 ] || return 0
    if ! command -v apt-get >/dev/null; then
        echo "scripts/deps.sh: no apt-get here; install what Debian calls: ${packages[*]}" >&2
        exit 69
    fi
    if [ "$(id -u)" -ne 0 ]; then
        echo "scripts/deps.sh: missing; as root: apt-get install ${packages[*]}" >&2
        exit 77
    fi
    local apt=(apt-get -y -q -o DPkg::Lock::Timeout=300)
    export DEBIAN_FRONTEND=noninteractive
    "${apt[@]}" update >/dev/null
    mapfile -t packages < <(drop_unknown "${packages[@]}")
    [ ${#packages[@]} -gt 0 ] || return 0
    echo "scripts/deps.sh: installing ${packages[*]}"
    forbid_daemons
    "${apt[@]}" install --no-install-recommends "${packages[@]}" >/dev/null
    packages=()
    mapfile -t packages < <(missing_packages "${groups[@]}")
    if [ ${#packages[@]} -gt 0 ]; then
        echo "scripts/deps.sh: installed, but still missing: ${packages[*]}" >&2
        exit 70
    fi
}

main "$@"
