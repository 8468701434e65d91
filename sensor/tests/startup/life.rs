//! From being ready to the end.

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::process::Command;

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
};

use crate::common::{CLIENT, Peer, Sensor, command, is_root};
use crate::{SENSOR, directory, refuses};

#[test]
fn a_signal_ends_it_and_nothing_is_left() {
    if !is_root() {
        return;
    }
    let mut sensor = Sensor::start(&[]);
    let path = sensor.socket();
    assert!(path.exists());
    assert_eq!(sensor.end(), Some(0), "{}", sensor.log());
    assert!(!path.exists());
}

#[test]
fn a_killed_sensor_does_not_stop_the_next() {
    if !is_root() {
        return;
    }
    let mut sensor = Sensor::start(&[]);
    sensor.child.kill().unwrap();
    sensor.child.wait().unwrap();
    assert!(sensor.socket().exists());
    let child = command(sensor.directory.path()).spawn().unwrap();
    sensor.child = child;
    // The log has the first one's line, so wait for the second.
    for _ in 0..500 {
        if sensor.log().matches("ready").count() == 2 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    sensor.serves();
}

#[test]
fn its_rights_are_gone_once_it_serves() {
    if !is_root() {
        return;
    }
    let sensor = Sensor::start(&[]);
    // CAP_DAC_READ_SEARCH is 2, CAP_BPF is 39.
    let kept = format!("{:016x}", 1_u64 << 2 | 1 << 39);
    assert_eq!(sensor.status("CapEff"), kept);
    assert_eq!(sensor.status("CapPrm"), kept);
    for set in ["CapInh", "CapBnd", "CapAmb"] {
        assert_eq!(sensor.status(set), "0000000000000000", "{set}");
    }
    assert_eq!(sensor.status("NoNewPrivs"), "1");
    assert_eq!(sensor.status("Seccomp"), "2");
    let pid = sensor.child.id();
    for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        assert!(status.contains("Seccomp:\t2\n"), "{status}");
        assert!(status.contains(&format!("CapEff:\t{kept}\n")), "{status}");
    }
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    assert!(
        limits
            .lines()
            .any(|line| line.starts_with("Max core file size        0 ")),
        "{limits}"
    );
    let environment = fs::metadata(format!("/proc/{pid}/environ")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&environment), 0);
}

#[test]
fn inherited_descriptors_are_closed() {
    if !is_root() {
        return;
    }
    let directory = directory();
    let (reader, writer) = std::io::pipe().unwrap();
    nix::fcntl::fcntl(
        &writer,
        nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()),
    )
    .unwrap();
    let child = command(directory.path()).spawn().unwrap();
    let _sensor = Sensor { directory, child };
    drop(writer);
    let mut end = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
    assert_eq!(
        poll(&mut end, 10_000_u16).unwrap(),
        1,
        "the sensor holds the writing end"
    );
}

#[test]
fn systemd_can_pass_the_socket() {
    if !is_root() {
        return;
    }
    let directory = directory();
    let path = directory.path().join("run/sensor.sock");
    fs::create_dir(directory.path().join("run")).unwrap();
    let flags = SockFlag::empty();
    let passed: OwnedFd = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).unwrap();
    bind(passed.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
    listen(&passed, Backlog::new(4).unwrap()).unwrap();
    // The shell's pid becomes the sensor's. Not any shell: to dash a descriptor has one digit.
    let script = format!(
        "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" --client-user {CLIENT} --socket /nowhere/x 3<&{}",
        passed.as_raw_fd()
    );
    let log = File::create(directory.path().join("log")).unwrap();
    let child = Command::new("bash")
        .args(["-c", &script, SENSOR])
        .stderr(log)
        .spawn()
        .unwrap();
    let mut sensor = Sensor { directory, child };
    let mut peer = Peer::connect(&sensor).unwrap();
    peer.say_hello();
    peer.wait_for_snapshot();
    assert_eq!(sensor.end(), Some(0));
    assert!(path.exists(), "it is systemd's to remove");

    let stream = UnixListener::bind(sensor.directory.path().join("stream")).unwrap();
    let fd = stream.as_raw_fd();
    nix::fcntl::fcntl(
        &stream,
        nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()),
    )
    .unwrap();
    let script = format!("LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" --client-user {CLIENT} 3<&{fd}");
    refuses(
        Command::new("bash").args(["-c", &script, SENSOR]),
        73,
        &["SOCK_SEQPACKET"],
    );
}
