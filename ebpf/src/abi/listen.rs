//! Listening sockets.

use std::net::Ipv6Addr;

use super::{Decode, Owner, Reader};

/// Value of `listens`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// The process that called listen, or the first one found holding an older socket.
    pub maker: Owner,
    /// The holder the last scan preferred.
    pub holder: Owner,
    /// Thread group of the maker.
    pub maker_pid: u32,
    /// Thread group of the holder.
    pub holder_pid: u32,
    /// The scan that found the holder; 0: none yet.
    pub holder_scan: u32,
    /// How the holder relates to the maker; only the programs use it.
    pub holder_rank: u32,
    /// Inode of the network namespace.
    pub netns: u32,
    /// Local port; 0 while it is not known.
    pub port: u16,
    /// 1 when an IPv6 socket takes no IPv4.
    pub ipv6_only: u8,
    /// Local address, IPv4 as v4-mapped.
    pub ip: Ipv6Addr,
}

impl Decode for Listen {
    const BYTES: usize = 136;

    fn read(r: &mut Reader<'_>) -> Self {
        let maker = Owner::read(r);
        let holder = Owner::read(r);
        let (maker_pid, holder_pid) = (r.u32(), r.u32());
        let (holder_scan, holder_rank) = (r.u32(), r.u32());
        let (netns, port, ipv6_only) = (r.u32(), r.u16(), r.u8());
        r.skip(1);
        let ip = Ipv6Addr::from(r.bytes::<16>());
        Self {
            maker,
            holder,
            maker_pid,
            holder_pid,
            holder_scan,
            holder_rank,
            netns,
            port,
            ipv6_only,
            ip,
        }
    }
}
