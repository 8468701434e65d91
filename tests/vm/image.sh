#!/usr/bin/env bash
# Builds the disk image every test boots: Debian 12 with systemd and little else. Prints its path.
#
# usage: tests/vm/image.sh DIR
#
# Built once, and named after the content of this file and of guest/. The virtual machines write to throwaway snapshots.
set -euo pipefail

readonly suite=bookworm
# What the jobs call beside systemd's own tools; containers need neither network nor overlay.
readonly packages=systemd,systemd-sysv,udev,dbus,iproute2,nftables,curl,procps,util-linux,e2fsprogs,\
docker.io,apparmor,containerd,runc,podman,crun,btrfs-progs,nfs-kernel-server,tcpdump
readonly image_size=1800M
# Nobody logs in, nothing is updated, no clock is set.
readonly masked=(
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer
    getty@tty1.service serial-getty@ttyS0.service systemd-timesyncd.service systemd-networkd-wait-online.service
)

vm_dir=$(realpath -m "${1:?usage: image.sh DIR}")
guest=$(realpath "$(dirname "$0")/guest")
image=$vm_dir/root-$(cat "$0" "$guest"/* | sha256sum | cut -c1-12).ext4

bootstrap() {
    timeout 900 mmdebstrap --quiet --variant=minbase --include="$packages" \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        "$suite" "$1" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}"
}

configure() {
    local root=$1 units=$1/etc/systemd/system unit
    install -m 0755 "$guest/nodescope-job" "$root/usr/local/sbin/"
    install -m 0644 "$guest/nodescope-job.service" "$units/"
    mkdir -p "$units/multi-user.target.wants"
    ln -s ../nodescope-job.service "$units/multi-user.target.wants/"
    # Started by the job that uses them.
    find "$units" -path '*.wants/*' \( -name 'docker*' -o -name 'containerd*' -o -name 'podman*' -o -name 'nfs*' \
        -o -name 'rpc*' \) -delete
    for unit in "${masked[@]}"; do
        ln -sf /dev/null "$units/$unit"
    done
    echo vm >"$root/etc/hostname"
    echo '127.0.0.1 localhost vm' >"$root/etc/hosts"
    # A fixed id: without one the first boot of every snapshot would be a "first boot" with all its presets.
    echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
    echo 'nodescope:x:990:' >>"$root/etc/group"
    echo 'nodescope:x:990:990::/nonexistent:/usr/sbin/nologin' >>"$root/etc/passwd"
}

if [ ! -s "$image" ]; then
    mkdir -p "$vm_dir"
    work=$(mktemp -d -p "$vm_dir")
    trap 'rm -rf "$work"' EXIT
    bootstrap "$work/root.tar"
    mkdir "$work/root"
    tar -xf "$work/root.tar" -C "$work/root" --exclude='./dev/*'
    configure "$work/root"
    truncate -s "$image_size" "$work/root.ext4"
    mke2fs -q -t ext4 -O ^has_journal -d "$work/root" "$work/root.ext4"
    mv "$work/root.ext4" "$image"
fi
echo "$image"
