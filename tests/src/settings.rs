//! Configuration files of the aggregator.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use tempfile::NamedTempFile;

/// A configuration file with which nobody needs to wait long for what is read on a schedule.
pub fn quick_settings() -> NamedTempFile {
    settings("collect_interval_seconds = 1\n")
}

/// A configuration file that says this.
pub fn settings(text: &str) -> NamedTempFile {
    let readable = Permissions::from_mode(0o644);
    let file = tempfile::Builder::new()
        .permissions(readable)
        .tempfile()
        .expect("a temporary file");
    std::fs::write(&file, text).expect("our own file");
    file
}
