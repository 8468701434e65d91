#!/usr/bin/env bash
# Formatting and lints: Rust, the BPF code's C, shell.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/deps.sh build lint

failed=()
check() {
    local name=$1
    shift
    echo "lint: $name"
    "$@" </dev/null || failed+=("$name")
}

# Headers taken over from elsewhere keep their own form.
mapfile -t c_files < <(git ls-files 'ebpf/*.c' 'ebpf/*.h' | grep -v '/bpf/' || true)
mapfile -t shell_files < <(git ls-files '*.sh' '.ci/run')

check "cargo fmt" cargo fmt --check
check "cargo clippy" cargo clippy --quiet --workspace --all-targets -- -D warnings
if [ ${#c_files[@]} -gt 0 ]; then
    check "clang-format" clang-format --dry-run -Werror "${c_files[@]}"
fi
check "shellcheck" shellcheck "${shell_files[@]}"

if [ ${#failed[@]} -gt 0 ]; then
    printf 'lint: FAILED: %s\n' "${failed[@]}" >&2
    exit 1
fi
echo "lint: ok"
