//! Tests that need root say so and skip; with `CI=true` a skip is a failure.

use std::io::Write;

/// Proof that the test runs as root.
#[derive(Debug)]
pub struct RootGuard(());

/// `None` when not root, after saying why. Panics instead when `CI` is `true`.
///
/// When `NODESCOPE_SKIPPED` names a file, the skip is appended to it: `make test` prints it at its end.
pub fn root_guard(test: &str) -> Option<RootGuard> {
    if nix::unistd::geteuid().is_root() {
        return Some(RootGuard(()));
    }
    let reason = format!("{test}: skipped, it needs root");
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "{reason} and with CI=true nothing may be skipped"
    );
    eprintln!("{reason}");
    if let Some(path) = std::env::var_os("NODESCOPE_SKIPPED") {
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(path);
        let written = file.and_then(|mut file| writeln!(file, "{reason}"));
        written.expect("NODESCOPE_SKIPPED must name a file that can be written");
    }
    None
}

/// Returns from the test, with a line that says so, when it does not run as root.
#[macro_export]
macro_rules! require_root {
    () => {
        let Some(_root) =
            $crate::root_guard(concat!(module_path!(), " (", file!(), ":", line!(), ")"))
        else {
            return;
        };
    };
}
