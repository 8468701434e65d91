#!/bin/bash
# Inside a bare system (see bare.sh): what README promises of `make run` and `make test`.
set -uo pipefail

# Not in the home of root: the user of the last job must reach it.
readonly source=/srv/nodescope
# Not where `state` looks.
readonly work=/srv/check
readonly log=$work/run.log
readonly metrics=$work/metrics
readonly start_seconds=600
# What making a user changes.
readonly users_files='/etc/(passwd|group|g?shadow|sub[ug]id)-?'
failures=0

check() {
    local what=$1
    shift
    if "$@"; then
        echo "  ok    $what"
    else
        echo "  FAIL  $what"
        failures=$((failures + 1))
    fi
}

fresh_clone() {
    rm -rf "$source"
    git clone --quiet --branch bare /srv/nodescope.git "$source"
}

# What a run could leave behind: processes, listening sockets, mounts, files outside the source tree and /proc, programs.
state() {
    echo "processes: $(statuses | wc -l)"
    grep -h nodescope /proc/net/unix
    awk '$4 == "0A" && $2 ~ /:283C$/' /proc/net/tcp
    cut -d' ' -f3- /proc/self/mountinfo | sort
    find /run /tmp /var/tmp /etc /usr -mindepth 1 -xdev -newer "$1" | sort
}
# Statuses of all processes of nodescope.
statuses() { grep -l '^nodescope' /proc/[0-9]*/comm 2>/dev/null | sed 's/comm$/status/'; }

# The terminal of somebody who presses Ctrl-C once the table is there.
press_ctrl_c() {
    local end=$((SECONDS + start_seconds))
    until grep -q 'Ctrl-C ends it' "$log" 2>/dev/null; do
        [ "$SECONDS" -lt "$end" ] && [ ! -e "$log.ended" ] || return 0
        sleep 0.5
    done
    scrape >"$metrics"
    statuses | xargs grep -H '^Uid\|^CapEff\|^CapBnd' >"$metrics.rights"
    printf '\003'
    # As long as its input is open `script` waits for the end of the program.
    until [ -e "$log.ended" ]; do sleep 0.2; done
}

scrape() {
    exec 3<>/dev/tcp/127.0.0.1/10300 || return
    printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3
    cat <&3
    exec 3<&-
}

build_job() {
    fresh_clone
    cd "$source" || return
    check "scripts/deps.sh build" scripts/deps.sh build
    check "it installs nothing the second time" [ -z "$(scripts/deps.sh build 2>&1)" ]
    check "make build" make build
    # What the other two build, so that what they leave behind themselves can be told apart.
    check "a release build" cargo build --release --package nodescope-sensor --package nodescope-aggregator
    check "the tests build" cargo test --workspace --no-run
}

run_job() {
    cd "$source" || return
    touch "$work/before"
    sleep 1
    state "$work/before" >"$work/state.before"
    rm -f "$log" "$log.ended"
    press_ctrl_c | {
        script --quiet --flush --return --command 'make run' "$log" >/dev/null
        echo $? >"$log.ended"
    }
    sed 's/^/  | /' "$log" "$metrics.rights"
    check "it ended: status $(cat "$log.ended")" grep -qx '130\|2' "$log.ended"
    # A build that fails has the same status.
    check "Ctrl-C ended it" grep -q 'nodescope: stopped' "$log"
    check "metrics: $(grep -c . "$metrics") lines" grep -q '^node_uptime_seconds' "$metrics"
    state "$work/before" | grep -vE "^$users_files\$" >"$work/state.after"
    check "nothing is left but the user" diff "$work/state.before" "$work/state.after"
    check "the user is there" getent passwd nodescope
}

test_job() {
    cd "$source" || return
    check "make test" env CI=true make test
    check "scripts/deps.sh installs nothing the second time" [ -z "$(scripts/deps.sh build test 2>&1)" ]
}

# Somebody without root: what needs it is listed as skipped, which CI=true makes a failure. And the same user with sudo, which
# takes the toolchain out of PATH.
user_job() {
    getent passwd dev >/dev/null || useradd --create-home dev
    chown -R dev: "$source" "$CARGO_HOME"
    cd "$source" || return
    check "make test without root" logged "$work/user.log" as_user make test
    sed -n '/^Skipped/,$p' "$work/user.log" | head -4 | sed 's/^/  | /'
    check "it lists what it skipped" grep -q '^Skipped, .*([1-9][0-9]* tests)' "$work/user.log"
    check "with CI=true it fails" fails as_user env CI=true make test
    mkdir -p /home/dev/.cargo/bin
    ln -sf /opt/rust/bin/* /home/dev/.cargo/bin/
    # shellcheck disable=SC2016 # for the inner shell
    check "a build under sudo" env SUDO_USER=dev PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        bash -euc 'scripts/deps.sh build; . scripts/toolchain.sh; cargo_as_caller build --workspace'
    check "no file of root in the source tree" [ -z "$(find . -user root -print -quit)" ]
}
as_user() { runuser --user dev -- env HOME=/home/dev "$@"; }
logged() { "${@:2}" >"$1" 2>&1; }
fails() { ! "$@"; }

mkdir -p "$work"
for job in "$@"; do
    echo "=== $job on $(sed -n 's/^PRETTY_NAME=//p' /etc/os-release), Linux $(uname -r)"
    "${job}_job"
done
echo "checks failed: $failures"
exit $((failures > 0))
