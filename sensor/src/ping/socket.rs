//! The raw sockets: one for ICMP, one for ICMPv6.
//!
//! They are opened while there is `CAP_NET_RAW` and stay open without it. A filter in the kernel lets in only replies
//! with this process's identifier, so that other traffic takes no room. The kernel writes down when a request is handed
//! to its interface's queue (`SOF_TIMESTAMPING_TX_SCHED`, after the neighbour is resolved) and when a reply comes in; so
//! it does not matter when the process gets round to reading them.
#![expect(
    unsafe_code,
    reason = "SO_ATTACH_FILTER has no safe wrapper among our dependencies"
)]

use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn,
    SockaddrIn6, SockaddrLike, SockaddrStorage, TimestampingFlag, recvmsg, sendmsg, setsockopt,
    socket, sockopt,
};

use super::echo::{ECHO_BYTES, Echo, Family, IPV4_HEADER_BYTES_MAX, parse_reply, parse_sent};

/// Room for answers and sent frames until they are read: several times what comes between two readings.
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;
/// Headers of any interface before a sent message.
const LINK_HEADER_BYTES_MAX: usize = 256;
/// Three times, and the kernel's account of a sent frame.
const CONTROL_BYTES: usize = 256;

/// What a socket had for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Incoming {
    /// An answer, and when it came.
    Reply(IpAddr, Echo, u64),
    /// Something else, or something without a time.
    Foreign,
}

/// An open socket.
#[derive(Debug)]
pub(super) struct RawSocket {
    fd: OwnedFd,
    family: Family,
}

impl RawSocket {
    /// Opens one for replies with `identifier`. Where it is not in the kernel's power the error says so.
    pub(super) fn open(family: Family, identifier: u16) -> Result<Self, Errno> {
        let (domain, protocol) = match family {
            Family::V4 => (AddressFamily::Inet, SockProtocol::Icmp),
            Family::V6 => (AddressFamily::Inet6, SockProtocol::IcmpV6),
        };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(domain, SockType::Raw, flags, protocol)?;
        attach(&fd, &replies(family, identifier))?;
        let stamps = TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE
            | TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE
            | TimestampingFlag::from_bits_retain(libc::SOF_TIMESTAMPING_TX_SCHED);
        setsockopt(&fd, sockopt::Timestamping, &stamps)?;
        // Without CAP_NET_ADMIN the default size has to do.
        let _ = setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES);
        Ok(Self { fd, family })
    }

    pub(super) fn family(&self) -> Family {
        self.family
    }

    /// Sends a request, without waiting.
    pub(super) fn send(&self, ip: IpAddr, message: &[u8]) -> Result<(), Errno> {
        match ip {
            IpAddr::V4(ip) => self.send_to(message, &SockaddrIn::from(SocketAddrV4::new(ip, 0))),
            IpAddr::V6(ip) => {
                let address = SocketAddrV6::new(ip, 0, 0, 0);
                self.send_to(message, &SockaddrIn6::from(address))
            }
        }
    }

    fn send_to<A: SockaddrLike>(&self, message: &[u8], address: &A) -> Result<(), Errno> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let parts = [IoSlice::new(message)];
        sendmsg(self.fd.as_raw_fd(), &parts, &[], flags, Some(address)).map(drop)
    }

    /// What has come in, if there is something.
    pub(super) fn receive(&self) -> Option<Incoming> {
        let mut bytes = [0; IPV4_HEADER_BYTES_MAX + ECHO_BYTES + 1];
        let (length, from, at_ns) = self.read(&mut bytes, MsgFlags::MSG_DONTWAIT)?;
        let echo = bytes
            .get(..length)
            .and_then(|packet| parse_reply(self.family, packet));
        let reply = from.zip(echo).zip(at_ns);
        Some(reply.map_or(Incoming::Foreign, |((from, echo), at_ns)| {
            Incoming::Reply(from, echo, at_ns)
        }))
    }

    /// When a request left, if there is news of one; none inside for a frame that is not to be understood.
    pub(super) fn sent(&self) -> Option<Option<(Echo, u64)>> {
        let mut frame = [0; LINK_HEADER_BYTES_MAX + IPV4_HEADER_BYTES_MAX + ECHO_BYTES];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_ERRQUEUE;
        let (length, _, at_ns) = self.read(&mut frame, flags)?;
        let echo = frame
            .get(..length)
            .and_then(|frame| parse_sent(self.family, frame));
        Some(echo.zip(at_ns))
    }

    /// One packet: its length, sender, and time of day.
    fn read(
        &self,
        bytes: &mut [u8],
        flags: MsgFlags,
    ) -> Option<(usize, Option<IpAddr>, Option<u64>)> {
        let mut control = [0; CONTROL_BYTES];
        let mut parts = [IoSliceMut::new(bytes)];
        // An error is that of an earlier packet, or means that there is none.
        let message =
            recvmsg::<SockaddrStorage>(self.fd.as_raw_fd(), &mut parts, Some(&mut control), flags)
                .ok()?;
        let at_ns = message.cmsgs().ok()?.find_map(|control| match control {
            ControlMessageOwned::ScmTimestampsns(times) => {
                let seconds = u64::try_from(times.system.tv_sec()).ok()?;
                let nanos = u64::try_from(times.system.tv_nsec()).ok()?;
                Some(seconds.checked_mul(1_000_000_000)?.checked_add(nanos)?)
            }
            _ => None,
        });
        Some((message.bytes, message.address.as_ref().and_then(ip), at_ns))
    }
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

/// Lets in echo replies with `identifier`. A packet begins with its IP header with IPv4, with ICMPv6 with IPv6.
fn replies(family: Family, identifier: u16) -> [libc::sock_filter; 7] {
    let (start, byte, half) = match family {
        // X is the length of the IP header; what is read is X bytes further on.
        Family::V4 => (
            libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH,
            libc::BPF_IND,
            libc::BPF_IND,
        ),
        Family::V6 => (
            libc::BPF_LDX | libc::BPF_W | libc::BPF_IMM,
            libc::BPF_ABS,
            libc::BPF_ABS,
        ),
    };
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    [
        filter(start, 0, 0),
        filter(libc::BPF_LD | libc::BPF_B | byte, 0, 0),
        filter(equal, u32::from(family.reply()), 3),
        filter(libc::BPF_LD | libc::BPF_H | half, 4, 0),
        filter(equal, u32::from(identifier), 1),
        filter(libc::BPF_RET | libc::BPF_K, u32::MAX, 0),
        filter(libc::BPF_RET | libc::BPF_K, 0, 0),
    ]
}

/// One instruction; `otherwise` instructions are left out where a comparison fails.
fn filter(code: u32, k: u32, otherwise: u8) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: otherwise,
        k,
    }
}

fn attach(fd: &OwnedFd, filter: &[libc::sock_filter; 7]) -> Result<(), Errno> {
    let program = libc::sock_fprog {
        len: filter.len() as libc::c_ushort,
        // The kernel copies it and does not write to it.
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: the option takes a sock_fprog, whose instructions live longer than the call.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    Errno::result(result).map(drop)
}
