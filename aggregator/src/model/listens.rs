//! Listening sockets and the addresses they are reached at.
//!
//! A socket that listens on the unspecified address is shown once for each address of its network namespace, read from
//! `/proc/PID/net/fib_trie` (IPv4) and `/proc/PID/net/if_inet6` (IPv6): readable by anyone, and no namespace is
//! entered. A socket that closed is shown as 0 for a while, so that a service that went away is seen to have gone.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nodescope_schema::{Listen, Workload};

use super::flows::Executable;

/// How long a closed listen is still shown, as 0.
pub const CLOSED_TTL_NS: u64 = 600_000_000_000;

/// Most sockets kept, several times what the sensor's table holds. When they are reached, half of the closed ones go, those
/// that closed first; while all are open, further ones are refused and counted.
const MAX_SOCKETS: usize = 65_536;

/// One listening socket.
#[derive(Debug, Clone)]
pub struct ListenState {
    /// Cgroups of the process that uses it.
    pub workload: Workload,
    /// Its program.
    pub executable: Executable,
    /// A process that holds it.
    pub pid: u32,
    /// Its network namespace.
    pub netns: u32,
    /// Local address, IPv4 as such.
    pub ip: IpAddr,
    /// Takes no IPv4 although unspecified IPv6.
    pub ipv6_only: bool,
    /// Local port.
    pub port: u16,
    /// When it was seen closed.
    pub closed_ns: Option<u64>,
}

impl ListenState {
    /// From a record.
    pub fn new(record: &Listen<'_>, now_ns: u64) -> Self {
        Self {
            workload: record.owner.workload,
            executable: Executable::new(record.owner.executable),
            pid: record.pid,
            netns: record.netns,
            ip: IpAddr::V6(record.ip).to_canonical(),
            ipv6_only: record.ipv6_only,
            port: record.port,
            closed_ns: (!record.open).then_some(now_ns),
        }
    }

    /// The addresses a client can use, out of those of its namespace.
    pub fn addresses(&self, namespace: &[IpAddr], is_host: bool) -> Vec<IpAddr> {
        let mut addresses = addresses_of(self.ip, self.ipv6_only, namespace);
        addresses.retain(|ip| is_host || !ip.is_loopback());
        addresses
    }
}

/// The addresses out of those of its namespace that an address to listen on stands for.
pub fn addresses_of(ip: IpAddr, ipv6_only: bool, namespace: &[IpAddr]) -> Vec<IpAddr> {
    if !ip.is_unspecified() {
        return vec![ip];
    }
    let same_family = |other: &&IpAddr| match ip {
        IpAddr::V4(_) => other.is_ipv4(),
        IpAddr::V6(_) => other.is_ipv6() || !ipv6_only,
    };
    namespace.iter().filter(same_family).copied().collect()
}

/// All listening sockets by cookie.
#[derive(Debug, Default)]
pub struct Listens {
    /// The sockets.
    pub sockets: HashMap<u64, ListenState>,
    /// Sockets refused because there were too many.
    pub refused: u64,
}

impl Listens {
    /// Takes a record.
    pub fn update(&mut self, record: &Listen<'_>, now_ns: u64) {
        let state = ListenState::new(record, now_ns);
        if let Some(known) = self.sockets.get_mut(&record.cookie) {
            if record.open {
                *known = state;
            } else {
                known.closed_ns.get_or_insert(now_ns);
            }
        } else if record.open {
            if self.has_room() {
                self.sockets.insert(record.cookie, state);
            } else {
                self.refused += 1;
            }
        }
    }

    fn has_room(&mut self) -> bool {
        if self.sockets.len() >= MAX_SOCKETS {
            self.forget_half_of_closed();
        }
        self.sockets.len() < MAX_SOCKETS
    }

    fn forget_half_of_closed(&mut self) {
        let times = self.sockets.values().filter_map(|socket| socket.closed_ns);
        let mut times: Vec<u64> = times.collect();
        if times.is_empty() {
            return;
        }
        let middle = times.len() / 2;
        let (_, &mut last_ns, _) = times.select_nth_unstable(middle);
        self.sockets
            .retain(|_, socket| socket.closed_ns.is_none_or(|closed| closed > last_ns));
    }

    /// Marks as closed what a snapshot did not mention.
    pub fn close_missing(&mut self, seen: impl Fn(u64) -> bool, now_ns: u64) {
        for (cookie, socket) in &mut self.sockets {
            if !seen(*cookie) {
                socket.closed_ns.get_or_insert(now_ns);
            }
        }
    }

    /// Forgets what closed long ago.
    pub fn expire(&mut self, now_ns: u64) {
        self.sockets.retain(|_, socket| {
            socket
                .closed_ns
                .is_none_or(|closed| now_ns.saturating_sub(closed) < CLOSED_TTL_NS)
        });
    }
}

/// Local IPv4 addresses in a `fib_trie` file: leaves that are followed by `/32 host LOCAL`.
pub fn parse_fib_trie(text: &str) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    let mut leaf = None;
    for line in text.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse::<Ipv4Addr>().ok();
        } else if let (true, Some(ip)) = (line.starts_with("/32 host LOCAL"), leaf) {
            addresses.push(ip.into());
        }
    }
    finish(addresses)
}

/// IPv6 addresses in an `if_inet6` file: 32 hexadecimal digits at the start of each line.
pub fn parse_if_inet6(text: &str) -> Vec<IpAddr> {
    let addresses = text
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|hex| hex.len() == 32)
        .filter_map(|hex| u128::from_str_radix(hex, 16).ok())
        .map(|bits| Ipv6Addr::from(bits).into());
    finish(addresses.collect())
}

/// Without link-local and multicast ones, sorted, each once.
fn finish(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    addresses.retain(|ip| match ip {
        IpAddr::V4(ip) => !ip.is_link_local() && !ip.is_multicast(),
        IpAddr::V6(ip) => !ip.is_unicast_link_local() && !ip.is_multicast(),
    });
    addresses.sort();
    addresses.dedup();
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIB_TRIE: &str = "Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 172.17.0.0/16 2 0 2
        |-- 172.17.0.2
           /32 host LOCAL
        |-- 172.17.255.255
           /32 link BROADCAST
Local:
     |-- 127.0.0.0
        /8 host LOCAL
     |-- 127.0.0.1
        /32 host LOCAL
     |-- 172.17.0.2
        /32 host LOCAL
     |-- 169.254.1.1
        /32 host LOCAL
";

    #[test]
    fn fib_trie() {
        let expected: Vec<IpAddr> =
            vec!["127.0.0.1".parse().unwrap(), "172.17.0.2".parse().unwrap()];
        assert_eq!(parse_fib_trie(FIB_TRIE), expected);
        assert_eq!(
            parse_fib_trie("|-- x\n/32 host LOCAL\n|-- \n"),
            Vec::<IpAddr>::new()
        );
    }

    #[test]
    fn if_inet6() {
        let text = "00000000000000000000000000000001 01 80 10 80       lo
fe80000000000000004205fffe2d0001 02 40 20 80     eth0
fd000000000000000000000000000002 02 40 00 80     eth0
zz 1\nfd\n";
        let expected: Vec<IpAddr> = vec!["::1".parse().unwrap(), "fd00::2".parse().unwrap()];
        assert_eq!(parse_if_inet6(text), expected);
    }

    fn listen(ip: &str, ipv6_only: bool) -> ListenState {
        let ip: IpAddr = ip.parse().unwrap();
        ListenState {
            workload: Workload::default(),
            executable: Executable::default(),
            pid: 1,
            netns: 1,
            ip,
            ipv6_only,
            port: 80,
            closed_ns: None,
        }
    }

    fn record(cookie: u64, open: bool) -> Listen<'static> {
        Listen {
            cookie,
            owner: nodescope_schema::Owner {
                workload: Workload::default(),
                executable: b"x",
            },
            pid: 1,
            netns: 1,
            ip: Ipv6Addr::LOCALHOST,
            ipv6_only: false,
            port: 80,
            open,
        }
    }

    #[test]
    fn sockets_that_come_and_go_are_bounded() {
        let mut listens = Listens::default();
        listens.update(&record(u64::MAX, true), 1);
        for cookie in 0..3 * MAX_SOCKETS as u64 {
            listens.update(&record(cookie, true), cookie);
            listens.update(&record(cookie, false), cookie);
            assert!(listens.sockets.len() <= MAX_SOCKETS);
        }
        let newest = 3 * MAX_SOCKETS as u64 - 1;
        assert!(listens.sockets.contains_key(&newest) && listens.sockets.contains_key(&u64::MAX));
        assert_eq!(listens.refused, 0);
        for cookie in 0..MAX_SOCKETS as u64 + 9 {
            listens.update(&record(u64::MAX - cookie, true), 1);
        }
        assert_eq!((listens.sockets.len(), listens.refused), (MAX_SOCKETS, 9));
    }

    #[test]
    fn unspecified_addresses_stand_for_those_of_the_namespace() {
        let ips: Vec<IpAddr> = ["127.0.0.1", "10.0.0.1", "::1", "fd00::1"]
            .iter()
            .map(|ip| ip.parse().unwrap())
            .collect();
        let shown = |ip, only, host| {
            listen(ip, only)
                .addresses(&ips, host)
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(shown("0.0.0.0", false, true), "127.0.0.1 10.0.0.1");
        assert_eq!(shown("0.0.0.0", false, false), "10.0.0.1");
        assert_eq!(shown("::", false, false), "10.0.0.1 fd00::1");
        assert_eq!(shown("::", true, true), "::1 fd00::1");
        assert_eq!(shown("127.0.0.1", false, false), "");
        assert_eq!(shown("127.0.0.1", false, true), "127.0.0.1");
        assert_eq!(shown("192.0.2.1", false, false), "192.0.2.1");
    }
}
