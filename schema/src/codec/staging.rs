//! Records that wait for their packet, without borrowing.
//!
//! A Cap'n Proto list must know its length before its first element is written, so a batch is collected first: the
//! fixed part of each record in one vector, names and paths behind each other in two buffers. All three keep their
//! memory from packet to packet and are bounded by what fits into one.

use crate::codec::bounds::{MAX_EXECUTABLE_BYTES, MAX_PATH_BYTES, cut_bytes, cut_name};
use crate::{Cgroup, Flow, FlowKey, HeldLog, Hook, Listen, Loss, MapFill, Owner, Record};

/// The variable parts of a record, already cut to their bounds. No kind of record has more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Parts<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) texts: [&'a str; 3],
}

impl<'a> Parts<'a> {
    pub(super) fn of(record: &Record<'a>) -> Self {
        match *record {
            Record::Cgroup(cgroup) => Self::bytes(cut_bytes(cgroup.path, MAX_PATH_BYTES)),
            Record::Flow(flow) => Self::executable(flow.key.owner),
            Record::FlowEvicted(key) => Self::executable(key.owner),
            Record::Listen(listen) => Self::executable(listen.owner),
            Record::HeldLog(log) => Self::bytes(cut_bytes(log.path, MAX_PATH_BYTES)),
            Record::Loss(loss) => Self::texts([loss.stage, loss.reason, ""]),
            Record::Hook(hook) => Self::texts([hook.name, hook.rung, hook.detail]),
            Record::MapFill(fill) => Self::texts([fill.name, "", ""]),
            Record::SnapshotBegin
            | Record::SnapshotEnd
            | Record::Processes(_)
            | Record::Delays(_)
            | Record::Ping(_)
            | Record::Status(_) => Self::default(),
        }
    }

    fn bytes(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            texts: [""; 3],
        }
    }

    fn executable(owner: Owner<'a>) -> Self {
        Self::bytes(cut_bytes(owner.executable, MAX_EXECUTABLE_BYTES))
    }

    fn texts(texts: [&'a str; 3]) -> Self {
        Self {
            bytes: &[],
            texts: texts.map(cut_name),
        }
    }

    /// `record` with these parts in place of its own.
    pub(super) fn put_in(self, record: &Record<'_>) -> Record<'a> {
        let [first, second, third] = self.texts;
        match *record {
            Record::SnapshotBegin => Record::SnapshotBegin,
            Record::SnapshotEnd => Record::SnapshotEnd,
            Record::Cgroup(Cgroup {
                key,
                path: _,
                created_ns,
                removed_ns,
            }) => Record::Cgroup(Cgroup {
                key,
                path: self.bytes,
                created_ns,
                removed_ns,
            }),
            Record::Processes(processes) => Record::Processes(processes),
            Record::Flow(Flow {
                key,
                generation,
                totals,
            }) => Record::Flow(Flow {
                key: self.flow_key(key),
                generation,
                totals,
            }),
            Record::FlowEvicted(key) => Record::FlowEvicted(self.flow_key(key)),
            Record::Listen(listen) => Record::Listen(self.listen(listen)),
            Record::Loss(Loss {
                stage: _,
                reason: _,
                total,
            }) => Record::Loss(Loss {
                stage: first,
                reason: second,
                total,
            }),
            Record::Hook(Hook {
                name: _,
                rung: _,
                verdict,
                detail: _,
            }) => Record::Hook(Hook {
                name: first,
                rung: second,
                verdict,
                detail: third,
            }),
            Record::MapFill(MapFill {
                name: _,
                entries,
                capacity,
            }) => Record::MapFill(MapFill {
                name: first,
                entries,
                capacity,
            }),
            Record::Status(status) => Record::Status(status),
            Record::Delays(delays) => Record::Delays(delays),
            Record::Ping(ping) => Record::Ping(ping),
            Record::HeldLog(HeldLog {
                number,
                workload,
                path: _,
                inode,
                open,
            }) => Record::HeldLog(HeldLog {
                number,
                workload,
                path: self.bytes,
                inode,
                open,
            }),
        }
    }

    fn owner(self, owner: Owner<'_>) -> Owner<'a> {
        Owner {
            workload: owner.workload,
            executable: self.bytes,
        }
    }

    fn flow_key(self, key: FlowKey<'_>) -> FlowKey<'a> {
        let FlowKey {
            owner,
            remote_ip,
            remote_port,
            actual_ip,
            actual_port,
            host_netns,
            kind,
        } = key;
        FlowKey {
            owner: self.owner(owner),
            remote_ip,
            remote_port,
            actual_ip,
            actual_port,
            host_netns,
            kind,
        }
    }

    fn listen(self, listen: Listen<'_>) -> Listen<'a> {
        let Listen {
            cookie,
            owner,
            pid,
            netns,
            ip,
            port,
            ipv6_only,
            open,
        } = listen;
        Listen {
            cookie,
            owner: self.owner(owner),
            pid,
            netns,
            ip,
            port,
            ipv6_only,
            open,
        }
    }
}

/// The batch.
#[derive(Debug, Default)]
pub(super) struct Staging {
    records: Vec<Staged>,
    bytes: Vec<u8>,
    texts: String,
}

#[derive(Debug)]
struct Staged {
    fixed: Record<'static>,
    bytes_len: usize,
    text_lens: [usize; 3],
}

impl Staging {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn push(&mut self, record: &Record<'_>, parts: Parts<'_>) {
        self.bytes.extend_from_slice(parts.bytes);
        for text in parts.texts {
            self.texts.push_str(text);
        }
        self.records.push(Staged {
            fixed: Parts::default().put_in(record),
            bytes_len: parts.bytes.len(),
            text_lens: parts.texts.map(str::len),
        });
    }

    /// The records in the order they were pushed.
    pub(super) fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        let mut bytes = self.bytes.as_slice();
        let mut texts = self.texts.as_str();
        self.records.iter().map(move |staged| {
            let parts = Parts {
                bytes: bytes.split_off(..staged.bytes_len).unwrap_or_default(),
                texts: staged.text_lens.map(|len| take_text(&mut texts, len)),
            };
            parts.put_in(&staged.fixed)
        })
    }

    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.bytes.clear();
        self.texts.clear();
    }
}

fn take_text<'a>(texts: &mut &'a str, len: usize) -> &'a str {
    let (text, rest) = texts.split_at_checked(len).unwrap_or_default();
    *texts = rest;
    text
}
