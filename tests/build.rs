//! Builds the load generator a second time, static, so that it also runs in images with no C library.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    let variable =
        |name: &str| env::var_os(name).unwrap_or_else(|| panic!("cargo did not set {name}"));
    let source = "src/bin/nodescope-load";
    let output = PathBuf::from(variable("OUT_DIR")).join("nodescope-load");
    println!("cargo::rerun-if-changed={source}");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=NODESCOPE_LOAD={}", output.display());
    let status = Command::new(variable("RUSTC"))
        .args(["--edition=2024", "--crate-name=nodescope_load", "--target"])
        .arg(variable("TARGET"))
        .args([
            "-O",
            "-Cpanic=abort",
            "-Cstrip=symbols",
            "-Ctarget-feature=+crt-static",
            "-o",
        ])
        .arg(&output)
        .arg(format!("{source}/main.rs"))
        .status()
        .unwrap_or_else(|error| panic!("rustc: {error}"));
    assert!(status.success(), "rustc cannot build {source} static");
}
