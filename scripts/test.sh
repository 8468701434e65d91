#!/usr/bin/env bash
# Every test of the repository. Tests that need root say so and are listed at the end when they did not run; with CI=true
# they fail instead.
#
# usage: scripts/test.sh [CARGO TEST ARGUMENT]...       for example: scripts/test.sh --package nodescope-schema
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/toolchain.sh
. scripts/toolchain.sh

groups=(build test)
if [ "$(id -u)" -ne 0 ]; then
    if [ "${CI:-}" = true ]; then
        echo "scripts/test.sh: not root, and with CI=true no test may be skipped" >&2
        exit 77
    fi
    # What only the root tests need is not asked for.
    groups=(build)
fi
scripts/deps.sh "${groups[@]}"

NODESCOPE_SKIPPED=$(mktemp)
export NODESCOPE_SKIPPED
trap 'rm -f "$NODESCOPE_SKIPPED"' EXIT

[ $# -gt 0 ] || set -- --workspace
failed=()
cargo test --no-fail-fast "$@" </dev/null || failed+=("cargo test")
for script in scripts/*_test.sh; do
    "$script" || failed+=("$script")
done

if [ -s "$NODESCOPE_SKIPPED" ]; then
    echo
    echo "Skipped, because only root can load BPF programs and start containers ($(wc -l <"$NODESCOPE_SKIPPED") tests):"
    sort "$NODESCOPE_SKIPPED" | sed 's/^/  /'
fi
if [ ${#failed[@]} -gt 0 ]; then
    printf 'FAILED: %s\n' "${failed[@]}" >&2
    exit 1
fi
echo "All tests passed."
