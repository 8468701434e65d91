# shellcheck shell=bash
# Finds cargo also under sudo, whose PATH leaves out the toolchain of the one who called it.

# The one who called sudo, or nobody.
caller=${SUDO_USER:-}
[ "$caller" != root ] || caller=

if [ -n "$caller" ] && ! command -v cargo >/dev/null; then
    caller_home=$(getent passwd "$caller" | cut -d: -f6)
    if [ -x "$caller_home/.cargo/bin/cargo" ]; then
        export PATH=$caller_home/.cargo/bin:$PATH
        export RUSTUP_HOME=${RUSTUP_HOME:-$caller_home/.rustup}
    fi
fi

# Cargo as the owner of the source tree when that is who called sudo: files of root in it would be in their way later.
cargo_as_caller() {
    if [ -n "$caller" ] && [ "$(stat -c %U .)" = "$caller" ]; then
        runuser --user "$caller" -- env HOME="$(getent passwd "$caller" | cut -d: -f6)" PATH="$PATH" cargo "$@"
    else
        cargo "$@"
    fi
}
