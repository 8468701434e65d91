#!/usr/bin/env bash
# Fuzzes every reader of foreign bytes, FUZZ_SECONDS each (default 60). Stops at the first finding. Installs cargo-fuzz when
# it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=scripts/toolchain.sh
. scripts/toolchain.sh
scripts/deps.sh build fuzz
if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "scripts/fuzz.sh: installing cargo-fuzz with cargo"
    cargo install --quiet --locked cargo-fuzz
fi
# cargo-fuzz passes sanitizer flags, which the stable compiler takes only with this.
export RUSTC_BOOTSTRAP=1

fuzz() {
    local directory=$1 target=$2 seeds=()
    [ ! -d "$directory/tests/golden" ] || [ "$target" = recording ] || seeds=(tests/golden)
    mkdir -p "$directory/fuzz/corpus/$target"
    echo "fuzz: $directory $target"
    (cd "$directory" && cargo fuzz run "$target" "fuzz/corpus/$target" "${seeds[@]}" -- \
        -max_total_time="${FUZZ_SECONDS:-60}" -max_len=65536 -verbosity=0 -print_final_stats=1)
}

found=
while read -r manifest; do
    found=yes
    directory=${manifest%/fuzz/Cargo.toml}
    while read -r target; do
        fuzz "$directory" "$target"
    done < <(sed -n 's/^name = "\(.*\)"$/\1/p' "$manifest" | tail -n +2)
done < <(git ls-files '*fuzz/Cargo.toml')
[ -n "$found" ] || { echo "scripts/fuzz.sh: no fuzz targets" >&2 && exit 70; }
echo "fuzz: ok"
