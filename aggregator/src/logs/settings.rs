//! What is read of logs, and how much.

use std::path::PathBuf;

use nodescope_logs::{SourceLimits, pattern::MinerLimits, sample::SampleOptions};

/// Settings of the logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// Whether logs are read at all.
    pub enabled: bool,
    /// Whether files are read too that processes of containers hold open below `/var/log`.
    pub files: bool,
    /// Whether the journal is read too.
    pub journal: bool,
    /// Directory of journal files to read instead of the journal of this machine.
    pub journal_directory: Option<PathBuf>,
    /// Whether patterns of unknown, debug and info messages are shown too; otherwise these have one series a level.
    pub patterns_of_all_levels: bool,
    /// Whether secrets and personal data in samples are masked.
    pub mask_samples: bool,
    /// Longest sample.
    pub sample_bytes: usize,
    /// Patterns shown of one container; the rest counts under the pattern of zeros of its level.
    pub patterns_per_container: usize,
    /// Patterns remembered of all containers; with more, new ones count under the pattern of zeros.
    pub patterns: usize,
    /// Bytes a second that are read of one container's logs.
    pub bytes_per_second_per_container: u64,
    /// Bytes a second that are read of all logs.
    pub bytes_per_second: u64,
    /// Files open at once; with more logs than that, those that rest are closed and looked at in turn.
    pub open_files: usize,
    /// Directory that keeps how far each log was read.
    pub state_directory: PathBuf,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            files: true,
            journal: true,
            journal_directory: None,
            patterns_of_all_levels: false,
            mask_samples: true,
            sample_bytes: 4096,
            patterns_per_container: 256,
            patterns: 10_000,
            bytes_per_second_per_container: 16 << 20,
            bytes_per_second: 64 << 20,
            open_files: 512,
            state_directory: "/var/lib/nodescope".into(),
        }
    }
}

impl LogSettings {
    /// The limits of one source.
    pub fn limits(&self) -> SourceLimits {
        SourceLimits {
            patterns: MinerLimits {
                max_patterns_per_level: self.patterns_per_container,
                sample: SampleOptions {
                    max_bytes: self.sample_bytes,
                    mask: self.mask_samples,
                },
                ..MinerLimits::default()
            },
            ..SourceLimits::default()
        }
    }
}
