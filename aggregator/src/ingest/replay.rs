//! Feeds a recording of the sensor's stream, so that the aggregator can be tested and profiled without a kernel.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nodescope_schema::{RecordingError, RecordingReader};

use super::sink::Sink;
use super::{ConnectionError, Ingest};

/// Why a recording cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file cannot be opened.
    #[error("{path}: {source}")]
    Open {
        /// The recording.
        path: PathBuf,
        /// What failed.
        #[source]
        source: std::io::Error,
    },
    /// It is not a recording, or it is damaged.
    #[error("{path}: {source}")]
    Read {
        /// The recording.
        path: PathBuf,
        /// What failed, with the offset.
        #[source]
        source: RecordingError,
    },
    /// It was made by a sensor of another time.
    #[error("{path}: recorded with protocol versions this aggregator does not speak")]
    Version {
        /// The recording.
        path: PathBuf,
    },
}

/// What was replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplayReport {
    /// Messages.
    pub messages: u64,
    /// Records in them.
    pub records: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// Applies a whole recording, as fast as it goes.
pub fn replay(path: &Path, ingest: &Ingest) -> Result<ReplayReport, ReplayError> {
    let file = File::open(path).map_err(|source| ReplayError::Open {
        path: path.to_owned(),
        source,
    })?;
    let read_error = |source| ReplayError::Read {
        path: path.to_owned(),
        source,
    };
    let mut reader = RecordingReader::new(BufReader::new(file)).map_err(read_error)?;
    let mut sink = Sink::new(ingest);
    let mut report = ReplayReport::default();
    let started = Instant::now();
    while let Some(message) = reader.next_message().map_err(read_error)? {
        report.messages += 1;
        if let Err(ConnectionError::Version { .. }) = sink.take(message, None) {
            return Err(ReplayError::Version {
                path: path.to_owned(),
            });
        }
    }
    report.records = sink.received_records();
    sink.flush_counts();
    report.elapsed = started.elapsed();
    Ok(report)
}
