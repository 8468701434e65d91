#!/usr/bin/env bash
# Makes the initial RAM disk of an unpacked kernel: busybox, the modules the jobs need, and a switch to the image's systemd.
# Prints its path. The image itself holds no modules, so that one image serves every kernel.
#
# usage: tests/vm/initrd.sh KERNEL_DIR
set -euo pipefail

# The disk; random numbers at boot; links between namespaces; lost and dropped packets; the TCP_INFO of `ss`; translated
# destinations; disks of files; file systems that the kernel has no built-in driver for.
readonly modules=(
    virtio_pci virtio_blk virtio_rng veth sch_netem nf_tables tcp_diag
    nft_chain_nat nft_nat nft_numgen nf_conntrack_netlink ip_vs ip_vs_rr loop overlay btrfs nfsd nfsv4
)

kernel=$(realpath "${1:?usage: initrd.sh KERNEL_DIR}")
# Named after this file's content: kernels may be shared by several checkouts.
initrd=$kernel/initrd-$(sha256sum "$0" | cut -c1-12).gz
if [ -s "$initrd" ]; then
    echo "$initrd"
    exit 0
fi
release=$(ls "$kernel/lib/modules")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Every module with what it depends on, in loading order; what is built in has no file.
module_files() {
    local module
    for module in "${modules[@]}"; do
        /sbin/modprobe --dirname "$kernel" --set-version "$release" --quiet --show-depends "$module" || true
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }'
}

copy_modules() {
    local file name number=100
    while read -r file; do
        name=$(basename "$file")
        case $file in
            *.xz) xz -dc "$file" ;;
            *.zst) zstd -dqc "$file" ;;
            *) cat "$file" ;;
        esac >"$work/modules/$number-${name%%.ko*}.ko"
        number=$((number + 1))
    done
}

mkdir -p "$work"/{bin,proc,dev,modules,root}
cp "$(command -v busybox)" "$work/bin/busybox"
/sbin/depmod --basedir "$kernel" "$release"
module_files | copy_modules
cat >"$work/init" <<'INIT'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev
for module in /modules/*.ko; do
    $b insmod "$module" || echo "initrd: $module does not load"
done
tries=0
while [ ! -b /dev/vda ] && [ $tries -lt 100 ]; do
    $b sleep 0.1
    tries=$((tries + 1))
done
$b mount -t ext4 -o rw,noatime /dev/vda /root
$b mount --move /dev /root/dev
exec $b switch_root /root /lib/systemd/systemd
INIT
chmod +x "$work/init"
(cd "$work" && find . | cpio --create --format=newc --quiet | gzip -1) >"$initrd.new"
mv "$initrd.new" "$initrd"
echo "$initrd"
