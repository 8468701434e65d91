//! The process that has programs looked at: what it may do, and what its end is to the sensor.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nodescope_schema::{DescribeExecutable, Language, RequestKind};

use crate::common::{Peer, Sensor, is_root};
use crate::followers::{child, eventually, has_ended, is_confined};

fn examiner(sensor: &Sensor) -> u32 {
    child(sensor, "nodescope-exam")
}

#[test]
fn it_has_no_right() {
    if !is_root() {
        return;
    }
    let sensor = Sensor::start(&[]);
    // The socket.
    is_confined(examiner(&sensor), 0, 1);
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
