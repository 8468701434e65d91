#!/bin/bash
# Socket activation with a real .socket unit: systemd makes the listening socket and the service uses it.
cd "$(dirname "$0")" || exit 1
# shellcheck source=tests/vm/jobs/lib.sh
. ./lib.sh

write_units() {
    cat >/run/systemd/system/vm-activated.socket <<UNIT
[Socket]
ListenStream=127.0.0.1:7101
UNIT
    cat >/run/systemd/system/vm-activated.service <<UNIT
[Service]
ExecStart=$bin/nodescope-load serve --stdin-listener yes
StandardInput=socket
StandardOutput=journal
UNIT
    systemctl daemon-reload
}

write_units
# Who holds a socket is found by the iterator over files, which older kernels lack; there the listener stays systemd's.
expect_listener() {
    local labels=("container_id=$(unit_id activated)" listen_addr=127.0.0.1:7101)
    if has_hook listen_holders; then
        expect 1 container_net_tcp_listen_info "${labels[@]}"
        # Nobody else has it.
        expect 1 container_net_tcp_listen_info "${labels[1]}"
    else
        expect 0 container_net_tcp_listen_info "${labels[@]}"
    fi
}

start_agent
systemctl start vm-activated.socket
settles 0 container_net_tcp_listen_info "container_id=$(unit_id activated)"

# The first connection starts the service, which gets the socket and accepts.
line=$(load_run caller connect --to 127.0.0.1:7101 --count 3 --upload 100 --download 200)
is "connects" "$(field established <<<"$line")" 3
check "the service runs" systemctl --quiet is-active vm-activated.service
expect_tcp caller 127.0.0.1:7101 3 0 0 "$(field sent_bytes <<<"$line")" 600
expect_listener
settle

# A sensor that starts later finds the same.
systemctl stop nodescope-aggregator nodescope-sensor
start_agent
expect_listener
settle
finish
