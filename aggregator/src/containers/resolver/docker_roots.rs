//! Where docker keeps its containers: configured data-roots, the one that `daemon.json` sets, docker's default, and for
//! rootless docker the usual place below the user's home directory.

use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nodescope_schema::FileKind;
use tokio::time::{Instant, timeout};

use super::super::opener::OwnedOpenFile;
use super::super::runtimes::docker;
use super::Settings;
use super::reader::Reader;

/// How often `daemon.json` is read at most.
const DAEMON_INTERVAL: Duration = Duration::from_secs(30);
/// Where rootless docker keeps its containers, below the home directory.
const ROOTLESS: &str = ".local/share/docker";

pub(super) struct DockerRoots {
    configured: Vec<Vec<u8>>,
    home_of: fn(u32) -> Option<PathBuf>,
    home_deadline: Duration,
    daemon: Mutex<Daemon>,
}

/// What `daemon.json` said.
#[derive(Default)]
struct Daemon {
    data_root: Option<Vec<u8>>,
    read_at: Option<Instant>,
}

impl DockerRoots {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            configured: settings.docker_roots.iter().cloned().map(bytes).collect(),
            home_of: settings.home_of,
            home_deadline: settings.file_deadline,
            daemon: Mutex::default(),
        }
    }

    /// The data-roots of the docker of a user, or of the system for 0; the likeliest first, empty for the default.
    pub(super) async fn of(&self, uid: u32, reader: &Reader) -> Vec<Vec<u8>> {
        let found = match uid {
            0 => vec![self.of_daemon(reader).await, Some(Vec::new())],
            uid => vec![self.of_user(uid).await],
        };
        self.configured
            .iter()
            .cloned()
            .chain(found.into_iter().flatten())
            .collect()
    }

    async fn of_daemon(&self, reader: &Reader) -> Option<Vec<u8>> {
        if let Some(known) = self.recent() {
            return known;
        }
        let content = reader
            .read(OwnedOpenFile::of_kind(FileKind::DockerDaemon))
            .await;
        let mut daemon = self.daemon.lock().unwrap_or_else(PoisonError::into_inner);
        daemon.data_root = match content {
            // The file may well be there: keep what is known of it and ask again next time.
            Err(reason) if reason.is_about_sensor() => return daemon.data_root.clone(),
            Err(_) => None,
            Ok(content) => docker::parse_data_root(&content)
                .ok()
                .flatten()
                .map(String::into_bytes),
        };
        daemon.read_at = Some(Instant::now());
        daemon.data_root.clone()
    }

    fn recent(&self) -> Option<Option<Vec<u8>>> {
        let daemon = self.daemon.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = daemon
            .read_at
            .is_some_and(|read_at| read_at.elapsed() < DAEMON_INTERVAL);
        is_recent.then(|| daemon.data_root.clone())
    }

    async fn of_user(&self, uid: u32) -> Option<Vec<u8>> {
        let home_of = self.home_of;
        let home = timeout(
            self.home_deadline,
            tokio::task::spawn_blocking(move || home_of(uid)),
        )
        .await;
        Some(bytes(home.ok()?.ok()??.join(ROOTLESS)))
    }
}

fn bytes(path: PathBuf) -> Vec<u8> {
    path.into_os_string().into_vec()
}
