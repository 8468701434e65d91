//! Dumps in the network namespaces of containers, where a setting asks for them.
//!
//! Entering a namespace needs `CAP_SYS_ADMIN`, and finding it `CAP_SYS_PTRACE`; both end with the sensor's start. A thread
//! of its own enters them, one after the other, and ends with that.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;

use nix::sched::{CloneFlags, setns};

use super::ConntrackError;
use super::dump::{Dumped, dump};
use super::entry::Translated;
use super::socket;

/// Namespaces looked at; further ones are left out.
const NAMESPACES_MAX: usize = 4096;

/// What the dumps of several namespaces found.
#[derive(Debug, Default)]
pub struct Found {
    /// Translated connections.
    pub translated: Vec<Translated>,
    /// Namespaces that could not be entered or asked, and those over the limit.
    pub failed: u64,
    /// Why the last of them could not.
    pub reason: String,
}

/// Dumps every namespace of a process but the one with inode `but`.
///
/// # Errors
/// No thread could be started.
pub fn dump_all(proc_root: &Path, but: u64) -> io::Result<Found> {
    let files = namespaces(proc_root, but);
    let worker = thread::Builder::new()
        .name("conntrack".to_owned())
        .spawn(move || visit(files))?;
    worker
        .join()
        .map_err(|_| io::Error::other("the thread panicked"))
}

/// One open file a namespace. A process that ended in between is no matter.
fn namespaces(proc_root: &Path, but: u64) -> Vec<File> {
    let mut seen = HashSet::from([but]);
    let entries = fs::read_dir(proc_root).into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            entry
                .file_name()
                .as_encoded_bytes()
                .first()
                .is_some_and(u8::is_ascii_digit)
        })
        .filter_map(|entry| {
            let path = entry.path().join("ns/net");
            let inode = fs::metadata(&path).ok()?.ino();
            seen.insert(inode).then(|| File::open(path).ok())?
        })
        .collect()
}

fn visit(namespaces: Vec<File>) -> Found {
    let mut found = Found {
        failed: namespaces.len().saturating_sub(NAMESPACES_MAX) as u64,
        ..Found::default()
    };
    for namespace in namespaces.into_iter().take(NAMESPACES_MAX) {
        if let Err(error) = dump_one(&namespace, &mut found.translated) {
            found.failed += 1;
            found.reason = error.to_string();
        }
    }
    found
}

fn dump_one(namespace: &File, into: &mut Vec<Translated>) -> Result<Dumped, ConntrackError> {
    setns(namespace, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)?;
    let socket = socket::open()?;
    dump(&socket, &mut |translated| into.push(*translated))
}
