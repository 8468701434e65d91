//! Turns `sensor.capnp` into Rust with the Cap'n Proto compiler of the distribution.
//!
//! The compiler is `capnp` on the search path, or the one the environment variable `CAPNP` names.

use std::env;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=sensor.capnp");
    println!("cargo::rerun-if-env-changed=CAPNP");
    let compiler = env::var_os("CAPNP").unwrap_or_else(|| "capnp".into());
    if let Err(error) = Command::new(&compiler).arg("--version").output() {
        let compiler = compiler.display();
        println!(
            "cargo::error=cannot run the Cap'n Proto compiler `{compiler}`: {error}; apt install capnproto"
        );
        return ExitCode::FAILURE;
    }
    let compiled = capnpc::CompilerCommand::new()
        .capnp_executable(compiler)
        .file("sensor.capnp")
        .default_parent_module(vec!["codec".to_owned()])
        .run();
    match compiled {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!(
                "cargo::error=sensor.capnp does not compile: {}",
                error.to_string().replace('\n', " ")
            );
            ExitCode::FAILURE
        }
    }
}
