//! Listening sockets: told at once, with the process that uses them.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::os::fd::AsFd;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::sockopt::Ipv6V6Only;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, listen, setsockopt, socket};
use nodescope_sensor::kernel::{Kernel, Rungs, Source as _};

use super::support::{Node, Told};

fn urgent(kernel: &mut Kernel) -> Told {
    let mut told = Told::default();
    kernel.urgent(&mut |record| told.take(record));
    told
}

fn port(listener: &TcpListener) -> u16 {
    listener.local_addr().expect("an address").port()
}

fn opens_and_closes(rungs: Rungs, test: &str) {
    let Some(node) = Node::new(test) else { return };
    let mut kernel = node.load(rungs);
    let listener = TcpListener::bind("0.0.0.0:0").expect("a listener");
    let port = port(&listener);
    let opened = urgent(&mut kernel).listens[&port].clone();
    assert_eq!(opened.ip, Ipv4Addr::UNSPECIFIED.to_ipv6_mapped());
    assert_eq!(
        (opened.cgroup, opened.pid, opened.open),
        (node.own.id, std::process::id(), true)
    );
    let executable = std::env::current_exe().expect("own path");
    let name = executable.file_name().expect("a name").as_encoded_bytes();
    assert_eq!(opened.executable, name[..name.len().min(31)]);
    assert!(node.snapshot(&mut kernel).listens[&port].open);
    drop(listener);
    assert!(!urgent(&mut kernel).listens[&port].open);
    assert!(!node.snapshot(&mut kernel).listens.contains_key(&port));
}

#[test]
fn opens_and_closes_best() {
    opens_and_closes(Rungs::Best, "listen-best");
}

#[test]
fn opens_and_closes_for_old_kernels() {
    opens_and_closes(Rungs::LowerTcp, "listen-lower");
}

/// The kernel gives the port after the state has changed.
fn a_port_nobody_bound_is_told_at_once(rungs: Rungs, test: &str) {
    let Some(node) = Node::new(test) else { return };
    let mut kernel = node.load(rungs);
    let socket = socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    );
    let socket = socket.expect("a socket");
    listen(&socket, Backlog::new(1).expect("a backlog")).expect("to listen");
    let listener = TcpListener::from(socket);
    let port = port(&listener);
    let opened = urgent(&mut kernel).listens[&port].clone();
    assert_eq!(
        (opened.ip, opened.pid, opened.open),
        (
            Ipv4Addr::UNSPECIFIED.to_ipv6_mapped(),
            std::process::id(),
            true
        )
    );
    drop(listener);
    assert!(!urgent(&mut kernel).listens[&port].open);
}

#[test]
fn a_port_nobody_bound_best() {
    a_port_nobody_bound_is_told_at_once(Rungs::Best, "autobind-best");
}

#[test]
fn a_port_nobody_bound_for_old_kernels() {
    a_port_nobody_bound_is_told_at_once(Rungs::LowerTcp, "autobind-lower");
}

fn ipv6_alone(rungs: Rungs, test: &str) {
    let Some(node) = Node::new(test) else { return };
    let mut kernel = node.load(rungs);
    let socket = socket(
        AddressFamily::Inet6,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    );
    let socket = socket.expect("a socket");
    setsockopt(&socket, Ipv6V6Only, &true).expect("to refuse IPv4");
    listen(&socket, Backlog::new(1).expect("a backlog")).expect("to listen");
    let listener = TcpListener::from(socket);
    let opened = urgent(&mut kernel).listens[&port(&listener)].clone();
    assert_eq!((opened.ip, opened.ipv6_only), (Ipv6Addr::UNSPECIFIED, true));
}

#[test]
fn ipv6_alone_best() {
    ipv6_alone(Rungs::Best, "v6only-best");
}

#[test]
fn ipv6_alone_for_old_kernels() {
    ipv6_alone(Rungs::LowerTcp, "v6only-lower");
}

#[test]
fn a_poll_tells_what_no_hint_told() {
    let Some(node) = Node::new("listen-poll") else {
        return;
    };
    let mut kernel = node.load(Rungs::Best);
    let listener = TcpListener::bind("[::]:0").expect("a listener");
    let port = port(&listener);
    let mut told = Told::default();
    kernel
        .poll(&mut |record| told.take(record))
        .expect("a poll");
    assert_eq!(
        (told.listens[&port].ip, told.listens[&port].open),
        (Ipv6Addr::UNSPECIFIED, true)
    );
    drop(listener);
    kernel
        .poll(&mut |record| told.take(record))
        .expect("a poll");
    assert!(!told.listens[&port].open);
}

#[test]
fn older_than_the_sensor() {
    let Some(node) = Node::new("listen-older") else {
        return;
    };
    let listener = TcpListener::bind("[::1]:0").expect("a listener");
    let port = port(&listener);
    let mut kernel = node.load(Rungs::Best);
    let found = node.snapshot(&mut kernel).listens[&port].clone();
    assert_eq!(
        (found.ip, found.cgroup, found.pid),
        (Ipv6Addr::LOCALHOST, node.own.id, std::process::id())
    );
    drop(listener);
    assert!(!urgent(&mut kernel).listens[&port].open);
}

#[test]
fn a_passed_socket_belongs_to_whom_it_was_passed() {
    let Some(node) = Node::new("listen-passed") else {
        return;
    };
    let mut kernel = node.load(Rungs::Best);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = port(&listener);
    let service = node.cgroup("service");
    fcntl(listener.as_fd(), FcntlArg::F_SETFD(FdFlag::empty())).expect("to pass it on");
    let mut child = service.spawn("exec sleep 1000");
    fcntl(listener.as_fd(), FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).expect("to keep it");
    node.snapshot_when(&mut kernel, |told| {
        told.processes.get(&service.id).is_some_and(|p| p.live == 1)
    });

    kernel.rescan().expect("a scan");
    let passed = node.snapshot(&mut kernel).listens[&port].clone();
    child.kill().expect("to end it");
    child.wait().expect("its end");
    assert_eq!((passed.cgroup, passed.pid), (service.id, child.id()));

    kernel.rescan().expect("a scan");
    let back = node.snapshot(&mut kernel).listens[&port].clone();
    assert_eq!((back.cgroup, back.pid), (node.own.id, std::process::id()));
    assert_eq!(passed.open, back.open);
}
