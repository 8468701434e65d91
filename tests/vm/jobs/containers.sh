#!/bin/bash
# Containers of Docker and Podman beside the shipped units: that the sandboxes leave the sensor the files with their names
# and the mounts of their volumes.
cd "$(dirname "$0")" || exit 1
# shellcheck source=tests/vm/jobs/lib.sh
. ./lib.sh
# shellcheck source=tests/vm/jobs/package.sh
. ./package.sh

readonly size=container_resources_disk_size_bytes

# File systems mounted while the sensor runs, as volumes usually are: they must reach the sensor's namespace.
new_filesystems() {
    local kind
    for kind in ext4 btrfs; do
        truncate -s 256M "/var/$kind"
        "mkfs.$kind" -q "/var/$kind"
        mkdir -p "/srv/$kind"
        mount -o loop "/var/$kind" "/srv/$kind"
    done
    mkdir -p /srv/nfs
    echo '/srv/ext4 127.0.0.1(rw,no_root_squash,insecure,fsid=0)' >/etc/exports
    check "an NFS server starts" systemctl start nfs-server
    check "its export is mounted" mount -t nfs4 -o hard 127.0.0.1:/ /srv/nfs
}
bytes_of() { stat --file-system --format='%S %b' "$1" | awk '{ printf "%.0f\n", $1 * $2 }'; }

container_image() {
    local program=$bin/nodescope-load root=/run/image library
    # What it is linked with comes along: there is no C library in the image.
    for library in "$program" $(ldd "$program" | grep -o '/[^ ]*'); do
        install -D "$library" "$root$library"
    done
    install -D "$program" "$root/bin/nodescope-load"
    tar -C "$root" -cf /run/image.tar .
}

# What the containers of a runtime connect to, where they listen, how large the file systems of their volumes are, and what
# they log: container RUNTIME PORT DRIVER_OF_FILES
container() {
    local runtime=$1 port=$2 driver=$3 id=/$1/web line
    check "$runtime runs a container" quietly "$runtime" run --detach --name web --network host \
        --volume /srv/ext4:/ext4 --volume /srv/btrfs:/btrfs --volume /srv/nfs:/nfs --volume named:/named load:1 /bin/nodescope-load serve --listen "127.0.0.1:$port"
    line=$("$runtime" run --name caller --network host load:1 /bin/nodescope-load connect --to "127.0.0.1:$port" \
        --count 25 --upload 100 --download 3000)
    is "connects" "$(field established <<<"$line")" 25
    local labels=("container_id=/$runtime/caller" "destination=127.0.0.1:$port")
    expect 25 container_net_tcp_successful_connects_total "${labels[@]}"
    expect $((25 * 3000)) container_net_tcp_bytes_received_total "${labels[@]}"
    expect 1 container_net_tcp_listen_info "container_id=$id" "listen_addr=127.0.0.1:$port"
    local kind
    for kind in ext4 btrfs nfs; do
        expect "$(bytes_of "/srv/$kind")" "$size" "container_id=$id" "mount_point=/$kind"
    done
    expect "$(bytes_of /)" "$size" "container_id=$id" mount_point=/named
    expect 1 container_info "container_id=$id" "$(image_label "$runtime")"
    expect 1 container_application_type "container_id=$id" application_type=rust
    check "$runtime runs a container that logs to the journal" quietly "$runtime" run --detach --name talker \
        --network host --log-driver journald load:1 /bin/nodescope-load log --count 400 --per-second 200 --hold yes
    expect_lines "/$runtime/talker" journald 400
    check "$runtime runs a container that logs to a file" quietly "$runtime" run --detach --name writer \
        --network host --log-driver "$driver" load:1 /bin/nodescope-load log --count 400 --per-second 200 --hold yes
    expect_lines "/$runtime/writer" stdout/stderr 400
    settle
    check "$runtime stops them" quietly "$runtime" rm --force caller talker writer
}
quietly() { "$@" >/dev/null; }
image_label() { [ "$1" = docker ] && echo image=load:1 || echo image=localhost/load:1; }

docker_containers() {
    mkdir -p /etc/docker
    echo '{ "bridge": "none", "iptables": false, "storage-driver": "vfs" }' >/etc/docker/daemon.json
    check "docker starts" systemctl start docker
    docker import /run/image.tar load:1 >/dev/null
    container docker 7402 json-file
    check "docker stops all" quietly docker rm --force web
    systemctl stop docker docker.socket containerd
}

podman_containers() {
    printf '[storage]\ndriver = "vfs"\nrunroot = "/run/containers/storage"\ngraphroot = "/var/lib/containers/storage"\n' \
        >/etc/containers/storage.conf
    podman import --quiet /run/image.tar load:1 >/dev/null
    container podman 7403 k8s-file
}

# Who asks for the space of a file system whose server is gone waits for ever; all else goes on.
dead_server() {
    local line
    serve server 127.0.0.1:7404
    systemctl stop nfs-server
    # Twice as long as from one question for its space to the next.
    sleep 30
    check "somebody waits for the server" not timeout 5 stat --file-system /srv/nfs
    line=$(load_run late connect --to 127.0.0.1:7404 --count 30 --upload 1000 --download 2000)
    expect_tcp late 127.0.0.1:7404 30 0 0 "$(field sent_bytes <<<"$line")" $((30 * 2000))
    expect "$(bytes_of /srv/btrfs)" "$size" container_id=/podman/web mount_point=/btrfs
    settle
    umount --force --lazy /srv/nfs
}
not() { ! "$@"; }

start_package
new_filesystems
container_image
docker_containers
podman_containers
dead_server
no_complaints
remove_package
finish
