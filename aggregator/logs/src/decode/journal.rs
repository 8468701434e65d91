//! An entry of the systemd journal, from its fields.
//!
//! docker's and Podman's journald drivers cut long lines as others do and mark the parts with
//! `CONTAINER_PARTIAL_MESSAGE`; the last part has the field too from docker 20.10 on, with `CONTAINER_PARTIAL_LAST`.

use super::join::Joiner;
use super::lines::CutCounts;
use crate::level::Level;

/// The fields of an entry that are of use here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalEntry<'a> {
    /// `MESSAGE`.
    pub message: &'a [u8],
    /// `PRIORITY`.
    pub level: Option<Level>,
    /// `_UID`: user of the process that logged.
    pub uid: Option<u32>,
    /// `_SYSTEMD_CGROUP`.
    pub cgroup: Option<&'a [u8]>,
    /// `CONTAINER_ID_FULL`.
    pub container_id: Option<&'a [u8]>,
    /// More of the message follows in the container's next entry.
    pub partial: bool,
}

impl<'a> JournalEntry<'a> {
    /// Reads an entry from its fields, names and values. `None` if it has no message.
    pub fn from_fields(fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Option<Self> {
        let mut entry = Self::default();
        let mut message = None;
        let mut last_part = false;
        for (name, value) in fields {
            match name {
                b"MESSAGE" => message = Some(value),
                b"PRIORITY" => {
                    entry.level = match value {
                        [digit @ b'0'..=b'7'] => Level::from_syslog_severity(digit - b'0'),
                        _ => None,
                    };
                }
                b"_UID" => entry.uid = number(value),
                b"_SYSTEMD_CGROUP" => entry.cgroup = Some(value),
                b"CONTAINER_ID_FULL" => entry.container_id = Some(value),
                b"CONTAINER_PARTIAL_MESSAGE" => entry.partial = value == b"true",
                b"CONTAINER_PARTIAL_LAST" => last_part = value == b"true",
                _ => {}
            }
        }
        entry.message = message?;
        entry.partial &= !last_part;
        Some(entry)
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    str::from_utf8(digits).ok()?.parse().ok()
}

/// Joins the entries of one container or unit into messages.
#[derive(Debug, Default)]
pub(crate) struct JournalJoiner {
    joiner: Joiner,
    counts: CutCounts,
}

impl JournalJoiner {
    pub(crate) fn push(
        &mut self,
        entry: &JournalEntry<'_>,
        max_bytes: usize,
        sink: impl FnOnce(&[u8]),
    ) {
        let last = !entry.partial;
        self.joiner
            .push(entry.message, last, max_bytes, &mut self.counts, sink);
    }

    pub(crate) fn finish(&mut self, sink: impl FnOnce(&[u8])) {
        self.joiner.finish(&mut self.counts, sink);
    }

    pub(crate) fn is_open(&self) -> bool {
        self.joiner.is_open()
    }

    pub(crate) fn counts(&self) -> CutCounts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read() {
        let fields: [(&[u8], &[u8]); 6] = [
            (b"PRIORITY", b"3"),
            (b"MESSAGE", b"a\nb"),
            (b"_UID", b"1000"),
            (b"_SYSTEMD_CGROUP", b"/system.slice/x.service"),
            (b"CONTAINER_ID_FULL", b"abc"),
            (b"CONTAINER_PARTIAL_MESSAGE", b"true"),
        ];
        let expected = JournalEntry {
            message: b"a\nb",
            level: Some(Level::Error),
            uid: Some(1000),
            cgroup: Some(b"/system.slice/x.service"),
            container_id: Some(b"abc"),
            partial: true,
        };
        assert_eq!(JournalEntry::from_fields(fields), Some(expected));
        let last: (&[u8], &[u8]) = (b"CONTAINER_PARTIAL_LAST", b"true");
        let entry = JournalEntry::from_fields(fields.into_iter().chain([last]));
        assert!(!entry.unwrap().partial);
        assert_eq!(
            JournalEntry::from_fields([(b"PRIORITY".as_slice(), b"3".as_slice())]),
            None
        );
    }
}
