//! Logs that processes of containers hold open, as the sensor found them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use nodescope_schema::{HeldLog, Workload};

use super::Model;
use super::logs::LogJob;
use super::owners::Owner;
use crate::logs::kinds::LogPlace;

/// Most logs kept, several times what the sensor finds.
const MAX_LOGS: usize = 4096;
/// Most files of one log kept, several times what the sensor finds.
const MAX_FILES: usize = 64;

/// A log.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Log {
    workload: Workload,
    path: Arc<str>,
    inodes: Vec<u64>,
}

/// All logs by their numbers.
#[derive(Debug, Default)]
pub(super) struct HeldLogs(BTreeMap<u64, Log>);

impl HeldLogs {
    /// Takes a record. What finds no room is not read, as if the sensor had found none for it.
    pub(super) fn update(&mut self, record: &HeldLog<'_>) {
        let has_room = self.0.len() < MAX_LOGS;
        if !record.open {
            if let Some(log) = self.0.get_mut(&record.number) {
                log.inodes.retain(|inode| *inode != record.inode);
                if log.inodes.is_empty() {
                    self.0.remove(&record.number);
                }
            }
        } else if has_room || self.0.contains_key(&record.number) {
            let log = self.0.entry(record.number).or_insert_with(|| Log {
                workload: record.workload,
                path: String::from_utf8_lossy(record.path).into(),
                inodes: Vec::new(),
            });
            if !log.inodes.contains(&record.inode) && log.inodes.len() < MAX_FILES {
                log.inodes.push(record.inode);
            }
        }
    }

    /// Forgets files that a snapshot did not mention, by log and file.
    pub(super) fn keep(&mut self, seen: &HashSet<(u64, u64)>) {
        self.0.retain(|number, log| {
            log.inodes.retain(|inode| seen.contains(&(*number, *inode)));
            !log.inodes.is_empty()
        });
    }
}

impl Model {
    /// Those of containers and services that are shown. A log that two runs of the sensor have told is there twice until
    /// the snapshot of the later one is whole; the later one is the last.
    pub fn held_logs_to_read(&self) -> Vec<LogJob> {
        let job = |(number, log): (&u64, &Log)| {
            let class = self.cgroups.class_of(&log.workload)?;
            let Owner::Container(index) = self.owners.container(&class) else {
                return None;
            };
            let id = &self.containers.get(index)?.id;
            Some(LogJob {
                container: Arc::clone(id),
                places: vec![LogPlace::held(id, &log.path, *number, &log.inodes)],
            })
        };
        self.held_logs.0.iter().filter_map(job).collect()
    }
}
