//! The process that has programs looked at: what it may do, and what its end is to the sensor.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nodescope_schema::{DescribeExecutable, Language, RequestKind};

use crate::common::{Peer, Sensor, is_root};
use crate::follower::{child, eventually, field, has_ended};

fn examiner(sensor: &Sensor) -> u32 {
    child(sensor, "nodescope-exam")
}

#[test]
fn it_has_no_right() {
    if !is_root() {
        return;
    }
    let sensor = Sensor::start(&[]);
    let process = format!("/proc/{}", examiner(&sensor));
    let read = || fs::read_to_string(format!("{process}/status")).unwrap();
    assert!(eventually(|| field(&read(), "Seccomp") == "2"));
    let status = read();
    for set in ["CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"] {
        assert_eq!(field(&status, set), "0000000000000000", "{set}");
    }
    assert_eq!(field(&status, "NoNewPrivs"), "1");
    // The socket, beside the standard ones.
    let descriptors = fs::read_dir(format!("{process}/fd")).unwrap().count();
    assert_eq!(descriptors, 3 + 1);
}

#[test]
fn without_it_the_sensor_goes_on() {
    if !is_root() {
        return;
    }
    let mut sensor = Sensor::start(&[]);
    let mut peer = Peer::greeted(&sensor);
    let pid = examiner(&sensor);
    kill(Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap();
    assert!(eventually(|| has_ended(pid)));
    for id in [1, 2] {
        let pid = std::process::id();
        let kind = RequestKind::DescribeExecutable(DescribeExecutable { pid });
        peer.ask(id, kind).unwrap();
        assert_eq!(peer.reply(id).result, Ok(()));
        assert_eq!(peer.seen.programs[&id].1, Language::Unknown);
    }
    assert_eq!(sensor.log().matches("has ended; the languages").count(), 1);
    sensor.serves();
}

#[test]
fn it_ends_with_the_sensor() {
    if !is_root() {
        return;
    }
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let mut sensor = Sensor::start(&[]);
        let pid = examiner(&sensor);
        kill(Pid::from_raw(sensor.child.id() as i32), signal).unwrap();
        sensor.child.wait().unwrap();
        assert!(eventually(|| has_ended(pid)), "{signal}");
    }
}
