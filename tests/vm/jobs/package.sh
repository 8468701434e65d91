# shellcheck shell=bash
# What a package does with the files it ships, and its opposite. For jobs that have sourced lib.sh.

readonly shipped=/opt/nodescope-job
readonly drop_ins=/etc/systemd/system/nodescope-sensor.service.d

install_package() {
    # The image has the user for the jobs that run no units.
    userdel nodescope
    install -m 0755 "$shipped/bin/nodescope-sensor" "$shipped/bin/nodescope-aggregator" /usr/bin/
    install -m 0644 "$shipped"/systemd/nodescope-* /usr/lib/systemd/system/
    install -D -m 0644 "$shipped/packaging/nodescope.sysusers" /usr/lib/sysusers.d/nodescope.conf
    install -D -m 0644 "$shipped/packaging/aggregator.toml" /etc/nodescope/aggregator.toml
    if ! grep -q ' - cgroup2 ' /proc/self/mountinfo; then
        install -D -m 0644 "$shipped/packaging/cgroup-v1.conf" "$drop_ins/cgroup-v1.conf"
    fi
    check "the system user is made" systemd-sysusers
    systemctl daemon-reload
}

# Installed and started as an administrator does. Nothing else can be said when that fails.
start_package() {
    install_package
    check "they start" systemctl enable --now --quiet nodescope-sensor.socket nodescope-sensor nodescope-aggregator
    eventually is_ready && ok "ready" && return
    fail "ready"
    report_trouble
    finish
}

no_complaints() {
    local complaints
    complaints=$(journalctl --quiet --output=cat --unit='nodescope-*' |
        grep -iE 'denied|not permitted|read-only file|seccomp|SIGSYS|panicked|dumped' || true)
    is "complaints in the journal" "$complaints" ""
}

remove_package() {
    systemctl stop nodescope-aggregator nodescope-sensor.socket nodescope-sensor
    rm -rf /usr/bin/nodescope-{sensor,aggregator} /usr/lib/systemd/system/nodescope-{sensor.s*,aggregator.service} \
        /usr/lib/sysusers.d/nodescope.conf /etc/nodescope "$drop_ins" /run/systemd/system/nodescope-*.service.d
    systemctl daemon-reload
}
