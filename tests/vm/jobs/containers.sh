#!/bin/bash
# Containers of Docker and Podman beside the shipped units: that the sandboxes leave the sensor the files with their names
# and the mounts of their volumes.
cd "$(dirname "$0")" || exit 1
# shellcheck source=tests/vm/jobs/lib.sh
. ./lib.sh
# shellcheck source=tests/vm/jobs/package.sh
. ./package.sh

readonly size=container_resources_disk_size_bytes

# A file system mounted while the sensor runs, as a volume's usually is: it must reach the sensor's namespace.
new_disk() {
    truncate -s 64M /var/disk
    mkfs.ext4 -q /var/disk
    mkdir -p /srv/disk
    mount -o loop /var/disk /srv/disk
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
        --volume /srv/disk:/data --volume named:/named load:1 /bin/nodescope-load serve --listen "127.0.0.1:$port"
    line=$("$runtime" run --name caller --network host load:1 /bin/nodescope-load connect --to "127.0.0.1:$port" \
        --count 25 --upload 100 --download 3000)
    is "connects" "$(field established <<<"$line")" 25
    local labels=("container_id=/$runtime/caller" "destination=127.0.0.1:$port")
    expect 25 container_net_tcp_successful_connects_total "${labels[@]}"
    expect $((25 * 3000)) container_net_tcp_bytes_received_total "${labels[@]}"
    expect 1 container_net_tcp_listen_info "container_id=$id" "listen_addr=127.0.0.1:$port"
    expect "$(bytes_of /srv/disk)" "$size" "container_id=$id" mount_point=/data
    expect "$(bytes_of /)" "$size" "container_id=$id" mount_point=/named
    expect 1 container_info "container_id=$id" "$(image_label "$runtime")"
    check "$runtime runs a container that logs to the journal" quietly "$runtime" run --detach --name talker \
        --network host --log-driver journald load:1 /bin/nodescope-load log --count 400 --per-second 200 --hold yes
    expect_lines "/$runtime/talker" journald 400
    check "$runtime runs a container that logs to a file" quietly "$runtime" run --detach --name writer \
        --network host --log-driver "$driver" load:1 /bin/nodescope-load log --count 400 --per-second 200 --hold yes
    expect_lines "/$runtime/writer" stdout/stderr 400
    settle
    check "$runtime stops them" quietly "$runtime" rm --force web caller talker writer
}
quietly() { "$@" >/dev/null; }
image_label() { [ "$1" = docker ] && echo image=load:1 || echo image=localhost/load:1; }

docker_containers() {
    mkdir -p /etc/docker
    echo '{ "bridge": "none", "iptables": false, "storage-driver": "vfs" }' >/etc/docker/daemon.json
    check "docker starts" systemctl start docker
    docker import /run/image.tar load:1 >/dev/null
    container docker 7402 json-file
    systemctl stop docker docker.socket containerd
}

podman_containers() {
    printf '[storage]\ndriver = "vfs"\nrunroot = "/run/containers/storage"\ngraphroot = "/var/lib/containers/storage"\n' \
        >/etc/containers/storage.conf
    podman import --quiet /run/image.tar load:1 >/dev/null
    container podman 7403 k8s-file
}

start_package
new_disk
container_image
docker_containers
podman_containers
no_complaints
remove_package
finish
