//! Dumps and events of a real kernel, in a namespace of the test's own, with many translated connections.

use std::collections::HashSet;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::BorrowedFd;
use std::process::{Command, Stdio};
use std::thread;

use nix::sched::{CloneFlags, unshare};
use nodescope_sensor::conntrack::dump::dump;
use nodescope_sensor::conntrack::entry::Translated;
use nodescope_sensor::conntrack::follow::{Follower, Sink, Taken, Totals};
use nodescope_sensor::conntrack::socket;
use nodescope_sensor::netlink::socket::{READ_BYTES, Received};

const SERVICE: &str = "10.9.9.9:80";
const CONNECTS: usize = 600;
/// Room for a few events only.
const SMALL_BUFFER_BYTES: usize = 4096;

/// Source ports of the connections told of.
#[derive(Debug, Default)]
struct Ports(HashSet<u16>);

impl Sink for &mut Ports {
    fn take(&mut self, found: &Translated) -> io::Result<Taken> {
        assert_eq!(found.tuple.destination.port(), 80);
        self.0.insert(found.tuple.source.port());
        Ok(Taken::Waiting)
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }
}

fn sh(script: &str) {
    let output = Command::new("sh")
        .args(["-ec", script])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{script}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Runs `test` in a new network namespace with a server behind [`SERVICE`]. False, and why is said, without root.
fn in_namespace(name: &str, test: impl FnOnce(&TcpListener) + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "{name}: needs root"
        );
        eprintln!("{name}: skipped, needs root");
        return;
    }
    let thread = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let listener_port = 8080;
        sh(&format!(
            "ip link set lo up
            ip address add 10.9.9.1/32 dev lo
            ip route add 10.9.9.9 dev lo src 10.9.9.1
            nft 'table ip t {{ chain c {{ type nat hook output priority -100; \
                ip daddr 10.9.9.9 tcp dport 80 dnat to 10.9.9.1:{listener_port}; }}; }}'"
        ));
        let listener = TcpListener::bind(("10.9.9.1", listener_port)).unwrap();
        test(&listener);
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Connections through the service, and the ports they come from.
fn connect(listener: &TcpListener, count: usize) -> (Vec<(TcpStream, TcpStream)>, HashSet<u16>) {
    let mut pairs = Vec::new();
    for _ in 0..count {
        let client = TcpStream::connect(SERVICE).unwrap();
        pairs.push((client, listener.accept().unwrap().0));
    }
    let ports = pairs
        .iter()
        .map(|(client, _)| client.local_addr().unwrap().port());
    let ports = ports.collect();
    (pairs, ports)
}

/// Steps until `done`, or too many.
fn run(follower: &mut Follower<&mut Ports>, done: impl Fn(&Totals) -> bool) -> Totals {
    let mut totals = Totals::default();
    for _ in 0..CONNECTS * 4 {
        totals = follower.step().unwrap();
        if done(&totals) {
            break;
        }
    }
    totals
}

#[test]
fn a_dump_has_every_translated_connection() {
    in_namespace("dump", |listener| {
        let (_pairs, ports) = connect(listener, CONNECTS);
        // Not translated.
        let direct = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut found = Ports::default();
        let mut actual = HashSet::new();
        let dumped = dump(&socket::open().unwrap(), &mut |translated| {
            actual.insert(SocketAddr::new(
                translated.actual.ip().to_canonical(),
                translated.actual.port(),
            ));
            let _ = (&mut found).take(translated);
        })
        .unwrap();
        assert_eq!(found.0, ports);
        assert_eq!(dumped.translated, CONNECTS as u64);
        assert!(dumped.entries > dumped.translated, "{dumped:?}");
        assert_eq!(actual, HashSet::from([listener.local_addr().unwrap()]));
        drop(direct);
    });
}

#[test]
fn events_tell_of_translated_connections_only() {
    in_namespace("events", |listener| {
        let events = socket::subscribe(1 << 20).unwrap();
        socket::keep_only_translated(&events).unwrap();
        let direct = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut buffer = vec![0; READ_BYTES];
        let none = events.receive(&mut buffer, std::time::Duration::ZERO);
        assert_eq!(none.unwrap(), Received::Nothing, "the filter keeps it out");

        let (_pairs, ports) = connect(listener, 50);
        let mut found = Ports::default();
        let mut follower = Follower::new(events, socket::open().unwrap(), &mut found);
        // One event a step.
        for _ in 0..50 {
            assert_eq!(follower.step().unwrap(), Totals::default());
        }
        drop(follower);
        assert_eq!(found.0, ports);
        drop(direct);
    });
}

#[test]
fn what_found_no_room_is_dumped() {
    in_namespace("overrun", |listener| {
        let events = socket::subscribe(SMALL_BUFFER_BYTES).unwrap();
        socket::keep_only_translated(&events).unwrap();
        let (_pairs, ports) = connect(listener, CONNECTS);
        let mut found = Ports::default();
        let mut follower = Follower::new(events, socket::open().unwrap(), &mut found);
        let totals = run(&mut follower, |totals| totals.overruns > 0);
        assert_eq!((totals.overruns, totals.failures), (1, 0), "{totals:?}");
        drop(follower);
        assert_eq!(found.0, ports, "the dump has what the buffer had not");
    });
}

/// The kernel drops events without a word from when it had no room until all that waits is read.
#[test]
fn nothing_is_missed_behind_a_dump() {
    in_namespace("behind", |listener| {
        let events = socket::subscribe(SMALL_BUFFER_BYTES).unwrap();
        socket::keep_only_translated(&events).unwrap();
        let (_pairs, before) = connect(listener, CONNECTS);
        let mut found = Ports::default();
        let mut follower = Follower::new(events, socket::open().unwrap(), &mut found);
        run(&mut follower, |totals| totals.overruns > 0);
        let (_pair, after) = connect(listener, 1);
        let totals = follower.step().unwrap();
        assert_eq!((totals.overruns, totals.failures), (1, 0), "{totals:?}");
        drop(follower);
        assert_eq!(found.0, before.union(&after).copied().collect());
    });
}
