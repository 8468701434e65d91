#!/usr/bin/env bash
# Checks the shipped units as systemd reads them: no unknown or misspelt setting, and exposed no more than promised. What they
# do, the virtual machines show (tests/vm/jobs/services.sh).
set -euo pipefail
cd "$(dirname "$0")/.."

# In tenths of what `systemd-analyze security` prints.
readonly limits=(nodescope-sensor=35 nodescope-aggregator=15)

fail() {
    echo "units_test: $1" >&2
    exit 1
}

if ! command -v systemd-analyze >/dev/null; then
    [ "${CI:-}" != true ] || fail "no systemd-analyze"
    echo "units_test (no systemd-analyze)" >>"${NODESCOPE_SKIPPED:-/dev/stderr}"
    exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The programs need not be installed.
for unit in systemd/*; do
    sed 's,^ExecStart=/usr/bin/nodescope-[a-z]*,ExecStart=/bin/true,' "$unit" >"$work/${unit##*/}"
done
complaints=$(SYSTEMD_UNIT_PATH=$work: systemd-analyze verify --man=no "$work"/nodescope-* 2>&1 |
    grep -F nodescope || true)
[ -z "$complaints" ] || fail "$complaints"

for limit in "${limits[@]}"; do
    unit=systemd/${limit%=*}.service
    table=$(systemd-analyze security --no-pager --offline=true --threshold="${limit#*=}" "$unit") ||
        fail "$unit is exposed more than ${limit#*=} tenths:"$'\n'"$(grep -F ✗ <<<"$table")"
done
