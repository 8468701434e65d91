//! A netlink socket: opening and reading it. Every read has a deadline.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    setsockopt, socket, sockopt,
};

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
    /// For a protocol, in the multicast groups with these bits.
    ///
    /// # Errors
    /// The kernel does not have the protocol, or denies it or a group.
    pub fn open(protocol: SockProtocol, groups: u32) -> io::Result<Self> {
        let fd = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            protocol,
        )?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        Ok(Self(fd))
    }

    /// Lets this much wait to be read; without `CAP_NET_ADMIN` no more than the system allows everybody.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn set_buffer(&self, bytes: usize) -> io::Result<()> {
        let forced = setsockopt(&self.0, sockopt::RcvBufForce, &bytes);
        forced.or_else(|_| setsockopt(&self.0, sockopt::RcvBuf, &bytes))?;
        Ok(())
    }

    /// Sends requests to the kernel.
    ///
    /// # Errors
    /// They could not be sent.
    pub fn send(&self, requests: &[u8]) -> io::Result<()> {
        send(self.0.as_raw_fd(), requests, MsgFlags::empty())?;
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
        self.receive_now(buffer)
    }

    /// Takes messages that are there.
    ///
    /// # Errors
    /// As [`Socket::receive`].
    pub fn receive_now(&self, buffer: &mut [u8]) -> io::Result<Received> {
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
