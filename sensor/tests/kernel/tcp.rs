//! Connections: who made them, how many, how many bytes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;

use nodescope_sensor::kernel::{Kernel, Rungs};

use super::support::{Node, Told, mapped};

const CONNECTS: u64 = 7;
const SENT: usize = 100_000;
const RECEIVED: usize = 300_001;

/// Accepts `count` connections, reads `SENT` bytes from each and answers with `RECEIVED`.
fn serve(listener: TcpListener, count: u64) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for _ in 0..count {
            let (mut peer, _) = listener.accept().expect("a connection");
            peer.read_exact(&mut vec![0; SENT]).expect("the request");
            peer.write_all(&vec![1; RECEIVED]).expect("to answer");
        }
    })
}

fn talk(remote: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(remote).expect("a connection");
    stream.write_all(&vec![2; SENT]).expect("to ask");
    stream
        .read_exact(&mut vec![0; RECEIVED])
        .expect("the answer");
    stream
}

/// An address nobody listens at.
fn closed(ip: Ipv4Addr) -> SocketAddr {
    TcpListener::bind((ip, 0))
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
}

fn active(told: &Told, cgroup: u64, remote: SocketAddr) -> Option<u32> {
    told.flows
        .get(&(cgroup, mapped(remote)))
        .map(|totals| totals.active)
}

/// Talks to `remote` and checks every counter of the flow.
fn counts_exactly(node: &Node, kernel: &mut Kernel, listener: TcpListener, remote: SocketAddr) {
    let shown = SocketAddr::new(
        remote.ip(),
        listener.local_addr().expect("an address").port(),
    );
    let server = serve(listener, CONNECTS);
    let mut streams: Vec<TcpStream> = (0..CONNECTS).map(|_| talk(shown)).collect();
    server.join().expect("the server");
    streams.truncate(2);

    let open = |told: &Told| active(told, node.own.id, shown) == Some(0);
    // The server closed its ends, so that none is left in ESTABLISHED.
    let told = node.snapshot_when(kernel, open);
    let totals = told.flows[&(node.own.id, mapped(shown))];
    assert_eq!(
        (totals.connects, totals.failures, totals.active),
        (CONNECTS, 0, 0),
        "{totals:?}"
    );
    assert_eq!(totals.sent_bytes, CONNECTS * SENT as u64);
    assert_eq!(totals.received_bytes, CONNECTS * RECEIVED as u64);
    assert!(
        totals.connect_time_ns > 0 && totals.connect_time_ns < 1_000_000_000 * CONNECTS,
        "{totals:?}"
    );
    drop(streams);
    assert_eq!(
        told.flows_of(node.own.id),
        1,
        "the accepted ends are not flows: {:?}",
        told.flows
    );
}

fn ipv4(rungs: Rungs, test: &str) {
    let Some(node) = Node::new(test) else { return };
    let mut kernel = node.load(rungs);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    counts_exactly(
        &node,
        &mut kernel,
        listener,
        "127.0.0.1:0".parse().expect("an address"),
    );
}

fn ipv6(rungs: Rungs, test: &str) {
    let Some(node) = Node::new(test) else { return };
    let mut kernel = node.load(rungs);
    let listener = TcpListener::bind("[::1]:0").expect("a listener");
    counts_exactly(
        &node,
        &mut kernel,
        listener,
        SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 0),
    );
}

fn v4_mapped(rungs: Rungs, test: &str) {
    let Some(node) = Node::new(test) else { return };
    let mut kernel = node.load(rungs);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let remote = SocketAddr::new(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(), 0);
    counts_exactly(&node, &mut kernel, listener, remote);
}

fn refused(rungs: Rungs, test: &str) {
    let Some(node) = Node::new(test) else { return };
    let mut kernel = node.load(rungs);
    let remote = closed(Ipv4Addr::LOCALHOST);
    for _ in 0..3 {
        TcpStream::connect(remote).expect_err("nobody listens");
    }
    let totals = node.snapshot(&mut kernel).flows[&(node.own.id, mapped(remote))];
    assert_eq!(
        (totals.connects, totals.failures, totals.active),
        (0, 3, 0),
        "{totals:?}"
    );
    assert_eq!((totals.sent_bytes, totals.received_bytes), (0, 0));
}

fn owner_is_who_connects(rungs: Rungs, test: &str) {
    let Some(node) = Node::new(test) else { return };
    let mut kernel = node.load(rungs);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let remote = listener.local_addr().expect("an address");
    let kind = (
        nix::sys::socket::AddressFamily::Inet,
        nix::sys::socket::SockType::Stream,
    );
    let socket = nix::sys::socket::socket(
        kind.0,
        kind.1,
        nix::sys::socket::SockFlag::SOCK_CLOEXEC,
        None,
    );
    let socket = socket.expect("a socket made here");
    let other = node.cgroup("connects");
    other.enter();
    let address = nix::sys::socket::SockaddrIn::new(127, 0, 0, 1, remote.port());
    nix::sys::socket::connect(std::os::fd::AsRawFd::as_raw_fd(&socket), &address)
        .expect("connected there");
    let told = node.snapshot(&mut kernel);
    node.own.enter();
    assert_eq!(active(&told, other.id, remote), Some(1));
    assert_eq!(active(&told, node.own.id, remote), None);
}

macro_rules! on_both_rungs {
    ($($name:ident)*) => {
        $(mod $name {
            use super::*;

            #[test]
            fn best() {
                super::$name(Rungs::Best, concat!(stringify!($name), "-best"));
            }

            #[test]
            fn for_old_kernels() {
                super::$name(Rungs::LowerTcp, concat!(stringify!($name), "-lower"));
            }
        })*
    };
}

on_both_rungs! { ipv4 ipv6 v4_mapped refused owner_is_who_connects }

/// A connection made before the sensor: its direction, and that it is not a new connect.
fn older(listener_stays: bool, test: &str) {
    let Some(node) = Node::new(test) else { return };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let remote = listener.local_addr().expect("an address");
    let mut stream = TcpStream::connect(remote).expect("a connection");
    let (mut peer, _) = listener.accept().expect("the other end");
    stream.write_all(b"before").expect("to write");
    peer.read_exact(&mut [0; 6]).expect("to read");
    let listener = listener_stays.then_some(listener);

    let mut kernel = node.load(Rungs::Best);
    stream.write_all(&[0; 1234]).expect("to write");
    peer.read_exact(&mut [0; 1234]).expect("to read");
    peer.write_all(&[0; 77]).expect("to write");
    stream.read_exact(&mut [0; 77]).expect("to read");
    let told = node.snapshot(&mut kernel);
    let totals = told.flows[&(node.own.id, mapped(remote))];
    assert_eq!(
        (totals.connects, totals.failures, totals.active),
        (0, 0, 1),
        "{totals:?}"
    );
    assert_eq!(
        (totals.sent_bytes, totals.received_bytes),
        (1234, 77),
        "{totals:?}"
    );
    assert_eq!(
        told.flows_of(node.own.id),
        1,
        "the accepted end is not a flow: {:?}",
        told.flows
    );
    drop((stream, peer, listener));
    let told = node.snapshot_when(&mut kernel, |told| {
        active(told, node.own.id, remote) == Some(0)
    });
    assert_eq!(active(&told, node.own.id, remote), Some(0));
}

#[test]
fn older_than_the_sensor() {
    older(true, "older");
}

#[test]
fn older_than_the_sensor_and_its_listener_is_gone() {
    older(false, "older-alone");
}

#[test]
fn a_listener_with_backlog_zero_accepts_too() {
    let Some(node) = Node::new("backlog") else {
        return;
    };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    nix::sys::socket::listen(
        &listener,
        nix::sys::socket::Backlog::new(0).expect("a backlog"),
    )
    .expect("to listen");
    let remote = listener.local_addr().expect("an address");
    let _stream = TcpStream::connect(remote).expect("a connection");
    let _peer = listener.accept().expect("the other end");
    let mut kernel = node.load(Rungs::Best);
    let told = node.snapshot(&mut kernel);
    assert_eq!(active(&told, node.own.id, remote), Some(1));
    assert_eq!(told.flows_of(node.own.id), 1, "{:?}", told.flows);
}
