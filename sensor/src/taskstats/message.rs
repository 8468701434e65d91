//! Requests to the kernel's taskstats and what it answers and tells. Pure.
//!
//! Sources: `include/uapi/linux/taskstats.h`, `include/uapi/linux/genetlink.h`, `kernel/taskstats.c`.

use super::stats::{Stats, StatsError};
use crate::netlink::attribute::{Attributes, attribute};
use crate::netlink::message::{self, ERROR, push_request};

/// `struct genlmsghdr`: command, version and nothing.
const GENERIC_BYTES: usize = 4;

/// `GENL_ID_CTRL`: the family of families.
const CONTROLLER: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;

const CMD_GET: u8 = 1;
const ATTR_TGID: u16 = 2;
const ATTR_REGISTER_CPUMASK: u16 = 3;
const TYPE_PID: u16 = 1;
const TYPE_TGID: u16 = 2;
const TYPE_STATS: u16 = 3;
const TYPE_AGGR_PID: u16 = 4;
const TYPE_AGGR_TGID: u16 = 5;
/// `NLM_F_ACK`.
const ACKNOWLEDGE: u16 = 4;

/// A message of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// The number of the family that was asked for.
    Family(u16),
    /// A process that lives, and all its tasks until now.
    Living(u32, Stats),
    /// A task has ended.
    Ended(Exit),
    /// The answer to the request with this number is this `errno`; 0 is none.
    Answered(u32, i32),
    /// Statistics that cannot be read.
    Unknown(StatsError),
    /// Something nobody asked for.
    Other,
    /// Bytes that are no message.
    Broken,
}

/// An exit record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// The number of the task.
    pub pid: u32,
    /// What is said of it alone.
    pub task: Stats,
    /// It was the last of a process with several: the number of that and all of them together.
    pub process: Option<(u32, Stats)>,
}

/// The messages of one read, for the family with this number.
#[derive(Debug, Clone)]
pub struct Messages<'a> {
    all: message::Messages<'a>,
    family: u16,
}

impl<'a> Messages<'a> {
    /// Of these bytes.
    pub fn new(bytes: &'a [u8], family: u16) -> Self {
        let all = message::Messages::new(bytes);
        Self { all, family }
    }
}

impl Iterator for Messages<'_> {
    type Item = Message;

    fn next(&mut self) -> Option<Self::Item> {
        let message = self.all.next()?;
        Some(message.map_or(Message::Broken, |message| read(&message, self.family)))
    }
}

fn read(message: &message::Message<'_>, family: u16) -> Message {
    if message.kind == ERROR {
        return Message::Answered(message.sequence, message.errno());
    }
    let Some(attributes) = message.body.get(GENERIC_BYTES..).map(Attributes) else {
        return Message::Broken;
    };
    match message.kind {
        CONTROLLER => match attributes
            .value(CTRL_ATTR_FAMILY_ID)
            .map(<[u8; 2]>::try_from)
        {
            Some(Ok(bytes)) => Message::Family(u16::from_ne_bytes(bytes)),
            _ => Message::Other,
        },
        kind if kind == family => statistics(&attributes).unwrap_or_else(Message::Unknown),
        _ => Message::Other,
    }
}

fn statistics(attributes: &Attributes<'_>) -> Result<Message, StatsError> {
    let task = part(attributes, TYPE_AGGR_PID, TYPE_PID)?;
    let process = part(attributes, TYPE_AGGR_TGID, TYPE_TGID)?;
    Ok(match (task, process) {
        (Some((pid, task)), process) => Message::Ended(Exit { pid, task, process }),
        (None, Some((pid, stats))) => Message::Living(pid, stats),
        (None, None) => Message::Other,
    })
}

/// A number and the statistics that belong to it.
fn part(
    attributes: &Attributes<'_>,
    both: u16,
    number: u16,
) -> Result<Option<(u32, Stats)>, StatsError> {
    let Some(both) = attributes.nested(both) else {
        return Ok(None);
    };
    let number = both.value(number).map(<[u8; 4]>::try_from);
    let (Some(Ok(number)), Some(stats)) = (number, both.value(TYPE_STATS)) else {
        return Ok(None);
    };
    Ok(Some((u32::from_ne_bytes(number), Stats::read(stats)?)))
}

/// Asks for the number of the family.
pub fn family_request() -> Vec<u8> {
    let mut bytes = Vec::new();
    let name = attribute(CTRL_ATTR_FAMILY_NAME, b"TASKSTATS\0");
    push(&mut bytes, CONTROLLER, 0, 0, CTRL_CMD_GETFAMILY, &name);
    bytes
}

/// Asks for all tasks of a process; its number is also that of the request. Several may be sent at once.
pub fn push_process_request(bytes: &mut Vec<u8>, family: u16, pid: u32) {
    let pid_attribute = attribute(ATTR_TGID, &pid.to_ne_bytes());
    push(bytes, family, 0, pid, CMD_GET, &pid_attribute);
}

/// Asks for the exit records of these CPUs (`0-3,8`, as in `/sys/devices/system/cpu/possible`), and an answer.
pub fn exits_request(family: u16, cpus: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let list = attribute(ATTR_REGISTER_CPUMASK, &[cpus, &[0]].concat());
    push(&mut bytes, family, ACKNOWLEDGE, 0, CMD_GET, &list);
    bytes
}

fn push(bytes: &mut Vec<u8>, kind: u16, flags: u16, sequence: u32, command: u8, attribute: &[u8]) {
    let mut body = vec![command, 1, 0, 0];
    body.extend(attribute);
    push_request(bytes, kind, flags, sequence, &body);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FAMILY: u16 = 23;

    fn message(kind: u16, sequence: u32, attributes: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let body = [&[2, 1, 0, 0], &attributes.concat()[..]].concat();
        push_request(&mut bytes, kind, 0, sequence, &body);
        bytes
    }

    fn aggregate(kind: u16, number: u16, pid: u32, bytes: usize) -> Vec<u8> {
        let parts = [
            attribute(number, &pid.to_ne_bytes()),
            // TASKSTATS_TYPE_NULL fills up.
            attribute(6, &[]),
            attribute(TYPE_STATS, &vec![0; bytes]),
        ];
        attribute(kind | 0x8000, &parts.concat())
    }

    fn first(bytes: &[u8]) -> Message {
        Messages::new(bytes, FAMILY).next().expect("a message")
    }

    #[test]
    fn reads_each_kind() {
        let task = aggregate(TYPE_AGGR_PID, TYPE_PID, 7, 432);
        let process = aggregate(TYPE_AGGR_TGID, TYPE_TGID, 6, 432);
        let exit = |process| Exit {
            pid: 7,
            task: Stats::default(),
            process,
        };
        let none = Stats::default();
        for (kind, attributes, expected) in [
            (FAMILY, vec![process.clone()], Message::Living(6, none)),
            (FAMILY, vec![task.clone()], Message::Ended(exit(None))),
            (
                FAMILY,
                vec![task, process],
                Message::Ended(exit(Some((6, none)))),
            ),
            (FAMILY, vec![], Message::Other),
            (
                FAMILY,
                vec![aggregate(TYPE_AGGR_PID, TYPE_PID, 7, 20)],
                Message::Unknown(StatsError::Short(20)),
            ),
            (
                CONTROLLER,
                vec![attribute(CTRL_ATTR_FAMILY_ID, &23_u16.to_ne_bytes())],
                Message::Family(23),
            ),
            (FAMILY + 1, vec![], Message::Other),
        ] {
            assert_eq!(first(&message(kind, 0, &attributes)), expected);
        }
        let mut refused = Vec::new();
        push_request(&mut refused, ERROR, 0, 9, &(-3_i32).to_ne_bytes());
        assert_eq!(first(&refused), Message::Answered(9, libc::ESRCH));
        assert_eq!(first(&[1, 2]), Message::Broken);
        // Too short for a command.
        let mut short = Vec::new();
        push_request(&mut short, FAMILY, 0, 0, &[]);
        assert_eq!(first(&short), Message::Broken);
    }

    proptest! {
        #[test]
        fn a_changed_byte_is_no_matter(place in 0_usize..1000, value in any::<u8>()) {
            let task = aggregate(TYPE_AGGR_PID, TYPE_PID, 7, 432);
            let process = aggregate(TYPE_AGGR_TGID, TYPE_TGID, 6, 432);
            let mut bytes = message(FAMILY, 0, &[task, process]);
            let place = place % bytes.len();
            bytes[place] = value;
            prop_assert!(Messages::new(&bytes, FAMILY).count() <= bytes.len() / 16 + 1);
        }
    }

    #[test]
    fn several_requests_fit_behind_each_other() {
        let mut bytes = Vec::new();
        for pid in [1, 70_000] {
            push_process_request(&mut bytes, FAMILY, pid);
        }
        let requests: Vec<_> = message::Messages::new(&bytes)
            .map(|request| request.expect("a message").sequence)
            .collect();
        assert_eq!(requests, [1, 70_000]);
        let exits = exits_request(FAMILY, b"0-3");
        let request = message::Messages::new(&exits).next().expect("one");
        assert_eq!(
            request.expect("a message").body,
            b"\x01\x01\0\0\x08\0\x03\x000-3\0"
        );
    }
}
