#!/usr/bin/env bash
# Prints nodescope's metrics as short tables: hooks, who runs here and listens where, who connects to whom.
#
# usage: scripts/summary.sh [ADDR:PORT]         asks a running aggregator (default 127.0.0.1:10300)
#        scripts/summary.sh - <FILE             reads an exposition instead
#
# Needs bash and awk only: this is the first thing shown on a machine with nothing installed.
set -euo pipefail

fetch() {
    local address=${1:-127.0.0.1:10300}
    [ "$address" != - ] || exec cat
    exec 3<>"/dev/tcp/${address%:*}/${address##*:}"
    printf 'GET /metrics HTTP/1.0\r\nAccept: text/plain;version=0.0.4\r\n\r\n' >&3
    # The head ends at the first line with nothing but a carriage return.
    awk 'body { print } $0 == "\r" || $0 == "" { body = 1 }' <&3
}

fetch "$@" | awk -f "$(dirname "$0")/summary.awk"
