//! A ctnetlink socket: opening and reading it. Every read has a deadline.
#![expect(unsafe_code, reason = "SO_ATTACH_FILTER, which nix does not have")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    setsockopt, socket, sockopt,
};

/// Bit of the group of new entries (`NF_NETLINK_CONNTRACK_NEW`).
const GROUP_NEW: u32 = 1;
/// The kernel writes at most 32 KiB at once.
pub const READ_BYTES: usize = 64 * 1024;

/// A socket in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Socket(OwnedFd);

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// So many bytes.
    Bytes(usize),
    /// Nothing came in time.
    Nothing,
    /// The kernel had messages for which the socket had no room.
    Overrun,
}

impl Socket {
    /// For dumps.
    ///
    /// # Errors
    /// The kernel has no nfnetlink, or denies it.
    pub fn open() -> io::Result<Self> {
        Self::in_groups(0).map_err(io::Error::from)
    }

    /// For new entries, of which `buffer_bytes` may wait.
    ///
    /// # Errors
    /// As [`Socket::open`]; `CAP_NET_ADMIN` is needed.
    pub fn subscribe(buffer_bytes: usize) -> io::Result<Self> {
        let socket = Self::in_groups(GROUP_NEW)?;
        let forced = setsockopt(&socket.0, sockopt::RcvBufForce, &buffer_bytes);
        forced.or_else(|_| setsockopt(&socket.0, sockopt::RcvBuf, &buffer_bytes))?;
        Ok(socket)
    }

    fn in_groups(groups: u32) -> nix::Result<Self> {
        let fd = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::NetlinkNetFilter,
        )?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        Ok(Self(fd))
    }

    /// Lets the kernel drop messages of entries without the bit `IPS_DST_NAT` in their status before they take room.
    ///
    /// # Errors
    /// The kernel refused the filter.
    pub fn keep_only_translated(&self) -> io::Result<()> {
        let program = libc::sock_fprog {
            len: DST_NAT_ONLY.len() as libc::c_ushort,
            filter: DST_NAT_ONLY.as_ptr().cast_mut(),
        };
        let length = size_of::<libc::sock_fprog>() as libc::socklen_t;
        // SAFETY: `program` is a live sock_fprog of the length given, and points to as many live instructions as it
        // says; the kernel only reads and copies them.
        let result = unsafe {
            libc::setsockopt(
                self.0.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_FILTER,
                std::ptr::from_ref(&program).cast(),
                length,
            )
        };
        Errno::result(result).map(drop).map_err(io::Error::from)
    }

    /// Sends a request to the kernel.
    ///
    /// # Errors
    /// It could not be sent.
    pub fn send(&self, request: &[u8]) -> io::Result<()> {
        send(self.0.as_raw_fd(), request, MsgFlags::empty())?;
        Ok(())
    }

    /// Waits up to `patience` for messages.
    ///
    /// # Errors
    /// Reading failed.
    pub fn receive(&self, buffer: &mut [u8], patience: Duration) -> io::Result<Received> {
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, timeout) {
            Ok(0) | Err(Errno::EINTR) => return Ok(Received::Nothing),
            Ok(_) => {}
            Err(errno) => return Err(errno.into()),
        }
        match recv(self.0.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(bytes) => Ok(Received::Bytes(bytes)),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(Received::Nothing),
            Err(Errno::ENOBUFS) => Ok(Received::Overrun),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
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
