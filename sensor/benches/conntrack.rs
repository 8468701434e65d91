//! What a dump of 100,000 translated connections costs, beside reading the same dump without looking at it.
//!
//! `cargo bench -p nodescope-sensor --bench conntrack` (root). The entries are of real connections, in a network namespace
//! of its own.
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::time::{ClockId, clock_gettime};
use nodescope_sensor::conntrack::dump::dump;
use nodescope_sensor::conntrack::message::{Message, Messages, dump_request};
use nodescope_sensor::conntrack::socket::{READ_BYTES, Received, Socket};

const ENTRIES: u64 = 100_000;
/// Ports of each service. Every connection goes to another port, so that no two have the same entry.
const PORTS: u64 = 50_000;
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
        without.push(timed(|| read_only(&Socket::open().unwrap())));
        with.push(timed(|| {
            let mut found = Vec::new();
            dump(&Socket::open().unwrap(), &mut |translated| {
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
    let script = "ip link set lo up
        ip address add 10.9.9.1/32 dev lo
        ip route add 10.9.9.8/30 dev lo src 10.9.9.1
        nft 'table ip t { chain c { type nat hook output priority -100;
            ip daddr 10.9.9.8/30 meta l4proto tcp dnat to 10.9.9.1:8080; }; }'
        for state in fin_wait close_wait last_ack time_wait close; do
            echo 3600 > /proc/sys/net/netfilter/nf_conntrack_tcp_timeout_$state
        done";
    let status = Command::new("sh").args(["-ec", script]).status().unwrap();
    assert!(status.success());
    // Entries stay after their connections: as many could not be open at once.
    let listener = TcpListener::bind("10.9.9.1:8080").unwrap();
    for n in 0..ENTRIES {
        let service = Ipv4Addr::new(10, 9, 9, 9 + (n / PORTS) as u8);
        let client = TcpStream::connect((service, 1 + (n % PORTS) as u16)).unwrap();
        drop(listener.accept().unwrap());
        drop(client);
    }
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
