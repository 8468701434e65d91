#!/usr/bin/env bash
# Every benchmark of the repository; each prints its figures beside a baseline of the same run.
#
# usage: scripts/bench.sh [CARGO BENCH ARGUMENT]...     for example: scripts/bench.sh --package nodescope-tests
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/toolchain.sh
. scripts/toolchain.sh

scripts/deps.sh build
[ $# -gt 0 ] || set -- --workspace
if [ "$(id -u)" -ne 0 ]; then
    echo "scripts/bench.sh: not root, what needs the sensor is not measured" >&2
fi
# The benches named '*' leave out unit tests, which have nothing to measure.
cargo bench "$@" --bench '*'
