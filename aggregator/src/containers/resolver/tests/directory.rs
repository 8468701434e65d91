//! A directory in place of the sensor.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use nodescope_schema::Refusal;
use tempfile::TempDir;

use crate::containers::opener::{FileOpener, OpenError, OpenFuture, OwnedOpenFile};

/// Opens files from a directory, `KIND/UID/ROOT/NAMESPACE/CONTAINER` with `-` for what is empty.
pub(super) struct Directory {
    root: TempDir,
    opened: AtomicUsize,
    /// What happens instead of opening, by container.
    faults: Mutex<HashMap<Vec<u8>, Fault>>,
}

#[derive(Clone, Copy)]
pub(super) enum Fault {
    Fails(OpenError),
    Hangs,
}

impl Directory {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            root: tempfile::tempdir().unwrap(),
            opened: AtomicUsize::new(0),
            faults: Mutex::default(),
        })
    }

    pub(super) fn path(&self, file: &OwnedOpenFile) -> PathBuf {
        let part = |bytes: &[u8]| match bytes {
            b"" => "-".to_owned(),
            bytes => String::from_utf8_lossy(bytes).replace('/', "+"),
        };
        let (root, namespace, name) = (
            part(&file.root),
            part(&file.namespace),
            part(&file.container),
        );
        self.root.path().join(format!(
            "{:?}/{}/{root}/{namespace}/{name}",
            file.kind, file.uid
        ))
    }

    pub(super) fn put(&self, file: &OwnedOpenFile, fixture: &str) {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/containers/fixtures");
        self.write(file, &fs::read(fixtures.join(fixture)).unwrap());
    }

    pub(super) fn write(&self, file: &OwnedOpenFile, content: &[u8]) {
        let path = self.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(super) fn fault(&self, container: &str, fault: Option<Fault>) {
        let mut faults = self.faults.lock().unwrap();
        match fault {
            Some(fault) => faults.insert(container.into(), fault),
            None => faults.remove(container.as_bytes()),
        };
    }

    pub(super) fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }
}

impl FileOpener for Directory {
    fn open(&self, file: OwnedOpenFile) -> OpenFuture<'_> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let fault = self.faults.lock().unwrap().get(&file.container).copied();
        Box::pin(async move {
            match fault {
                Some(Fault::Fails(error)) => Err(error),
                Some(Fault::Hangs) => std::future::pending().await,
                None => fs::File::open(self.path(&file)).map_err(|_| Refusal::NotFound.into()),
            }
        })
    }
}
