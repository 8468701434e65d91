//! Makes a TCP socket in one cgroup and connects it in another: `nodescope-handover TO JOIN_SCRIPT`.
//!
//! This process makes the socket and passes it as standard input to a child, which runs the shell script JOIN_SCRIPT to
//! move to its cgroup and becomes this program again, with `TO` alone. That one connects, prints a line and waits.
#![forbid(unsafe_code)]

use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, ExitCode, Stdio};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, connect, socket};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.as_slice() {
        [to, script] => make_and_pass(to, script),
        [to] => use_passed(to),
        _ => Err("usage: nodescope-handover TO [JOIN_SCRIPT]".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nodescope-handover: {error}");
            ExitCode::FAILURE
        }
    }
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn make_and_pass(to: &str, script: &str) -> Outcome {
    let made: OwnedFd = socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    let status = Command::new("/bin/sh")
        .args(["-c", script, "sh"])
        .arg(std::env::current_exe()?)
        .arg(to)
        .stdin(Stdio::from(made))
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("the child: {status}").into())
    }
}

fn use_passed(to: &str) -> Outcome {
    let address: SocketAddrV4 = to.parse()?;
    connect(std::io::stdin().as_raw_fd(), &SockaddrIn::from(address))?;
    println!("{{\"connected\":1}}");
    // The connection stays open until the test ends this process.
    std::thread::sleep(std::time::Duration::from_secs(3600));
    Ok(())
}
