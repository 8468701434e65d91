#!/usr/bin/env bash
# Fetches Debian's newest kernel of each series and unpacks it; prints its directory. Nothing is installed, and apt works
# on lists and caches of its own: the system's sources stay untouched.
#
# usage: tests/vm/kernels.sh DIR SERIES...       for example: tests/vm/kernels.sh target/vm 5.10 6.12
#
# A series that is there already is not fetched again: remove DIR/kernels/SERIES for a newer one.
set -euo pipefail

# Small (no drivers but virtio), with everything the tests need: BTF, cgroups, veth, netem, nftables.
readonly flavour=cloud-amd64
readonly keyring=/usr/share/keyrings/debian-archive-keyring.gpg

vm_dir=$(realpath -m "${1:?usage: kernels.sh DIR SERIES...}")
shift
state=$vm_dir/apt
kernels=$vm_dir/kernels

# Where the series live: 5.10 is bullseye's, 6.1 bookworm's, the later ones come as updates of bookworm or backports.
write_sources() {
    local archive=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
    local security=${DEBIAN_SECURITY_MIRROR:-http://deb.debian.org/debian-security}
    local options="[arch=amd64 signed-by=$keyring]" suite
    for suite in bullseye bookworm; do
        echo "deb $options $security $suite-security main"
    done
    echo "deb $options $archive trixie-backports main"
}

apt_options() {
    printf '%s\n' -o "Dir::State=$state/state" -o "Dir::State::status=$state/status" -o "Dir::Cache=$state/cache" \
        -o "Dir::Etc::sourcelist=$state/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Acquire::Languages=none -o Acquire::Retries=3 -o APT::Sandbox::User=root -qq
}

update_lists() {
    mkdir -p "$state"/{state/lists/partial,cache/archives/partial} "$kernels"
    : >"$state/status"
    write_sources >"$state/sources.list"
    mapfile -t apt < <(apt_options)
    timeout 300 apt-get "${apt[@]}" update
}

# Names look like linux-image-6.1.0-37-cloud-amd64 or linux-image-6.12.9+deb13-cloud-amd64. A kernel of an old release
# rebuilt for an older one (6.1.0-0.deb11) is the same kernel again.
newest_package() {
    apt-cache "${apt[@]}" pkgnames "linux-image-$1" |
        grep -E "^linux-image-${1//./\\.}[.+][0-9a-z.+-]*-$flavour\$" | grep -vF -e -0.deb | sort -V | tail -1
}

# Newer kernels keep the image or the modules in packages of their own. One of them may not be served any more, and be of no
# use here.
with_parts() {
    local part
    echo "$1"
    apt-cache "${apt[@]}" show --no-all-versions "$1" | sed -n 's/^Depends: //p' | tr ',|' '\n' |
        awk '$1 ~ /^linux-(base|binary|modules)-[0-9]/ { print $1 }' |
        while read -r part; do
            [ -z "$(apt-cache "${apt[@]}" show "$part" 2>/dev/null)" ] || echo "$part"
        done
}

fetch() {
    local series=$1 package parts part debs
    package=$(newest_package "$series")
    if [ -z "$package" ]; then
        echo "kernels.sh: Debian serves no kernel $series" >&2
        return 1
    fi
    debs=$kernels/$series.debs
    rm -rf "$debs" "$kernels/$series.new"
    mkdir -p "$debs" "$kernels/$series.new"
    mapfile -t parts < <(with_parts "$package")
    (cd "$debs" && timeout 600 apt-get "${apt[@]}" download "${parts[@]}")
    for part in "$debs"/*.deb; do
        dpkg-deb -x "$part" "$kernels/$series.new"
    done
    rm -rf "$debs"
    if [ -z "$(find "$kernels/$series.new" -name 'vmlinuz*')" ]; then
        echo "kernels.sh: $package comes without its image, some part of it is not served" >&2
        return 1
    fi
    # Debian's /lib is /usr/lib by now; depmod and modprobe look for /lib.
    [ -e "$kernels/$series.new/lib" ] || ln -s usr/lib "$kernels/$series.new/lib"
    mv "$kernels/$series.new" "$kernels/$series"
}

for series in "$@"; do
    if [ ! -d "$kernels/$series" ]; then
        [ -n "${apt[*]:-}" ] || update_lists
        fetch "$series"
    fi
    echo "$kernels/$series"
done
