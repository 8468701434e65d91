//! What the kernel's taskstats says that processes waited for: another way to the numbers of nodescope, for comparison.
//!
//! Sources: `include/uapi/linux/taskstats.h`, `include/uapi/linux/genetlink.h`, `Documentation/accounting/taskstats.rst`.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

const NLMSG_ERROR: u16 = 2;
const NLMSG_HEADER_BYTES: usize = 16;
const GENL_HEADER_BYTES: usize = 4;
const ATTRIBUTE_HEADER_BYTES: usize = 4;
const NLM_F_REQUEST: u16 = 1;
const GENL_ID_CTRL: u16 = 0x10;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const TASKSTATS_CMD_GET: u8 = 1;
const TASKSTATS_CMD_ATTR_TGID: u16 = 2;
const TASKSTATS_TYPE_STATS: u16 = 3;
const TASKSTATS_TYPE_AGGR_TGID: u16 = 5;
const REPLY_BYTES: usize = 4096;

/// A wait as taskstats names it, and where `struct taskstats` has its nanoseconds: kernels that do not know it have a
/// shorter one.
pub const WAITS: [(&str, usize); 8] = [
    ("cpu", 24),
    ("blkio", 40),
    ("swapin", 56),
    ("freepages", 320),
    ("thrashing", 336),
    ("compact", 360),
    ("wpcopy", 408),
    ("irq", 424),
];

/// A socket to ask through. Needs `CAP_NET_ADMIN`.
#[derive(Debug)]
pub struct Taskstats {
    socket: OwnedFd,
    family: u16,
}

impl Taskstats {
    /// Panics where the kernel has no taskstats.
    pub fn open() -> Self {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkGeneric,
        )
        .expect("a netlink socket");
        let mut opened = Self {
            socket,
            family: GENL_ID_CTRL,
        };
        let reply = opened.ask(CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME, b"TASKSTATS\0");
        let id = attribute(&reply, CTRL_ATTR_FAMILY_ID).expect("the family's number");
        opened.family = u16::from_ne_bytes(id.try_into().expect("two bytes"));
        opened
    }

    /// What all threads of some processes waited for until now, ended ones included, in nanoseconds.
    pub fn waits_ns(&self, pids: &[u32]) -> [u64; WAITS.len()] {
        let mut sum = [0; WAITS.len()];
        for pid in pids {
            let reply = self.ask(
                TASKSTATS_CMD_GET,
                TASKSTATS_CMD_ATTR_TGID,
                &pid.to_ne_bytes(),
            );
            let stats = attribute(&reply, TASKSTATS_TYPE_AGGR_TGID)
                .and_then(|both| attribute(both, TASKSTATS_TYPE_STATS))
                .expect("a struct taskstats");
            for (total, (_, offset)) in sum.iter_mut().zip(WAITS) {
                let bytes = stats.get(offset..offset + 8).unwrap_or(&[0; 8]);
                *total += u64::from_ne_bytes(bytes.try_into().expect("eight bytes"));
            }
        }
        sum
    }

    /// The attributes of the answer to a request with one attribute.
    fn ask(&self, command: u8, kind: u16, value: &[u8]) -> Vec<u8> {
        let request = request(self.family, command, kind, value);
        send(self.socket.as_raw_fd(), &request, MsgFlags::empty()).expect("to send a request");
        let mut reply = vec![0; REPLY_BYTES];
        let length =
            recv(self.socket.as_raw_fd(), &mut reply, MsgFlags::empty()).expect("an answer");
        reply.truncate(length);
        let answer = u16::from_ne_bytes([reply[4], reply[5]]);
        assert_ne!(answer, NLMSG_ERROR, "refused: {reply:?}");
        reply.split_off(NLMSG_HEADER_BYTES + GENL_HEADER_BYTES)
    }
}

fn request(family: u16, command: u8, kind: u16, value: &[u8]) -> Vec<u8> {
    let attribute_bytes = ATTRIBUTE_HEADER_BYTES + value.len();
    let length = NLMSG_HEADER_BYTES + GENL_HEADER_BYTES + attribute_bytes.next_multiple_of(4);
    let mut bytes = Vec::with_capacity(length);
    bytes.extend((length as u32).to_ne_bytes());
    bytes.extend(family.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST.to_ne_bytes());
    // Sequence number and port: one question at a time.
    bytes.extend([0; 8]);
    bytes.extend([command, 1, 0, 0]);
    bytes.extend((attribute_bytes as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(length, 0);
    bytes
}

/// The value of the first attribute of a kind.
fn attribute(mut bytes: &[u8], kind: u16) -> Option<&[u8]> {
    while let [a, b, c, d, ..] = *bytes {
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let value = bytes.get(ATTRIBUTE_HEADER_BYTES..length)?;
        if u16::from_ne_bytes([c, d]) == kind {
            return Some(value);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
    None
}
