//! Child processes that end with the test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait::poll;

const TERM_PATIENCE: Duration = Duration::from_secs(15);
/// No command of a test takes this long.
const LIMIT: Duration = Duration::from_secs(120);
const LOG_TAIL_BYTES: usize = 4000;

/// A daemon or a helper with its output in a file. Dropping it sends SIGTERM, then SIGKILL, and waits.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with output and errors appended to `log`. Standard output may be piped by the caller.
    #[track_caller]
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Self {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .unwrap_or_else(|e| panic!("{log:?}: {e}"));
        let errors = file.try_clone().expect("a descriptor can be duplicated");
        command.stdout(file).stderr(errors).stdin(Stdio::null());
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {command:?}: {error}"));
        Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
        }
    }

    /// Its process id: that of what `exec` made of it, wrappers like `setpriv` and `sh -c exec` keep it.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// True until it has ended.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid fits"));
        // It may have ended meanwhile: the caller finds out by waiting.
        let _ = kill(pid, signal);
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        let _ = self.child.wait();
    }

    /// Waits for the end; `None` when it does not come in time.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        poll(patience, || self.child.try_wait().ok().flatten())
    }

    /// Waits until `question` succeeds, which is asked again and again; panics when this ends before.
    #[track_caller]
    pub(crate) fn wait_ready(&mut self, patience: Duration, question: &mut Command) {
        let ready = poll(patience, || {
            let answers = try_run(question).status.success();
            (answers || !self.is_alive()).then_some(answers)
        });
        assert!(
            ready == Some(true),
            "{} does not start\n{}",
            self.name,
            self.log_tail()
        );
    }

    /// The end of what it wrote.
    pub fn log_tail(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let tail = &bytes[bytes.len().saturating_sub(LOG_TAIL_BYTES)..];
        format!("--- {} ---\n{}", self.name, String::from_utf8_lossy(tail))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.is_alive() {
            return;
        }
        self.signal(Signal::SIGTERM);
        if self.wait(TERM_PATIENCE).is_none() {
            eprintln!("{} ignores SIGTERM", self.name);
            self.kill();
        }
    }
}

/// Kills a process that takes too long, unless it is dropped before.
#[derive(Debug)]
pub(crate) struct Watchdog(Option<Sender<()>>);

impl Watchdog {
    /// Watches `pid` from now on.
    pub(crate) fn new(pid: u32) -> Self {
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            if receiver.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
                eprintln!("process {pid} takes longer than {LIMIT:?}: killed");
                let _ = kill(
                    Pid::from_raw(i32::try_from(pid).expect("a pid fits")),
                    Signal::SIGKILL,
                );
            }
        });
        Self(Some(sender))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // The thread sees that nobody can send any more.
        self.0 = None;
    }
}

/// Runs a command to its end.
#[track_caller]
pub fn try_run(command: &mut Command) -> Output {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let _watchdog = Watchdog::new(child.id());
    child
        .wait_with_output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Runs a command that must succeed.
#[track_caller]
pub fn run(command: &mut Command) {
    run_output(command);
}

/// Runs a command that must succeed; its standard output without the space around it.
#[track_caller]
pub fn run_output(command: &mut Command) -> String {
    let output = try_run(command);
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() {
        panic!(
            "{command:?}: {}\n{text}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    text
}
