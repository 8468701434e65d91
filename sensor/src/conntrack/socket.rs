//! ctnetlink sockets: for dumps, and for events of translated entries only.
#![expect(unsafe_code, reason = "SO_ATTACH_FILTER, which nix does not have")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::sys::socket::SockProtocol;

use crate::netlink::socket::Socket;

/// Bit of the group of new entries (`NF_NETLINK_CONNTRACK_NEW`).
const GROUP_NEW: u32 = 1;

/// For dumps.
///
/// # Errors
/// The kernel has no nfnetlink, or denies it.
pub fn open() -> io::Result<Socket> {
    Socket::open(SockProtocol::NetlinkNetFilter, 0)
}

/// For new entries, of which `buffer_bytes` may wait.
///
/// # Errors
/// As [`open`]; `CAP_NET_ADMIN` is needed.
pub fn subscribe(buffer_bytes: usize) -> io::Result<Socket> {
    let socket = Socket::open(SockProtocol::NetlinkNetFilter, GROUP_NEW)?;
    socket.set_buffer(buffer_bytes)?;
    Ok(socket)
}

/// Lets the kernel drop messages of entries without the bit `IPS_DST_NAT` in their status before they take room.
///
/// # Errors
/// The kernel refused the filter.
pub fn keep_only_translated(socket: &Socket) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: DST_NAT_ONLY.len() as libc::c_ushort,
        filter: DST_NAT_ONLY.as_ptr().cast_mut(),
    };
    let length = size_of::<libc::sock_fprog>() as libc::socklen_t;
    // SAFETY: `program` is a live sock_fprog of the length given, and points to as many live instructions as it says;
    // the kernel only reads and copies them.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            std::ptr::from_ref(&program).cast(),
            length,
        )
    };
    Errno::result(result).map(drop).map_err(io::Error::from)
}

const fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    }
}

/// `SKF_AD_OFF + SKF_AD_NLATTR`: finds the attribute of type X from offset A on; A becomes its offset, 0 if none.
const FIND_ATTRIBUTE: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_NLATTR) as u32;
/// Behind `nlmsghdr` and `nfgenmsg`.
const FIRST_ATTRIBUTE: u32 = 20;
const CTA_STATUS: u32 = 3;
const IPS_DST_NAT: u32 = 1 << 5;

/// Linux loads words in network byte order here, which is the one of `CTA_STATUS`.
static DST_NAT_ONLY: [libc::sock_filter; 9] = [
    instruction(libc::BPF_LD | libc::BPF_IMM, 0, 0, FIRST_ATTRIBUTE),
    instruction(libc::BPF_LDX | libc::BPF_IMM, 0, 0, CTA_STATUS),
    instruction(
        libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        0,
        0,
        FIND_ATTRIBUTE,
    ),
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 3, 0, 0),
    instruction(libc::BPF_MISC | libc::BPF_TAX, 0, 0, 0),
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_IND, 0, 0, 4),
    instruction(
        libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K,
        1,
        0,
        IPS_DST_NAT,
    ),
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
];
