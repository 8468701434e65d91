//! Where docker keeps its containers: configured data-roots, then the one that `daemon.json` sets, then the default,
//! which the sensor knows for the system's docker and for rootless ones.

use std::collections::HashMap;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nodescope_schema::FileKind;
use tokio::time::Instant;

use super::super::opener::OwnedOpenFile;
use super::super::runtimes::docker;
use super::reader::Reader;

/// How often the `daemon.json` of one user is read at most.
const INTERVAL: Duration = Duration::from_secs(30);
/// Users whose `daemon.json` is remembered; above it all are forgotten, and read again when needed.
const MAX_USERS: usize = 256;

pub(super) struct DockerRoots {
    configured: Vec<Vec<u8>>,
    daemons: Mutex<HashMap<u32, Daemon>>,
}

/// What a `daemon.json` said.
struct Daemon {
    data_root: Option<Vec<u8>>,
    read_at: Instant,
}

impl DockerRoots {
    pub(super) fn new(configured: &[PathBuf]) -> Self {
        let bytes = |root: &PathBuf| root.clone().into_os_string().into_vec();
        Self {
            configured: configured.iter().map(bytes).collect(),
            daemons: Mutex::default(),
        }
    }

    /// The data-roots of the docker of a user, or of the system for 0; the likeliest first, empty for the default.
    pub(super) async fn of(&self, uid: u32, reader: &Reader) -> Vec<Vec<u8>> {
        let set = self.set_by_daemon(uid, reader).await;
        self.configured
            .iter()
            .cloned()
            .chain(set)
            .chain([Vec::new()])
            .collect()
    }

    async fn set_by_daemon(&self, uid: u32, reader: &Reader) -> Option<Vec<u8>> {
        let known = self
            .daemons()
            .get(&uid)
            .map(|daemon| (daemon.data_root.clone(), daemon.read_at));
        if let Some((data_root, read_at)) = &known
            && read_at.elapsed() < INTERVAL
        {
            return data_root.clone();
        }
        let file = OwnedOpenFile {
            uid,
            ..OwnedOpenFile::of_kind(FileKind::DockerDaemon)
        };
        let data_root = match reader.read(file).await {
            // The file may well be there: keep what is known of it and ask again next time.
            Err(reason) if reason.is_about_sensor() => return known?.0,
            Err(_) => None,
            Ok(content) => docker::parse_data_root(&content)
                .ok()
                .flatten()
                .map(String::into_bytes),
        };
        let mut daemons = self.daemons();
        if daemons.len() >= MAX_USERS {
            daemons.clear();
        }
        daemons.insert(
            uid,
            Daemon {
                data_root: data_root.clone(),
                read_at: Instant::now(),
            },
        );
        data_root
    }

    fn daemons(&self) -> MutexGuard<'_, HashMap<u32, Daemon>> {
        self.daemons.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
