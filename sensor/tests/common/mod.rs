//! Starts the real sensor on a temporary socket and talks to it.
//!
//! Needs root. Without it a test says that it was skipped; with `CI=true` that is a failure.
#![allow(
    dead_code,
    unused_imports,
    reason = "each test binary uses its own part of this"
)]

mod peer;
mod sensor;

use std::time::Duration;

use nix::unistd::geteuid;
use nodescope_schema::{FileKind, OpenFile};

pub(crate) use peer::{Peer, Seen, Waited};
pub(crate) use sensor::{Sensor, command};

/// The user that may connect, its number and its group: `nobody` is everywhere.
pub(crate) const CLIENT: &str = "nobody";
pub(crate) const CLIENT_ID: u32 = 65534;

/// How long the sensor may take to do something.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// True when the test can run; says why not.
pub(crate) fn is_root() -> bool {
    let root = geteuid().is_root();
    if !root {
        let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(!ci, "needs root");
        eprintln!("skipped: needs root");
    }
    root
}

/// The simplest file there is.
pub(crate) const DAEMON: OpenFile<'static> = OpenFile {
    kind: FileKind::DockerDaemon,
    container: b"",
    namespace: b"",
    root: b"",
    uid: 0,
    generation: 0,
};
