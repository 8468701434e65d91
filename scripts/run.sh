#!/usr/bin/env bash
# Runs nodescope from the source tree until Ctrl-C: builds it, starts the sensor as root and the aggregator as the system
# user 'nodescope', prints a first table, and starts again whichever of the two dies. Leaves nothing behind but that user.
#
# usage: scripts/run.sh [--no-build] [--profile release|debug] [--listen ADDR:PORT] [--run-dir DIR]
set -euo pipefail
cd "$(dirname "$0")/.."

readonly user=nodescope
readonly ready_seconds=30
readonly stop_seconds=10
readonly max_pause_seconds=30
# One that ran this long is not in a crash loop: its next restart is quick again.
readonly healthy_seconds=60

build=yes
profile=release
listen=127.0.0.1:10300
run_dir=/run/nodescope
made_run_dir=
own_socket=
bin_dir=
state_dir=
declare -A pid=() started=() pause=([sensor]=1 [aggregator]=1) again_at=()

say() { echo "nodescope: $*"; }
die() {
    echo "nodescope: $2" >&2
    exit "$1"
}

parse_arguments() {
    while [ $# -gt 0 ]; do
        case $1 in
            --no-build) build=no ;;
            --profile) profile=${2:?--profile wants a value} && shift ;;
            --listen) listen=${2:?--listen wants a value} && shift ;;
            --run-dir) run_dir=${2:?--run-dir wants a value} && shift ;;
            *) die 64 "unknown argument '$1'" ;;
        esac
        shift
    done
}

build_programs() {
    [ "$build" = yes ] || return 0
    # shellcheck source=scripts/toolchain.sh
    . scripts/toolchain.sh
    scripts/deps.sh build
    local options=(--package nodescope-sensor --package nodescope-aggregator)
    [ "$profile" = debug ] || options+=("--$profile")
    cargo_as_caller build "${options[@]}"
}

make_user() {
    getent passwd "$user" >/dev/null && return
    say "making the system user '$user'"
    useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$user"
}

# The sensor would say so too, but by then our aggregator might have taken the place of the other's.
need_free_socket() {
    local socket=$run_dir/sensor.sock
    if [ -S "$socket" ] && grep -q " $socket\$" /proc/net/unix; then
        die 73 "$socket is in use (another nodescope?)"
    fi
}

# Copies, because the user cannot reach a source tree below a private home directory. Not all of /run may hold programs.
make_directories() {
    local target=${CARGO_TARGET_DIR:-target}/$profile program
    for program in nodescope-sensor nodescope-aggregator; do
        [ -x "$target/$program" ] || die 69 "there is no $target/$program: run without --no-build"
    done
    if [ ! -d "$run_dir" ]; then
        install -d -m 0755 "$run_dir"
        made_run_dir=yes
    fi
    # Somebody else's socket is not ours to remove; the sensor says so and ends if it is in use.
    [ -e "$run_dir/sensor.sock" ] || own_socket=yes
    bin_dir=$(mktemp -d "${TMPDIR:-/tmp}/nodescope.XXXXXX")
    chmod 0755 "$bin_dir"
    install -m 0755 "$target/nodescope-sensor" "$target/nodescope-aggregator" "$bin_dir"
    # For restarts of the aggregator while this runs; it goes with the rest.
    state_dir=$bin_dir/state
    install -d -m 0700 -o "$user" -g "$user" "$state_dir"
}

# A terminal sends Ctrl-C to the whole group; each child is in a session of its own so that we stop them in order. Should
# this script be killed, the kernel stops them.
start() {
    case $1 in
        sensor)
            setsid setpriv --pdeathsig TERM -- "$bin_dir/nodescope-sensor" --socket "$run_dir/sensor.sock" \
                --client-user "$user" &
            ;;
        aggregator)
            # The journal's group is the only one beside its own, where there is a journal.
            local groups=(--clear-groups)
            ! getent group systemd-journal >/dev/null || groups=(--groups systemd-journal)
            setsid setpriv --reuid "$user" --regid "$user" "${groups[@]}" --inh-caps=-all --bounding-set=-all \
                --no-new-privs --pdeathsig TERM -- "$bin_dir/nodescope-aggregator" --sensor-socket "$run_dir/sensor.sock" \
                --listen "$listen" --state-directory "$state_dir" --report-other &
            ;;
    esac
    pid[$1]=$!
    started[$1]=$SECONDS
}

is_alive() { [ -n "${pid[$1]:-}" ] && kill -0 "${pid[$1]}" 2>/dev/null; }

stop() {
    is_alive "$1" || return 0
    kill -TERM "${pid[$1]}" 2>/dev/null || return 0
    local end=$((SECONDS + stop_seconds))
    while is_alive "$1"; do
        if [ "$SECONDS" -ge "$end" ]; then
            say "the $1 does not stop, killing it"
            kill -KILL "${pid[$1]}" 2>/dev/null || true
            break
        fi
        sleep 0.1
    done
    wait "${pid[$1]}" 2>/dev/null || true
    unset "pid[$1]"
}

clean_up() {
    trap '' INT TERM HUP
    stop aggregator
    stop sensor
    [ -z "$bin_dir" ] || rm -rf "$bin_dir"
    [ -z "$own_socket" ] || rm -f "$run_dir/sensor.sock"
    [ -z "$made_run_dir" ] || rmdir "$run_dir" 2>/dev/null || say "$run_dir is not empty, it stays"
    [ -z "$bin_dir" ] || say "stopped"
}

http_status() {
    local line
    exec 3<>"/dev/tcp/${listen%:*}/${listen##*:}" || return 1
    printf 'GET %s HTTP/1.0\r\n\r\n' "$1" >&3
    read -r -t 5 line <&3 || line=
    exec 3<&-
    line=${line#* }
    echo "${line%% *}"
} 2>/dev/null

# Somebody else would answer for us, and all would look well.
need_free_address() {
    if [ -n "$(http_status /healthz)" ]; then
        die 73 "$listen is in use by something that speaks HTTP (another nodescope?)"
    fi
}

# So that the aggregator finds the sensor at once and does not complain.
wait_socket() {
    local end=$((SECONDS + ready_seconds))
    while [ ! -S "$run_dir/sensor.sock" ]; do
        is_alive sensor || die_of sensor
        [ "$SECONDS" -lt "$end" ] || die 69 "the sensor does not listen after $ready_seconds s"
        sleep 0.1
    done
}

wait_ready() {
    local end=$((SECONDS + ready_seconds))
    while [ "$(http_status /readyz)" != 200 ]; do
        is_alive sensor || die_of sensor
        is_alive aggregator || die_of aggregator
        [ "$SECONDS" -lt "$end" ] || die 69 "not ready after $ready_seconds s"
        sleep 0.2
    done
}

# The process has said why; its exit code is ours.
die_of() {
    local code=0
    wait "${pid[$1]}" || code=$?
    unset "pid[$1]"
    die "$code" "the $1 ended with code $code"
}

# Starts again what died, each time after a longer pause.
supervise() {
    local name code
    for name in sensor aggregator; do
        is_alive "$name" && continue
        if [ -n "${pid[$name]:-}" ]; then
            code=0
            wait "${pid[$name]}" 2>/dev/null || code=$?
            unset "pid[$name]"
            # Wrong usage and missing rights do not get better.
            case $code in 64 | 77) die "$code" "the $name ended with code $code" ;; esac
            [ $((SECONDS - started[$name])) -lt "$healthy_seconds" ] || pause[$name]=1
            say "the $name ended with code $code, starting it again in ${pause[$name]} s"
            again_at[$name]=$((SECONDS + pause[$name]))
            pause[$name]=$((pause[$name] * 2 > max_pause_seconds ? max_pause_seconds : pause[$name] * 2))
        elif [ "$SECONDS" -ge "${again_at[$name]}" ]; then
            start "$name"
        fi
    done
}

main() {
    parse_arguments "$@"
    [ "$(id -u)" -eq 0 ] || die 77 "needs root: the sensor loads BPF programs (try: sudo make run)"
    build_programs
    make_user
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    need_free_address
    need_free_socket
    make_directories
    start sensor
    wait_socket
    start aggregator
    wait_ready
    say "http://$listen/metrics"
    # The first counters of what runs already arrive within a poll of the kernel's tables.
    sleep 2
    scripts/summary.sh "$listen" || say "no table: the aggregator did not answer"
    say "running, Ctrl-C ends it; 'scripts/summary.sh $listen' prints the table again"
    while :; do
        supervise
        sleep 0.5
    done
}

main "$@"
