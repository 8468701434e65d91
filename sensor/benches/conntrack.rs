//! What a dump of 100,000 translated connections costs, beside reading the same dump without looking at it.
//!
//! `cargo bench -p nodescope-sensor --bench conntrack` (root). The entries are of real connections, in a network namespace
//! of its own.
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket, sockopt,
};
use nix::time::{ClockId, clock_gettime};
use nodescope_sensor::conntrack::dump::dump;
use nodescope_sensor::conntrack::message::{Message, Messages, dump_request};
use nodescope_sensor::conntrack::socket;
use nodescope_sensor::netlink::socket::{READ_BYTES, Received, Socket};

const ENTRIES: u64 = 100_000;
/// Services, each with a server of its own: behind one, no two connections may come from the same port.
const SERVICES: u8 = 5;
const ROUNDS: usize = 7;

fn main() {
    // cargo test runs benches too, to see that they start.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        eprintln!("conntrack: not root, nothing is measured");
        return;
    }
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    make_entries();
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(timed(|| read_only(&socket::open().unwrap())));
        with.push(timed(|| {
            let mut found = Vec::new();
            dump(&socket::open().unwrap(), &mut |translated| {
                found.push(*translated)
            })
            .unwrap();
            found.len() as u64
        }));
    }
    print("dump, read and left", &mut without);
    print("dump, every entry parsed", &mut with);
}

fn make_entries() {
    let rules = (0..SERVICES).map(|n| {
        let (service, server) = (10 + n, 8080 + u16::from(n));
        format!("ip daddr 10.9.9.{service} tcp dport 80 dnat to 10.9.9.1:{server};")
    });
    let script = format!(
        "ip link set lo up
        ip address add 10.9.9.1/32 dev lo
        ip route add 10.9.9.0/24 dev lo src 10.9.9.1
        nft 'table ip t {{ chain c {{ type nat hook output priority -100; {} }}; }}'
        echo 1024 65535 > /proc/sys/net/ipv4/ip_local_port_range
        for state in fin_wait close_wait last_ack time_wait close; do
            echo 3600 > /proc/sys/net/netfilter/nf_conntrack_tcp_timeout_$state
        done",
        rules.collect::<String>()
    );
    let status = Command::new("sh").args(["-ec", &script]).status().unwrap();
    assert!(status.success());
    // Entries stay after their connections: as many could not be open at once.
    for n in 0..SERVICES {
        let listener = TcpListener::bind(("10.9.9.1", 8080 + u16::from(n))).unwrap();
        for port in 0..ENTRIES / u64::from(SERVICES) {
            let client = from_port(20_000 + port as u16);
            connect(client.as_raw_fd(), &SockaddrIn::new(10, 9, 9, 10 + n, 80)).unwrap();
            drop(listener.accept().unwrap());
        }
    }
}

/// A socket that connects from this port, whatever was there before.
fn from_port(port: u16) -> OwnedFd {
    let flags = SockFlag::SOCK_CLOEXEC;
    let client = socket(AddressFamily::Inet, SockType::Stream, flags, None).unwrap();
    setsockopt(&client, sockopt::ReuseAddr, &true).unwrap();
    bind(client.as_raw_fd(), &SockaddrIn::new(10, 9, 9, 1, port)).unwrap();
    client
}

/// How many translated entries, wall time and CPU time.
fn timed(work: impl Fn() -> u64) -> (u64, Duration, Duration) {
    let cpu = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap());
    let (began, cpu_began) = (Instant::now(), cpu());
    let entries = work();
    (entries, began.elapsed(), cpu() - cpu_began)
}

fn read_only(socket: &Socket) -> u64 {
    socket.send(&dump_request()).unwrap();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let Received::Bytes(length) = socket.receive(&mut buffer, Duration::from_secs(2)).unwrap()
        else {
            panic!("the dump does not end");
        };
        // The end is a message of its own; parsing one short read costs nothing.
        if length < 64 && Messages::new(&buffer[..length]).any(|m| m == Message::Done(0)) {
            return 0;
        }
    }
}

fn print(what: &str, rounds: &mut [(u64, Duration, Duration)]) {
    rounds.sort_by_key(|round| round.2);
    let (entries, wall, cpu) = rounds[rounds.len() / 2];
    println!(
        "{what}: {entries} translated entries, {wall:.1?} wall, {cpu:.1?} CPU (median of {ROUNDS} by CPU)"
    );
}
