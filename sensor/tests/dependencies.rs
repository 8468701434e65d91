//! What the privileged process is built of is a closed list: `dependencies.txt`, one crate a line. A new dependency is
//! a decision, made by changing that file.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::process::Command;

/// Crates that would bring what a privileged process must not have.
const BANNED: [&str; 12] = [
    "tokio",
    "mio",
    "hyper",
    "reqwest",
    "rustls",
    "openssl",
    "socket2",
    "serde",
    "serde_json",
    "regex",
    "clap",
    "libloading",
];

fn allowed() -> BTreeSet<&'static str> {
    include_str!("dependencies.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect()
}

fn used() -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--edges",
            "normal",
            "--package",
            "nodescope-sensor",
            "--prefix",
            "none",
        ])
        .args(["--format", "{p}", "--offline", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .filter_map(|line| line.split(' ').next().map(str::to_owned))
        .collect()
}

#[test]
fn nothing_but_the_list() {
    let used = used();
    let used: BTreeSet<&str> = used
        .iter()
        .map(String::as_str)
        .filter(|name| !name.is_empty())
        .collect();
    let added: Vec<_> = used.difference(&allowed()).copied().collect();
    assert!(added.is_empty(), "not in dependencies.txt: {added:?}");
    let gone: Vec<_> = allowed().difference(&used).copied().collect();
    assert!(
        gone.is_empty(),
        "no longer used, take out of dependencies.txt: {gone:?}"
    );
}

#[test]
fn the_list_has_no_network_and_no_parsers() {
    let allowed = allowed();
    for name in BANNED {
        assert!(!allowed.contains(name), "{name}");
    }
}
