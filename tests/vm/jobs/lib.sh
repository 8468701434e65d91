# shellcheck shell=bash
# What every job uses: both processes as systemd services, load in services of its own, and comparisons with /metrics.
#
# A comparison prints one line, "ok" or "FAIL"; a job goes on after a failure and ends with `finish`.

readonly bin=/opt/nodescope-job/bin
readonly metrics_address=127.0.0.1:10300
readonly sensor_socket=/run/nodescope/sensor.sock
# Emulated, on a busy machine.
readonly deadline_seconds=90
# A value that was right must still be right after several polls.
readonly settle_seconds=2

failures=0
expectations=()
# Flags of the sensor that `start_agent` starts.
sensor_flags=()

ok() { echo "  ok    $*"; }
fail() {
    echo "  FAIL  $*"
    failures=$((failures + 1))
}

check() {
    local what=$1
    shift
    if "$@"; then ok "$what"; else fail "$what"; fi
}

is() { check "$1: $2, expected $3" [ "$2" = "$3" ]; }

# Polls a command until it succeeds.
eventually() {
    local end=$((SECONDS + deadline_seconds))
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.5
    done
}

# Runs a command as the service vm-NAME.service and leaves it running: service NAME [PROPERTY]... -- COMMAND...
service() {
    local name=$1 properties=()
    shift
    while [ "$1" != -- ]; do
        properties+=(--property "$1")
        shift
    done
    systemd-run --quiet --unit="vm-$name" --property=Type=exec "${properties[@]}" "$@"
}

# The same, but waits for its end and prints its output.
service_run() {
    local name=$1 properties=()
    shift
    while [ "$1" != -- ]; do
        properties+=(--property "$1")
        shift
    done
    timeout 120 systemd-run --quiet --wait --pipe --collect --unit="vm-$name" "${properties[@]}" "$@"
}

load_run() {
    local name=$1
    shift
    service_run "$name" -- "$bin/nodescope-load" "$@"
}

# A server of ours in vm-NAME.service, ready when it has its port.
serve() {
    local name=$1 address=$2
    shift 2
    service "$name" "$@" -- "$bin/nodescope-load" serve --listen "$address" --count-file "/run/vm-$name.accepted"
    eventually said "$name" listening || fail "vm-$name does not say where it listens"
}

# Whether a unit of ours has printed this itself: what systemd says about the unit has its whole command in it.
said() { journalctl --quiet --output=cat "_SYSTEMD_UNIT=vm-$1.service" | grep -q -- "$2"; }

# A number from a line of JSON: field NAME <<<"$line"
field() { sed -n "s/.*\"$1\":\([0-9.]*\).*/\1/p"; }

unit_id() { echo "/system.slice/vm-$1.service"; }
pid_of() { systemctl show --property=MainPID --value "vm-$1"; }

# The unit's directory in the cgroup v2 tree, or in the v1 hierarchy of a controller.
unit_cgroup() { echo "/sys/fs/cgroup${2:+/$2}/system.slice/vm-$1.service"; }

start_agent() {
    local options=("$@")
    systemd-run --quiet --unit=nodescope-sensor --property=Type=exec --property=RuntimeDirectory=nodescope \
        "$bin/nodescope-sensor" --socket "$sensor_socket" --client-user nodescope --poll-interval-ms 250 \
        "${sensor_flags[@]}"
    start_aggregator "${options[@]}"
    check "ready" eventually is_ready
}

start_aggregator() {
    systemd-run --quiet --unit=nodescope-aggregator --property=Type=exec --property=User=nodescope \
        --property=NoNewPrivileges=yes --property=CapabilityBoundingSet= \
        "$bin/nodescope-aggregator" --sensor-socket "$sensor_socket" --listen "$metrics_address" "$@"
}

has_failed() { [ "$(systemctl is-failed "$1")" = failed ]; }

is_ready() { [ "$(curl -s -o /dev/null -w '%{http_code}' --max-time 5 "http://$metrics_address/readyz")" = 200 ]; }

scrape() { curl -fsS --max-time 10 -H 'Accept: text/plain;version=0.0.4' "http://$metrics_address/metrics"; }

series() { awk -f series.awk <(printf '%s\n' "$@") <(scrape); }

# The sum over some series; empty when there is none: metric NAME [LABEL=VALUE]...
metric() {
    local IFS=$'\t'
    series "?"$'\t'"$*"
}

# Whether the sensor has a hook: older kernels lack some.
has_hook() { [ "$(metric nodescope_sensor_hook "hook=$1" verdict=ok)" = 1 ]; }

# Puts a comparison on the list: expect VALUE NAME [LABEL=VALUE]...
expect() {
    local IFS=$'\t'
    expectations+=("$*")
}

# Waits until all comparisons on the list hold at once, and looks again a while later.
settle() {
    if eventually all_hold; then sleep "$settle_seconds"; fi
    local lines
    lines=$(series "${expectations[@]}")
    echo "$lines"
    expectations=()
    grep -q '^  FAIL' <<<"$lines" || return 0
    # Later the processes may be others.
    [ "$failures" -gt 0 ] || report_trouble
    failures=$((failures + $(grep -c '^  FAIL' <<<"$lines")))
}
all_hold() { series "${expectations[@]}" >/dev/null; }

# One comparison.
settles() {
    expect "$@"
    settle
}

# Counters of one container towards one destination: expect_tcp UNIT DESTINATION CONNECTS FAILURES ACTIVE SENT RECEIVED
expect_tcp() {
    local labels=("container_id=$(unit_id "$1")" "destination=$2")
    expect "$3" container_net_tcp_successful_connects_total "${labels[@]}"
    expect "$4" container_net_tcp_failed_connects_total "${labels[@]}"
    expect "$5" container_net_tcp_active_connections "${labels[@]}"
    expect "$6" container_net_tcp_bytes_sent_total "${labels[@]}"
    expect "$7" container_net_tcp_bytes_received_total "${labels[@]}"
}

# A quarter of this many lines of `nodescope-load log` at each level: expect_lines CONTAINER_ID SOURCE LINES
expect_lines() {
    local level
    for level in error warning info debug; do
        expect $(($3 / 4)) container_log_messages_total "container_id=$1" "source=$2" "level=$level"
    done
}

# A namespace with one link to ours: netns NAME INDEX gives 10.99.INDEX.1 here and 10.99.INDEX.2 inside.
netns() {
    ip netns add "$1"
    ip link add "vm$2" type veth peer name uplink netns "$1"
    ip address add "10.99.$2.1/24" dev "vm$2"
    ip link set "vm$2" up
    ip -n "$1" address add "10.99.$2.2/24" dev uplink
    ip -n "$1" link set lo up
    ip -n "$1" link set uplink up
}

# What there is to know when something is not as it should be.
report_trouble() {
    echo "  --- what nodescope says of itself, series of the job's units and of none"
    scrape 2>&1 | grep -E '^nodescope_(sensor_|records_|log_)|^container_net|container_id="[^"]*/vm-' |
        grep -vE 'verdict="ok"|^nodescope_records_lost.* 0$' | head -150
    echo "  --- journals"
    journalctl --quiet --no-hostname --output=short-monotonic --unit=nodescope-sensor --unit=nodescope-aggregator |
        tail -30
    echo "  ---"
}

# Ends the job with its result; whoever started it stops its units.
finish() {
    exit $((failures > 0))
}
