//! Logs that processes hold open: which files are of one log, and what changed since they were last told.
//!
//! A log is known by the path that its first file had. Who rotates it gives that file another name, and its writer goes
//! on in it until it opens a new one under the old path: both are files of the one log, until nobody holds the old one.
//! If that file is seen in this state for the first time it is no log of its own: its lines will be read with those of the
//! new one, as a rotated file. So a file with a name that rotating gives is one only if the next walk sees it too.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::os::fd::BorrowedFd;

use nodescope_ebpf::abi::{self, Decode};
use nodescope_ebpf::maps;
use nodescope_schema::{self as schema, Loss, Record};

use super::SourceError;
use super::convert;
use super::existing::{Existing, Present};
use super::probes::{HELD_LOGS, SCAN_LOGS};
use super::table::{Batch, Opaque, Table};
use super::verdict::{HookState, broke};
use crate::held_logs::{HeldFile, HeldLog, HeldLogs};
use crate::rotated::may_be_rotated;

/// Files the program looks at in one walk, as `ebpf/include/abi.h` has it.
const MAX_CANDIDATES: u32 = 8192;
/// Logs of the node.
const MAX_LOGS: usize = 1024;
/// Logs of one workload, so that one cannot take all the room.
const MAX_LOGS_OF_WORKLOAD: usize = 64;
/// Files of one log: its writer does not close those that were rotated.
const MAX_FILES: usize = 16;

/// Directories whose files are read another way: pods' logs by the names of their containers, the journal by its library.
const ELSEWHERE: [&[u8]; 3] = [
    b"/var/log/pods/",
    b"/var/log/containers/",
    b"/var/log/journal/",
];

/// A file, whoever holds it.
type FileKey = (abi::WorkloadKey, u32, u64);

/// What a log is known by.
type LogKey = (abi::WorkloadKey, Vec<u8>);

#[derive(Debug)]
struct Log {
    key: LogKey,
    /// The one that was opened last is at the end.
    files: Vec<(FileKey, HeldFile)>,
}

/// A file of a log that is still to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
struct News {
    number: u64,
    key: LogKey,
    inode: u64,
    open: bool,
}

fn record(number: u64, key: &LogKey, inode: u64, open: bool) -> Record<'_> {
    Record::HeldLog(schema::HeldLog {
        number,
        workload: convert::workload(key.0),
        path: &key.1,
        inode,
        open,
    })
}

/// Key of `log_candidates`, of which only its bytes are used.
pub(super) type Candidate = Opaque<32>;

/// Looks for the logs.
#[derive(Debug)]
pub(super) struct Logs {
    candidates: Table<Candidate, Present>,
    table: LogTable,
}

impl Logs {
    /// The map of the candidates.
    pub(super) fn table(map: BorrowedFd<'_>) -> io::Result<Table<Candidate, Present>> {
        Table::new(maps::LOG_CANDIDATES, map, MAX_CANDIDATES)
    }

    /// See [`LogTable::new`].
    pub(super) fn new(candidates: Table<Candidate, Present>, started_ns: u64) -> Self {
        Self {
            candidates,
            table: LogTable::new(started_ns),
        }
    }

    /// At the start: a failure becomes the verdict of the hook.
    pub(super) fn find(&mut self, existing: &Existing, hooks: &mut [HookState], batch: &mut Batch) {
        let Err(error) = self.scan(existing, batch) else {
            return;
        };
        for hook in hooks.iter_mut().filter(|hook| hook.is(HELD_LOGS)) {
            broke(hook, &error.to_string());
        }
    }

    /// Walks over all open files.
    pub(super) fn scan(
        &mut self,
        existing: &Existing,
        batch: &mut Batch,
    ) -> Result<(), SourceError> {
        let mut output = Vec::new();
        let read = existing.read(SCAN_LOGS, |bytes| output.extend_from_slice(bytes));
        self.candidates.clear(batch)?;
        read?;
        let found = output.chunks_exact(abi::HeldLog::BYTES);
        self.table
            .update(found.filter_map(abi::HeldLog::from_bytes));
        Ok(())
    }

    /// Emits what changed, or with `all` everything.
    pub(super) fn poll(&mut self, all: bool, emit: &mut dyn FnMut(&Record<'_>)) {
        self.table.poll(all, emit);
    }

    /// See [`LogTable::loss`].
    pub(super) fn loss(&self) -> Loss<'static> {
        self.table.loss()
    }

    /// The logs, for the broker.
    pub(super) fn shared(&self) -> &HeldLogs {
        &self.table.shared
    }
}

/// All logs, and what is still to be told of them.
#[derive(Debug)]
struct LogTable {
    logs: BTreeMap<u64, Log>,
    by_key: HashMap<LogKey, u64>,
    by_file: HashMap<FileKey, u64>,
    /// Files with names of rotated ones that the last walk was the first to see.
    put_off: HashSet<FileKey>,
    next_number: u64,
    news: Vec<News>,
    refused: u64,
    shared: HeldLogs,
}

impl LogTable {
    /// `started_ns` since the node was booted makes its numbers others than those of earlier runs.
    fn new(started_ns: u64) -> Self {
        Self {
            logs: BTreeMap::new(),
            by_key: HashMap::new(),
            by_file: HashMap::new(),
            put_off: HashSet::new(),
            next_number: started_ns,
            news: Vec::new(),
            refused: 0,
            shared: HeldLogs::default(),
        }
    }

    /// These are all files that are held open now. Of two processes with one file, the first stands for both.
    fn update(&mut self, found: impl Iterator<Item = abi::HeldLog>) {
        let (mut seen, mut put_off) = (HashSet::new(), HashSet::new());
        for file in found.filter(|file| !is_elsewhere(file.path())) {
            let key = (file.workload, file.device, file.inode);
            if !seen.insert(key) {
                continue;
            }
            if self.is_for_later(&key, file.path()) {
                put_off.insert(key);
            } else {
                self.see(key, &file);
            }
        }
        self.put_off = put_off;
        self.forget_all_but(&seen);
        self.shared.set(self.logs.iter().map(|(number, log)| {
            let files = log.files.iter().map(|(_, file)| file.clone()).collect();
            let path = log.key.1.clone();
            (*number, HeldLog { path, files })
        }));
    }

    fn is_for_later(&self, key: &FileKey, path: &[u8]) -> bool {
        let is_known = self.by_file.contains_key(key) || self.put_off.contains(key);
        !is_known
            && path
                .rsplit(|byte| *byte == b'/')
                .next()
                .is_some_and(may_be_rotated)
    }

    fn see(&mut self, key: FileKey, found: &abi::HeldLog) {
        let file = HeldFile {
            filesystem: convert::filesystem(found.device),
            inode: found.inode,
            pid: found.pid,
            path: found.path().to_vec(),
        };
        if let Some(log) = self.by_file.get(&key).and_then(|it| self.logs.get_mut(it)) {
            if let Some((_, known)) = log.files.iter_mut().find(|(known, _)| *known == key) {
                *known = file;
            }
            return;
        }
        let Some(number) = self.log_for((found.workload, file.path.clone())) else {
            self.refused += 1;
            return;
        };
        let Some(log) = self.logs.get_mut(&number) else {
            return;
        };
        if log.files.len() >= MAX_FILES {
            self.refused += 1;
            return;
        }
        log.files.push((key, file));
        self.by_file.insert(key, number);
        self.news.push(News {
            number,
            key: log.key.clone(),
            inode: found.inode,
            open: true,
        });
    }

    /// The log of this key, a new one if there is none and there is room.
    fn log_for(&mut self, key: LogKey) -> Option<u64> {
        if let Some(number) = self.by_key.get(&key) {
            return Some(*number);
        }
        let of_workload = self.logs.values().filter(|log| log.key.0 == key.0).count();
        if self.logs.len() >= MAX_LOGS || of_workload >= MAX_LOGS_OF_WORKLOAD {
            return None;
        }
        let number = self.next_number;
        self.next_number += 1;
        self.by_key.insert(key.clone(), number);
        let files = Vec::new();
        self.logs.insert(number, Log { key, files });
        Some(number)
    }

    fn forget_all_but(&mut self, seen: &HashSet<FileKey>) {
        let (news, by_file, by_key) = (&mut self.news, &mut self.by_file, &mut self.by_key);
        self.logs.retain(|number, log| {
            for (gone, file) in log.files.extract_if(.., |(key, _)| !seen.contains(key)) {
                by_file.remove(&gone);
                news.push(News {
                    number: *number,
                    key: log.key.clone(),
                    inode: file.inode,
                    open: false,
                });
            }
            if log.files.is_empty() {
                by_key.remove(&log.key);
            }
            !log.files.is_empty()
        });
    }

    /// Emits what changed, or with `all` everything.
    fn poll(&mut self, all: bool, emit: &mut dyn FnMut(&Record<'_>)) {
        let news = std::mem::take(&mut self.news);
        if !all {
            for news in news {
                emit(&record(news.number, &news.key, news.inode, news.open));
            }
            return;
        }
        for (number, log) in &self.logs {
            for (_, file) in &log.files {
                emit(&record(*number, &log.key, file.inode, true));
            }
        }
    }

    /// Files for which there was no room, once each time they were seen.
    fn loss(&self) -> Loss<'static> {
        Loss {
            stage: "held_logs",
            reason: "full",
            total: self.refused,
        }
    }
}

fn is_elsewhere(path: &[u8]) -> bool {
    ELSEWHERE.iter().any(|start| path.starts_with(start))
}

#[cfg(test)]
mod tests;
