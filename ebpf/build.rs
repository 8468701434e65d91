//! Compiles `programs/sensor.bpf.c` with clang and strips its debug information but BTF.
//!
//! `BPF_CLANG` and `BPF_LLVM_STRIP` name the tools when the ones found are not wanted; `NODESCOPE_BPF_OBJECT` is the
//! path of an object built elsewhere, which is then used as it is.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = "programs/sensor.bpf.c";
const PREBUILT: &str = "NODESCOPE_BPF_OBJECT";
/// LLVM releases whose tools Debian and Ubuntu install under a name with the number.
const LLVM_VERSIONS: std::ops::RangeInclusive<u32> = 14..=21;
const FLAGS: &[&str] = &[
    "-mcpu=v3",
    "-O2",
    "-g",
    "-Wall",
    "-Wextra",
    "-Wno-unused-parameter",
    "-Werror",
    "-fno-stack-protector",
    "-nostdlibinc",
    "-Iinclude",
    "-c",
];

fn main() -> Result<(), Box<dyn Error>> {
    let object = PathBuf::from(env::var("OUT_DIR")?).join("sensor.bpf.o");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={PREBUILT}");
    if let Some(prebuilt) = env::var_os(PREBUILT) {
        println!("cargo::rerun-if-changed={}", prebuilt.display());
        fs::copy(&prebuilt, &object)
            .map_err(|e| format!("cannot copy {}: {e}", prebuilt.display()))?;
        return Ok(());
    }
    compile(&object)?;
    let strip = find("BPF_LLVM_STRIP", "llvm-strip", "llvm")?;
    run(Command::new(&strip).arg("-g").arg(&object))
}

fn compile(object: &Path) -> Result<(), Box<dyn Error>> {
    let clang = find("BPF_CLANG", "clang", "clang")?;
    let (target, arch) = match env::var("CARGO_CFG_TARGET_ARCH")?.as_str() {
        "x86_64" => ("bpfel", "x86"),
        "aarch64" => ("bpfel", "arm64"),
        other => return Err(format!("no BPF build for {other}: add it to ebpf/build.rs").into()),
    };
    let crate_dir = env::var("CARGO_MANIFEST_DIR")?;
    let depfile = object.with_extension("d");
    run(Command::new(&clang)
        .current_dir(&crate_dir)
        .args(["-target", target])
        .args(FLAGS)
        .arg(format!("-D__TARGET_ARCH_{arch}"))
        // No path of this machine in the object: it is the same wherever it is built.
        .arg(format!("-ffile-prefix-map={crate_dir}=ebpf"))
        .arg("-fdebug-compilation-dir=ebpf")
        .args(["-MD", "-MF"])
        .arg(&depfile)
        .arg(SOURCE)
        .arg("-o")
        .arg(object))?;
    for source in dependencies(&fs::read_to_string(&depfile)?) {
        println!("cargo::rerun-if-changed={source}");
    }
    Ok(())
}

/// The files a depfile (`object: a.c b.h \`) names.
fn dependencies(depfile: &str) -> impl Iterator<Item = &str> {
    let files = depfile.split_once(": ").map_or("", |(_, files)| files);
    files.split_whitespace().filter(|word| *word != "\\")
}

/// The tool `variable` names, or else the first of `tool`, `tool-21` down to `tool-14` that runs.
fn find(variable: &str, tool: &str, package: &str) -> Result<String, Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed={variable}");
    if let Ok(chosen) = env::var(variable) {
        return Ok(chosen);
    }
    let numbered = LLVM_VERSIONS
        .rev()
        .map(|version| format!("{tool}-{version}"));
    let runs = |name: &String| {
        Command::new(name)
            .arg("--version")
            .output()
            .is_ok_and(|out| out.status.success())
    };
    std::iter::once(tool.to_owned()).chain(numbered).find(runs).ok_or_else(|| {
        format!("{tool} not found, which builds the BPF programs: apt-get install {package}, or set {variable}").into()
    })
}

fn run(command: &mut Command) -> Result<(), Box<dyn Error>> {
    let program = command.get_program().display().to_string();
    let status = command
        .status()
        .map_err(|e| format!("cannot run {program}: {e}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{program}: {status}").into())
    }
}
